//! Who is told in full, who is counted, and that nobody can decide that for another.

use std::sync::Arc;

use super::{Admission, EVERY_NS, FloodLimit, Floods, KEPT_BYTES, ORIGINS, QUIET_NS};
use crate::model::{
    BindEvent, Body, Call, Cause, CauseType, Confidence, Errno, Event, ExitEvent, ExitStatus,
    Missing, Process, Prompt, Protocol, ReleaseEvent, SCHEMA, Socket, Time,
    cgroup::{container, unit},
};

const LIMIT: FloodLimit = FloodLimit { burst: 20, per_second: 1 };
const NOW: u64 = 1_000_000_000_000;
const EVE: u32 = 61010;

fn process(uid: u32, cgroup: &str) -> Process {
    Process {
        pid: 7,
        ppid: Some(6),
        uid: Some(uid),
        origin_uid: Some(uid),
        cgroup: Some(cgroup.into()),
        unit: unit(cgroup).map(Arc::from),
        container: container(cgroup).map(Arc::from),
        ..Process::default()
    }
}

fn death(process: Process, cause: Cause) -> Body {
    Body::Exit(Arc::new(ExitEvent {
        process,
        status: ExitStatus::from_wait(256),
        lifetime_seconds: 1.0,
        peak_rss_bytes: None,
        released: Vec::new(),
        released_total: None,
        cause: Arc::new(cause),
        shape: None,
        missing: Missing::new(),
    }))
}

fn cause(cause_type: CauseType) -> Cause {
    Cause::new(cause_type, "", Confidence::Certain)
}

fn plain(uid: u32, cgroup: &str) -> Body {
    death(process(uid, cgroup), cause(CauseType::ExitCode))
}

fn event(body: Body, time_ns: u64) -> Event {
    let time = Time(jiff::Timestamp::from_nanosecond(time_ns.into()).expect("a time"));
    Event { schema: SCHEMA, seq: None, time, boot_id: "".into(), host: "".into(), body }
}

/// What became of events.
#[derive(Default, Debug, PartialEq, Eq)]
struct Fate {
    told: u64,
    /// Left as counted.
    left: u64,
}

/// Lets the same event come so many times at one moment.
fn come(floods: &mut Floods, body: &Body, served: bool, times: u64, now_ns: u64) -> Fate {
    let mut fate = Fate::default();
    for _ in 0..times {
        match floods.admit(body, served, now_ns, now_ns) {
            Admission::Always => fate.told += 1,
            Admission::Told(slot) => {
                fate.told += 1;
                floods.told(&slot, fate.told);
            }
            Admission::Counted(slot) => {
                let event = event(body.clone(), now_ns);
                fate.left += floods.count(&slot, event, now_ns).count() as u64;
            }
        }
    }
    fate
}

/// All of them are told.
fn all_told(floods: &mut Floods, body: &Body, served: bool, times: u64) -> bool {
    come(floods, body, served, times, NOW).told == times
}

#[test]
fn the_first_ones_and_the_last_one_are_told_and_the_others_counted() {
    let mut floods = Floods::new(LIMIT);
    let body = plain(EVE, "/eve");
    assert_eq!(come(&mut floods, &body, false, 100, NOW), Fate { told: 20, left: 79 });
    // Those that are counted and the last one.
    assert_eq!(floods.waiting(), 80);
    assert!(floods.due(NOW + QUIET_NS - 1).is_empty());
    assert_eq!(floods.deadline_ns(), Some(NOW + QUIET_NS));
    let reports = floods.due(NOW + QUIET_NS);
    let [report] = &reports[..] else { panic!("one flood: {reports:?}") };
    assert!(report.last.is_some());
    let flood = report.counted.as_ref().expect("counts");
    assert_eq!((flood.count, flood.causes[&CauseType::ExitCode]), (79, 79));
    assert_eq!((flood.uid, flood.cgroup.as_deref()), (Some(EVE), Some("/eve")));
    assert_eq!(
        (flood.example, flood.from, flood.to),
        (Some(20), event(body, NOW).time, flood.from)
    );
    assert_eq!((floods.deadline_ns(), floods.kept_bytes, floods.waiting()), (None, 0, 0));
}

#[test]
fn a_flood_that_goes_on_is_told_again_and_again_and_loses_none() {
    let mut floods = Floods::new(LIMIT);
    let body = plain(EVE, "/eve");
    let (mut told, mut counted, mut reports) = (0, 0, 0);
    for second in 0..35 {
        let now = NOW + second * 1_000_000_000;
        told += come(&mut floods, &body, false, 100, now).told;
        for report in floods.due(now) {
            reports += 1;
            counted += report.counted.map_or(0, |flood| flood.count);
            assert!(report.last.is_none(), "it goes on");
        }
    }
    assert_eq!((told, reports), (20 + 34, 35_000_000_000 / EVERY_NS));
    for report in floods.finish() {
        told += u64::from(report.last.is_some());
        counted += report.counted.map_or(0, |flood| flood.count);
    }
    assert_eq!(told + counted, 3500);
    assert_eq!(floods.kept_bytes, 0);
}

