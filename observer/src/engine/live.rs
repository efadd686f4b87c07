//! The kernel as the source of inputs. All I/O of the engine is here: rings, scans, losses, the clock.
//!
//! **Bounded:** one scan at a time ([`turn`]), which is given up when it hangs ([`threads`]); the end by [`ending`]; what the
//! rings hold is bounded where they are made.

mod backlog;
mod ending;
mod lookup;
mod losses;
mod scan;
mod session;
mod takeover;
pub mod threads;
pub mod turn;

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;

use self::{
    backlog::Backlog,
    losses::Losses,
    takeover::{Doubles, TakenOver, Takeover},
    threads::{Pending, ScanHealth, Threads},
    turn::{Turn, TurnGuard, TurnWaiter},
};
use super::{
    CodeZero, Engine, FloodLimit, Input, Setup,
    capture::Header,
    scan::{ScanRequest, ScanResult},
    tap::Tap,
};
use crate::{
    decode::{self, KernelEvent},
    enrich::{Users, kallsyms},
    kernel::{
        Kernel,
        clock::{self, Clock},
        footprint::give_memory_back,
        handover::{Handover, ledger::Ledger},
        host::Host,
        load::Options,
        refusals::Refusals,
        rings::RingReader,
    },
    model::{Event, HookInfo, LossEvent},
};

/// So many bytes of records at a time mean that the reader stood still.
const SWOLLEN: usize = 512 * 1024;
/// How many kernel functions are looked up by name, once each.
const SYMBOLS: usize = 4096;
/// How long to leave a scan alone that is due while somebody else has the turn.
const LENT_NS: u64 = 10_000_000;

type Scanned = Result<Box<ScanResult>, String>;

/// Loaded programs and the engine behind them.
pub struct Live {
    kernel: Kernel,
    rings: RingReader,
    refusals: Refusals,
    engine: Engine,
    losses: Losses,
    tap: Option<Tap>,
    /// The scan under way.
    scan: Option<Pending<Result<ScanResult>>>,
    /// The outcome of one that is over.
    scanned: Option<Scanned>,
    turn: Turn,
    threads: Threads,
    /// For scans of clients: what they ask for must not keep ours waiting.
    client_threads: Threads,
    /// What the kernel side watches, and the version of the engine's list that it is.
    watched: HashSet<u32>,
    watched_version: (u64, u64),
    /// Addresses on kernel stacks whose names were looked up.
    symbols: HashSet<u64>,
    /// Much came at once, and was emitted by now or will be by the next wait.
    swollen: bool,
    /// What the next run may need to know.
    ledger: Option<Arc<Ledger>>,
    /// What the run before left, until the first inputs.
    taken: Option<TakenOver>,
    doubles: Doubles,
    backlog: Backlog,
}

impl Live {
    /// Loads the programs; must run under tokio. `code_zero`: what becomes of deaths with code 0, where `options` has them
    /// reported.
    pub fn start(options: Options, code_zero: CodeZero) -> Result<Self> {
        Self::go_on(options, code_zero, None, None)
    }

    /// The same, and goes on where the run before ended, if there is a service manager that kept its rings. `flood`: beyond it,
    /// events of one origin are counted.
    pub fn go_on(
        options: Options,
        code_zero: CodeZero,
        flood: Option<FloodLimit>,
        handover: Option<Handover>,
    ) -> Result<Self> {
        let takeover = handover.map(Takeover::begin);
        let mut kernel = Kernel::load(options)?;
        let refusals = kernel.take_refusals().context("refusals taken twice")?;
        let mut rings = kernel.take_rings().context("rings taken twice")?.watch()?;
        let mut taken = takeover.map(|takeover| takeover.finish(&mut kernel));
        let ledger = taken.as_ref().and_then(|taken| taken.ledger.clone());
        if let Some(ledger) = &ledger {
            rings.count(Arc::clone(ledger));
        }
        let doubles = taken.as_mut().map(|t| std::mem::take(&mut t.doubles)).unwrap_or_default();
        let engine = Engine::new(Setup {
            host: Host::this(),
            clock: Clock::new(),
            users: Users::of_this_host(),
            code_zero: if options.exits_all { code_zero } else { CodeZero::Ignored },
            ports: options.binds.then(|| !kernel.tells_servers()),
            flood,
        });
        Ok(Self {
            kernel,
            rings,
            refusals,
            engine,
            losses: Losses::default(),
            tap: None,
            scan: None,
            scanned: None,
            turn: Turn::default(),
            threads: Threads::default(),
            client_threads: Threads::default(),
            watched: HashSet::new(),
            watched_version: (0, 0),
            symbols: HashSet::new(),
            swollen: false,
            ledger,
            taken,
            doubles,
            backlog: Backlog::default(),
        })
    }

