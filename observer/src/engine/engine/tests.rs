//! From inputs to events, as the live kernel and a capture push them.

mod alike;

use bytes::Bytes;

use super::{CodeZero, Engine, FloodLimit, Setup};
use crate::{
    decode::{
        Exit,
        samples::{
            DEATH, SECOND, exit, exit_bytes, note, oom, oom_bytes, oom_exit, refused_bytes, task,
        },
    },
    diagnose::answer::Answer,
    engine::{Input, scan::ScanResult},
    enrich::{Users, scan::Scan},
    kernel::{clock::Clock, host::Host, loss::Loss},
    model::{Body, CauseType, ClockInfo, Event, ExitEvent, Kind, SessionEvent, Time},
};

/// 2026-11-22T14:32:15Z, less the moment of a sample's death.
const BOOT: i128 = 1_795_357_935_000_000_000 - DEATH as i128;

fn engine_with(code_zero: CodeZero, ports: Option<bool>) -> Engine {
    limited(code_zero, ports, None)
}

fn limited(code_zero: CodeZero, ports: Option<bool>, flood: Option<FloodLimit>) -> Engine {
    let host = Host {
        boot_id: "boot".into(),
        name: "host".into(),
        page_bytes: 4096,
        memory_v1: false,
        memory_bytes: 1 << 30,
    };
    let users = Users::fixed([(0, "root".into())].into());
    Engine::new(Setup { host, clock: Clock::fixed(BOOT), users, code_zero, ports, flood })
}

fn engine() -> Engine {
    engine_with(CodeZero::Numbered, None)
}

fn session() -> SessionEvent {
    SessionEvent {
        version: String::new(),
        kernel: String::new(),
        hooks: Vec::new(),
        after: None,
        resumed: false,
        since: None,
        clock: ClockInfo { source: String::new(), boot_time: Time(Clock::fixed(BOOT).time(0)) },
    }
}

fn push(engine: &mut Engine, now_ns: u64, input: Input) -> Vec<Event> {
    let mut events = Vec::new();
    engine.push(now_ns, input, |event| events.push(event));
    events
}

fn records(engine: &mut Engine, records: Vec<Bytes>) -> Vec<Event> {
    push(engine, DEATH, Input::Records(records))
}

fn feed(engine: &mut Engine, exits: &[Exit]) -> Vec<Event> {
    records(engine, exits.iter().map(exit_bytes).collect())
}

fn finish(engine: &mut Engine) -> Vec<Event> {
    let mut events = Vec::new();
    engine.finish(|event| events.push(event));
    events
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
    let mut engine = engine();
    let mut events = vec![engine.session(session(), DEATH)];
    events.extend(feed(&mut engine, &[exit(20, 9), exit(21, 0)]));
    let loss = Loss {
        kind: "exit".to_owned(),
        count: 2,
        span_ns: (1, 2),
        reason: String::new(),
        at_most: false,
    };
    events.extend(push(&mut engine, DEATH, Input::Loss(loss)));
    events.extend(records(&mut engine, vec![oom_bytes(&oom(22, 22))]));
    events.extend(feed(&mut engine, &[oom_exit(22, 22), exit(20, 9)]));
    events.extend(finish(&mut engine));
    let seqs: Vec<Option<u64>> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6].map(Some));
}

#[test]
fn a_process_dies_once() {
    let mut engine = engine();
    // Two programs may see a death; and a pid comes round again.
    let mut again = exit(20, 256);
    again.task.record.start_time_ns += 1;
    let both = [exit(20, 256), exit(20, 256), again.clone()];
    assert_eq!(pids(&feed(&mut engine, &both)), [20, 20]);
    assert_eq!(feed(&mut engine, &[again]).len(), 0);
}

#[test]
fn events_are_ordered_by_time() {
    let mut early = exit(21, 256);
    early.time_ns -= SECOND;
    let events = feed(&mut engine(), &[exit(20, 256), early]);
    assert_eq!(pids(&events), [21, 20]);
    assert_eq!(events[1].time.to_string(), "2026-11-22T14:32:15.000000000Z");
}

#[test]
fn a_death_has_its_lifetime_memory_and_names() {
    let events = feed(&mut engine(), &[exit(20, 256)]);
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
    let mut engine = engine();
    assert_eq!(feed(&mut engine, &[oom_exit(20, 21)]).len(), 0);
    assert!(engine.deadline_ns().is_some());
    let events = records(&mut engine, vec![oom_bytes(&oom(20, 21))]);
    let [first, second] = &events[..] else { panic!("two events: {events:?}") };
    let Body::Oom(oom) = &first.body else { panic!("an OOM kill first: {first:?}") };
    // The arguments of somebody else can't be read; the death brings them.
    assert!(oom.victim.args.is_some());
    assert_eq!(death(second).cause.oom_seq, first.seq);
}