#[test]
fn one_more_than_there_is_room_for_is_told_in_the_end_and_makes_no_flood() {
    let mut floods = Floods::new(LIMIT);
    assert_eq!(come(&mut floods, &plain(EVE, "/eve"), false, 21, NOW), Fate { told: 20, left: 0 });
    let reports = floods.due(NOW + QUIET_NS);
    assert!(matches!(&reports[..], [report] if report.last.is_some() && report.counted.is_none()));
}

#[test]
fn whoever_makes_cgroups_and_sessions_has_one_bucket() {
    for (path, common) in [
        ("/eve/#", "/eve"),
        ("/eve/#.service", "/eve"),
        ("/system.slice/web.service/#.service", "/system.slice/web.service"),
        ("/user.slice/user-61010.slice/session-#.scope", "/user.slice/user-61010.slice"),
        (
            "/user.slice/user-61010.slice/user@61010.service/app.slice/#.service",
            "/user.slice/user-61010.slice/user@61010.service/app.slice",
        ),
        ("/lxc.payload.web/system.slice/#.service", "/lxc.payload.web/system.slice"),
    ] {
        let mut floods = Floods::new(LIMIT);
        let mut told = 0;
        for n in 0..100 {
            let group = path.replace('#', &n.to_string());
            told += come(&mut floods, &plain(EVE, &group), false, 1, NOW).told;
        }
        assert_eq!(told, 20, "{path}");
        let reports = floods.finish();
        let flood = reports[0].counted.as_ref().expect("counts");
        assert_eq!(flood.cgroup.as_deref(), Some(common));
    }
}

#[test]
fn what_a_user_does_is_nothing_to_others_nor_to_root() {
    let mut floods = Floods::new(LIMIT);
    let place = "/system.slice/web.service";
    come(&mut floods, &plain(EVE, place), false, 1000, NOW);
    assert!(all_told(&mut floods, &plain(0, place), false, 20));
    assert!(all_told(&mut floods, &plain(EVE + 1, place), false, 20));
    // Nor to the same user elsewhere, and of another kind.
    assert!(all_told(&mut floods, &plain(EVE, "/system.slice/mail.service"), false, 20));
    assert!(all_told(&mut floods, &refusal(EVE, place), false, 20));
    assert!(!all_told(&mut floods, &refusal(EVE, place), false, 1));
}

fn socket() -> Socket {
    let socket = serde_json::json!({"protocol": Protocol::Tcp, "port": 8080});
    serde_json::from_value(socket).expect("a socket")
}

fn refusal(uid: u32, cgroup: &str) -> Body {
    Body::Bind(Arc::new(BindEvent {
        process: process(uid, cgroup),
        call: Call::Bind,
        socket: socket(),
        error: Errno::new(-98),
        holders: Vec::new(),
        holders_total: None,
        repeats: Some(9),
        cause: cause(CauseType::Held),
        missing: Missing::new(),
    }))
}

#[test]
fn where_no_process_is_known_the_owner_of_the_socket_answers() {
    let release = |origin_uid| {
        let process = Some(Process { origin_uid, ..Process::default() });
        let (late_seconds, served_seconds, missing) = (None, None, Missing::new());
        let socket = socket();
        let release = ReleaseEvent { socket, process, late_seconds, served_seconds, missing };
        Body::Release(Box::new(release))
    };
    let mut floods = Floods::new(LIMIT);
    assert!(!all_told(&mut floods, &release(Some(EVE)), false, 1000));
    assert!(all_told(&mut floods, &release(Some(0)), false, 20));
}

#[test]
fn a_refusal_that_is_counted_counts_those_that_it_stands_for() {
    let mut floods = Floods::new(LIMIT);
    let fate = come(&mut floods, &refusal(EVE, "/eve"), false, 22, NOW);
    assert_eq!(fate, Fate { told: 20, left: 1 });
    let reports = floods.finish();
    let flood = reports[0].counted.as_ref().expect("counts");
    assert_eq!((flood.count, flood.causes[&CauseType::Held]), (10, 10));
}

fn killed_by(sender: Option<u32>) -> Cause {
    let mut cause = cause(CauseType::Killed);
    let sender = Process { origin_uid: sender, ..process(0, "/") };
    cause.sender = Some(Box::new(sender));
    cause
}

#[test]
fn what_is_rare_is_not_hidden_by_what_is_not() {
    let mut floods = Floods::new(LIMIT);
    come(&mut floods, &plain(EVE, "/eve"), false, 1000, NOW);
    let of_eve = |cause| death(process(EVE, "/eve"), cause);
    let mut asked = cause(CauseType::ExitCode);
    asked.prompted_by = Some(Box::new(Prompt {
        signal: 15,
        signal_name: "SIGTERM".into(),
        sender: killed_by(Some(0)).sender.map(|sender| *sender),
        seconds: 1.0,
        ignored: false,
    }));
    for (what, body, served) in [
        ("an OOM kill", of_eve(cause(CauseType::OomKill)), false),
        ("root's signal", of_eve(killed_by(Some(0))), false),
        ("root's request", of_eve(asked), false),
        ("the kernel", of_eve(cause(CauseType::Kernel)), false),
        ("a server", of_eve(cause(CauseType::ExitCode)), true),
    ] {
        assert!(all_told(&mut floods, &body, served, 1000), "{what}");
    }
    // Everybody can have his own sender forgotten.
    assert!(!all_told(&mut floods, &of_eve(killed_by(None)), false, 1));
    assert!(!all_told(&mut floods, &of_eve(killed_by(Some(EVE))), false, 1));
}

