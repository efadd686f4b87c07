//! What a scan has found: new servers, what the dead released, and answers for those who were refused.

use std::collections::{HashMap, HashSet};

use super::{
    AT_ONCE, CHANGES, CLOSING_PAUSE_NS, FRESH, FRESH_NS, Output, PortTracker, RECONCILE_NS,
    RECONCILE_SHARE, RESTS_NS, ReleasedSockets, closing::Dying, question, refusal::refusal,
    touches, without_state,
};
use crate::{
    decode::TaskId,
    diagnose::answer::{Answer, Question, QuestionKey},
    engine::scan::{ScanResult, owner},
    enrich::{Enricher, scan::Held},
    model::{Body, Process, Socket},
};

impl PortTracker {
    /// Takes in what a scan has found.
    pub(in crate::engine::pipeline) fn scanned(
        &mut self,
        result: ScanResult,
        now_ns: u64,
        enricher: &mut Enricher,
    ) -> Vec<Output> {
        let mut out = Vec::new();
        self.scanning = false;
        self.scanned_once = true;
        let initial = !self.initial_over;
        let servers = result.servers_by_id();
        let (scan, alive, began) = (&result.scan, &result.alive, result.scan.began_ns);

        // Deaths before the end of the scan: their descriptors may be in it, while their memory is torn down.
        let ended = scan.ended_ns;
        let died = self.dying.iter().filter(|dying| dying.exit.time_ns <= ended);
        let ids: HashSet<TaskId> = died.map(|dying| dying.exit.task.id()).collect();
        let is_over =
            |dying: &Dying| dying.exit.time_ns <= ended && !dying.is_closing(alive, ended);
        let gone = self.dying.take_if(is_over);
        for dying in self.dying.iter_mut().filter(|dying| dying.exit.time_ns <= ended) {
            dying.closing = true;
        }

        let mut name = |held: &Held| {
            let owner = owner(held);
            let mut process = match (owner.and_then(|owner| servers.get(&owner.id())), owner) {
                (Some(living), _) => enricher.process(&living.task),
                (None, Some(holder)) => {
                    let why = "the process was gone before it could be read";
                    enricher.named(holder.id(), crate::decode::until_nul(&holder.record.comm), why)
                }
                (None, None) => Process::default(),
            };
            // Where nobody is known, the socket's own user answers for it: otherwise all such events had one origin.
            process.origin_uid = process.origin_uid.or(Some(held.socket.0.uid));
            process
        };
        let room = AT_ONCE;
        let (new, all_new) = self.table.scanned(scan, initial, &ids, alive, room, &mut name);
        out.extend(
            new.into_iter().map(|listen| Output::Event(began, Body::Listen(Box::new(listen)))),
        );
        self.deaths(gone, enricher, &mut out);
        let closing: HashSet<u64> =
            self.dying.iter().flat_map(|dying| dying.sockets.iter().copied()).collect();
        for release in self.table.drop_gone(&closing, began, AT_ONCE) {
            out.push(Output::Event(began, Body::Release(Box::new(release))));
        }
        let more = self.table.has_gone(&closing) || all_new > AT_ONCE;
        self.initial_over |= !more;

        let answers = result.answers;
        self.answer(answers, began, enricher, &mut out);
        let took = now_ns.saturating_sub(began);
        self.rests_until_ns = Some(now_ns.saturating_add((took * 3).min(RESTS_NS)));
        let reconcile = self.reconcile.then(|| now_ns + RECONCILE_NS.max(took * RECONCILE_SHARE));
        let closing = self.dying.iter().any(|dying| dying.closing);
        let closed = (closing || more).then(|| now_ns + CLOSING_PAUSE_NS + took * 4);
        self.next_ns = reconcile.into_iter().chain(closed).min();
        out
    }

    /// Deaths of holders: what nobody else holds is released by them.
    fn deaths(&mut self, mut gone: Vec<Dying>, enricher: &mut Enricher, out: &mut Vec<Output>) {
        // A whole family may have died between two scans: the last one to go releases what they shared.
        gone.sort_by_key(|dying| dying.exit.time_ns);
        let mut last: HashMap<u64, u64> = HashMap::new();
        for dying in &gone {
            last.extend(dying.sockets.iter().map(|sk| (*sk, dying.exit.time_ns)));
        }
        for dying in gone {
            let mut events = dying.releases;
            let closed = self.table.closed_by(dying.exit.task.id(), dying.exit.time_ns);
            let closed = closed.filter(|c| !dying.sockets.contains(&c.0.sk));
            let mut released: Vec<Socket> = closed.map(|socket| without_state(&socket)).collect();
            let mut unnamed = 0;
            let process = enricher.process(&dying.exit.task);
            for sk in &dying.sockets {
                let held = self.table.get(*sk).is_some_and(|served| !served.gone);
                if held || last.get(sk) != Some(&dying.exit.time_ns) {
                    continue;
                }
                // Of the others, the next scans find that they are gone.
                if events.len() < AT_ONCE {
                    let closer = Some((dying.exit.task.id(), process.clone()));
                    let release = self.table.stop(*sk, closer, dying.exit.time_ns);
                    let release = release.map(|release| Body::Release(Box::new(release)));
                    events.extend(release.map(|body| Output::Event(dying.exit.time_ns, body)));
                }
                match dying.shown.get(sk) {
                    Some(shown) => released.push(shown.clone()),
                    None => unnamed += 1,
                }
            }
            let released =
                ReleasedSockets { served: true, ..ReleasedSockets::of(released, unnamed) };
            out.push(Output::Death(dying.exit, released));
            out.extend(events);
        }
    }

    fn answer(
        &mut self,
        answers: Vec<(Question, Answer)>,
        began: u64,
        enricher: &mut Enricher,
        out: &mut Vec<Output>,
    ) {
        let answers: HashMap<QuestionKey, (Question, Answer)> = answers
            .into_iter()
            .map(|(question, answer)| (question.key(), (question, answer)))
            .collect();
        let answered = self.waiting.take_if(|record| answers.contains_key(&question(record).key()));
        for record in answered {
            if let Some((_, answer)) = answers.get(&question(&record).key()) {
                out.push(refusal(&record, answer, &self.table, enricher));
            }
        }
        self.fresh.retain(|_, (_, answer)| answer.began_ns.saturating_add(FRESH_NS) > began);
        self.version += 1;
        let (changed, died) = (std::mem::take(&mut self.changed), std::mem::take(&mut self.died));
        if changed.len() > CHANGES || died.len() > CHANGES {
            return;
        }
        let stands = |(_, (question, answer)): &(QuestionKey, (Question, Answer))| {
            !changed.iter().any(|endpoint| touches(question, endpoint))
                && !died.iter().any(|id| answer.names(*id))
        };
        let room = FRESH.saturating_sub(self.fresh.len());
        self.fresh.extend(answers.into_iter().filter(stands).take(room));
    }
}
