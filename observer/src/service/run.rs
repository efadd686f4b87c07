//! The service's loop: events to the store and to clients, requests from clients.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use sd_notify::NotifyState;
use tokio::{
    net::{UnixStream, unix::SocketAddr},
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinSet,
};

use super::{
    batch::EncodedEvent,
    clients::{Clients, MOST},
    door::{Door, Ticket},
    limits,
    manager::{self, Manager, notify, tick},
    privilege,
    requests::Asked,
    scrape::Scrape,
    signals::Signals,
    socket::ServiceSocket,
    status::Counts,
    storage::{OpenedStore, PreviousRun, Storage},
};
use crate::{
    cli::{Exits, Settings, Switch, config::FloodSettings},
    engine::{
        CodeZero, FloodLimit,
        live::{Live, turn::TurnWaiter},
    },
    error::status,
    format::json::JsonLines,
    kernel::{host::Host, load::Options, preflight},
    logging,
    model::{After, Event, LossEvent, Time, human},
    store::{Notice, folder::group_id},
};

/// Most events that are handed over at a time.
const BATCH: usize = 256;
/// How long the end may take in all, of which the last scans take two seconds at most.
const ENDING: Duration = Duration::from_millis(4500);
/// How long the disk may take for what is in its queue then.
const FLUSHING: Duration = Duration::from_secs(1);
/// How long clients may take to read the last of it.
const CLOSING: Duration = Duration::from_millis(500);
/// How long the disk may take for the beginning.
const BEGINNING: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT. `settings` resolves them: once now, and again at each SIGHUP.
pub async fn serve(programs: Options, settings: impl Fn() -> Result<Settings>) -> Result<u8> {
    let now = settings()?;
    let mut signals = Signals::new()?;
    // Without the rights to load, the error about the folder would mislead.
    preflight::check()?;
    // The folder first: whoever finds it taken must load nothing.
    privilege::survive_oom();
    let group = group_id(&now.files.group);
    let opened = OpenedStore::open(&now.dir, &now.files)?;
    let previous = opened.previous.clone();
    let socket = ServiceSocket::listen(&now.socket, group)?;
    let scrape = Scrape::listen(now.metrics).await;
    limits::warn();
    let exits_all = now.exits == Exits::All;
    let options = Options { exits_all, binds: now.binds == Switch::On, ..programs };
    let stored = previous.last.map(|last| last.seq);
    let (flood, handover) = (limit(&now.flood), manager::handover(stored));
    let live = Live::go_on(options, CodeZero::Numbered, flood, handover)?;
    // Rights are a thread's own: those that come later have what this one has left.
    privilege::drop_privileges();
    let (sender, requests) = unbounded_channel();
    let mut service = Service {
        turn: live.turn(),
        live,
        storage: opened.start()?,
        clients: Clients::new(Host::this()),
        code_zero: if exits_all { CodeZero::Numbered } else { CodeZero::Ignored },
        counts: Counts::new(),
        lines: JsonLines::default(),
        manager: Manager::default(),
        sender,
        scans: VecDeque::new(),
        newcomers: JoinSet::new(),
        door: Door::default(),
        scrape: scrape.clone(),
        disk: Arc::default(),
    };
    service.begin(previous)?;
    // Whoever waits for READY finds the store begun.
    for notice in service.storage.flush(BEGINNING) {
        service.gap(notice)?;
    }
    let sender = service.sender.clone();
    // Ends with the runtime. When the service ends, the scraper gets status 503.
    tokio::spawn(scrape.serve(move |wanted| drop(sender.send(Asked::Metrics(wanted)))));
    notify(&[NotifyState::Ready]);
    service.manager.say(service.storage.state().stopped);
    let outcome = service.follow(&socket, requests, &mut signals, &settings).await;
    notify(&[NotifyState::Stopping]);
    drop(socket);
    let ended = service.end().await;
    outcome.and(ended)
}

fn limit(set: &FloodSettings) -> Option<FloodLimit> {
    let FloodSettings { limit, burst, per_second } = *set;
    (limit == Switch::On).then_some(FloodLimit { burst, per_second })
}

