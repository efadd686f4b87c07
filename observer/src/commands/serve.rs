//! `observer serve`: loads once, records, and feeds whoever listens.

mod health;
mod manager;
mod scrape;
mod signals;

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use sd_notify::NotifyState;
use tokio::{
    net::{UnixStream, unix::SocketAddr},
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::JoinSet,
};

use self::{
    manager::{Manager, notify, tick},
    signals::Signals,
};
use super::{live::Live, pass::Waiting, ports};
use crate::{
    cli::{Cli, ServeArgs, Switch},
    config::{Config, Exits},
    enrich::snapshot::Snapshot,
    error::status,
    kernel::{load::Options, preflight},
    logging,
    model::{After, Event, LossEvent, Time, human},
    records::{Notice, folder::group_id},
    service::{
        clients::{Clients, MOST},
        http, privilege,
        protocol::Request,
        recording::{Past, Recording, Taken, line},
        socket::{Socket, answer, refuse, request},
        status::{Counts, Status},
    },
};

/// Runs until SIGTERM or SIGINT.
pub fn run(args: &ServeArgs, cli: &Cli) -> Result<u8> {
    let config = Config::of(cli)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(serve(args, cli, config));
    // A look at all descriptors, or a client that hangs, must not keep us.
    runtime.shutdown_background();
    done
}

async fn serve(args: &ServeArgs, cli: &Cli, config: Config) -> Result<u8> {
    let mut signals = Signals::new()?;
    // Who may not load would be told of a folder that they may not write to.
    preflight::check()?;
    // The folder first: whoever finds it taken must load nothing.
    privilege::survive_oom();
    let group = group_id(&config.files.group);
    let taken = Taken::open(config.dir(), &config.files)?;
    let past = taken.past.clone();
    let socket = Socket::listen(config.socket(), group)?;
    let metrics = scrape::listen(args.metrics.or(config.metrics)).await?;
    let exits_all = args.exits.unwrap_or(config.exits) == Exits::All;
    let binds = args.binds.or(config.binds).unwrap_or(Switch::On) == Switch::On;
    let no_trampolines = cli.no_trampolines;
    let options = Options { exits_all, binds, no_trampolines, ..Options::default() };
    let live = Live::start(options)?;
    // Rights are a thread's own: those that come later have what this one has left.
    privilege::drop_privileges();
    let recording = taken.start()?;
    let (sender, requests) = unbounded_channel();
    let mut service = Service {
        turn: live.turn(),
        live,
        recording,
        clients: Clients::default(),
        exits_all,
        ordinary: false,
        counts: Counts::new(),
        manager: Manager::default(),
        sender,
        passes: VecDeque::new(),
        newcomers: JoinSet::new(),
        disk: Arc::default(),
    };
    service.begin(past)?;
    // Whoever waits for READY finds the record begun.
    for notice in service.recording.settle() {
        service.gap(notice)?;
    }
    if let Some(listener) = metrics {
        let sender = service.sender.clone();
        // Ends with the runtime. Nobody takes it when the service ends: the scraper is told.
        tokio::spawn(http::serve(listener, move |wanted| {
            drop(sender.send(Asked::Metrics(wanted)));
        }));
    }
    notify(&[NotifyState::Ready]);
    service.manager.say(service.recording.state().stopped);
    let outcome = service.follow(&socket, requests, &mut signals, args, cli).await;
    notify(&[NotifyState::Stopping]);
    drop(socket);
    let ended = service.end().await;
    outcome.and(ended)
}

/// What comes from the tasks that speak with clients.
enum Asked {
    Tail(UnixStream, bool),
    Status(UnixStream),
    Metrics(oneshot::Sender<Status>),
    Ports(UnixStream, Vec<u16>),
}

struct Service {
    live: Live,
    recording: Recording,
    clients: Clients,
    exits_all: bool,
    /// Ordinary deaths are reported, for those who listen.
    ordinary: bool,
    counts: Counts,
    manager: Manager,
    sender: UnboundedSender<Asked>,
    /// Who waits for a pass over all descriptors.
    passes: VecDeque<(UnixStream, Vec<u16>)>,
    turn: Waiting,
    /// Who has not said yet what they want: not more than there may be clients, others wait at the door.
    newcomers: JoinSet<()>,
    /// Held by whoever looks into the folder of the record: one at a time, should the disk hang.
    disk: Arc<Mutex<()>>,
}

