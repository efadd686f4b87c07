//! `observer verify`: every way to tamper with a finished store is found and named.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use observer_tests::{Place, patience, run};
use serde_json::Value;
use tempfile::TempDir;

crate::tests![
    events_of_the_newest_segment,
    end_of_the_store,
    whole_segments,
    seals,
    compressed_segment,
    cut_off_before_the_service_started_again,
];

/// A finished store of several segments; each way to tamper gets a copy.
struct Finished(Place);

/// A copy of it.
struct Copied {
    folder: TempDir,
    names: Vec<String>,
}

impl Finished {
    fn new() -> Self {
        let place =
            Place::new("exits = \"all\"\n[files]\nsegment_bytes = 65536\nseal_seconds = 60\n");
        let service = place.serve(&[]);
        let deadline = Instant::now() + patience::limit();
        while place.compressed() < 3 {
            assert!(Instant::now() < deadline, "no such store: {:?}", place.names());
            let (_storm, _) = run(["storm", "7", "1"]);
        }
        place.wait_compressed(3);
        service.stop();
        // The plain segment needs events too. It may have just been started, and where a segment ends is hard to
        // control: one drain is written in one go, on a fast machine a good part of a segment.
        while plain_events(&place) < 8 {
            let service = place.serve(&[]);
            let (_storm, _) = run(["storm", "7", "1"]);
            service.stop();
        }
        place.verified();
        Self(place)
    }

    fn copy(&self) -> Copied {
        let folder = tempfile::tempdir().expect("a folder");
        let names = self.0.names();
        for name in &names {
            fs::copy(self.0.dir().join(name), folder.path().join(name)).expect("room");
        }
        Copied { folder, names }
    }

