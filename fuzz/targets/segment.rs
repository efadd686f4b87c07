//! A segment of the store, plain or compressed, read as `log` and `why` do. The first byte says with which filter.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use observer::{
    filter::Filter,
    model::{Event, Kind},
    store::{
        Folder,
        query::{Flow, Query},
    },
};
use observer_fuzz::{narrate, scratch, show};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(scratch);

fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let bit = |n: u8| how & (1 << n) != 0;
    let [plain, closed] = ["jsonl", "jsonl.zst"]
        .map(|ending| FOLDER.join(format!("observer-000001-20261122T143215Z.{ending}")));
    let (write, remove) = if bit(0) { (&closed, &plain) } else { (&plain, &closed) };
    fs::write(write, bytes).expect("room");
    let _ = fs::remove_file(remove);
    let mut filter = Filter::default();
    if bit(1) {
        filter.since = "2026-11-22T14:40:00Z".parse().ok();
    }
    if bit(2) {
        filter.until = "2026-11-22T14:50:00Z".parse().ok();
    }
    if bit(3) {
        filter.kind = vec![Kind::Exit, Kind::Incident];
    }
    if bit(4) {
        filter.port = vec![8080];
    }
    if bit(5) {
        filter.comm = vec!["node".to_owned()];
        filter.unit = vec!["shop".to_owned()];
    }
    if bit(6) {
        filter.pid = vec![2211];
        filter.user = vec!["0".to_owned()];
        filter.container = vec!["0123".to_owned()];
    }
    let mut events: Vec<Event> = Vec::new();
    let each = |line: &[u8], event: Option<Event>| {
        assert!(!line.contains(&b'\n'));
        events.extend(event);
        Ok(Flow::Continue)
    };
    // A broken file is an error, never a panic; what came before it has been given out.
    let _ = Query::new(&filter).run(&Folder::at(&FOLDER), |_| (), each, !bit(7));
    events.iter().for_each(show);
    narrate(&events);
});
