//! Whether a tool reported what happened: one rule for each question, the same for every tool.

use std::collections::BTreeSet;

use super::output::Truth;
use super::said::{Limit, Said, Status, What};

/// What can be asked about a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// One death, with its status.
    Death,
    /// Which process sent the signal; or that none did.
    Sender,
    /// Where the fault was.
    Address,
    /// The process that the OOM killer chose.
    Victim,
    /// The process whose allocation triggered the OOM killer.
    AskedBy,
    /// Which cgroup's limit was hit, and how much it is.
    Limit,
    /// The error of a refusal, and the port.
    Refused,
    /// Who or what was in the way.
    InTheWay,
}

/// What a tool reported, compared with what happened.
#[derive(Debug, PartialEq)]
pub(super) enum Cell<'said> {
    Right(&'said Said),
    /// Correct, but something is missing.
    InPart(&'said Said),
    Wrong(&'said Said),
    Silent,
}

/// `None` if the truth lacks what the question needs.
pub(super) fn judge<'said>(ask: Ask, truth: &Truth, said: &'said [Said]) -> Option<Cell<'said>> {
    let pid = truth.get("pid")?;
    Some(match ask {
        Ask::Death => death(pid, status(truth)?, said),
        Ask::Sender => sender(pid, truth, said)?,
        Ask::Address => {
            let happened = u64::from_str_radix(truth.text("address")?, 16).ok()?;
            compare(said, Some(&happened), |what| match what {
                What::Fault { pid: of, address } if *of == pid => Some(Some(*address)),
                _ => None,
            })
        }
        Ask::Victim => compare(said, truth.get("victim").as_ref(), |what| match what {
            What::Oom { victim, .. } => Some(Some(*victim)),
            _ => None,
        }),
        Ask::AskedBy => compare(said, truth.get("asked_by").as_ref(), |what| match what {
            What::Oom { victim, asked_by, .. } if *victim == pid => Some(*asked_by),
            _ => None,
        }),
        Ask::Limit => {
            let happened =
                Limit { cgroup: truth.text("limit")?.to_owned(), bytes: truth.get("bytes")? };
            compare(said, Some(&happened), |what| match what {
                What::Oom { victim, limit, .. } if *victim == pid => Some(limit.clone()),
                _ => None,
            })
        }
        Ask::Refused => refused(pid, truth, said)?,
        Ask::InTheWay => in_the_way(pid, &truth.list("holders")?, said),
    })
}

fn status(truth: &Truth) -> Option<Status> {
    match truth.get("code") {
        Some(code) => Some(Status::Code(code)),
        None => truth.get("signal").map(Status::Signal),
    }
}

/// A process dies once: a second report of it is as wrong as a wrong status.
fn death(pid: u32, happened: Status, said: &[Said]) -> Cell<'_> {
    let about_it = |one: &&Said| matches!(one.what, What::Death { pid: of, .. } if of == pid);
    let right = |one: &&Said| one.what == What::Death { pid, status: happened };
    let deaths: Vec<&Said> = said.iter().filter(about_it).collect();
    match (deaths.iter().find(|one| !right(one)), &deaths[..]) {
        (Some(wrong), _) => Cell::Wrong(wrong),
        (None, []) => Cell::Silent,
        (None, [one]) => Cell::Right(one),
        (None, [_, twice, ..]) => Cell::Wrong(twice),
    }
}

fn sender<'said>(pid: u32, truth: &Truth, said: &'said [Said]) -> Option<Cell<'said>> {
    let signal: u32 = truth.get("asked").or_else(|| truth.get("signal"))?;
    // No sender in the truth: the kernel sent it.
    let happened: Option<u32> = truth.get("sender");
    Some(first_wrong(said, |what| match what {
        What::Signal { to, number, from } if (*to, *number) == (pid, signal) => {
            Some(*from == happened)
        }
        _ => None,
    }))
}

fn refused<'said>(pid: u32, truth: &Truth, said: &'said [Said]) -> Option<Cell<'said>> {
    let (errno, port): (i32, u16) = (truth.get("errno")?, truth.get("port")?);
    let cell = first_wrong(said, |what| match what {
        What::Refused { pid: of, errno: told, .. } if *of == pid => Some(*told == errno),
        _ => None,
    });
    Some(match cell {
        // Port 0: the tool did not learn it.
        Cell::Right(one) => match one.what {
            What::Refused { port: Some(told), .. } if told == port => cell,
            What::Refused { port: None | Some(0), .. } => Cell::InPart(one),
            _ => Cell::Wrong(one),
        },
        other => other,
    })
}

/// Nobody is in the way only if connections are, which are no process.
fn in_the_way<'said>(pid: u32, happened: &BTreeSet<u32>, said: &'said [Said]) -> Cell<'said> {
    let about_it = said.iter().find_map(|one| match &one.what {
        What::InTheWay { pid: of, holders, time_wait } if *of == pid => {
            Some((one, holders, *time_wait))
        }
        _ => None,
    });
    let Some((one, holders, time_wait)) = about_it else { return Cell::Silent };
    if holders == happened && time_wait == happened.is_empty() {
        Cell::Right(one)
    } else if holders.is_subset(happened) && !time_wait {
        Cell::InPart(one)
    } else {
        Cell::Wrong(one)
    }
}

/// `told`: whether the tool reported on it at all, and the answer if it gave one.
fn compare<'said, T: PartialEq>(
    said: &'said [Said],
    happened: Option<&T>,
    told: impl Fn(&What) -> Option<Option<T>>,
) -> Cell<'said> {
    let mut answers = said.iter().filter_map(|one| Some((one, told(&one.what)?)));
    match answers.next() {
        None => Cell::Silent,
        Some((one, None)) => Cell::InPart(one),
        Some((one, answer)) if answer.as_ref() == happened => Cell::Right(one),
        Some((one, _)) => Cell::Wrong(one),
    }
}

/// `right`: whether a report on it is right. One wrong report outweighs right ones.
fn first_wrong(said: &[Said], right: impl Fn(&What) -> Option<bool>) -> Cell<'_> {
    let answers = said.iter().filter_map(|one| Some((one, right(&one.what)?)));
    let answers: Vec<(&Said, bool)> = answers.collect();
    match (answers.iter().find(|(_, right)| !right), answers.first()) {
        (Some((one, _)), _) => Cell::Wrong(one),
        (None, Some((one, _))) => Cell::Right(one),
        (None, None) => Cell::Silent,
    }
}

#[cfg(test)]
mod tests;