    /// Tampers with a copy and returns the first fault.
    fn tamper(&self, how: impl FnOnce(&Copied)) -> Value {
        let copied = self.copy();
        how(&copied);
        let dir = copied.folder.path().to_str().expect("made of ASCII");
        let output = self.0.output(&["verify", "--json", dir]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{report:#}\n{stderr}");
        let text = self.0.output(&["verify", dir]);
        assert_eq!(text.status.code(), Some(1));
        let text = String::from_utf8(text.stdout).expect("UTF-8");
        let first = report["faults"][0].clone();
        let segment = first["segment"].as_str().expect("a fault names its segment");
        assert!(text.starts_with("DOES NOT HOLD"), "{text}");
        assert!(text.contains(segment), "{text}");
        first
    }
}

fn plain_events(place: &Place) -> usize {
    let names = place.names();
    let newest = names.iter().rfind(|name| name.ends_with(".jsonl"));
    newest.map_or(0, |name| lines(&place.dir().join(name)).len())
}

fn lines(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read(path).unwrap_or_default();
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

impl Copied {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files with that ending, oldest first.
    fn files(&self, ending: &str) -> Vec<&String> {
        self.names.iter().filter(|name| name.ends_with(ending)).collect()
    }

    fn newest(&self) -> PathBuf {
        self.path(self.files(".jsonl").last().expect("the newest is plain"))
    }

    fn edit(path: &Path, how: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let mut lines = lines(path);
        how(&mut lines);
        fs::write(path, lines.concat()).expect("room");
    }

    fn remove(&self, names: &[&String]) {
        for name in names {
            fs::remove_file(self.path(name)).expect("it is there");
        }
    }
}

/// The name of the segment that a file belongs to.
fn stem(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    name.split('.').next().expect("a stem").to_owned()
}

fn seq(line: &[u8]) -> u64 {
    let event: Value = serde_json::from_slice(line).expect("JSON");
    event["seq"].as_u64().expect("a number")
}

fn assert_fault(fault: &Value, path: &Path, number: u64, seq: u64, what: &str) {
    assert_eq!(fault["segment"], stem(path), "{fault:#}");
    assert_eq!(fault["record"], number, "{fault:#}");
    assert_eq!(fault["seq"], seq, "{fault:#}");
    assert!(fault["what"].as_str().is_some_and(|text| text.contains(what)), "{fault:#}");
}

fn events_of_the_newest_segment() {
    let finished = Finished::new();
    let original = finished.copy();
    let newest = original.newest();
    let records = lines(&newest);
    // `verify` counts from 1: index 3 is its number 4.
    let at = |n: usize| seq(&records[n]);
    let changed = finished.tamper(|copied| {
        Copied::edit(&copied.newest(), |lines| {
            let end = lines[3].len() - 3;
            lines[3][end] ^= 1;
        });
    });
    assert_fault(&changed, &newest, 4, at(3), "changed");
    let removed = finished.tamper(|copied| {
        Copied::edit(&copied.newest(), |lines| drop(lines.remove(3)));
    });
    assert_fault(&removed, &newest, 4, at(4), "removed");
    let two_removed = finished.tamper(|copied| {
        Copied::edit(&copied.newest(), |lines| drop(lines.drain(2..4)));
    });
    assert_fault(&two_removed, &newest, 3, at(4), "2 events before it were removed");
    let swapped = finished.tamper(|copied| {
        Copied::edit(&copied.newest(), |lines| lines.swap(3, 4));
    });
    assert_fault(&swapped, &newest, 4, at(4), "swapped");
    let put_in = finished.tamper(|copied| {
        Copied::edit(&copied.newest(), |lines| {
            lines.insert(3, b"{\"schema\":1,\"seq\":4711}\n".to_vec());
        });
    });
    assert_fault(&put_in, &newest, 4, 4711, "inserted");
    let first = finished.tamper(|copied| {
        Copied::edit(&copied.newest(), |lines| drop(lines.remove(0)));
    });
    assert_fault(&first, &newest, 1, at(1), "removed");
}

fn end_of_the_store() {
    let finished = Finished::new();
    let original = finished.copy();
    let newest = original.newest();
    let count = u64::try_from(lines(&newest).len()).expect("a count");
    let last = finished.tamper(|copied| {
        Copied::edit(&copied.newest(), |lines| drop(lines.pop()));
    });
    assert_eq!(last["record"], count, "{last:#}");
    assert!(last["what"].to_string().contains("cut off"), "{last:#}");
    let half = finished.tamper(|copied| {
        Copied::edit(&copied.newest(), |lines| {
            let line = lines.last_mut().expect("records");
            line.truncate(line.len() / 2);
        });
    });
    assert_eq!((&half["record"], &half["segment"]), (&count.into(), &stem(&newest).into()));
    let added = finished.tamper(|copied| {
        Copied::edit(&copied.newest(), |lines| {
            lines.push(b"{\"schema\":1,\"seq\":4711}\n".to_vec());
        });
    });
    assert_fault(&added, &newest, count + 1, 4711, "added after the last seal");
    // The last events with their seals.
    let sealed = finished.tamper(|copied| {
        let seals = copied.path(copied.files(".seals").last().expect("seals"));
        Copied::edit(&copied.newest(), Vec::clear);
        Copied::edit(&seals, |lines| lines.truncate(1));
    });
    assert!(sealed["what"].to_string().contains("cut off"), "{sealed:#}");
    let emptied = finished.tamper(|copied| Copied::edit(&copied.newest(), Vec::clear));
    assert_eq!(emptied["record"], 1, "{emptied:#}");
}

fn whole_segments() {
    let finished = Finished::new();
    let original = finished.copy();
    let compressed = original.files(".zst");
    let middle = finished.tamper(|copied| copied.remove(&[copied.files(".zst")[1]]));
    assert_eq!(middle["segment"], stem(Path::new(compressed[1])), "{middle:#}");
    assert!(middle["what"].to_string().contains("the segment is missing"), "{middle:#}");
    let middle_with_seals = finished.tamper(|copied| {
        copied.remove(&[copied.files(".zst")[1], copied.files(".seals")[1]]);
    });
    let after = stem(Path::new(original.files(".seals")[2]));
    assert_eq!(middle_with_seals["segment"], after, "{middle_with_seals:#}");
    let what = middle_with_seals["what"].to_string();
    assert!(what.contains("1 segment before it"), "{what}");
    let newest = finished.tamper(|copied| {
        let seals = copied.files(".seals");
        copied.remove(&[copied.files(".jsonl")[0], seals[seals.len() - 1]]);
    });
    assert!(newest["what"].to_string().contains("the end of the store was cut off"), "{newest:#}");
    let first = finished.tamper(|copied| {
        let (zst, seals) = (copied.files(".zst"), copied.files(".seals"));
        copied.remove(&[zst[0], seals[0], zst[1], seals[1]]);
    });
    assert!(first["what"].to_string().contains("before number 3 are missing"), "{first:#}");
    let all = finished.tamper(|copied| {
        let head = String::from("observer.head");
        let rest: Vec<_> = copied.names.iter().filter(|name| **name != head).collect();
        copied.remove(&rest);
    });
    assert!(all["what"].to_string().contains("all segments are missing"), "{all:#}");
    let exchanged = finished.tamper(|copied| {
        let zst = copied.files(".zst");
        let (one, two) = (copied.path(zst[0]), copied.path(zst[1]));
        let aside = copied.path("aside");
        for (from, to) in [(&one, &aside), (&two, &one), (&aside, &two)] {
            fs::rename(from, to).expect("both are there");
        }
    });
    assert_eq!(exchanged["segment"], stem(Path::new(compressed[0])), "{exchanged:#}");
    assert_eq!(exchanged["record"], 1, "{exchanged:#}");
}

fn seals() {
    let finished = Finished::new();
    let original = finished.copy();
    let of = |n: usize| stem(Path::new(original.files(".seals")[n]));
    let changed = finished.tamper(|copied| {
        Copied::edit(&copied.path(copied.files(".seals")[1]), |lines| {
            let at = lines[1].iter().position(u8::is_ascii_digit).expect("a time");
            lines[1][at] ^= 1;
        });
    });
    assert_eq!(changed["segment"], of(1), "{changed:#}");
    assert!(changed["what"].to_string().contains("line 2 of its seals"), "{changed:#}");
    let nonsense = finished.tamper(|copied| {
        Copied::edit(&copied.path(copied.files(".seals")[1]), |lines| {
            lines[1] = b"\xff\x00 no seal\n".to_vec();
        });
    });
    assert!(nonsense["what"].to_string().contains("line 2 of its seals"), "{nonsense:#}");
    let gone = finished.tamper(|copied| copied.remove(&[copied.files(".seals")[1]]));
    assert_eq!(gone["segment"], of(1), "{gone:#}");
    assert!(gone["what"].to_string().contains("seals is missing"), "{gone:#}");
    let of_the_newest = finished.tamper(|copied| {
        let seals = copied.files(".seals");
        copied.remove(&[seals[seals.len() - 1]]);
    });
    assert!(of_the_newest["what"].to_string().contains("seals is missing"), "{of_the_newest:#}");
    let emptied = finished.tamper(|copied| {
        Copied::edit(&copied.path(copied.files(".seals")[1]), Vec::clear);
    });
    assert_eq!(emptied["segment"], of(1), "{emptied:#}");
    let cut = finished.tamper(|copied| {
        Copied::edit(&copied.path(copied.files(".seals")[1]), |lines| lines.truncate(1));
    });
    assert_eq!(cut["segment"], of(1), "{cut:#}");
}

fn compressed_segment() {
    let finished = Finished::new();
    let name = stem(Path::new(finished.copy().files(".zst")[1]));
    let edit = |how: fn(&mut Vec<u8>)| {
        finished.tamper(|copied| {
            let path = copied.path(copied.files(".zst")[1]);
            let mut bytes = fs::read(&path).expect("readable");
            how(&mut bytes);
            fs::write(path, bytes).expect("room");
        })
    };
    let middle = |bytes: &mut Vec<u8>| {
        let at = bytes.len() / 2;
        bytes[at] ^= 0x55;
    };
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let header = |bytes: &mut Vec<u8>| bytes[0] ^= 0xff;
    let empty = |bytes: &mut Vec<u8>| bytes.clear();
    for how in [middle, cut, header, empty] {
        let fault = edit(how);
        assert_eq!(fault["segment"], name, "{fault:#}");
        assert!(fault["record"].is_u64(), "{fault:#}");
    }
}

/// Starting the service again does not hide it.
fn cut_off_before_the_service_started_again() {
    let newest_with_seals = |place: &Place| {
        let names = place.names();
        let stem = names.iter().rfind(|name| name.ends_with(".jsonl")).expect("a segment");
        for name in [stem.clone(), stem.replace(".jsonl", ".seals")] {
            fs::remove_file(place.dir().join(name)).expect("it is there");
        }
    };
    let last_records_with_seals = |place: &Place| {
        let names = place.names();
        for (ending, keep) in [(".jsonl", 0), (".seals", 1)] {
            let name = names.iter().rfind(|name| name.ends_with(ending)).expect("a segment");
            Copied::edit(&place.dir().join(name), |lines| lines.truncate(keep));
        }
    };
    let all_segments = |place: &Place| {
        for name in place.names().iter().filter(|name| name.starts_with("observer-")) {
            fs::remove_file(place.dir().join(name)).expect("it is there");
        }
    };
    let ways: [&dyn Fn(&Place); 3] = [&newest_with_seals, &last_records_with_seals, &all_segments];
    for way in ways {
        let Finished(place) = Finished::new();
        way(&place);
        for _ in 0..2 {
            place.serve(&[]).stop();
            let output = place.output(&["verify", "--json"]);
            let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(output.status.code(), Some(1), "{report:#}");
            let faults = report["faults"].as_array().expect("faults");
            assert_eq!(faults.len(), 1, "{report:#}");
            let what = faults[0]["what"].to_string();
            assert!(what.contains("the end of the store was cut off"), "{report:#}");
        }
    }
}
