//! From bytes to events, as the live kernel and a recording feed them.

use bytes::Bytes;

use super::Pipeline;
use crate::{
    decode::{
        Exit,
        samples::{DEATH, SECOND, exit, exit_bytes, note, oom, oom_bytes, oom_exit, task},
    },
    enrich::{Enricher, Host, Symbols, Users},
    kernel::{clock::Clock, loss::Loss},
    model::{Body, CauseType, ClockInfo, Event, ExitEvent, SessionEvent, Time},
};

/// 2026-11-22T14:32:15Z, less the moment of a sample's death.
const BOOT: i128 = 1_795_357_935_000_000_000 - DEATH as i128;

fn pipeline() -> Pipeline {
    let host = Host {
        boot_id: "boot".into(),
        name: "host".into(),
        page_bytes: 4096,
        memory_v1: false,
        memory_bytes: 1 << 30,
    };
    let users = Users::fixed([(0, "root".into())].into());
    let enricher = Enricher::with(users, Clock::fixed(BOOT));
    Pipeline::new(host, enricher, Symbols::Recorded([].into()))
}

fn session() -> SessionEvent {
    SessionEvent {
        version: String::new(),
        kernel: String::new(),
        hooks: Vec::new(),
        after: None,
        clock: ClockInfo { source: String::new(), boot_time: Time(Clock::fixed(BOOT).time(0)) },
    }
}

fn feed(pipeline: &mut Pipeline, exits: &[Exit]) -> Vec<Event> {
    let records: Vec<Bytes> = exits.iter().map(exit_bytes).collect();
    pipeline.feed(&records, DEATH)
}

fn death(event: &Event) -> &ExitEvent {
    match &event.body {
        Body::Exit(exit) => exit,
        other => panic!("no death: {other:?}"),
    }
}

fn pids(events: &[Event]) -> Vec<u32> {
    events.iter().map(|event| death(event).process.pid).collect()
}

#[test]
fn seq_grows_by_one_whatever_the_kind() {
    let mut pipeline = pipeline();
    let mut events = vec![pipeline.session(session(), DEATH)];
    events.extend(feed(&mut pipeline, &[exit(20, 9), exit(21, 0)]));
    let loss = Loss {
        kind: "exit".to_owned(),
        count: 2,
        span_ns: (1, 2),
        reason: String::new(),
        at_most: false,
    };
    events.push(pipeline.loss(&loss));
    events.extend(pipeline.feed(&[oom_bytes(&oom(22, 22))], DEATH));
    events.extend(feed(&mut pipeline, &[oom_exit(22, 22), exit(20, 9)]));
    events.extend(pipeline.finish());
    let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_process_dies_once() {
    let mut pipeline = pipeline();
    // Two programs may see a death; and a pid comes round again.
    let mut again = exit(20, 256);
    again.task.record.start_time_ns += 1;
    let both = [exit(20, 256), exit(20, 256), again.clone()];
    assert_eq!(pids(&feed(&mut pipeline, &both)), [20, 20]);
    assert_eq!(feed(&mut pipeline, &[again]).len(), 0);
}

#[test]
fn events_come_in_the_order_of_their_times() {
    let mut early = exit(21, 256);
    early.time_ns -= SECOND;
    let events = feed(&mut pipeline(), &[exit(20, 256), early]);
    assert_eq!(pids(&events), [21, 20]);
    assert_eq!(events[1].time.to_string(), "2026-11-22T14:32:15.000000000Z");
}

#[test]
fn what_a_death_says_of_itself() {
    let events = feed(&mut pipeline(), &[exit(20, 256)]);
    let exit = death(&events[0]);
    assert!((exit.lifetime_seconds - 980.0).abs() < 1e-9);
    assert_eq!(exit.peak_rss_bytes, Some(10 << 20));
    assert_eq!(exit.process.user.as_deref(), Some("root"));
    assert_eq!(exit.process.unit.as_deref(), Some("shop.service"));
    assert_eq!(
        exit.process.args.as_deref(),
        Some(&["node".to_owned(), "server.js".to_owned()][..])
    );
}

#[test]
fn an_oom_kill_comes_before_the_death_that_names_it() {
    let mut pipeline = pipeline();
    assert_eq!(pipeline.feed(&[exit_bytes(&oom_exit(20, 21))], DEATH).len(), 0);
    assert!(pipeline.deadline_ns().is_some());
    let events = pipeline.feed(&[oom_bytes(&oom(20, 21))], DEATH);
    let [first, second] = &events[..] else { panic!("two events: {events:?}") };
    let Body::Oom(oom) = &first.body else { panic!("an OOM kill first: {first:?}") };
    // The arguments of somebody else can't be read; the death brings them.
    assert!(oom.victim.args.is_some());
    assert_eq!(death(second).cause.oom_seq, Some(first.seq));
    assert_eq!(pipeline.deadline_ns(), None);
}

#[test]
fn senders_that_were_pushed_out_keep_their_names() {
    let mut killed = exit(20, 9);
    killed.notes.push(note(9, 10));
    killed.notes[0].sender = None;
    let events = feed(&mut pipeline(), &[killed]);
    let sender = death(&events[0]).cause.sender.as_deref().expect("a sender");
    assert_eq!((sender.pid, sender.comm.as_deref()), (10, Some("node")));
    assert!(sender.missing.contains_key("args"));
}

#[test]
fn a_chain_of_shells_names_the_child_that_was_killed() {
    let mut pipeline = pipeline();
    let child_of = |pid, ppid, status| {
        let mut exit = exit(pid, status);
        exit.task.record.ppid = ppid;
        exit.time_ns += u64::from(100 - pid);
        exit
    };
    let mut killed = child_of(22, 21, 9);
    killed.notes.push(note(9, 10));
    let chain = [killed, child_of(21, 20, 137 << 8), child_of(20, 1, 137 << 8)];
    let events = feed(&mut pipeline, &chain);
    let because = |n: usize| death(&events[n]).cause.evidence.join("; ");
    assert_eq!(death(&events[0]).cause.cause_type, CauseType::Killed);
    assert!(because(1).contains("its child node 22 was ended by SIGKILL"), "{}", because(1));
    assert!(because(2).contains("its child node 21 ended with 137 too"), "{}", because(2));
}

#[test]
fn what_can_not_be_read_is_counted() {
    let mut pipeline = pipeline();
    let torn = exit_bytes(&exit(20, 9)).slice(..40);
    assert_eq!(pipeline.feed(&[torn, Bytes::new()], DEATH).len(), 0);
    let event = pipeline.unreadable((0, DEATH)).expect("a loss");
    let Body::Loss(loss) = event.body else { panic!("no loss") };
    assert_eq!(loss.lost["unknown"], 2);
    assert!(pipeline.unreadable((0, DEATH)).is_none());
}

#[test]
fn unknown_users_have_a_reason() {
    let mut nobody = exit(20, 256);
    nobody.task = task(20);
    nobody.task.record.uid = 77;
    let events = feed(&mut pipeline(), &[nobody]);
    let process = &death(&events[0]).process;
    assert_eq!((process.uid, process.user.as_deref()), (Some(77), None));
    assert!(process.missing["user"].contains("recording"));
}
