//! What is not known of an incident: said, so that nobody takes silence for an answer.

use std::collections::BTreeMap;

use super::{
    super::{
        case::Case,
        keys::{Ident, meets},
        ports::Server,
    },
    deaths, refusals, words,
};
use crate::model::{Body, CauseType, Relation, SocketState, human};

pub(super) fn unknown(case: &Case) -> Vec<String> {
    let mut all = Vec::new();
    let mut say = |text: String| {
        if !all.contains(&text) {
            all.push(text);
        }
    };
    for (death, exit) in deaths::deaths(case) {
        let process = words::short(&exit.process);
        if exit.cause.cause_type == CauseType::Unknown {
            say(format!("why {process} died (#{})", death.event.number()));
        }
    }
    for (event, oom) in deaths::unseen_ooms(case) {
        let victim = words::short(&oom.victim);
        say(format!("how {victim} ended: there is no event of its death (#{})", event.number()));
    }
    holders(case, &mut say);
    if case.outages.is_empty() && case.refusals.is_empty() && case.still_held.is_empty() {
        say("whether what died served a port or a socket: there is no event of one".to_owned());
    }
    if let Some((key, tally)) = deaths::worst(case)
        && !deaths::is_seen(case)
    {
        let comm = &key.comm;
        say(format!(
            "whether {comm} started again after its last death (#{}): observer sees a start only by what it binds",
            tally.last.1
        ));
    }
    for outage in case.outages.iter().filter(|outage| outage.last.is_some()) {
        let told = deaths::deaths(case).iter().any(|(_, exit)| {
            exit.released.iter().any(|s| meets(s, &outage.socket))
                || outage.last.as_ref().is_some_and(|l| l.pid == exit.process.pid)
        });
        if let (false, Some(last)) = (told, &outage.last) {
            let (name, last) = (outage.socket.name(), words::short(last));
            say(format!("why {last} stopped serving {name}: there is no event of its death"));
        }
    }
    record(case, &mut say);
    all
}

/// What is not known of those in the way.
fn holders(case: &Case, say: &mut impl FnMut(String)) {
    for (refusal, bind) in refusals::all(case) {
        for (holder, origin) in bind.holders.iter().zip(&refusal.origins) {
            let name = words::short(&holder.process);
            let orphan = holder.relation == Relation::Orphan;
            let who = Ident::of(&holder.process);
            let own = |opener: &Server| Ident::of(&opener.process).is(who);
            match origin.opener.as_ref().filter(|opener| !own(opener)) {
                _ if !orphan || origin.left_by.is_some() => {}
                Some(opener) => {
                    let opener = words::short(&opener.process);
                    say(format!("how {opener} ended, whose socket {name} holds"));
                }
                None => {
                    say(format!("which parent left {name} behind: there is no event of its death"));
                }
            }
            let died =
                deaths::deaths(case).iter().any(|(_, exit)| Ident::of(&exit.process).is(who));
            // A scan found a listener where a release said that nobody serves: only traffic would decide.
            let dark = case
                .outages
                .iter()
                .any(|outage| outage.ended.is_none() && meets(&outage.socket, &holder.socket));
            if (orphan || dark) && !died && holder.socket.state == Some(SocketState::Listen) {
                let socket = holder.socket.name();
                say(format!("whether {name}, which still holds {socket}, answers requests"));
            }
        }
        if bind.cause.cause_type == CauseType::Unknown {
            let who = words::short(&bind.process);
            say(format!(
                "why the kernel refused {} to {who} (#{})",
                bind.socket.name(),
                refusal.event.number()
            ));
        }
    }
}

/// What was lost, left out, or not watched.
fn record(case: &Case, say: &mut impl FnMut(String)) {
    // A storm loses some again and again: one line for each kind.
    let mut lost: BTreeMap<(String, bool), (u64, u64, u64)> = BTreeMap::new();
    for event in &case.losses {
        if let Body::Loss(loss) = &event.body {
            let kinds: Vec<&str> = loss.lost.keys().map(String::as_str).collect();
            let key = (kinds.join(", "), loss.at_most);
            let (total, _, last) = lost.entry(key).or_insert((0, event.number(), event.number()));
            *total = total.saturating_add(loss.total());
            *last = event.number();
        }
    }
    for ((kinds, at_most), (total, first, last)) in lost {
        let most = if at_most { "at most " } else { "" };
        let total = human::count(total, "record");
        let where_from =
            if first == last { format!("#{first}") } else { format!("#{first} to #{last}") };
        say(format!(
            "what was in {most}{total} ({kinds}) that were lost at that time ({where_from})"
        ));
    }
    for (_, seq) in &case.restarts {
        say(format!("what happened while observer was not running, before #{seq}"));
    }
    if case.unnamed > 0 {
        say(format!(
            "the details of {}, which are not listed here",
            human::count(case.unnamed, "more event")
        ));
    }
    if case.dropped {
        say("how it went on: too many incidents were open at once".to_owned());
    }
}
