//! What a user without rights can make large, and the bounds that hold: 64 MiB, 256 KiB a line, and a root server's death in the
//! record while it lasts.

use std::fs;

use observer_tests::{Observer, Place, Service, Workload, assert_has, run};
use serde_json::{Value, json};

use crate::bind::pids;

/// The service's peak, whatever is tried.
const MEMORY: u64 = 64 << 20;
/// An event's line.
const LINE: usize = 256 << 10;

/// A service, and a client of it.
struct Watch {
    place: Place,
    service: Service,
    tail: Observer,
}

impl Watch {
    fn start() -> Self {
        let place = Place::new("[files]\nseal_seconds = 1\n");
        let service = place.serve(&[]);
        let tail = place.tail(&[]);
        Self { place, service, tail }
    }

    /// A bind of another user's that is refused.
    fn refusal(&mut self, words: &[&str]) -> Value {
        let (asker, _) = run([&["as-user", "65534", "bind", "1"], words].concat());
        self.tail.wait_for("the refusal", |event| {
            event["kind"] == "bind" && event["process"]["pid"] == asker.pid()
        })
    }

    /// A server of that user's, and a bind to its port that is refused.
    fn refused_beside(&mut self, server: &[&str]) -> (Workload, Value) {
        let mut server = Workload::start_ready([&["as-user", "65534"], server].concat());
        let address = format!("127.0.0.1:{}", server.value("port"));
        let event = self.refusal(&["tcp", &address]);
        (server, event)
    }

    /// A server of root's dies: its death is told, with the port that it leaves.
    fn root_server_dies(&mut self) {
        self.dies(Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]));
    }

    fn dies(&mut self, mut server: Workload) {
        let port: u16 = server.value("port").parse().expect("a port");
        server.signal(libc::SIGKILL);
        server.wait();
        let exit = self.tail.exit_of(server.pid());
        assert_has(&exit, &json!({"status": {"signal": 9}, "cause": {"type": "killed"}}));
        assert_eq!(exit["released"][0]["port"], port, "{exit:#}");
    }

    /// Stops it: the record holds, no line is too long, and it stayed within its memory.
    fn end(self) -> Place {
        let (_, peak) = self.service.memory();
        assert!(peak <= MEMORY, "{} MiB", peak >> 20);
        self.tail.stop();
        self.service.stop();
        self.place.verified();
        for name in self.place.names().iter().filter(|name| name.ends_with(".jsonl")) {
            let text = fs::read_to_string(self.place.dir().join(name)).expect("UTF-8");
            let longest = text.lines().map(str::len).max().unwrap_or(0);
            assert!(longest < LINE, "{name}: a line of {longest} bytes");
        }
        self.place
    }
}

/// Its argument area has 300 MiB, empty or full of text (PR_SET_MM_MAP).
pub(super) fn arguments_of_a_holder() {
    let mut watch = Watch::start();
    for fill in ["nul", "x"] {
        let words =
            ["as-user", "65534", "long-args", "300000000", fill, "hold", "tcp", "127.0.0.1:0"];
        let mut holder = Workload::start_ready(words);
        let address = format!("127.0.0.1:{}", holder.value("port"));
        let event = watch.refusal(&["tcp", &address]);
        assert_eq!(pids(&event["holders"]), [u64::from(holder.pid())], "{event:#}");
        let args = &event["holders"][0]["process"]["args"];
        assert!(args.to_string().len() < 64 * 1024, "{fill}: {} bytes", args.to_string().len());
        watch.root_server_dies();
    }
    watch.end();
}

