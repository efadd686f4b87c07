//! Two refusals in quick succession: a cached answer must not outlive its truth.

use observer_tests::{Observer, Workload, run};
use serde_json::Value;

use crate::bind::{assert_nobody, pids};

crate::tests![refused_again_after_a_sharer_died, refused_again_after_a_unix_holder_died,];

/// Is refused, does something, is refused again at once. Returns the second event, which must be true at its own
/// time.
fn refused_again(mut observer: Observer, words: &[&str], between: impl FnOnce()) -> Value {
    let ask = |observer: &mut Observer| {
        let (workload, ended) = run(words);
        assert_eq!(ended.code(), Some(0), "{words:?} was not refused");
        let pid = workload.pid();
        observer.wait_for("the refusal", |event| {
            event["kind"] == "bind" && event["process"]["pid"] == pid
        })
    };
    ask(&mut observer);
    between();
    let event = ask(&mut observer);
    observer.stop();
    event
}

fn refused_again_after_a_sharer_died() {
    let observer = Observer::tail(&[]);
    let mut parent = Workload::start_ready(["sharers", "tcp", "127.0.0.1:0"]);
    let (address, child) =
        (format!("127.0.0.1:{}", parent.value("port")), parent.pid_of("child_pid"));
    let event = refused_again(observer, &["bind", "1", "tcp", &address], || {
        parent.signal(libc::SIGKILL);
        parent.wait();
    });
    assert_eq!(pids(&event["holders"]), [u64::from(child)], "the parent is dead: {event:#}");
}

fn refused_again_after_a_unix_holder_died() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket").display().to_string();
    let observer = Observer::tail(&[]);
    let mut holder = Workload::start_ready(["hold", "unix", &path]);
    let event = refused_again(observer, &["bind", "1", "unix", &path], || {
        holder.signal(libc::SIGKILL);
        holder.wait();
    });
    assert_nobody(&event, "stale_socket_file");
}
