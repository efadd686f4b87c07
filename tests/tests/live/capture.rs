//! A capture replayed: the same events as the live run, number for number, incidents included.

use std::collections::BTreeMap;

use observer_tests::{Observer, Workload, observer, ours, run};
use serde_json::Value;

crate::tests![replay_gives_the_live_events, events_are_ordered_within_a_drain_and_its_scan,];

/// What of an event must be the same. Names of users are not in a capture; dates may differ where the clock was set.
fn gist(event: &Value) -> String {
    let keys = ["kind", "seq", "subject", "events", "open", "status", "error", "call", "socket"];
    let mut gist: BTreeMap<&str, &Value> = keys.iter().map(|key| (*key, &event[*key])).collect();
    gist.insert("pid", &event["process"]["pid"]);
    gist.insert("cause", &event["cause"]["type"]);
    gist.insert("oom_seq", &event["cause"]["oom_seq"]);
    serde_json::to_string(&gist).expect("JSON")
}

fn replay_gives_the_live_events() {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("capture").display().to_string();
    let mut tail = Observer::tail(&["--all", "--capture", &capture]);
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", holder.value("port"));
    let (refused, _) = run(["bind", "1", "tcp", &address]);
    tail.wait_for("the refusal", |event| {
        event["kind"] == "bind" && event["process"]["pid"] == refused.pid()
    });
    let (storm, _) = run(["storm", "200", "1"]);
    holder.signal(libc::SIGKILL);
    holder.wait();
    tail.wait_for("its incident", |event| {
        let pids = event["pids"].as_array().into_iter().flatten();
        event["kind"] == "incident" && pids.into_iter().any(|pid| *pid == holder.pid())
    });
    let live = tail.stop().events;
    let output = observer::command(["replay", "--json", &capture]).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let replayed = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let replayed: Vec<Value> = replayed.filter(ours::concerns).collect();
    assert!(live.exits_of_children(storm.pid()).count() > 100, "{live}");
    let (live, replayed): (Vec<String>, Vec<String>) =
        (live.all.iter().map(gist).collect(), replayed.iter().map(gist).collect());
    let differs = live.iter().zip(&replayed).find(|(live, replayed)| live != replayed);
    assert_eq!(differs, None);
    assert_eq!(live.len(), replayed.len());
}

/// The death of a refused process comes after its refusal, although the refusal waits for a scan.
fn events_are_ordered_within_a_drain_and_its_scan() {
    let mut tail = Observer::tail(&["--all"]);
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", holder.value("port"));
    let mut refused = Vec::new();
    for _ in 0..20 {
        // It ends as soon as it is refused, most often within the same drain.
        let (workload, _) = run(["bind", "1", "tcp", &address]);
        refused.push(workload.pid());
    }
    for pid in &refused {
        tail.wait_for("the refusal", |event| {
            event["kind"] == "bind" && event["process"]["pid"] == *pid
        });
    }
    holder.signal(libc::SIGKILL);
    let events = tail.stop().events;
    for pid in refused {
        let of = |kind: &str| {
            let is_it = |event: &Value| event["kind"] == kind && event["process"]["pid"] == pid;
            events.all.iter().position(is_it)
        };
        let bind = of("bind").expect("waited for above");
        match of("exit") {
            Some(exit) => assert!(bind < exit, "{pid} died before it was refused"),
            None => assert!(events.lost() > 0, "{pid} is missing, and no loss says so"),
        }
    }
}
