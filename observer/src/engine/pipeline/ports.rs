//! The ports' part of the flow: a refusal waits for a scan of who holds what; so does a holder's death.
//!
//! A scan takes milliseconds and runs elsewhere. While one runs, refusals gather for the next; an answer serves every
//! refusal of the same address for a short while, so that a crash loop costs a few scans a second and no more.
//!
//! **Invariant:** no I/O.
//! **Bounded:** what waits for a scan takes at most [`WAITING_BYTES`] and [`WAITING_NS`]: [`waiting`]. A scan answers
//! [`QUESTIONS`] questions, and [`FRESH`] answers are kept; the table of served sockets has a bound of its own.

mod closing;
mod found;
mod refusal;
mod repeats;
mod waiting;

use std::collections::{HashMap, HashSet};

use observer_common::socket::{CALL_BIND, CALL_LISTEN, CALL_STOP};

use self::{closing::Dying, refusal::refusal, repeats::RepeatTracker, waiting::ScanQueue};
use super::{Output, ReleasedSockets};
use crate::{
    decode::{self, Bind, Endpoint, Exit, RepeatCount, TaskId},
    diagnose::{
        answer::{Answer, Question, QuestionKey},
        conflict::Asker,
        ports::{self, PortTable},
    },
    engine::scan::{KnownSocket, ScanRequest},
    enrich::{self, Enricher},
    model::{Body, ListenEvent, Socket},
};

/// How long an answer serves refusals that come after it, in nanoseconds.
const FRESH_NS: u64 = 200_000_000;
/// How often to scan where the kernel does not report where listeners begin and end.
const RECONCILE_NS: u64 = 1_000_000_000;
/// A scan may cost this part of a core, so that one that takes long comes seldom.
const RECONCILE_SHARE: u64 = 100;

/// How long to wait before the next scan for sockets that close, besides four times what the last one took.
const CLOSING_PAUSE_NS: u64 = 20_000_000;

/// How much may wait for a scan, in bytes: refusals and deaths each. A storm's others are emitted with what is known anyway.
const WAITING_BYTES: usize = 4 << 20;
/// How long it may wait, in nanoseconds: a scan takes 10 to 200 ms.
const WAITING_NS: u64 = 1_000_000_000;
/// How long to leave scans alone after one that failed.
const FAILED_PAUSE_NS: u64 = 1_000_000_000;
/// How long to leave scans alone at most after one: three times what it took, in nanoseconds.
const RESTS_NS: u64 = 400_000_000;
/// Most questions of one scan: the others are asked with the next.
const QUESTIONS: usize = 256;
/// Most answers that are kept for the refusals that follow.
const FRESH: usize = 64;
/// Most servers that begin, and most that end, that a scan or a death tells at once: the next scans tell the others. An event
/// takes about 2 KiB until it is written.
const AT_ONCE: usize = 1024;
/// Most changes while a scan runs that are told apart; with more, none of its answers is kept.
const CHANGES: usize = 1024;

/// State of the ports.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
pub(in crate::engine) struct PortTracker {
    table: PortTable,
    waiting: ScanQueue<Box<Bind>>,
    repeats: RepeatTracker,
    dying: ScanQueue<Dying>,
    /// Deaths that had no room there, until the end of the drain.
    pushed_out: Vec<Output>,
    fresh: HashMap<QuestionKey, (Question, Answer)>,
    /// What began or ceased to serve, and who died, since the scan under way began: its answers about them are not kept.
    changed: Vec<Endpoint>,
    died: Vec<TaskId>,
    /// A scan is under way.
    scanning: bool,
    /// Changes whenever somebody is named in an answer that is kept, or no longer.
    version: u64,
    /// The first scan is over.
    scanned_once: bool,
    /// And all that it found is told.
    initial_over: bool,
    next_ns: Option<u64>,
    /// No scan is made before: the last one failed, or took so long that more should come together for the next.
    rests_until_ns: Option<u64>,
    reconcile: bool,
}

impl PortTracker {
    /// Nothing is known yet. `reconcile`: the kernel does not report where listeners begin and end.
    #[must_use]
    pub(in crate::engine) fn new(reconcile: bool) -> Self {
        Self {
            table: PortTable::default(),
            waiting: ScanQueue::default(),
            repeats: RepeatTracker::default(),
            dying: ScanQueue::default(),
            pushed_out: Vec::new(),
            fresh: HashMap::new(),
            changed: Vec::new(),
            died: Vec::new(),
            scanning: false,
            version: 0,
            scanned_once: false,
            initial_over: false,
            next_ns: None,
            rests_until_ns: None,
            reconcile,
        }
    }