impl Service {
    /// The session, first of all.
    fn begin(&mut self, mut past: Past) -> Result<()> {
        if !self.exits_all {
            self.live.ordinary_for_listeners(false)?;
        }
        self.live.leave_growing_unnumbered();
        let after = past.last.map(|last| After {
            seq: last.seq,
            time: Time(last.time),
            stopped: past.clean,
        });
        self.clients = Clients::after(after.as_ref().map_or(0, |after| after.seq));
        let session = self.live.session_after(after)?;
        if self.recording.is_full() {
            self.begin_segment(&session)?;
        } else {
            self.tell(&[session])?;
        }
        past.unrecorded.take().map_or(Ok(()), |unrecorded| self.gap(unrecorded))
    }

    /// A segment begins with its session, which everybody gets: it has a number.
    fn begin_segment(&mut self, session: &Event) -> Result<()> {
        self.recording.begin(session)?;
        self.counts.add(std::slice::from_ref(session));
        self.clients.tell(std::slice::from_ref(session))
    }

    async fn follow(
        &mut self,
        socket: &Socket,
        mut requests: UnboundedReceiver<Asked>,
        signals: &mut Signals,
        args: &ServeArgs,
        cli: &Cli,
    ) -> Result<u8> {
        let mut watchdog =
            sd_notify::watchdog_enabled().map(|span| tokio::time::interval(span / 2));
        let mut pause = false;
        loop {
            tokio::select! {
                ready = self.live.ready() => {
                    ready?;
                    let events = self.live.events()?;
                    self.tell(&events)?;
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
                notice = self.recording.notices.recv() => if let Some(notice) = notice {
                    self.gap(notice)?;
                },
                () = self.turn.free(), if !self.passes.is_empty() => self.pass(),
                () = self.clients.one_left() => {
                    self.clients.tidy();
                    self.mind_listeners()?;
                }
                () = tick(&mut watchdog) => {
                    notify(&[NotifyState::Watchdog]);
                    self.manager.say(self.recording.state().stopped);
                }
                _ = signals.hang_up.recv() => self.reload(args, cli)?,
                _ = signals.interrupt.recv() => return Ok(status::DONE),
                _ = signals.terminate.recv() => return Ok(status::DONE),
            }
        }
    }

    /// Events go to the record first, then to whoever listens.
    fn tell(&mut self, events: &[Event]) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let recorded = events.iter().filter(|event| event.seq > 0);
        let lines = recorded.map(line).collect::<Result<Vec<_>>>()?;
        self.counts.add(events);
        let gap = self.recording.record(lines);
        self.manager.say(self.recording.state().stopped);
        self.clients.tell(events)?;
        if let Some(gap) = gap {
            self.gap(gap)?;
        }
        if self.recording.is_full() {
            let session = self.live.session_again();
            self.begin_segment(&session)?;
        }
        Ok(())
    }

    /// Recording goes on after a gap: the record must say so.
    fn gap(&mut self, notice: Notice) -> Result<()> {
        let (from, to) = (Time(notice.from), Time(notice.to));
        let loss = LossEvent { lost: notice.lost, from, to, reason: notice.reason, at_most: false };
        let event = self.live.lost(loss);
        self.tell(&[event])
    }

    /// Ordinary deaths are reported as long as somebody wants them.
    fn mind_listeners(&mut self) -> Result<()> {
        let wanted = self.clients.want_all();
        if self.exits_all || wanted == self.ordinary {
            return Ok(());
        }
        self.ordinary = wanted;
        self.live.ordinary_for_listeners(wanted)
    }

    fn welcome(&mut self, stream: UnixStream) {
        let sender = self.sender.clone();
        if let Ok(peer) = stream.peer_cred() {
            tracing::info!(uid = peer.uid(), pid = peer.pid(), "a client");
        }
        self.newcomers.spawn(async move {
            let mut stream = stream;
            let asked = match request(&mut stream).await {
                Ok(Request::Tail { all }) => Asked::Tail(stream, all),
                Ok(Request::Status) => Asked::Status(stream),
                Ok(Request::Ports { ports }) => Asked::Ports(stream, ports),
                Err(why) => return refuse(stream, why).await,
            };
            // The service ends.
            let _ = sender.send(asked);
        });
    }

