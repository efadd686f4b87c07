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
    use proptest::prelude::*;

    use super::{is_unsafe, sanitize};

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