#[test]
fn senders_that_were_pushed_out_keep_their_names() {
    let mut killed = exit(20, 9);
    killed.notes.push(note(9, 10));
    killed.notes[0].sender = None;
    let events = feed(&mut engine(), &[killed]);
    let sender = death(&events[0]).cause.sender.as_deref().expect("a sender");
    assert_eq!((sender.pid, sender.comm.as_deref()), (10, Some("node")));
    assert!(sender.missing.contains_key("args"));
}

#[test]
fn a_chain_of_shells_names_the_child_that_was_killed() {
    let mut engine = engine();
    let child_of = |pid, ppid, status| {
        let mut exit = exit(pid, status);
        exit.task.record.ppid = ppid;
        exit.time_ns += u64::from(100 - pid);
        exit
    };
    let mut killed = child_of(22, 21, 9);
    killed.notes.push(note(9, 10));
    let chain = [killed, child_of(21, 20, 137 << 8), child_of(20, 1, 137 << 8)];
    let events = feed(&mut engine, &chain);
    let because = |n: usize| death(&events[n]).cause.evidence.join("; ");
    assert_eq!(death(&events[0]).cause.cause_type, CauseType::Killed);
    assert!(because(1).contains("its child node 22 died of SIGKILL"), "{}", because(1));
    assert!(because(2).contains("its child node 21 exited with code 137 too"), "{}", because(2));
}

