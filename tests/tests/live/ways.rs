//! Binds that are not system calls of a 64-bit program: io_uring, and 32-bit programs.
//!
//! All of them reach the protocols' own functions, where function tracing sees them. System call tracepoints do not
//! see them; docs/hooks.md says so.

use observer_tests::{Observer, Workload, assert_has, run, tiers};
use serde_json::json;

use crate::bind::pids;

crate::tests![
    by_io_uring needs UringBind and Trampolines,
    by_a_32_bit_program needs Ia32 and Trampolines,
    by_io_uring_without_function_tracing needs UringBind and BindCalls,
    by_a_32_bit_program_without_function_tracing needs Ia32 and BindCalls,
];

/// A server and a refusal through this interface are reported.
fn seen(way: &str) {
    let mut observer = Observer::tail(&["--all"]);
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0", way]);
    let (pid, port) = (holder.pid(), holder.number("port"));
    let socket = json!({"protocol": "tcp", "address": "127.0.0.1", "port": port});
    let listen = observer.wait_for("the new server", |event| {
        event["kind"] == "listen" && event["process"]["pid"] == pid
    });
    assert_has(&listen, &json!({"socket": socket, "backlog": 16, "initial": null}));
    let (mut refused, _) = run(["bind", "1", "tcp", &format!("127.0.0.1:{port}"), way]);
    assert_eq!(refused.number("errno"), u64::try_from(libc::EADDRINUSE).expect("a number"));
    observer.exit_of(refused.pid());
    holder.signal(libc::SIGKILL);
    holder.wait();
    observer.exit_of(pid);
    let events = observer.stop().events;
    let reported: Vec<_> = events.of_kind("bind").collect();
    let [event] = reported[..] else { panic!("not one refusal; {events}") };
    let error = json!({"errno": libc::EADDRINUSE, "name": "EADDRINUSE"});
    let expected =
        json!({"call": "bind", "error": error, "socket": socket, "cause": {"type": "held"}});
    assert_has(event, &expected);
    assert_eq!(event["process"]["pid"], refused.pid());
    assert_eq!(pids(&event["holders"]), [u64::from(pid)], "{event:#}");
}

fn by_io_uring() {
    seen("by-uring");
}

fn by_a_32_bit_program() {
    seen("by-ia32");
}

/// System call tracepoints do not see these; the same refusal by an ordinary call is reported right after.
fn not_seen(way: &str) {
    let mut observer = Observer::tail(&["--all", tiers::WITHOUT]);
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", holder.value("port"));
    let (mut unseen, _) = run(["bind", "1", "tcp", &address, way]);
    let (mut seen, _) = run(["bind", "1", "tcp", &address]);
    assert_eq!(unseen.number("errno"), seen.number("errno"));
    let pid = seen.pid();
    observer.wait_for("the other refusal", |event| {
        event["kind"] == "bind" && event["process"]["pid"] == pid
    });
    observer.exit_of(unseen.pid());
    let events = observer.stop().events;
    let reported: Vec<_> = events.of_kind("bind").map(|event| &event["process"]["pid"]).collect();
    assert_eq!(reported, [pid], "{events}");
}

fn by_io_uring_without_function_tracing() {
    not_seen("by-uring");
}

fn by_a_32_bit_program_without_function_tracing() {
    not_seen("by-ia32");
}
