//! One event at a time: which incident it joins, and whether it opens one.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use super::{
    Incidents, PAST,
    case::{Case, Keys, Origin, QUIET, Refusal},
    keys::{Ident, LoopKey, after, meets, unit},
    ports::Outage,
};
use crate::model::{
    BindEvent, Body, CauseType, Event, ListenEvent, OomEvent, Process, Scope, Time,
};

impl Incidents {
    pub(super) fn step(&mut self, event: &Arc<Event>) {
        match &event.body {
            Body::Exit(exit) => self.exit(event, exit),
            Body::Oom(oom) => self.oom(event, oom),
            Body::Bind(bind) => self.bind(event, bind),
            Body::Listen(listen) => self.listen(event, listen),
            Body::Release(release) => self.release(event, release),
            Body::Loss(loss) => {
                for case in &mut self.cases {
                    if after(case.last, QUIET) >= loss.from && after(loss.to, QUIET) >= case.first {
                        case.loss(event);
                    }
                }
                remember(&mut self.losses, event.clone());
            }
            // A file that begins within a run repeats the session of the run.
            Body::Session(session)
                if session.begins_run(event.number())
                    && self.run.is_none_or(|run| run < event.time) =>
            {
                if self.run.is_some() {
                    self.ports.clear();
                    // What happened in between is known where the programs went on.
                    let blind = !session.resumed;
                    for case in self.cases.iter_mut().filter(|_| blind) {
                        case.restarts.push((event.time, event.number()));
                        case.restarts.truncate(PAST);
                        case.changed = true;
                    }
                }
                self.run = Some(event.time);
            }
            Body::Session(_) | Body::Incident(_) | Body::Flood(_) => {}
        }
    }

    /// The incident that these keys belong to; several that meet there become one.
    pub(super) fn joined(&mut self, keys: &Keys, time: Time) -> Option<usize> {
        let cases = self.cases.iter().enumerate();
        let mut found = cases.filter(|(_, case)| case.joins(keys, time)).map(|(at, _)| at);
        let first = found.next()?;
        let others: Vec<usize> = found.collect();
        for at in others.into_iter().rev() {
            let other = self.cases.remove(at);
            if let Some(case) = self.cases.get_mut(first) {
                case.merge(other, same_refusal);
            }
        }
        Some(first)
    }

    /// That incident, or a new one.
    pub(super) fn case(&mut self, joined: Option<usize>, time: Time) -> Option<&mut Case> {
        let at = if let Some(at) = joined {
            at
        } else {
            self.make_room();
            let mut case = Case::new(time);
            for event in &self.losses {
                if let Body::Loss(loss) = &event.body
                    && after(loss.to, QUIET) >= time
                {
                    case.loss(event);
                }
            }
            self.cases.push(case);
            self.cases.len() - 1
        };
        self.cases.get_mut(at)
    }

    fn oom(&mut self, event: &Arc<Event>, oom: &OomEvent) {
        let limit = oom.limit_cgroup.clone().filter(|_| oom.scope == Some(Scope::Cgroup));
        let keys = Keys { limit, ..process_keys(&oom.victim) };
        let joined = self.joined(&keys, event.time);
        if let Some(case) = self.case(joined, event.time) {
            case.name(event);
            case.learn(keys);
            case.oom(event);
        }
    }

    fn bind(&mut self, event: &Arc<Event>, bind: &BindEvent) {
        let origins: Vec<Origin> =
            bind.holders.iter().map(|holder| self.origin(holder, event.time)).collect();
        let mut keys = process_keys(&bind.process);
        keys.sockets.push(bind.socket.clone());
        keys.idents.extend(bind.holders.iter().map(|holder| Ident::of(&holder.process)));
        let joined = self.joined(&keys, event.time);
        let opens = !bind.holders.is_empty()
            || matches!(
                bind.cause.cause_type,
                CauseType::Held
                    | CauseType::TimeWait
                    | CauseType::Closing
                    | CauseType::BoundNotListening
                    | CauseType::StaleSocketFile
            );
        if joined.is_some() || opens {
            if let Some(case) = self.case(joined, event.time) {
                refuse(case, event, origins);
            }
        } else {
            remember(&mut self.refused, (event.clone(), origins));
        }
    }

    fn listen(&mut self, event: &Arc<Event>, listen: &ListenEvent) {
        let served = self.ports.listen(listen, event.time, event.number());
        let made_good = |outage: &Outage| meets(&outage.socket, &listen.socket);
        let over: Vec<u64> = self.waiting.meeting(&listen.socket).map(|(at, _)| at).collect();
        for at in over {
            self.waiting.remove(at);
        }
        let keys = Keys { sockets: vec![listen.socket.clone()], ..Keys::default() };
        let Some(at) = self.joined(&keys, event.time) else { return };
        let Some(case) = self.cases.get_mut(at) else { return };
        let mut ended = false;
        for outage in &mut case.outages {
            if outage.ended.is_none() && made_good(outage) {
                outage.ended = Some(served.clone());
                ended = true;
            }
        }
        // A server that was there all along is not news.
        if ended || !listen.initial {
            case.name(event);
            case.learn(Keys { idents: vec![Ident::of(&listen.process)], ..keys });
            if !ended {
                case.listen(&served);
            }
        }
    }
}

pub(super) fn refuse(case: &mut Case, event: &Arc<Event>, origins: Vec<Origin>) {
    let Body::Bind(bind) = &event.body else { return };
    let mut keys = process_keys(&bind.process);
    keys.sockets.push(bind.socket.clone());
    keys.idents.extend(bind.holders.iter().map(|holder| Ident::of(&holder.process)));
    case.name(event);
    case.learn(keys);
    let last = (event.time, event.number());
    case.refusal(
        Refusal { event: event.clone(), origins, count: bind.count(), last },
        same_refusal,
    );
}

/// Refusals of the same socket to the same kind of process, by the same holders.
fn same_refusal(a: &Event, b: &Event) -> bool {
    let (Body::Bind(a), Body::Bind(b)) = (&a.body, &b.body) else { return false };
    let holders = |bind: &BindEvent| -> Vec<(u32, Option<Time>)> {
        bind.holders.iter().map(|h| (h.process.pid, h.process.start_time)).collect()
    };
    a.socket == b.socket
        && a.cause.cause_type == b.cause.cause_type
        && a.process.comm == b.process.comm
        && (&a.process.unit, &a.process.user_unit) == (&b.process.unit, &b.process.user_unit)
        && holders(a) == holders(b)
}

pub(super) fn process_keys(process: &Process) -> Keys {
    Keys {
        units: unit(process).map(Cow::into_owned).into_iter().collect(),
        idents: vec![Ident::of(process)],
        again: LoopKey::of(process),
        ..Keys::default()
    }
}

/// Keeps the newest.
pub(super) fn remember<T>(list: &mut VecDeque<T>, new: T) {
    if list.len() >= PAST {
        list.pop_front();
    }
    list.push_back(new);
}
