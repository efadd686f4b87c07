//! Refused binds: who tried, and who is in the way.

use super::{
    super::{
        case::{Case, Origin, Refusal},
        keys::{Ident, LoopKey, seconds, unit},
    },
    NarratedLine, deaths, words,
};
use crate::model::{
    BindEvent, Body, Call, CauseType, Confidence, Holder, Process, Relation, Time,
    human::{self, who},
};

pub(super) fn lines(case: &Case) -> Vec<NarratedLine> {
    let mut lines = Vec::new();
    for (refusal, bind) in all(case) {
        let event = &refusal.event;
        let gist = format!("refused {} {}", bind.process.pid, bind.socket.name());
        let text = refused(case, bind, &refusal.origins, event.time);
        lines.push(NarratedLine::new(gist, text, event.time, [event.number()]));
        for (holder, origin) in bind.holders.iter().zip(&refusal.origins) {
            lines.extend(comes_from(holder, origin, (event.time, event.number())));
        }
        if refusal.count > 1 {
            let text = format!(
                "the kernel refused {} {} more, for the same reason",
                bind.process.comm.as_deref().unwrap_or("it"),
                words::times(refusal.count - 1),
            );
            let gist = format!("refused often {} {}", event.number(), refusal.count.ilog2());
            lines.push(NarratedLine::new(
                gist,
                text,
                refusal.last.0,
                [event.number(), refusal.last.1],
            ));
        }
    }
    lines
}

/// The refusals, by time.
pub(super) fn all(case: &Case) -> Vec<(&Refusal, &BindEvent)> {
    let mut all: Vec<_> = case
        .refusals
        .iter()
        .filter_map(|refusal| match &refusal.event.body {
            Body::Bind(bind) => Some((refusal, &**bind)),
            _ => None,
        })
        .collect();
    all.sort_by_key(|(refusal, _)| (refusal.event.time, refusal.event.number()));
    all
}

/// The first of them.
pub(super) fn first(case: &Case) -> Option<(&Refusal, &BindEvent)> {
    all(case).into_iter().next()
}

/// `the replacement node 2290 could not bind tcp 127.0.0.1:8080 (EADDRINUSE): node 1987, an orphan of node 1954, holds it,
/// for 3 h`.
pub(super) fn refused(case: &Case, bind: &BindEvent, origins: &[Origin], time: Time) -> String {
    let call = match bind.call {
        Call::Bind => "bind",
        Call::Listen => "listen on",
    };
    let new = if replaces(case, &bind.process, time) { "the replacement " } else { "" };
    let why = in_the_way(bind, origins, time);
    let (process, socket, errno) = (who(&bind.process), bind.socket.name(), &bind.error.name);
    format!("{new}{process} could not {call} {socket} ({errno}): {why}")
}

/// Why it was refused: who is in the way when that is certain, else the words of the cause.
pub(super) fn in_the_way(bind: &BindEvent, origins: &[Origin], time: Time) -> String {
    let cause = &bind.cause;
    let certain = cause.confidence == Confidence::Certain;
    let holds = match cause.cause_type {
        CauseType::Held if certain => "holds it",
        CauseType::BoundNotListening if certain => "has bound it without listening",
        _ => return format!("{}{}", cause.summary, words::sure(cause)),
    };
    let Some(holder) = bind.holders.first() else { return cause.summary.to_string() };
    let mut text = who(&holder.process);
    let mut relation = holder.relation.words().to_owned();
    let left_by = origins.first().and_then(|origin| origin.left_by.as_ref());
    if let (Relation::Orphan, Some(Body::Exit(dead))) = (holder.relation, left_by.map(|e| &e.body))
    {
        relation = format!("an orphan of {}", words::short(&dead.process));
    }
    let relation = if relation.is_empty() { relation } else { format!(", {relation},") };
    text.push_str(&format!("{relation} {holds}"));
    if let Some(since) = holder.since {
        text.push_str(&format!(", for {}", human::span(seconds(since, time))));
    }
    match bind.all_holders() {
        0 | 1 => {}
        n => text.push_str(&format!("; and {}", human::count(n - 1, "more holder"))),
    }
    text
}

/// Who opened the holder's socket, and how that process ended.
fn comes_from(
    holder: &Holder,
    origin: &Origin,
    (time, order): (Time, u64),
) -> Option<NarratedLine> {
    let gist = format!("origin {}", holder.process.pid);
    let opener = origin.opener.as_ref();
    let own = opener.is_some_and(|o| Ident::of(&o.process).is(Ident::of(&holder.process)));
    let (name, Some(death)) = (words::short(&holder.process), &origin.left_by) else {
        // It got the socket from another process, whose end was not seen, or which lives.
        let opener = opener.filter(|_| !own)?;
        let text = format!(
            "{} got its socket from {}",
            words::short(&holder.process),
            words::short(&opener.process)
        );
        let line = NarratedLine::new(gist, text, time, [opener.seq]);
        return Some(NarratedLine { order, ..line });
    };
    let Body::Exit(exit) = &death.body else { return None };
    let what = if own { "was started by" } else { "got its socket from" };
    let how = words::how(exit);
    let how = how.strip_prefix(": ").map_or_else(|| how.clone(), |cause| format!("died ({cause})"));
    let text = format!(
        "{name} {what} {}, which {how}, {} before",
        words::short(&exit.process),
        human::span(seconds(death.time, time)),
    );
    let events = [death.number()].into_iter().chain(opener.map(|served| served.seq));
    let line = NarratedLine::new(gist, text, time, events);
    // It follows the refusal that it explains.
    Some(NarratedLine { order, ..line })
}

/// Whether a process takes the place of one that died before: the same program of the same unit or of the same parent.
fn replaces(case: &Case, new: &Process, time: Time) -> bool {
    deaths::deaths(case).into_iter().any(|(death, exit)| {
        let dead = &exit.process;
        let unit = unit(new).is_some() && unit(new) == unit(dead);
        death.event.time <= time
            && !Ident::of(dead).is(Ident::of(new))
            && dead.comm == new.comm
            && (unit || (LoopKey::of(new).is_some() && LoopKey::of(new) == LoopKey::of(dead)))
    })
}
