//! Caches names, paths and argument lists, so that events share equal texts.
//!
//! A storm is mostly one program: its processes share their texts without an allocation or a copy each, and so do the
//! thousands of processes that incidents keep.
//!
//! **Bounded:** [`PLACES`] (64) texts and as many argument lists; a new one replaces the one in its place. A list from the
//! kernel side has at most 4 KiB; one from `/proc` is not cut.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{hex, lossy};

/// Places of each cache.
const PLACES: usize = 64;

/// Names and paths.
#[derive(Debug)]
pub(super) struct TextCache(Box<[Arc<str>]>);

impl Default for TextCache {
    fn default() -> Self {
        Self(vec![Arc::default(); PLACES].into())
    }
}

impl TextCache {
    /// The text of these bytes, as [`lossy`] gives it.
    pub(super) fn of(&mut self, bytes: &[u8]) -> Arc<str> {
        let known = &mut self.0[place(bytes)];
        // Equal to a text means UTF-8.
        if known.as_bytes() != bytes {
            *known = lossy(bytes).into();
        }
        Arc::clone(known)
    }
}

/// The arguments of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Args {
    bytes: Bytes,
    /// The process has more than these.
    cut: bool,
    /// The arguments as text.
    pub(super) texts: Arc<[String]>,
    /// The original bytes in hexadecimal, if not all are UTF-8.
    pub(super) hex: Option<Vec<String>>,
}

/// Lists of arguments.
#[derive(Debug)]
pub(super) struct ArgsCache(Box<[Args]>);

impl Default for ArgsCache {
    fn default() -> Self {
        Self(vec![Args::default(); PLACES].into())
    }
}

impl ArgsCache {
    /// The arguments in `bytes`, each ended by NUL; `cut` if the process has more.
    pub(super) fn of(&mut self, bytes: &Bytes, cut: bool) -> &Args {
        let known = &mut self.0[place(bytes)];
        if known.bytes != bytes || known.cut != cut {
            // A copy, since the bytes share their memory with the whole drain.
            *known = Args::read(Bytes::copy_from_slice(bytes), cut);
        }
        known
    }
}

impl Args {
    fn read(whole: Bytes, cut: bool) -> Self {
        // The last argument ends with NUL. Programs that write a title over their arguments (nginx, postgres) fill the rest
        // with NULs, which are no arguments.
        let mut bytes = whole.strip_suffix(b"\0").unwrap_or(&whole);
        if bytes.ends_with(b"\0\0") {
            let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
            bytes = &bytes[..end];
        }
        if cut {
            bytes = without_partial_char(bytes);
        }
        let args = bytes.split(|b| *b == 0);
        let is_text = std::str::from_utf8(bytes).is_ok();
        let hex = (!is_text).then(|| args.clone().map(hex).collect());
        let mut texts: Vec<String> = args.map(lossy).collect();
        if let Some(last) = texts.last_mut().filter(|_| cut) {
            last.push('…');
        }
        Self { texts: texts.into(), hex, cut, bytes: whole }
    }
}

/// Drops the first bytes of a UTF-8 character that the cut split.
fn without_partial_char(bytes: &[u8]) -> &[u8] {
    let last = bytes.iter().rposition(|b| *b == 0).map_or(0, |nul| nul + 1);
    match std::str::from_utf8(&bytes[last..]) {
        Err(error) if error.error_len().is_none() => &bytes[..last + error.valid_up_to()],
        _ => bytes,
    }
}

/// Place of these bytes, by a hash of their length and their last 8 bytes: paths have equal beginnings.
fn place(bytes: &[u8]) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let end = bytes
        .iter()
        .rev()
        .take(8)
        .fold(bytes.len() as u64, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    (end.wrapping_mul(GOLDEN) >> 32) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_share_one_text() {
        let mut texts = TextCache::default();
        let all: Vec<String> = (0..1000).map(|n| format!("/usr/bin/program-{n}")).collect();
        for text in all.iter().chain(&all) {
            assert_eq!(&*texts.of(text.as_bytes()), text);
        }
        let (first, second) = (texts.of(b"nginx"), texts.of(b"nginx"));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(&*texts.of(b""), "");
    }

    #[test]
    fn non_utf8_never_matches_its_replacement() {
        let mut texts = TextCache::default();
        assert_eq!(&*texts.of(b"a\xff"), "a\u{fffd}");
        assert_eq!(&*texts.of(b"a\xfe"), "a\u{fffd}");
        assert_eq!(&*texts.of("a\u{fffd}".as_bytes()), "a\u{fffd}");
    }

    #[test]
    fn a_cut_list_differs_from_a_whole_one() {
        let mut lists = ArgsCache::default();
        let bytes = Bytes::from_static("sh\0-c\0é".as_bytes());
        assert_eq!(*lists.of(&bytes, false).texts, ["sh", "-c", "é"]);
        assert_eq!(*lists.of(&bytes, true).texts, ["sh", "-c", "é…"]);
        let half = bytes.slice(..bytes.len() - 1);
        assert_eq!(*lists.of(&half, true).texts, ["sh", "-c", "…"]);
        let args = lists.of(&half, false);
        assert_eq!(*args.texts, ["sh", "-c", "\u{fffd}"]);
        assert_eq!(args.hex.as_deref(), Some(&["7368".to_owned(), "2d63".into(), "c3".into()][..]));
    }
}
