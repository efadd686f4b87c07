//! The ports' part of the flow: a refusal waits for a scan of who holds what; so does a holder's death.
//!
//! A scan takes milliseconds and runs elsewhere. While one runs, refusals gather for the next; an answer serves every
//! refusal of the same address for a short while, so that a crash loop costs a few scans a second and no more.
//!
//! **Invariant:** no I/O.
//! **Bounded:** [`WAITING`] refusals wait; one death a holder, and the table of served sockets has a bound of its own.

mod refusal;

use std::collections::{HashMap, HashSet};

use observer_common::socket::{CALL_BIND, CALL_LISTEN, CALL_STOP};

use self::refusal::refusal;
use super::Output;
use crate::{
    decode::{self, Bind, Endpoint, Exit, TaskId},
    diagnose::{
        answer::{Answer, Question, QuestionKey},
        conflict::Asker,
        ports::PortTable,
    },
    engine::scan::{ScanRequest, ScanResult, owner},
    enrich::{self, Enricher, scan::Held},
    model::{Body, ListenEvent, Process, Socket},
};

/// How long an answer serves refusals that come after it, in nanoseconds.
const FRESH_NS: u64 = 200_000_000;
/// How often to scan where the kernel does not report where listeners begin and end.
const RECONCILE_NS: u64 = 1_000_000_000;
/// A scan may cost this part of a core, so that one that takes long comes seldom.
const RECONCILE_SHARE: u64 = 100;

/// How long the sockets of a dead process may be on their way out, in nanoseconds: do_exit (kernel/exit.c) closes its files
/// after its end was reported, and 20,000 connections take a fifth of a second.
const CLOSING_NS: u64 = 1_000_000_000;
/// How long to wait before the next scan for them, besides four times what the last one took.
const CLOSING_PAUSE_NS: u64 = 20_000_000;

/// So many refusals wait for a scan; a storm's others are emitted with what is known anyway.
const WAITING: usize = 8192;

/// State of the ports.
#[derive(Debug)]
pub(in crate::engine) struct PortTracker {
    table: PortTable,
    #[expect(clippy::vec_box, reason = "they come boxed, and are large")]
    waiting: Vec<Box<Bind>>,
    dying: Vec<Dying>,
    fresh: HashMap<QuestionKey, (Question, Answer)>,
    /// What began or ceased to serve, and who died, since the scan under way began: its answers about them are not kept.
    changed: Vec<Endpoint>,
    died: Vec<TaskId>,
    /// A scan is under way.
    scanning: bool,
    /// The first scan is over.
    scanned_once: bool,
    next_ns: Option<u64>,
    reconcile: bool,
}

/// A holder that died.
#[derive(Debug)]
struct Dying {
    exit: Box<Exit>,
    sockets: Vec<(u64, Socket)>,
    /// What it closed meanwhile: emitted after it.
    releases: Vec<Output>,
    /// A scan has found a socket on its way out.
    closing: bool,
}

impl Dying {
    /// Whether a socket of it is between the end of its descriptor and its own.
    fn is_closing(&self, alive: &HashSet<u64>, now_ns: u64) -> bool {
        now_ns < self.exit.time_ns.saturating_add(CLOSING_NS)
            && self.sockets.iter().any(|(sk, _)| alive.contains(sk))
    }
}

impl PortTracker {
    /// Nothing is known yet. `reconcile`: the kernel does not report where listeners begin and end.
    #[must_use]
    pub(in crate::engine) fn new(reconcile: bool) -> Self {
        Self {
            table: PortTable::default(),
            waiting: Vec::new(),
            dying: Vec::new(),
            fresh: HashMap::new(),
            changed: Vec::new(),
            died: Vec::new(),
            scanning: false,
            scanned_once: false,
            next_ns: None,
            reconcile,
        }
    }