    /// Captures what comes from now on to a new file; [`Self::session`] comes next.
    pub fn capture(&mut self, path: &Path, exits_all: bool) -> Result<()> {
        let epoch = self.engine.clock().boot_epoch_ns();
        let header = Header::new(&Host::this(), epoch, clock::boot_ns(), self.session_info());
        self.tap = Some(Tap::create(path, &Header { exits_all, ..header })?);
        Ok(())
    }

    /// For a client that joins: the session, and who serves what by now.
    #[must_use]
    pub fn for_listener(&self) -> Vec<Event> {
        self.engine.for_listener(self.session_info(), clock::boot_ns())
    }

    /// An event about what was lost behind the engine.
    pub fn lost(&mut self, loss: LossEvent) -> Event {
        self.engine.lost(loss)
    }

    /// The last `seq`.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.engine.seq()
    }

    /// What becomes of deaths with code 0 from now on.
    pub fn set_code_zero(&mut self, code_zero: CodeZero) -> Result<()> {
        self.engine.set_code_zero(code_zero);
        self.kernel.set_exits_all(code_zero != CodeZero::Ignored)
    }

    /// Programs that this kernel refused.
    #[must_use]
    pub fn refused(&self) -> Vec<HookInfo> {
        self.session_info().hooks.into_iter().filter(|hook| !hook.attached).collect()
    }

    /// The loaded programs.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The eBPF object, for its log.
    pub fn ebpf_mut(&mut self) -> &mut aya::Ebpf {
        self.kernel.ebpf_mut()
    }

    /// Opens the iterator over all descriptors, for a scan of our own or for a client; `None` while another scan runs.
    pub fn open_scan(&mut self, ports: &[u16]) -> Result<Option<TurnGuard>> {
        self.turn.take(|| self.kernel.open_holders(ports))
    }

    /// Says when no scan runs.
    #[must_use]
    pub fn turn(&self) -> TurnWaiter {
        self.turn.waiter()
    }

    /// For a scan of a client's own.
    #[must_use]
    pub fn client_threads(&self) -> &Threads {
        &self.client_threads
    }

    /// How scans do.
    #[must_use]
    pub fn scan_health(&self) -> ScanHealth {
        self.threads.health()
    }

    /// Waits until there is something to do. Dropping the future loses nothing.
    pub async fn ready(&mut self) -> Result<()> {
        if std::mem::take(&mut self.swollen) {
            give_memory_back();
        }
        if self.scanned.is_some() || self.taken.is_some() || !self.backlog.is_empty() {
            return Ok(());
        }
        let lent = self.scan.is_none() && !self.turn.is_free();
        // A scan that is due can't begin before the one of somebody else is over.
        let due = self.engine.deadline_ns();
        let due = due.map(|due| if lent { due.max(clock::boot_ns() + LENT_NS) } else { due });
        let others = [self.losses.deadline_ns(), self.refusals.deadline_ns()];
        let deadline = due.into_iter().chain(others.into_iter().flatten()).min();
        let mut turn = self.turn.waiter();
        tokio::select! {
            ready = self.rings.ready() => ready,
            () = until(deadline), if deadline.is_some() => Ok(()),
            scanned = over(&mut self.scan), if self.scan.is_some() => {
                self.scan = None;
                self.scanned = Some(scanned);
                Ok(())
            }
            // Whoever was refused meanwhile waits for a scan of ours.
            () = turn.free(), if lent => Ok(()),
        }
    }

    /// Pushes what came; `emit` gets the events.
    pub fn events(&mut self, mut emit: impl FnMut(Event)) -> Result<()> {
        self.cycle(false, &mut emit)
    }

    /// All inputs of one moment, in the order of [`Input`].
    fn cycle(&mut self, end: bool, emit: &mut impl FnMut(Event)) -> Result<()> {
        let mut losses = Vec::new();
        if let Some(taken) = self.taken.take() {
            // Before the own rings are read: of a death in both the first counts, which is the old one.
            self.backlog.add(taken.records);
            self.swollen = true;
            losses = taken.losses;
        }
        if self.backlog.is_empty() {
            let mut records = self.rings.drain();
            self.swollen |= records.iter().map(Bytes::len).sum::<usize>() > SWOLLEN;
            self.doubles.remove_from(&mut records, clock::boot_ns());
            self.backlog.add(records);
        }
        let now = clock::boot_ns();
        if let Some(epoch_ns) = self.engine.clock().step() {
            self.push(now, Input::Clock(epoch_ns), emit);
        }
        let records = self.backlog.take();
        self.push_records(now, records, emit);
        let counts = self.refusals.read(now, self.rings.was_refused(), end);
        if !counts.is_empty() {
            self.push(now, Input::Repeats(counts), emit);
        }
        if let Some(scanned) = self.scanned.take() {
            if scanned.is_err() {
                self.threads.failed();
            }
            self.push(now, Input::Scan(scanned), emit);
        }
        self.start_scan(now);
        losses.extend(self.losses.found(&self.kernel, now, end)?);
        for loss in losses {
            self.push(now, Input::Loss(loss), emit);
        }
        self.watch_holders()
    }

    fn push_records(&mut self, now_ns: u64, records: Vec<Bytes>, emit: &mut impl FnMut(Event)) {
        let symbols = self.new_symbols(&records);
        if !symbols.is_empty() {
            self.push(now_ns, Input::Symbols(symbols), emit);
        }
        let drained = if records.is_empty() { Input::Tick } else { Input::Records(records) };
        self.push(now_ns, drained, emit);
    }

    fn push(&mut self, now_ns: u64, input: Input, emit: &mut impl FnMut(Event)) {
        if let Some(tap) = &mut self.tap {
            tap.input(now_ns, &input);
        }
        self.engine.push(now_ns, input, emit);
    }

    /// Names of functions on the stacks of OOM kills that weren't seen before: only this kernel knows them.
    fn new_symbols(&mut self, records: &[Bytes]) -> Vec<(u64, String)> {
        let mut new: Vec<u64> = Vec::new();
        for record in records.iter().filter(|record| decode::is_oom(record)) {
            if let Ok(KernelEvent::Oom(oom)) = decode::decode(record) {
                let known = &mut self.symbols;
                new.extend(
                    oom.frames().iter().filter(|at| known.len() < SYMBOLS && known.insert(**at)),
                );
            }
        }
        if new.is_empty() {
            return Vec::new();
        }
        let names = kallsyms::names(&new);
        new.into_iter().zip(names).filter_map(|(at, name)| Some((at, name?))).collect()
    }

    /// Starts a scan when one is wanted, away from the thread that reads the rings.
    fn start_scan(&mut self, now_ns: u64) {
        if self.scan.is_some() || self.scanned.is_some() || !self.turn.is_free() {
            return;
        }
        let Some(request) = self.engine.wants_scan(now_ns) else { return };
        match self.begin_scan(request) {
            Ok(pending) => self.scan = Some(pending),
            // As one that failed later: deaths and refusals are emitted without it.
            Err(error) => self.scanned = Some(Err(in_words(error))),
        }
    }

    fn begin_scan(&mut self, request: ScanRequest) -> Result<Pending<Result<ScanResult>>> {
        // Only this thread takes a turn, and it was free.
        let iterator = self.open_scan(&request.ports)?.context("two scans at a time")?;
        self.threads.start(scan::PATIENCE, move |careful| scan::run(request, iterator, careful))
    }

    fn watch_holders(&mut self) -> Result<()> {
        let version = self.engine.watched_version();
        if version != self.watched_version {
            self.watched_version = version;
            let wanted = self.engine.watched();
            if *wanted != self.watched {
                self.kernel.watch(&mut self.watched, wanted)?;
            }
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn in_words(error: anyhow::Error) -> String {
    format!("{error:#}")
}

/// The outcome of the scan under way.
async fn over(scan: &mut Option<Pending<Result<ScanResult>>>) -> Scanned {
    match scan {
        Some(scan) => match scan.outcome().await.context("the scan of all descriptors") {
            Ok(scanned) => scanned.map(Box::new).map_err(in_words),
            Err(error) => Err(in_words(error)),
        },
        None => std::future::pending().await,
    }
}

async fn until(deadline_ns: Option<u64>) {
    let left = deadline_ns.unwrap_or(u64::MAX).saturating_sub(clock::boot_ns());
    tokio::time::sleep(Duration::from_nanos(left)).await;
}
