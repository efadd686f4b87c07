//! Lines as the tools print them.

use super::{Limit, Status, What, bindsnoop, exitsnoop, kernel_log, oomkill, sigsnoop, ss};

fn text(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn exitsnoop_lines() {
    let said = exitsnoop(&text(
        "PCOMM            PID     PPID    TID     AGE(s)  EXIT_CODE\n\
         workload         21      1       21      0.00    0\n\
         a name           22      1       22      0.00    code 3\n\
         workload         23      1       23      0.50    signal 9 (Killed)",
    ));
    let said: Vec<_> = said.into_iter().map(|one| one.what).collect();
    let death = |pid, status| What::Death { pid, status };
    assert_eq!(
        said,
        [death(21, Status::Code(0)), death(22, Status::Code(3)), death(23, Status::Signal(9))]
    );
}

#[test]
fn sigsnoop_lines() {
    let said = sigsnoop(&text(
        "TIME     PID     COMM             SIG       TPID    RESULT\n\
         02:39:48 30      a name           9         29      0\n\
         02:39:48 30      refused          9         1       -1",
    ));
    let said: Vec<_> = said.into_iter().map(|one| one.what).collect();
    assert_eq!(said, [What::Signal { to: 29, number: 9, from: Some(30) }]);
}

#[test]
fn oomkill_lines() {
    let line =
        "12:00:00 Triggered by PID 7 (\"a b\"), OOM kill of PID 6 (\"c\"), 9 pages, loadavg: 1 2";
    let said = oomkill(&text(line));
    assert_eq!(said[0].what, What::Oom { victim: 6, asked_by: Some(7), limit: None });
}

#[test]
fn bindsnoop_lines() {
    let said = bindsnoop(&text(
        "PID     COMM             RET PROTO OPTS IF   PORT  ADDR\n\
         21      workload         0   TCP   ..... 0   80    127.0.0.1\n\
         22      a name           -98 TCP   ..... 0   8080  127.0.0.1",
    ));
    let said: Vec<_> = said.into_iter().map(|one| one.what).collect();
    assert_eq!(said, [What::Refused { pid: 22, errno: 98, port: Some(8080) }]);
}

#[test]
fn kernel_log_lines() {
    let said = kernel_log(&text(
        "[ 9.1] workload[21]: segfault at dead0000 ip 0000000000401234 sp 1 error 6\n\
         [ 9.2] workload invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=0\n\
         [ 9.2] CPU: 0 UID: 0 PID: 23 Comm: workload Not tainted 6.1\n\
         [ 9.2] memory: usage 49152kB, limit 49152kB, failcnt 30\n\
         [ 9.2] oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/shop,task_memcg=/shop/a,task=w,pid=22,uid=0",
    ));
    let said: Vec<_> = said.into_iter().map(|one| one.what).collect();
    let limit = Limit { cgroup: "/shop".to_owned(), bytes: 48 << 20 };
    assert_eq!(
        said,
        [
            What::Fault { pid: 21, address: 0xdead_0000 },
            What::Oom { victim: 22, asked_by: Some(23), limit: Some(limit) },
        ]
    );
}

#[test]
fn ss_lines() {
    let head = "State  Recv-Q Send-Q Local Address:Port  Peer Address:PortProcess\n";
    let line = "LISTEN 0 16 127.0.0.1:80 0.0.0.0:* users:((\"w\",pid=15,fd=3),(\"w\",pid=12,fd=3))";
    let said = ss(&text(&format!("{head}{line}")), 9);
    let both = What::InTheWay { pid: 9, holders: [12, 15].into(), time_wait: false };
    assert_eq!(said[0].what, both);
    assert_eq!(ss(&text(head), 9), []);
}