    /// A bind or a listen, or the end of a listener.
    pub(super) fn bind(&mut self, record: Box<Bind>, enricher: &mut Enricher) -> Vec<Output> {
        match (record.record.call, record.record.result) {
            (CALL_STOP, _) => self.stop(&record, enricher),
            (CALL_LISTEN | CALL_BIND, 0) => {
                self.forget(&record.socket.endpoint());
                let process = enricher.process(&record.task);
                let id = record.task.id();
                let listen = self.table.listen(record.socket, id, process, record.time_ns);
                let listen =
                    listen.map(|l| Output::Event(record.time_ns, Body::Listen(Box::new(l))));
                listen.into_iter().collect()
            }
            _ => self.refused(record, enricher),
        }
    }

    fn stop(&mut self, record: &Bind, enricher: &mut Enricher) -> Vec<Output> {
        self.forget(&record.socket.endpoint());
        let id = record.task.id();
        let closer = Some((id, enricher.process(&record.task)));
        let release = self.table.stop(record.record.socket.sk, closer, record.time_ns);
        let release = release.map(|r| Output::Event(record.time_ns, Body::Release(Box::new(r))));
        match self.dying.iter_mut().find(|dying| dying.exit.task.id() == id) {
            Some(dying) => {
                dying.releases.extend(release);
                dying.closing = false;
                Vec::new()
            }
            None => release.into_iter().collect(),
        }
    }

    fn refused(&mut self, record: Box<Bind>, enricher: &mut Enricher) -> Vec<Output> {
        let known = self.fresh.get(&question(&record).key());
        let is_fresh = |answer: &Answer| record.time_ns < answer.began_ns.saturating_add(FRESH_NS);
        match known.filter(|(_, answer)| is_fresh(answer)) {
            Some((_, answer)) => vec![refusal(&record, answer, &self.table, enricher)],
            None if self.waiting.len() < WAITING => {
                self.waiting.push(record);
                Vec::new()
            }
            None => vec![refusal(&record, &Answer::default(), &self.table, enricher)],
        }
    }

    /// Something changed there: answers about it are wrong from now on.
    fn forget(&mut self, endpoint: &Endpoint) {
        self.fresh.retain(|_, (question, _)| !touches(question, endpoint));
        if self.scanning {
            self.changed.push(endpoint.clone());
        }
    }

    /// Keeps the death of a holder until a scan has shown what it leaves; gives back everybody else's, with what they
    /// closed as they ended.
    pub(super) fn exit(&mut self, exit: Box<Exit>) -> Option<(Box<Exit>, Vec<Socket>)> {
        let id = exit.task.id();
        // An answer that names it is wrong from now on.
        self.fresh.retain(|_, (_, answer)| !answer.names(id));
        if self.scanning {
            self.died.push(id);
        }
        if !self.table.is_holder(id) {
            let closed = self.closed_by(&exit);
            return Some((exit, closed));
        }
        let mut held: Vec<u64> = self.table.held_by(id).collect();
        held.sort_unstable();
        let sockets = held
            .into_iter()
            .filter_map(|sk| Some((sk, without_state(&self.table.get(sk)?.socket))))
            .collect();
        self.dying.push(Dying { exit, sockets, releases: Vec::new(), closing: false });
        None
    }

    fn closed_by(&self, exit: &Exit) -> Vec<Socket> {
        let closed = self.table.closed_by(exit.task.id(), exit.time_ns);
        closed.map(|socket| without_state(&socket)).collect()
    }

