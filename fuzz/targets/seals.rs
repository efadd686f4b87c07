//! A folder with seals, checked by `verify` and taken over by `serve`.
//!
//! The first byte says how; then come, each ended by 0x1e: seals, events, head, seals and events of a second segment.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use observer::store::{Folder, chain::Hash, open, seal, verify};
use observer_fuzz::scratch;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(scratch);

fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let bit = |n: u8| how & (1 << n) != 0;
    for entry in fs::read_dir(&*FOLDER).expect("a folder") {
        fs::remove_file(entry.expect("an entry").path()).expect("a file");
    }
    let second = if bit(1) { "observer-9007199254740992-b" } else { "observer-000002-b" };
    let mut parts = bytes.split(|byte| *byte == 0x1e);
    for (name, is_seals) in [
        ("observer-000001-a.seals".to_owned(), true),
        ("observer-000001-a.jsonl".to_owned(), false),
        ("observer.head".to_owned(), false),
        (format!("{second}.seals"), true),
        (format!("{second}.jsonl"), false),
    ] {
        let Some(part) = parts.next() else { break };
        // Nobody finds hashes by chance: the chain is made to hold, so that what stands in it is what is tried.
        let text = if is_seals && bit(0) { chained(part) } else { part.to_vec() };
        let text = if bit(2) && name == "observer-000001-a.jsonl" {
            fs::write(FOLDER.join("observer-000001-a.jsonl.zst"), packed(&text)).expect("room");
            continue;
        } else {
            text
        };
        fs::write(FOLDER.join(name), text).expect("room");
    }
    let folder = Folder::at(&FOLDER);
    let before = verify::verify(&folder);
    if let Ok(found) = open::open(&folder) {
        let _ = folder.next(found.newest.as_ref(), jiff::Timestamp::UNIX_EPOCH);
        // Taking a folder over mends what a crash has left, and breaks nothing.
        if before.is_ok_and(|report| report.faults.is_empty()) {
            let after = verify::verify(&folder).expect("a report");
            assert!(after.faults.is_empty(), "{:?}", after.faults);
        }
    }
});

/// The same lines, each with the link that it must have; what is no entry stays as it is.
fn chained(text: &[u8]) -> Vec<u8> {
    let mut chain = Hash::default();
    let mut out = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let entry = serde_json::from_slice::<seal::Entry>(line).ok();
        if let Some(seal::What::Begin { previous: Some(previous), .. }) =
            entry.as_ref().map(|entry| &entry.what)
        {
            chain = previous.chain;
        }
        match entry.and_then(|entry| seal::line(&entry, chain).ok()) {
            Some((sealed, link)) => {
                out.extend_from_slice(sealed.as_bytes());
                chain = link;
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

fn packed(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).expect("compressed")
}