#[test]
fn undecodable_records_are_counted() {
    let mut engine = engine();
    let torn = exit_bytes(&exit(20, 9)).slice(..40);
    let events = records(&mut engine, vec![torn, Bytes::new()]);
    let [Event { body: Body::Loss(loss), .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(loss.lost["unknown"], 2);
    assert!(push(&mut engine, DEATH, Input::Tick).is_empty());
}

#[test]
fn unknown_users_have_a_reason() {
    let mut nobody = exit(20, 256);
    nobody.task = task(20);
    nobody.task.record.uid = 77;
    let events = feed(&mut engine(), &[nobody]);
    let process = &death(&events[0]).process;
    assert_eq!((process.uid, process.user.as_deref()), (Some(77), None));
    assert!(process.missing["user"].contains("capture"));
}

#[test]
fn what_is_not_stored_has_no_seq() {
    let mut engine = engine_with(CodeZero::Unnumbered, None);
    let events = feed(&mut engine, &[exit(20, 9), exit(21, 0), exit(22, 256)]);
    let seqs: Vec<Option<u64>> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [Some(1), None, Some(2)]);
    // An incident that grows has none; the same incident has one when it is over.
    let later = DEATH + 3 * SECOND;
    let open = push(&mut engine, later, Input::Tick);
    assert!(open.iter().all(|event| event.body.kind() == Kind::Incident && event.seq.is_none()));
    assert!(!open.is_empty());
    let closed = push(&mut engine, DEATH + 200 * SECOND, Input::Tick);
    assert!(closed.iter().any(|event| event.body.kind() == Kind::Incident && event.seq == Some(3)));
    engine.set_code_zero(CodeZero::Ignored);
    assert!(feed(&mut engine, &[exit(23, 0)]).is_empty());
}

#[test]
fn a_flood_is_counted_and_every_death_of_it_leaves_once() {
    let limit = FloodLimit { burst: 20, per_second: 1 };
    let mut engine = limited(CodeZero::Unnumbered, None, Some(limit));
    let of_eve = |pid| {
        let mut exit = exit(pid, 256);
        exit.task.record.uid = 61010;
        exit.task.record.origin_uid = 61010;
        exit
    };
    let flood: Vec<Exit> = (1000..1100).map(of_eve).collect();
    let mut events = feed(&mut engine, &flood);
    // Root's own, and one with code 0 that is for listeners anyway.
    let beside = feed(&mut engine, &[exit(20, 256), exit(21, 0)]);
    assert_eq!((beside[0].seq, beside[1].seq), (Some(21), None));
    let due = engine.deadline_ns().expect("its end");
    let mut end = push(&mut engine, due, Input::Tick);
    end.retain(|event| event.body.kind() != Kind::Incident);
    let [last, counted] = &end[..] else { panic!("the last and the counts: {end:?}") };
    assert_eq!((last.seq, death(last).process.pid, counted.seq), (Some(22), 1099, Some(23)));
    let Body::Flood(counts) = &counted.body else { panic!("counts: {counted:?}") };
    assert_eq!((counts.count, counts.example), (79, Some(22)));
    assert_eq!((counted.time, counts.unit.as_deref()), (counts.to, Some("shop.service")));
    events.push(last.clone());
    assert_eq!(pids(&events), (1000..1100).collect::<Vec<u32>>());
    assert_eq!(events.iter().filter(|event| event.seq.is_none()).count(), 79);
    assert!(finish(&mut engine).is_empty());
}

#[test]
fn a_flood_that_lasts_is_told_when_the_engine_ends() {
    let limit = FloodLimit { burst: 1, per_second: 1 };
    let mut engine = limited(CodeZero::Numbered, None, Some(limit));
    let mut exits: Vec<Exit> = (1000..1010).map(|pid| exit(pid, 0)).collect();
    for exit in &mut exits {
        exit.task.record.ppid = 6;
    }
    assert_eq!(feed(&mut engine, &exits).len(), 9);
    let kinds = kinds(&finish(&mut engine));
    assert_eq!(kinds, [Kind::Exit, Kind::Flood]);
}

/// A scan that found nobody.
fn scanned(engine: &mut Engine, now_ns: u64) -> Vec<Event> {
    let request = engine.wants_scan(now_ns).expect("a refusal waits");
    let answers = request.questions.into_iter().map(|question| (question, Answer::default()));
    let result = ScanResult {
        scan: Scan { began_ns: now_ns, ended_ns: now_ns, sockets: Vec::new(), left_out: 0 },
        answers: answers.collect(),
        servers: Vec::new(),
        alive: [].into(),
    };
    push(engine, now_ns, Input::Scan(Ok(Box::new(result))))
}

fn kinds(events: &[Event]) -> Vec<Kind> {
    events.iter().map(|event| event.body.kind()).filter(|kind| *kind != Kind::Incident).collect()
}

#[test]
fn the_death_of_a_refused_process_comes_after_its_refusal() {
    let mut engine = engine_with(CodeZero::Numbered, Some(false));
    engine.wants_scan(0);
    push(&mut engine, 1, Input::Scan(Err("not this time".to_owned())));
    let mut early = exit(19, 256);
    early.time_ns = DEATH - 20;
    let drain = vec![exit_bytes(&exit(20, 256)), refused_bytes(20, DEATH - 10), exit_bytes(&early)];
    let events = records(&mut engine, drain);
    // What happened before the refusal waits for nothing.
    assert_eq!(pids(&events), [19]);
    let events = scanned(&mut engine, DEATH + SECOND / 100);
    assert_eq!(kinds(&events), [Kind::Bind, Kind::Exit]);
    assert_eq!(events[0].seq, Some(2));
    assert_eq!(events[1].seq, Some(3));
}

#[test]
fn a_scan_that_takes_too_long_is_not_waited_for() {
    let mut engine = engine_with(CodeZero::Numbered, Some(false));
    engine.wants_scan(0);
    push(&mut engine, 1, Input::Scan(Err("not this time".to_owned())));
    let drain = vec![refused_bytes(20, DEATH - 10), exit_bytes(&exit(20, 256))];
    assert!(records(&mut engine, drain).is_empty());
    let due = engine.deadline_ns().expect("the death is held");
    assert_eq!(kinds(&push(&mut engine, due, Input::Tick)), [Kind::Exit]);
    assert_eq!(kinds(&scanned(&mut engine, due + 1)), [Kind::Bind]);
}

#[test]
fn a_storm_behind_a_refusal_is_not_held() {
    let mut engine = engine_with(CodeZero::Numbered, Some(false));
    engine.wants_scan(0);
    push(&mut engine, 1, Input::Scan(Err("not this time".to_owned())));
    let deaths = (100..100 + 2000).map(|pid| exit_bytes(&exit(pid, 256)));
    let drain = std::iter::once(refused_bytes(20, DEATH - 10)).chain(deaths).collect();
    assert!(records(&mut engine, drain).len() >= 1024);
}

#[test]
fn the_clock_that_was_set_dates_what_follows() {
    let mut engine = engine();
    let before = feed(&mut engine, &[exit(20, 256)])[0].time;
    let epoch_ns = i64::try_from(BOOT).expect("a moment") + 5_000_000_000;
    push(&mut engine, DEATH, Input::Clock(epoch_ns));
    let event = feed(&mut engine, &[exit(21, 256)]).remove(0);
    assert_eq!(event.time.0.duration_since(before.0).as_secs(), 5);
    // Start times do not move: (pid, start time) names a process for good.
    let start = death(&event).process.start_time.expect("a start");
    assert!(start.0 < before.0);
}
