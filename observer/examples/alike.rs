//! How long the reader takes for deaths that are alike, without a kernel: `cargo run --profile live -p observer --example alike`.
//! For where the time goes: `valgrind --tool=callgrind target/live/examples/alike 20000 code-1`.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a tool for whoever works on the reader"
)]

use std::time::Instant;

use bytes::Bytes;
use observer::{
    engine::{CodeZero, Engine, Input, Setup},
    enrich::Users,
    format::{Encoder, encoder::Encoding},
    kernel::{clock::Clock, host::Host},
};
use observer_common::{
    exit::{ExitRecord, LikeRecord},
    header::{ABI, Header, KIND_EXIT, KIND_EXIT_LIKE},
    signal::{NOTE_HAS_SENDER, SignalNote},
    task::TaskRecord,
};
use zerocopy::{FromZeros as _, IntoBytes as _};

/// How many deaths a drain brings.
const DRAIN: u32 = 150;
/// Nanoseconds from one death to the next.
const APART_NS: u64 = 40_000;
const PATTERN: u32 = 0x1_0003;
const SENDER: u32 = 50;

fn main() {
    let mut words = std::env::args().skip(1);
    let deaths = words.next().map_or(200_000, |number| number.parse().expect("a number"));
    let only = words.next();
    for (name, status) in [("code-0", 0), ("code-1", 0x100), ("sigterm", 15), ("sigkill", 9)] {
        if only.as_ref().is_none_or(|only| only == name) {
            let (ns, bytes) = measure(deaths, status);
            println!("{name}: {ns} ns a death, {bytes} bytes each");
        }
    }
}

fn measure(deaths: u32, status: u32) -> (u128, usize) {
    let host = Host {
        boot_id: "0fd0e8ea-3a28-4b9e-a8e4-4c1b6bd42a40".into(),
        name: "localhost".into(),
        page_bytes: 4096,
        memory_v1: false,
        memory_bytes: 1 << 34,
    };
    let mut engine = Engine::new(Setup {
        host,
        clock: Clock::fixed(1_795_357_935_000_000_000),
        users: Users::fixed([(0, "root".into())].into()),
        code_zero: CodeZero::Unnumbered,
        flood: None,
        ports: Some(false),
    });
    let mut encoder = Encoder::new(Encoding::Json, false);
    let (mut lines, mut bytes, mut taken_ns) = (Vec::new(), 0, 0);
    let now = |number: u32| 1_000_000_000_000 + u64::from(number) * APART_NS;
    engine.wants_scan(now(0));
    engine.push(now(0), Input::Scan(Err(String::new())), |_| ());
    for first in (0..deaths).step_by(DRAIN as usize) {
        let numbers = first..(first + DRAIN).min(deaths);
        let records: Vec<Bytes> =
            numbers.map(|number| record(number, now(number), status)).collect();
        let began = Instant::now();
        engine.push(now(first + DRAIN), Input::Records(records), |event| {
            encoder.event(&event, &mut lines).expect("JSON");
        });
        taken_ns += began.elapsed().as_nanos();
        bytes += lines.len();
        lines.clear();
    }
    (taken_ns / u128::from(deaths), bytes / deaths as usize)
}

/// The first is the pattern of the others.
fn record(number: u32, time_ns: u64, status: u32) -> Bytes {
    let tgid = 1000 + number % 30_000;
    let (start_time_ns, killed) = (time_ns - 700_000, matches!(status, 1..=0x7f));
    if number > 0 {
        let header = Header { size: 56, kind: KIND_EXIT_LIKE, abi: ABI, time_ns };
        let like = LikeRecord {
            header,
            start_time_ns,
            mm: 0xffff_0000_0000 + u64::from(tgid) * 0x1000,
            tgid,
            ppid: 900,
            ns_pid: tgid,
            pattern: PATTERN,
            note_age_ns: if killed { 30_000 + number % 9000 } else { 0 },
            status: u16::try_from(status).expect("a wait status"),
            peak_rss_pages: u16::try_from(300 + number % 50).expect("a small one"),
        };
        return Bytes::copy_from_slice(like.as_bytes());
    }
    let mut exit = ExitRecord::new_zeroed();
    exit.status = status;
    exit.pattern = PATTERN;
    exit.peak_rss_pages = 300;
    let mut bytes = Vec::new();
    exit.notes = killed.into();
    bytes.extend_from_slice(exit.as_bytes());
    task(&mut bytes, tgid, start_time_ns, b"worker");
    if killed {
        let mut note = SignalNote::new_zeroed();
        note.time_ns = time_ns - 30_000;
        note.target_start_ns = start_time_ns;
        note.signal = status & 0x7f;
        note.flags = NOTE_HAS_SENDER;
        (note.sender.tgid, note.sender.start_time_ns) = (SENDER, 5_000_000_000);
        note.sender_comm[..4].copy_from_slice(b"bash");
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend_from_slice(note.as_bytes());
        task(&mut bytes, SENDER, 5_000_000_000, b"bash");
    }
    let size = u32::try_from(bytes.len()).expect("a short one");
    let header = Header { size, kind: KIND_EXIT, abi: ABI, time_ns };
    bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    bytes.into()
}

fn task(bytes: &mut Vec<u8>, tgid: u32, start_time_ns: u64, comm: &[u8]) {
    let mut record = TaskRecord::new_zeroed();
    (record.tgid, record.ns_pid, record.ppid) = (tgid, tgid, 900);
    record.start_time_ns = start_time_ns;
    record.netns = 4_026_531_840;
    record.comm[..comm.len()].copy_from_slice(comm);
    record.parent_comm[..4].copy_from_slice(b"loop");
    let exe = [comm, b"\0bin\0usr\0"].concat();
    let (cgroup, args) = (b"session-1.scope\0user-0.slice\0user.slice\0", b"worker\0--once\0");
    record.args_total = 14;
    let len = |part: &[u8]| u16::try_from(part.len()).expect("a short one");
    (record.exe_len, record.cgroup_len, record.args_len) = (len(&exe), len(cgroup), len(args));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(record.as_bytes());
    for part in [&exe[..], cgroup, args] {
        bytes.extend_from_slice(part);
    }
}