/// What the loop has in hand.
pub(super) struct Service {
    pub(super) live: Live,
    pub(super) storage: Storage,
    pub(super) clients: Clients,
    /// What becomes of deaths with code 0.
    code_zero: CodeZero,
    pub(super) counts: Counts,
    lines: JsonLines,
    manager: Manager,
    pub(super) sender: UnboundedSender<Asked>,
    /// Who waits for a scan.
    pub(super) scans: VecDeque<(UnixStream, Vec<u16>, Ticket)>,
    turn: TurnWaiter,
    /// Who has not said yet what they want: not more than there may be clients, others wait at the door.
    pub(super) newcomers: JoinSet<()>,
    pub(super) door: Door,
    pub(super) scrape: Scrape,
    /// Held by whoever reads the folder of the store: one at a time, should the disk hang.
    pub(super) disk: Arc<Mutex<()>>,
}

impl Service {
    /// The session, first of all.
    fn begin(&mut self, mut previous: PreviousRun) -> Result<()> {
        let after = previous.last.map(|last| After {
            seq: last.seq,
            time: Time(last.time),
            stopped: previous.clean,
        });
        let session = self.live.session(after);
        if self.storage.is_full() {
            self.begin_segment(&session)?;
        } else {
            self.deliver(&[session])?;
        }
        previous.unrecorded.take().map_or(Ok(()), |unrecorded| self.gap(unrecorded))
    }

    /// A segment begins with its session, which everybody gets.
    fn begin_segment(&mut self, session: &Event) -> Result<()> {
        self.counts.add(session);
        let encoded = EncodedEvent::of(session, self.clients.want(), &mut self.lines)?;
        if let Some(stored) = encoded.as_ref().and_then(EncodedEvent::stored) {
            self.storage.begin(stored);
        }
        self.clients.send(encoded.as_slice())
    }

    async fn follow(
        &mut self,
        socket: &ServiceSocket,
        mut requests: UnboundedReceiver<Asked>,
        signals: &mut Signals,
        settings: &impl Fn() -> Result<Settings>,
    ) -> Result<u8> {
        let mut watchdog =
            sd_notify::watchdog_enabled().map(|span| tokio::time::interval(span / 2));
        let mut pause = false;
        loop {
            tokio::select! {
                ready = self.live.ready() => {
                    ready?;
                    self.drain()?;
                    self.clients.tidy();
                    self.mind_listeners()?;
                }
                accepted = next(socket, pause), if self.newcomers.len() < MOST => {
                    pause = accepted.is_err();
                    match accepted {
                        Ok((stream, _)) => self.welcome(stream),
                        Err(error) => tracing::warn!(%error, "a client could not be let in"),
                    }
                },
                _ = self.newcomers.join_next(), if !self.newcomers.is_empty() => (),
                asked = requests.recv() => if let Some(asked) = asked {
                    self.asked(asked)?;
                },
                notice = self.storage.notices.recv() => if let Some(notice) = notice {
                    self.gap(notice)?;
                },
                () = self.turn.free(), if !self.scans.is_empty() => self.scan(),
                () = self.clients.one_left() => {
                    self.clients.tidy();
                    self.mind_listeners()?;
                }
                () = tick(&mut watchdog) => {
                    notify(&[NotifyState::Watchdog]);
                    self.manager.say(self.storage.state().stopped);
                }
                _ = signals.hang_up.recv() => self.reload(settings)?,
                _ = signals.interrupt.recv() => return Ok(status::DONE),
                _ = signals.terminate.recv() => return Ok(status::DONE),
            }
        }
    }

    /// What the engine has, to the store first, then to clients. An event is encoded before the next one is made.
    fn drain(&mut self) -> Result<()> {
        let (wanted, counts, lines) = (self.clients.want(), &mut self.counts, &mut self.lines);
        let mut encoded = Vec::new();
        let mut failed = Ok(());
        self.live.events(|event| {
            counts.add(&event);
            match EncodedEvent::of(&event, wanted, lines) {
                Ok(event) => encoded.extend(event),
                Err(error) => failed = Err(error),
            }
        })?;
        failed?;
        // Not more at a time than is written at a time.
        encoded.chunks(BATCH).try_for_each(|batch| self.send(batch))?;
        self.live.settle();
        Ok(())
    }