    fn asked(&mut self, asked: Asked) -> Result<()> {
        // On a quiet machine no event has told yet who went away.
        self.clients.tidy();
        match asked {
            Asked::Tail(stream, _) if self.clients.len() >= MOST => {
                let why = format!("{MOST} clients listen already");
                tokio::spawn(refuse(stream, why));
            }
            Asked::Tail(stream, all) => {
                self.clients.join(stream, all, self.live.for_listener())?;
                self.mind_listeners()?;
            }
            Asked::Status(mut stream) => {
                let status = self.status();
                tokio::spawn(async move {
                    match serde_json::to_string(&status.await) {
                        Ok(text) => answer(&mut stream, (text + "\n").as_bytes()).await,
                        Err(error) => refuse(stream, error.to_string()).await,
                    }
                });
            }
            Asked::Metrics(wanted) => {
                let status = self.status();
                // It may have gone meanwhile.
                tokio::spawn(async move { drop(wanted.send(status.await)) });
            }
            Asked::Ports(stream, _) if self.passes.len() >= MOST => {
                tokio::spawn(refuse(stream, format!("{MOST} clients wait already")));
            }
            Asked::Ports(stream, wanted) => {
                self.passes.push_back((stream, wanted));
            }
        }
        Ok(())
    }

    /// Makes the next pass over all descriptors for a client, away from this thread.
    fn pass(&mut self) {
        let Some((_, wanted)) = self.passes.front() else { return };
        // It may be taken again by now: this is asked for again when it is free.
        let Some(pass) = self.live.open_pass(wanted).transpose() else { return };
        let Some((mut stream, wanted)) = self.passes.pop_front() else { return };
        tokio::spawn(async move {
            let made = tokio::task::spawn_blocking(move || -> Result<Vec<String>> {
                let lines = ports::lines::lines(&Snapshot::read(pass?)?, &wanted);
                let line = |line| Ok(serde_json::to_string(line)? + "\n");
                lines.iter().map(line).collect()
            });
            let made = made.await.context("the look at all descriptors");
            match made.and_then(|made| made) {
                Ok(lines) => answer(&mut stream, lines.concat().as_bytes()).await,
                Err(error) => refuse(stream, format!("{error:#}")).await,
            }
        });
    }

    /// Reads the settings again; broken ones change nothing.
    fn reload(&mut self, args: &ServeArgs, cli: &Cli) -> Result<()> {
        let config = match Config::of(cli) {
            Ok(config) => config,
            Err(error) => {
                logging::say(&format!("observer: the old settings stay: {error:#}"));
                return Ok(());
            }
        };
        // What happened before is told by the old ones.
        let events = self.live.events()?;
        self.tell(&events)?;
        if !self.recording.reload(&config.files) {
            logging::say("observer: the disk hangs: the limits of the record stay as they were");
        }
        self.exits_all = args.exits.unwrap_or(config.exits) == Exits::All;
        self.live.record_ordinary(self.exits_all)?;
        self.ordinary = false;
        self.mind_listeners()?;
        logging::say(
            "observer: settings read; dir, socket, metrics, binds and group count from the next start on",
        );
        Ok(())
    }

    async fn end(mut self) -> Result<u8> {
        let last = self.live.finish().await?;
        self.tell(&last)?;
        // A gap that is over must be told while it can be: what tells of it may meet a full disk again.
        for _ in 0..3 {
            let over = self.recording.settle();
            if over.is_empty() {
                break;
            }
            for notice in over {
                self.gap(notice)?;
            }
        }
        if let Some((lost, why)) = self.recording.unrecorded() {
            let lost = human::count(lost, "event");
            logging::say(&format!("observer: the last {lost} are not in the record: {why}"));
        }
        self.clients.close().await;
        if !self.recording.finish() {
            logging::say("observer: the disk did not take the last records in time");
        }
        Ok(status::DONE)
    }
}

/// The next client. `pause`: the last one could not be let in, most likely for want of descriptors; others may come free.
async fn next(socket: &Socket, pause: bool) -> io::Result<(UnixStream, SocketAddr)> {
    if pause {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    socket.listener.accept().await
}