    /// The scan to make next, when one is needed and none is under way.
    pub(super) fn wants_scan(&mut self, now_ns: u64) -> Option<ScanRequest> {
        let due = self.next_ns.is_some_and(|next| next <= now_ns);
        let died = self.dying.iter().any(|dying| !dying.closing);
        if self.scanning || (self.scanned_once && self.waiting.is_empty() && !died && !due) {
            return None;
        }
        self.scanning = true;
        self.changed.clear();
        self.died.clear();
        let mut known = HashSet::new();
        let questions = self.waiting.iter().map(|bind| question(bind));
        let questions: Vec<Question> = questions.filter(|q| known.insert(q.key())).collect();
        let mut ports: Vec<u16> = questions.iter().filter_map(|q| q.asker.asked.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        Some(ScanRequest { ports, questions, known: self.table.sockets() })
    }

    /// Takes in what a scan has found.
    pub(super) fn scanned(
        &mut self,
        result: ScanResult,
        now_ns: u64,
        enricher: &mut Enricher,
    ) -> Vec<Output> {
        let mut out = Vec::new();
        self.scanning = false;
        let initial = !std::mem::replace(&mut self.scanned_once, true);
        let ScanResult { scan, answers, servers, alive } = result;
        let began = scan.began_ns;

        // Deaths before the end of the scan: their descriptors may be in it, while their memory is torn down.
        let ended = scan.ended_ns;
        let died = self.dying.iter().filter(|dying| dying.exit.time_ns <= ended);
        let ids: HashSet<TaskId> = died.map(|dying| dying.exit.task.id()).collect();
        let (gone, later) = std::mem::take(&mut self.dying)
            .into_iter()
            .partition(|dying| dying.exit.time_ns <= ended && !dying.is_closing(&alive, ended));
        self.dying = later;
        for dying in self.dying.iter_mut().filter(|dying| dying.exit.time_ns <= ended) {
            dying.closing = true;
        }

        let mut name = |held: &Held| match (servers.get(&held.socket.0.sk), owner(held)) {
            (Some(living), _) => enricher.process(&living.task),
            (None, Some(holder)) => {
                let why = "the process was gone before it could be read";
                enricher.named(holder.id(), crate::decode::until_nul(&holder.record.comm), why)
            }
            (None, None) => Process::default(),
        };
        let new = self.table.scanned(&scan, initial, &ids, &alive, &mut name);
        out.extend(
            new.into_iter().map(|listen| Output::Event(began, Body::Listen(Box::new(listen)))),
        );
        self.deaths(gone, enricher, &mut out);
        let closing = self.dying.iter().flat_map(|dying| &dying.sockets);
        let closing: HashSet<u64> = closing.map(|(sk, _)| *sk).collect();
        for release in self.table.drop_gone(&closing, began) {
            out.push(Output::Event(began, Body::Release(Box::new(release))));
        }

        self.answer(answers, began, enricher, &mut out);
        let took = now_ns.saturating_sub(began);
        let reconcile = self.reconcile.then(|| now_ns + RECONCILE_NS.max(took * RECONCILE_SHARE));
        let closing = self.dying.iter().any(|dying| dying.closing);
        let closed = closing.then(|| now_ns + CLOSING_PAUSE_NS + took * 4);
        self.next_ns = reconcile.into_iter().chain(closed).min();
        out
    }

    /// Deaths of holders: what nobody else holds is released by them.
    fn deaths(&mut self, mut gone: Vec<Dying>, enricher: &mut Enricher, out: &mut Vec<Output>) {
        // A whole family may have died between two scans: the last one to go releases what they shared.
        gone.sort_by_key(|dying| dying.exit.time_ns);
        let mut last: HashMap<u64, u64> = HashMap::new();
        for dying in &gone {
            last.extend(dying.sockets.iter().map(|(sk, _)| (*sk, dying.exit.time_ns)));
        }
        for dying in gone {
            let mut events = dying.releases;
            let closed = self.table.closed_by(dying.exit.task.id(), dying.exit.time_ns);
            let closed = closed.filter(|c| dying.sockets.iter().all(|(sk, _)| *sk != c.0.sk));
            let mut released: Vec<Socket> = closed.map(|socket| without_state(&socket)).collect();
            for (sk, socket) in dying.sockets {
                let held = self.table.get(sk).is_some_and(|served| !served.gone);
                if held || last.get(&sk) != Some(&dying.exit.time_ns) {
                    continue;
                }
                let process = enricher.process(&dying.exit.task);
                let closer = Some((dying.exit.task.id(), process));
                let release = self.table.stop(sk, closer, dying.exit.time_ns);
                events.extend(
                    release.map(|r| Output::Event(dying.exit.time_ns, Body::Release(Box::new(r)))),
                );
                released.push(socket);
            }
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
        let mut rest = Vec::new();
        for record in std::mem::take(&mut self.waiting) {
            match answers.get(&question(&record).key()) {
                Some((_, answer)) => out.push(refusal(&record, answer, &self.table, enricher)),
                None => rest.push(record),
            }
        }
        self.waiting = rest;
        self.fresh.retain(|_, (_, answer)| answer.began_ns.saturating_add(FRESH_NS) > began);
        let (changed, died) = (std::mem::take(&mut self.changed), std::mem::take(&mut self.died));
        let stands = |(_, (question, answer)): &(QuestionKey, (Question, Answer))| {
            !changed.iter().any(|endpoint| touches(question, endpoint))
                && !died.iter().any(|id| answer.names(*id))
        };
        self.fresh.extend(answers.into_iter().filter(stands));
    }

    /// A scan failed: what waits for it is emitted without, and the next one is made after a pause.
    pub(super) fn scan_failed(&mut self, now_ns: u64, enricher: &mut Enricher) -> Vec<Output> {
        let out = self.flush(enricher);
        self.next_ns = self.reconcile.then(|| now_ns.saturating_add(RECONCILE_NS));
        out
    }

    /// There will be no scan: nothing waits any longer.
    pub(super) fn flush(&mut self, enricher: &mut Enricher) -> Vec<Output> {
        let mut out = Vec::new();
        self.scanning = false;
        self.scanned_once = true;
        for record in std::mem::take(&mut self.waiting) {
            out.push(refusal(&record, &Answer::default(), &self.table, enricher));
        }
        for dying in std::mem::take(&mut self.dying) {
            let closed = self.closed_by(&dying.exit);
            out.push(Output::Death(dying.exit, closed));
            out.extend(dying.releases);
        }
        out
    }

    /// The moment of the earliest that waits for a scan and is later than `after_ns`.
    pub(super) fn waits_since_ns(&self, after_ns: u64) -> Option<u64> {
        let refused = self.waiting.iter().map(|bind| bind.time_ns);
        let dying = self.dying.iter().map(|dying| dying.exit.time_ns);
        refused.chain(dying).filter(|time_ns| *time_ns > after_ns).min()
    }

    /// Who serves what, as far as it was emitted. What the first scan finds is still to come, for everybody.
    pub(super) fn serving(&self) -> Vec<ListenEvent> {
        let mut serving: Vec<ListenEvent> = self.table.serving().collect();
        serving.sort_by_cached_key(|listen| {
            let socket = &listen.socket;
            (socket.protocol, socket.port, socket.netns, socket.name())
        });
        serving
    }

    /// When to scan although nothing came.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.next_ns.filter(|_| !self.scanning)
    }

    /// Process ids whose deaths matter.
    pub(super) fn holders(&self) -> HashSet<u32> {
        let named = self.fresh.values().flat_map(|(_, answer)| answer.holders());
        self.table.holders().into_iter().chain(named.map(|id| id.tgid)).collect()
    }
}

/// A socket that was served, as events show it.
fn without_state(socket: &decode::KernelSocket) -> Socket {
    Socket { state: None, ..enrich::socket::bound(socket) }
}

/// Whether a change at an endpoint may concern a question: the same port, whatever the address, or the same path.
fn touches(question: &Question, endpoint: &Endpoint) -> bool {
    match (question.asker.asked.port(), endpoint.port()) {
        (Some(asked), Some(port)) => asked == port,
        (None, None) => question.asker.asked == *endpoint,
        _ => false,
    }
}

fn question(bind: &Bind) -> Question {
    Question {
        asker: Asker { socket: bind.socket, asked: bind.asked.clone() },
        pid: bind.task.record.tgid,
        ppid: bind.task.record.ppid,
        errno: bind.record.result.unsigned_abs(),
    }
}

#[cfg(test)]
mod tests;
