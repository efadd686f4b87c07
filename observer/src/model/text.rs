//! Turns bytes of unknown encoding into JSON strings, and into hexadecimal.

use std::fmt::Write as _;

/// The bytes as text; what is not UTF-8 is replaced.
#[must_use]
pub fn lossy(bytes: &[u8]) -> String {
    // Nearly always UTF-8, and that check is faster than the replacement.
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// The bytes in hexadecimal, when they are not UTF-8: the original of what [`lossy`] replaced.
#[must_use]
pub fn hex_of_non_utf8(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).err().map(|_| hex(bytes))
}

/// Two lower-case digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes from two hexadecimal digits each; `None` if the text is anything else.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
