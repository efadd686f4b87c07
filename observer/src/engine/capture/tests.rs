//! What was written is what is read.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Capture, CaptureWriter, Header, ReadError};
use crate::{
    engine::{Input, scan::ScanResult},
    enrich::scan::Scan,
    kernel::{clock::Clock, host::Host, loss::Loss},
    model::{ClockInfo, SessionEvent, Time},
};

fn header() -> Header {
    let host = Host {
        boot_id: "b".into(),
        name: "secret".into(),
        page_bytes: 4096,
        memory_v1: false,
        memory_bytes: 1 << 30,
    };
    let session = SessionEvent {
        version: "0".into(),
        kernel: "6.1.0".into(),
        hooks: Vec::new(),
        after: None,
        resumed: false,
        since: None,
        clock: ClockInfo {
            source: "CLOCK_BOOTTIME".into(),
            boot_time: Time(Clock::fixed(7).time(0)),
        },
    };
    Header::new(&host, 7, 5, session)
}

fn inputs() -> Vec<(u64, Input)> {
    let reason = "full".to_owned();
    let loss = Loss { kind: "exit".into(), count: 3, span_ns: (10, 20), reason, at_most: true };
    let result = ScanResult {
        scan: Scan { began_ns: 11, ended_ns: 12, sockets: Vec::new(), left_out: 0 },
        answers: Vec::new(),
        servers: [].into(),
        alive: [9].into(),
    };
    vec![
        (10, Input::Clock(-4)),
        (10, Input::Symbols(vec![(0xffff_ffff_8100_0000, "out_of_memory".to_owned())])),
        (10, Input::Records(vec!["one".into(), Bytes::new()])),
        (20, Input::Tick),
        (20, Input::Scan(Ok(Box::new(result)))),
        (20, Input::Loss(loss)),
        (30, Input::Records(vec!["two".into()])),
        (30, Input::Scan(Err(super::SCAN_FAILED.to_owned()))),
    ]
}

fn sample() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = CaptureWriter::begin(&mut bytes, &header()).expect("written");
    for (now_ns, input) in inputs() {
        writer.input(now_ns, &input).expect("written");
    }
    bytes
}

#[test]
fn a_capture_holds_exactly_the_inputs() {
    let capture = Capture::parse(sample().into()).expect("a capture");
    assert_eq!(capture.cut_at, None);
    assert_eq!(capture.header.host().name.as_ref(), "recorded");
    assert_eq!(capture.header.boot_epoch_ns, 7);
    assert_eq!(format!("{:?}", capture.inputs), format!("{:?}", inputs()));
}

#[test]
fn a_torn_end_is_set_aside() {
    let mut torn = sample();
    torn.truncate(torn.len() - 9);
    let len = torn.len();
    let capture = Capture::parse(torn.into()).expect("a capture");
    assert!(capture.cut_at.is_some_and(|at| at < len));
    // The records of the last moment are whole, the entry of its scan is not.
    assert!(
        matches!(capture.inputs.last(), Some((30, Input::Tick))),
        "{:?}",
        capture.inputs.last()
    );
}

#[test]
fn other_files_are_refused() {
    assert!(matches!(Capture::parse(Bytes::from_static(b"ELF")), Err(ReadError::Format)));
    let mut bytes = Vec::new();
    let header = Header { abi: 999, ..header() };
    CaptureWriter::begin(&mut bytes, &header).expect("written");
    assert!(matches!(Capture::parse(bytes.into()), Err(ReadError::Abi(999))));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..256), keep in 0usize..900) {
        let mut bytes = sample();
        bytes.truncate(keep);
        bytes.extend(tail);
        let _ = Capture::parse(bytes.into());
    }
}
