//! A process chooses its own name, arguments and cgroup: on a terminal nothing of that may move the cursor, turn the
//! writing direction round, or hide.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_general_category::{GeneralCategory, get_general_category};

/// The text with every control, format, bidi and invisible character escaped as `\u{…}`, `\n`, `\t` or `\x1b`.
#[must_use]
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => clean.push_str("\\n"),
            '\t' => clean.push_str("\\t"),
            '\r' => clean.push_str("\\r"),
            c if is_unsafe(c) && c.is_ascii() => {
                let _ = write!(clean, "\\x{:02x}", u32::from(c));
            }
            c if is_unsafe(c) => {
                let _ = write!(clean, "\\u{{{:x}}}", u32::from(c));
            }
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// What goes to a terminal in JSON or CSV: characters beyond ASCII that [`sanitize`] would escape, as `\u` and four digits, which
/// JSON reads back. The others are escaped in both by now; text has none left, and passes as it is.
#[must_use]
pub fn for_terminal(bytes: &[u8]) -> Cow<'_, [u8]> {
    const DEL: char = '\x7f';
    let is_unsafe = |c: char| c == DEL || (!c.is_ascii() && is_unsafe(c));
    let text = String::from_utf8_lossy(bytes);
    if !text.chars().any(is_unsafe) {
        return match text {
            Cow::Borrowed(_) => Cow::Borrowed(bytes),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(clean, "\\u{unit:04x}");
            }
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean.into_bytes())
}

/// Characters that do something else than being seen.
fn is_unsafe(c: char) -> bool {
    use GeneralCategory as G;
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(
        get_general_category(c),
        G::Control
            | G::Format
            | G::LineSeparator
            | G::ParagraphSeparator
            | G::Surrogate
            | G::PrivateUse
            | G::Unassigned
    ) || is_invisible(c)
}

/// Letters, marks and spaces that show nothing (`Default_Ignorable_Code_Point` outside the categories above), and every
/// space that is not the space.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}')
        || (c != ' ' && get_general_category(c) == GeneralCategory::SpaceSeparator)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::{for_terminal, is_unsafe, sanitize};

    #[test]
    fn json_on_a_terminal_is_the_same_json() {
        let text = "plain ünï 日本 \u{9b}31m \u{202e}\u{200b} \u{7f} \u{e0100} \u{1b}[2J \"\\";
        let json = serde_json::to_string(text).expect("JSON");
        let shown = for_terminal(json.as_bytes());
        assert!(!std::str::from_utf8(&shown).expect("UTF-8").chars().any(is_unsafe));
        assert_eq!(serde_json::from_slice::<String>(&shown).expect("JSON"), text);
        assert!(matches!(for_terminal("\x1b[1mplain ü\x1b[0m".as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_escaped() {
        assert_eq!(sanitize("plain ünïcode 日本"), "plain ünïcode 日本");
        assert_eq!(sanitize("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(sanitize("\x1b[31mred\x07"), "\\x1b[31mred\\x07");
        assert_eq!(sanitize("\u{202e}evil\u{200b}\u{feff}"), "\\u{202e}evil\\u{200b}\\u{feff}");
        assert_eq!(sanitize("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(sanitize("\u{3164}\u{a0}"), "\\u{3164}\\u{a0}");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in any::<String>()) {
            prop_assert!(!sanitize(&text).chars().any(is_unsafe));
        }
    }
}
