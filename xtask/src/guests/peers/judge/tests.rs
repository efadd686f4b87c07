//! The rules.

use super::{Ask, Cell, judge};
use crate::guests::peers::output::Truth;
use crate::guests::peers::said::{Said, Status, What};

fn word(ask: Ask, truth: &str, said: &[What]) -> &'static str {
    let said: Vec<Said> = said.iter().map(|what| Said::new(what.clone(), "")).collect();
    match judge(ask, &Truth::read(truth), &said).expect("the truth is whole") {
        Cell::Right(_) => "yes",
        Cell::InPart(_) => "in part",
        Cell::Wrong(_) => "wrong",
        Cell::Silent => "no",
    }
}

#[test]
fn second_report_of_a_death_is_wrong() {
    let death = |code| What::Death { pid: 5, status: Status::Code(code) };
    let word = |said: &[What]| word(Ask::Death, "pid=5 code=7", said);
    assert_eq!(word(&[]), "no");
    assert_eq!(word(&[What::Death { pid: 6, status: Status::Code(7) }]), "no");
    assert_eq!(word(&[death(7)]), "yes");
    assert_eq!(word(&[death(0), death(7)]), "wrong");
    assert_eq!(word(&[death(7), death(7)]), "wrong");
}

#[test]
fn signal_of_the_kernel_has_no_sender() {
    let signal = |from| What::Signal { to: 5, number: 9, from };
    assert_eq!(word(Ask::Sender, "pid=5 signal=9 sender=4", &[signal(Some(4))]), "yes");
    assert_eq!(word(Ask::Sender, "pid=5 signal=9", &[signal(Some(4))]), "wrong");
    assert_eq!(word(Ask::Sender, "pid=5 signal=9", &[signal(None)]), "yes");
    assert_eq!(word(Ask::Sender, "pid=5 code=0 asked=15 sender=4", &[signal(Some(4))]), "no");
}

#[test]
fn refusal_without_port_is_in_part() {
    let refused = |port| What::Refused { pid: 5, errno: 98, port };
    let word = |said: &[What]| word(Ask::Refused, "pid=5 errno=98 port=80", said);
    assert_eq!(word(&[refused(Some(80))]), "yes");
    assert_eq!(word(&[refused(Some(0))]), "in part");
    assert_eq!(word(&[refused(Some(81))]), "wrong");
}

#[test]
fn holders_must_match_exactly() {
    let held = |holders: &[u32], time_wait| What::InTheWay {
        pid: 5,
        holders: holders.iter().copied().collect(),
        time_wait,
    };
    let word = |truth: &str, said: What| word(Ask::InTheWay, truth, &[said]);
    assert_eq!(word("pid=5 holders=3,4", held(&[3, 4], false)), "yes");
    assert_eq!(word("pid=5 holders=3,4", held(&[3], false)), "in part");
    assert_eq!(word("pid=5 holders=3,4", held(&[3, 9], false)), "wrong");
    assert_eq!(word("pid=5 holders=", held(&[], true)), "yes");
    assert_eq!(word("pid=5 holders=", held(&[], false)), "in part");
    assert_eq!(word("pid=5 holders=4", held(&[], true)), "wrong");
}