    fn deliver(&mut self, events: &[Event]) -> Result<()> {
        let wanted = self.clients.want();
        let mut encoded = Vec::new();
        for event in events {
            self.counts.add(event);
            encoded.extend(EncodedEvent::of(event, wanted, &mut self.lines)?);
        }
        self.send(&encoded)
    }

    fn send(&mut self, events: &[EncodedEvent]) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let stored = events.iter().filter_map(EncodedEvent::stored).collect();
        let gap = self.storage.store(stored);
        self.manager.say(self.storage.state().stopped);
        self.clients.send(events)?;
        if let Some(gap) = gap {
            self.gap(gap)?;
        }
        if self.storage.is_full() {
            let session = self.live.session_again();
            self.begin_segment(&session)?;
        }
        Ok(())
    }

    /// Storing goes on after a gap: the store must say so.
    fn gap(&mut self, notice: Notice) -> Result<()> {
        let (from, to) = (Time(notice.from), Time(notice.to));
        let loss = LossEvent { lost: notice.lost, from, to, reason: notice.reason, at_most: false };
        let event = self.live.lost(loss);
        self.deliver(&[event])
    }

    /// Deaths with code 0 are reported as long as somebody wants them.
    pub(super) fn mind_listeners(&mut self) -> Result<()> {
        let listened =
            if self.clients.want().all { CodeZero::Unnumbered } else { CodeZero::Ignored };
        if self.code_zero == CodeZero::Numbered || listened == self.code_zero {
            return Ok(());
        }
        self.code_zero = listened;
        self.live.set_code_zero(listened)
    }

    /// Reads the settings again; broken ones change nothing.
    fn reload(&mut self, settings: &impl Fn() -> Result<Settings>) -> Result<()> {
        let settings = match settings() {
            Ok(settings) => settings,
            Err(error) => {
                logging::say(&format!("observer: the old settings stay: {error:#}"));
                return Ok(());
            }
        };
        // What happened before is emitted by the old ones.
        self.drain()?;
        if !self.storage.reload(&settings.files) {
            logging::say("observer: the disk hangs: the limits of the store stay as they were");
        }
        let all = settings.exits == Exits::All;
        self.code_zero = if all { CodeZero::Numbered } else { CodeZero::Ignored };
        self.live.set_code_zero(self.code_zero)?;
        self.mind_listeners()?;
        logging::say(
            "observer: settings read; dir, socket, metrics, binds, group and flood count from the next start on",
        );
        Ok(())
    }

    async fn end(mut self) -> Result<u8> {
        let until = Instant::now() + ENDING;
        let left = |most: Duration| most.min(until.saturating_duration_since(Instant::now()));
        let mut last = Vec::new();
        self.live.finish(|event| last.push(event)).await?;
        self.deliver(&last)?;
        if self.code_zero == CodeZero::Unnumbered {
            // The programs may go on until the next run, and no listener does.
            self.live.set_code_zero(CodeZero::Ignored)?;
        }
        self.live.settle();
        // A gap that is over must be stored while it can be: what says so may meet a full disk again.
        for _ in 0..3 {
            let over = self.storage.flush(left(FLUSHING));
            if over.is_empty() {
                break;
            }
            for notice in over {
                self.gap(notice)?;
            }
        }
        if let Some((lost, why)) = self.storage.unrecorded() {
            let lost = human::count(lost, "event");
            logging::say(&format!("observer: the last {lost} are not in the store: {why}"));
        }
        self.clients.close(left(CLOSING)).await;
        if !self.storage.finish(left(ENDING)) {
            logging::say("observer: the disk did not take the last events in time");
        }
        Ok(status::DONE)
    }
}

/// The next client. `pause`: the last one could not be let in, most likely for want of descriptors; others may come free.
async fn next(socket: &ServiceSocket, pause: bool) -> io::Result<(UnixStream, SocketAddr)> {
    if pause {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    socket.listener.accept().await
}