    /// A bind or a listen, or the end of a listener.
    pub(super) fn bind(&mut self, mut record: Box<Bind>, enricher: &mut Enricher) -> Vec<Output> {
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
            _ => {
                self.repeats.told(&mut record);
                self.refused(record, enricher)
            }
        }
    }

    /// Refusals that were counted. And how many of them belong to none that was told.
    pub(super) fn repeats(
        &mut self,
        counts: &[RepeatCount],
        enricher: &mut Enricher,
    ) -> (Vec<Output>, u64) {
        let (refused, unknown) = self.repeats.counted(counts);
        let outputs =
            refused.into_iter().flat_map(|record| self.refused(Box::new(record), enricher));
        (outputs.collect(), unknown)
    }

    fn stop(&mut self, record: &Bind, enricher: &mut Enricher) -> Vec<Output> {
        self.forget(&record.socket.endpoint());
        let id = record.task.id();
        let closer = Some((id, enricher.process(&record.task)));
        let release = self.table.stop(record.record.socket.sk, closer, record.time_ns);
        let release = release.map(|r| Output::Event(record.time_ns, Body::Release(Box::new(r))));
        match self.dying.get_mut(id) {
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
        if let Some((_, answer)) = known.filter(|(_, answer)| is_fresh(answer)) {
            return vec![refusal(&record, answer, &self.table, enricher)];
        }
        let (time_ns, bytes) = (record.time_ns, waiting::bytes_of(&record.task));
        let asker = (record.task.id(), record.task.record.origin_uid);
        let rejected = self.waiting.push(asker, time_ns, bytes, record);
        let none = Answer::default();
        let without = |record: Box<Bind>| refusal(&record, &none, &self.table, enricher);
        rejected.into_iter().map(without).collect()
    }

    /// Something changed there: answers about it are wrong from now on.
    fn forget(&mut self, endpoint: &Endpoint) {
        let before = self.fresh.len();
        self.fresh.retain(|_, (question, _)| !touches(question, endpoint));
        self.version += u64::from(self.fresh.len() != before);
        if self.scanning && self.changed.len() <= CHANGES {
            self.changed.push(endpoint.clone());
        }
    }

    /// Keeps the death of a holder until a scan has shown what it leaves; gives back everybody else's, with what they
    /// closed as they ended.
    pub(super) fn exit(&mut self, exit: Box<Exit>) -> Option<(Box<Exit>, ReleasedSockets)> {
        let id = exit.task.id();
        // An answer that names it is wrong from now on.
        let before = self.fresh.len();
        self.fresh.retain(|_, (_, answer)| !answer.names(id));
        let named = self.fresh.len() != before;
        self.version += u64::from(named);
        if self.scanning && self.died.len() <= CHANGES {
            self.died.push(id);
        }
        if !self.table.is_holder(id) {
            let mut closed = self.closed_by(&exit);
            closed.served |= named;
            return Some((exit, closed));
        }
        let (time_ns, bytes) = (exit.time_ns, waiting::bytes_of(&exit.task));
        let dying = Dying::new(exit, &self.table);
        let bytes = bytes + dying.bytes();
        let rejected =
            self.dying.push((id, dying.exit.task.record.origin_uid), time_ns, bytes, dying);
        for rejected in rejected {
            let mut out = std::mem::take(&mut self.pushed_out);
            self.emit_without_scan(rejected, &mut out);
            self.pushed_out = out;
        }
        None
    }

    /// The death of a holder without what a scan would show of it.
    fn emit_without_scan(&self, dying: Dying, out: &mut Vec<Output>) {
        let closed = ReleasedSockets { served: true, ..self.closed_by(&dying.exit) };
        out.push(Output::Death(dying.exit, closed));
        out.extend(dying.releases);
    }

    /// Whether the death of this process says anything about ports, or a scan must know of it: it goes to [`Self::exit`].
    pub(super) fn may_concern(&self, id: TaskId, end_ns: u64) -> bool {
        self.scanning
            || self.table.is_holder(id)
            || self.fresh.values().any(|(_, answer)| answer.names(id))
            || self.table.closed_by(id, end_ns).next().is_some()
    }

    fn closed_by(&self, exit: &Exit) -> ReleasedSockets {
        let closed = self.table.closed_by(exit.task.id(), exit.time_ns);
        ReleasedSockets::of(closed.map(|socket| without_state(&socket)).collect(), 0)
    }

    /// What has waited for a scan too long, or had no room to wait: it is emitted without.
    pub(super) fn overdue(&mut self, now_ns: u64, enricher: &mut Enricher) -> Vec<Output> {
        self.rests_until_ns = self.rests_until_ns.filter(|until| *until > now_ns);
        let before_ns = now_ns.saturating_sub(WAITING_NS);
        let mut out = std::mem::take(&mut self.pushed_out);
        for record in self.waiting.take_before(before_ns) {
            out.push(refusal(&record, &Answer::default(), &self.table, enricher));
        }
        for dying in self.dying.take_before(before_ns) {
            self.emit_without_scan(dying, &mut out);
        }
        out
    }

    /// The scan to make next, when one is needed and none is under way.
    pub(super) fn wants_scan(&mut self, now_ns: u64) -> Option<ScanRequest> {
        if self.scanning || self.rests_until_ns.is_some_and(|until| now_ns < until) {
            return None;
        }
        let due = self.next_ns.is_some_and(|next| next <= now_ns);
        let died = self.dying.iter().any(|dying| !dying.closing);
        if self.scanned_once && self.waiting.is_empty() && !died && !due {
            return None;
        }
        self.scanning = true;
        self.changed.clear();
        self.died.clear();
        let mut known = HashSet::new();
        let questions = self.waiting.iter().map(|bind| question(bind));
        let questions = questions.filter(|question| known.insert(question.key()));
        let questions: Vec<Question> = questions.take(QUESTIONS).collect();
        let mut ports: Vec<u16> = questions.iter().filter_map(|q| q.asker.asked.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        let known = self.table.sockets().map(|(sk, socket)| {
            let listens_on = socket.endpoint().port().filter(|_| !socket.datagram());
            (sk, KnownSocket { inode: socket.0.inode, listens_on })
        });
        Some(ScanRequest { ports, questions, known: known.collect() })
    }

    /// A scan failed: what waits for it is emitted without, and the next one is made after a pause.
    pub(super) fn scan_failed(&mut self, now_ns: u64, enricher: &mut Enricher) -> Vec<Output> {
        let out = self.flush(enricher);
        self.rests_until_ns = Some(now_ns.saturating_add(FAILED_PAUSE_NS));
        self.next_ns = self.reconcile.then(|| now_ns.saturating_add(RECONCILE_NS));
        out
    }

    /// There will be no scan: nothing waits any longer.
    pub(super) fn flush(&mut self, enricher: &mut Enricher) -> Vec<Output> {
        let mut out = std::mem::take(&mut self.pushed_out);
        self.scanning = false;
        (self.scanned_once, self.initial_over) = (true, true);
        for record in self.waiting.take_if(|_| true) {
            out.push(refusal(&record, &Answer::default(), &self.table, enricher));
        }
        for dying in self.dying.take_if(|_| true) {
            self.emit_without_scan(dying, &mut out);
        }
        out
    }

    /// The moment of the earliest that waits for a scan and is later than `after_ns`.
    pub(super) fn waits_since_ns(&self, after_ns: u64) -> Option<u64> {
        let earliest = [self.waiting.since_ns(after_ns), self.dying.since_ns(after_ns)];
        earliest.into_iter().flatten().min()
    }

    /// Who serves what, as far as it was emitted, at most `most` of them: those whose port or path was chosen first. And how many
    /// there are. What the first scan finds is still to come, for everybody.
    pub(super) fn serving(&self, most: usize) -> (Vec<ListenEvent>, usize) {
        let mut serving: Vec<_> = self.table.serving().collect();
        let total = serving.len();
        serving.sort_by_cached_key(|served| {
            let record = &served.socket.0;
            (served.socket.ephemeral(), record.family == 1, record.port, record.netns, record.sk)
        });
        serving.truncate(most);
        let mut serving: Vec<ListenEvent> =
            serving.iter().map(|s| ports::event(&s.socket, &s.process, true)).collect();
        serving.sort_by_cached_key(|listen| {
            let socket = &listen.socket;
            (socket.protocol, socket.port, socket.netns, socket.name())
        });
        (serving, total)
    }

    /// When to scan although nothing came.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        let due = self.next_ns.filter(|_| !self.scanning);
        // After one that failed, what came meanwhile wants the next.
        let again =
            self.rests_until_ns.filter(|_| !self.scanning && self.waits_since_ns(0).is_some());
        let overdue = self.waits_since_ns(0).map(|time_ns| time_ns.saturating_add(WAITING_NS));
        let due = due.map(|due| due.max(self.rests_until_ns.unwrap_or(0)));
        [due, again, overdue].into_iter().flatten().min()
    }

    /// How many records wait for a scan.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.dying.len()
    }

    /// Process ids whose deaths matter.
    pub(super) fn holders(&self) -> HashSet<u32> {
        let named = self.fresh.values().flat_map(|(_, answer)| answer.holders());
        self.table.holders().into_iter().chain(named.map(|id| id.tgid)).collect()
    }

    /// Changes whenever [`Self::holders`] may have.
    pub(super) fn version(&self) -> (u64, u64) {
        (self.table.version(), self.version)
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
        has_parents_root: bind.task.has_parents_root(),
    }
}

#[cfg(test)]
mod tests;