/// 16 holders are named, the owner among them, and the rest counted.
pub(super) fn holders_of_one_socket() {
    let mut watch = Watch::start();
    let (server, event) =
        watch.refused_beside(&["many-children", "40", "1", "tcp", "0", "reuseport"]);
    assert_eq!(pids(&event["holders"]).len(), 16, "{event:#}");
    assert!(pids(&event["holders"]).contains(&u64::from(server.pid())), "{event:#}");
    assert_eq!(event["holders_total"], 41, "{event:#}");
    assert!(event["cause"]["summary"].to_string().contains("and 40 more"), "{event:#}");
    watch.root_server_dies();
    // Whoever asks later is told of as many.
    let why = watch.end().text(&["why", &format!(":{}", event["socket"]["port"])]);
    assert!(
        why.replace('\n', " ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .contains("and 40 more holders"),
        "{why}"
    );
}

/// Thousands of sockets at one address (SO_REUSEPORT), and refusals by all of them.
pub(super) fn sockets_at_one_address() {
    let mut watch = Watch::start();
    let words = ["as-user", "65534", "many-sockets", "3000", "tcp", "0", "reuseport"];
    let mut server = Workload::start_ready(words);
    let address = format!("127.0.0.1:{}", server.value("port"));
    let (_refused, _) = run(["as-user", "65534", "bind", "100", "tcp", &address]);
    let event = watch.refusal(&["tcp", &address]);
    assert_eq!(event["holders"].as_array().map(Vec::len), Some(16), "{event:#}");
    assert_eq!(event["holders_total"], 3000, "{event:#}");
    watch.root_server_dies();
    watch.end();
}

pub(super) fn zombies_of_a_holder() {
    let mut watch = Watch::start();
    let (_server, event) =
        watch.refused_beside(&["many-zombies", "1500", "1", "tcp", "0", "reuseport"]);
    assert!(event.to_string().len() < 16 * 1024, "{} bytes", event.to_string().len());
    watch.root_server_dies();
    watch.end();
}

/// As an innocent media server has them, too.
pub(super) fn sockets_that_end_at_once() {
    let mut watch = Watch::start();
    // They serve already: what begins within a burst of binds may be lost, with a count.
    let mut others =
        [(); 2].map(|()| Workload::start_ready(["hold", "tcp", "127.0.0.1:0"])).into_iter();
    let words = ["as-user", "65534", "many-sockets", "12000", "udp", "0"];
    let mut server = Workload::start_ready(words);
    watch.dies(others.next().expect("one"));
    server.signal(libc::SIGKILL);
    server.wait();
    let exit = watch.tail.exit_of(server.pid());
    assert!(exit["released"].as_array().is_none_or(|released| released.len() <= 256), "{exit:#}");
    watch.dies(others.next().expect("another"));
    let place = watch.end();
    // And whoever asks later gets an answer.
    let pid = format!("pid:{}", server.pid());
    let why = place.output(&["why", &pid]);
    assert_eq!(why.status.code(), Some(0), "{}", String::from_utf8_lossy(&why.stderr));
}

/// A holder with many children, against itself on many addresses.
pub(super) fn children_times_refusals() {
    let mut watch = Watch::start();
    let words = ["as-user", "65534", "many-children", "300", "500", "tcp", "0"];
    let mut server = Workload::start_ready(words);
    let port = server.value("port");
    let (mut refused, _) = run(["as-user", "65534", "many-refusals", "500", &port]);
    assert_eq!(refused.value("refused"), "500");
    watch.root_server_dies();
    drop(server);
    watch.root_server_dies();
    watch.end();
}

/// A bind to a path on a FUSE file system whose daemon answers no more.
pub(super) fn a_path_that_hangs() {
    let mut watch = Watch::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut hanging: Vec<Workload> = Vec::new();
    for n in 0..6 {
        let dir = folder.path().join(n.to_string());
        fs::create_dir(&dir).expect("room");
        let mut one = Workload::start(["hanging-mount", dir.to_str().expect("UTF-8")]);
        let binder: u64 = one.value("child_pid").parse().expect("a pid");
        assert_eq!(one.value("refused"), "1");
        hanging.push(one);
        let event = watch.tail.wait_for("the refusal", |event| {
            event["kind"] == "bind" && event["process"]["pid"] == binder
        });
        // Nobody is named for what could not be looked at.
        assert_eq!(pids(&event["holders"]), [0_u64; 0], "{event:#}");
    }
    watch.root_server_dies();
    watch.end();
}