#[test]
fn what_everybody_can_bring_about_has_a_limit_of_its_own() {
    let mut floods = Floods::new(LIMIT);
    let body = death(process(EVE, "/eve"), cause(CauseType::Kernel));
    assert_eq!(come(&mut floods, &body, false, 30_000, NOW).told, 20_000);
    // They don't hide what another user's signal did, nor OOM kills.
    let by_root = death(process(EVE, "/eve"), killed_by(Some(0)));
    assert_eq!(come(&mut floods, &by_root, false, 30_000, NOW).told, 20_000);
    let oom = death(process(EVE, "/eve"), cause(CauseType::OomKill));
    assert!(all_told(&mut floods, &oom, false, 30_000));
}

#[test]
fn the_end_of_a_service_of_roots_is_told() {
    let child_of_systemd = |uid, cgroup| {
        let process = Process { ppid: Some(1), ..process(uid, cgroup) };
        death(process, cause(CauseType::ExitCode))
    };
    let mut floods = Floods::new(LIMIT);
    let main = child_of_systemd(0, "/system.slice/nginx.service");
    assert!(all_told(&mut floods, &main, false, 1000));
    // Everybody's orphans are children of systemd.
    for (uid, cgroup) in [
        (EVE, "/system.slice/nginx.service"),
        (0, "/user.slice/user-0.slice/session-1.scope"),
        (0, "/user.slice/user-0.slice/user@0.service/app.slice/a.service"),
        (0, "/lxc.payload.web/a.service"),
        (0, "/eve"),
    ] {
        assert!(!all_told(&mut floods, &child_of_systemd(uid, cgroup), false, 1000), "{cgroup}");
    }
}

#[test]
fn long_arguments_do_not_get_more_of_the_record() {
    let mut long = process(EVE, "/eve");
    long.args = Some(["\u{1}".repeat(4096)].into());
    let mut floods = Floods::new(FloodLimit { burst: 1000, per_second: 1 });
    let body = death(long, cause(CauseType::ExitCode));
    // A character that JSON escapes takes six bytes.
    assert_eq!(come(&mut floods, &body, false, 1000, NOW).told, 1000 / 49);
}

#[test]
fn more_origins_than_there_is_room_for_share_buckets_and_root_has_its_own() {
    let mut floods = Floods::new(LIMIT);
    let users = u32::try_from(ORIGINS).expect("few") + 100;
    for uid in 1..=users {
        come(&mut floods, &plain(uid, "/x"), false, 40, NOW);
    }
    assert_eq!(floods.origins.len(), ORIGINS + 1);
    assert!(floods.kept_bytes <= KEPT_BYTES);
    assert!(all_told(&mut floods, &plain(0, "/system.slice/cron.service"), false, 20));
    // All of them end at once.
    let reports = floods.due(NOW + QUIET_NS);
    assert_eq!(reports.len(), ORIGINS + 1);
    let counted = |uid: Option<u32>| {
        let floods = reports.iter().filter_map(|report| report.counted.as_ref());
        floods.filter(|flood| flood.uid == uid).map(|flood| flood.count).sum::<u64>()
    };
    assert!((1..=ORIGINS).all(|uid| (19..=20).contains(&counted(u32::try_from(uid).ok()))));
    assert!((100 * 40 - 21..=100 * 40 - 20).contains(&counted(None)));
    assert_eq!(floods.kept_bytes, 0);
    // Their buckets are full again, and their places free.
    let later = NOW + 100_000_000_000;
    come(&mut floods, &plain(users, "/x"), false, 1, later);
    assert_eq!(floods.origins.len(), 1);
}

#[test]
fn what_is_too_large_to_keep_is_counted_like_the_others() {
    let mut large = process(EVE, "/eve");
    large.args = Some(vec![String::new(); 4096].into());
    let large = death(large, cause(CauseType::ExitCode));
    let mut floods = Floods::new(LIMIT);
    come(&mut floods, &plain(EVE, "/eve"), false, 21, NOW);
    assert_eq!(come(&mut floods, &large, false, 1, NOW), Fate { told: 0, left: 2 });
    assert_eq!(floods.kept_bytes, 0);
    let reports = floods.finish();
    let [report] = &reports[..] else { panic!("one flood: {reports:?}") };
    assert!(report.last.is_none());
    assert_eq!(report.counted.as_ref().map(|flood| flood.count), Some(2));
}
