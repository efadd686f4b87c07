//! Those who listen live. Each has a queue of its own: one that does not read holds nobody up, and is told what it missed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
};

use super::numbering::Numbering;
use crate::model::{Body, Event, Kind, LossEvent, Time};

/// At most so many at a time.
pub const MOST: usize = 64;
/// At most so many bytes wait for one of them.
const QUEUE_BYTES: usize = 8 << 20;
/// And so many batches.
const QUEUE: usize = 4096;
/// How long a client may take to read the last of it when the service ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often to look whether one is still there that has closed its own direction.
const LOOK: Duration = Duration::from_secs(5);

/// All of them.
#[derive(Default)]
pub struct Clients {
    all: Vec<Client>,
    ordinary: Stream,
    everything: Stream,
    writers: JoinSet<()>,
    /// Events that clients missed since the service began.
    pub missed: u64,
}

/// Events for one kind of listener, with numbers of their own.
#[derive(Default)]
struct Stream {
    numbering: Numbering,
}

struct Client {
    all: bool,
    sender: Sender<Bytes>,
    queued: Arc<AtomicUsize>,
    missed: BTreeMap<Kind, u64>,
    span: Option<(Time, Time)>,
}

/// A line of a stream.
struct Line {
    text: Bytes,
    seq: u64,
    kind: Kind,
    time: Time,
}

