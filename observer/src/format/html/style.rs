//! The page's own style, and the policy that allows it and nothing else.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The style in one line: the page has no control characters.
pub(super) fn text() -> String {
    include_str!("page.css").lines().map(str::trim).collect()
}

/// The Content-Security-Policy: no script, no connection, no image, no frame; only this style.
pub(super) fn policy(style: &str) -> String {
    let hash = base64(&Sha256::digest(style.as_bytes()));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

/// RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, n| bits << 8 | usize::from(*three.get(n).unwrap_or(&0)));
        for n in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * n) & 0x3f]);
            let _ = write!(text, "{}", if n <= three.len() { digit } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(super::base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_style_wants_nothing_from_outside() {
        let style = super::text();
        for word in ["url(", "@import", "http", "<", "\n", "expression"] {
            assert!(!style.contains(word), "{word}");
        }
    }
}