impl Clients {
    /// Goes on after the record's number `recorded`.
    #[must_use]
    pub fn after(recorded: u64) -> Self {
        let stream = || Stream { numbering: Numbering::after(recorded) };
        Self { ordinary: stream(), everything: stream(), ..Self::default() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Nobody listens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether somebody wants ordinary deaths too.
    #[must_use]
    pub fn want_all(&self) -> bool {
        self.all.iter().any(|client| client.all)
    }

    /// Takes one in: `state` is how things are, its `session` first. All of it has the number of the last event that the
    /// others got, so that the next one follows.
    pub fn join(&mut self, stream: UnixStream, all: bool, state: Vec<Event>) -> Result<()> {
        let (sender, receiver) = channel(QUEUE);
        let queued = Arc::new(AtomicUsize::new(0));
        let numbering = if all { &self.everything } else { &self.ordinary };
        let seq = numbering.numbering.last();
        let mut client = Client {
            all,
            sender,
            queued: Arc::clone(&queued),
            missed: BTreeMap::new(),
            span: None,
        };
        let mut text = Vec::new();
        for event in state {
            serde_json::to_writer(&mut text, &Event { seq, ..event })?;
            text.push(b'\n');
        }
        client.send(Bytes::from(text));
        self.all.push(client);
        self.writers.spawn(write(stream, receiver, queued));
        Ok(())
    }

    /// Hands events to everybody who wants them, and forgets who went away.
    pub fn tell(&mut self, events: &[Event]) -> Result<()> {
        let Some(first) = events.first() else { return Ok(()) };
        // The numbers go on whether anybody listens or not.
        let any = |all: bool, clients: &[Client]| clients.iter().any(|client| client.all == all);
        let (ordinary, everything) = (any(false, &self.all), any(true, &self.all));
        let ordinary = self.ordinary.lines(events, false, ordinary)?;
        let everything = self.everything.lines(events, true, everything)?;
        for client in &mut self.all {
            let lines = if client.all { &everything } else { &ordinary };
            self.missed += client.tell(lines, first)?;
        }
        self.all.retain(|client| !client.sender.is_closed());
        Ok(())
    }

    /// Forgets who went away.
    pub fn tidy(&mut self) {
        while self.writers.try_join_next().is_some() {}
        self.all.retain(|client| !client.sender.is_closed());
    }

    /// Waits until one has gone. Dropping the future loses nothing.
    pub async fn one_left(&mut self) {
        if self.writers.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets everybody go: what waits is written first, as far as it is read.
    pub async fn close(&mut self) {
        self.all.clear();
        let written = async { while self.writers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, written).await.is_err() {
            tracing::info!("a client did not read the last events");
        }
    }
}

impl Stream {
    fn lines(&mut self, events: &[Event], all: bool, wanted: bool) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for event in events {
            if !all && is_ordinary(event) {
                continue;
            }
            let mut event = event.clone();
            self.numbering.number(&mut event);
            if wanted {
                let mut text = serde_json::to_vec(&event)?;
                text.push(b'\n');
                let (kind, time) = (event.body.kind(), event.time);
                lines.push(Line { text: text.into(), seq: event.seq, kind, time });
            }
        }
        Ok(lines)
    }
}

/// A death with code 0 that is not recorded.
fn is_ordinary(event: &Event) -> bool {
    event.seq == 0 && matches!(event.body, Body::Exit(_))
}

impl Client {
    /// How many it missed.
    fn tell(&mut self, lines: &[Line], like: &Event) -> Result<u64> {
        if lines.is_empty() {
            return Ok(0);
        }
        let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
        if self.queued.load(Ordering::Relaxed) + bytes > QUEUE_BYTES || self.sender.capacity() == 0
        {
            for line in lines {
                *self.missed.entry(line.kind).or_default() += 1;
                let (from, to) = self.span.get_or_insert((line.time, line.time));
                (*from, *to) = (line.time.min(*from), line.time.max(*to));
            }
            return Ok(lines.len() as u64);
        }
        let mut text = Vec::with_capacity(bytes);
        if let Some((from, to)) = self.span.take() {
            let seq = lines[0].seq - 1;
            text = loss(like, seq, std::mem::take(&mut self.missed), (from, to))?;
        }
        text.extend(lines.iter().flat_map(|line| line.text.iter().copied()));
        self.send(text.into());
        Ok(0)
    }

    fn send(&mut self, text: Bytes) {
        let len = text.len();
        // Counted before the other side can take it away.
        self.queued.fetch_add(len, Ordering::Relaxed);
        if self.sender.try_send(text).is_err() {
            self.queued.fetch_sub(len, Ordering::Relaxed);
        }
    }
}

/// The `loss` event of a client that did not read: it has the number of the last event that was missed.
fn loss(
    like: &Event,
    seq: u64,
    missed: BTreeMap<Kind, u64>,
    span: (Time, Time),
) -> Result<Vec<u8>> {
    let event = LossEvent {
        lost: missed.into_iter().map(|(kind, count)| (kind.name().to_owned(), count)).collect(),
        from: span.0,
        to: span.1,
        reason: "this client did not read them in time".to_owned(),
        at_most: false,
    };
    let event = Event { seq, time: span.1, body: Body::Loss(event), ..like.clone() };
    let mut text = serde_json::to_vec(&event)?;
    text.push(b'\n');
    Ok(text)
}

/// Whether a client has closed both directions.
fn is_gone(stream: &UnixStream) -> bool {
    let mut poll = [PollFd::new(stream, PollFlags::empty())];
    let polled = rustix::event::poll(&mut poll, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_err() || poll[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Writes to one client until it goes away or is let go.
async fn write(mut stream: UnixStream, mut receiver: Receiver<Bytes>, queued: Arc<AtomicUsize>) {
    let (mut reader, mut writer) = stream.split();
    let mut rest = [0; 64];
    let mut has_said_all = false;
    loop {
        tokio::select! {
            text = receiver.recv() => {
                let Some(text) = text else { break };
                if writer.write_all(&text).await.is_err() {
                    break;
                }
                queued.fetch_sub(text.len(), Ordering::Relaxed);
            }
            // A client has nothing to say any more: its end is all that can come. One that says so may listen on.
            read = tokio::io::AsyncReadExt::read(&mut reader, &mut rest), if !has_said_all => {
                match read {
                    Ok(0) if !is_gone(reader.as_ref()) => has_said_all = true,
                    Ok(n) if n > 0 => {}
                    _ => break,
                }
            }
            () = tokio::time::sleep(LOOK), if has_said_all => {
                if is_gone(reader.as_ref()) {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixStream,
        sync::mpsc::channel,
    };

    #[test]
    fn a_client_that_has_said_all_listens_on_and_one_that_goes_is_forgotten() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (service, mut client) = UnixStream::pair().expect("a pair");
            let (sender, receiver) = channel(4);
            let task = tokio::spawn(super::write(service, receiver, Arc::default()));
            client.shutdown().await.expect("half closed");
            tokio::task::yield_now().await;
            sender.send("one\n".into()).await.expect("there");
            let mut text = [0; 4];
            client.read_exact(&mut text).await.expect("an event");
            assert_eq!(&text, b"one\n");
            drop(client);
            sender.send("two\n".into()).await.expect("there");
            task.await.expect("its end");
            assert!(sender.is_closed());
        });
    }
}
