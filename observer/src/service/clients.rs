//! Clients that listen live. Each has a queue of its own: one that does not read holds nobody up, and gets a `loss` for what it missed.
//!
//! **Bounded:** [`MOST`] clients; [`QUEUE_BYTES`] and [`QUEUE`] batches wait for each, [`ALL_BYTES`] for all beyond the
//! [`SHARE_BYTES`] that each always has; the first answer has [`STATE_BYTES`].

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

use super::{
    batch::{EncodedEvent, Wanted},
    door::Ticket,
};
use crate::{
    format::json,
    kernel::host::Host,
    model::{Body, Event, Kind, LossEvent, SCHEMA, Time},
};

/// At most so many at a time.
pub const MOST: usize = 64;
/// At most so many bytes wait for one of them.
const QUEUE_BYTES: usize = 8 << 20;
/// So many for all of them: whoever has more than its share then loses events until the others have read.
const ALL_BYTES: usize = 16 << 20;
/// And so many for each whatever the others do.
const SHARE_BYTES: usize = 128 << 10;
/// And so many batches.
const QUEUE: usize = 4096;
/// Most bytes of how things are, for one that joins.
const STATE_BYTES: usize = 1 << 20;

/// How often to check a client that has closed its own direction.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// All of them.
pub struct Clients {
    host: Host,
    all: Vec<Client>,
    writers: JoinSet<()>,
    /// Events that clients missed since the service began.
    pub missed: u64,
}

struct Client {
    _ticket: Ticket,
    all: bool,
    sender: Sender<Bytes>,
    queued: Arc<AtomicUsize>,
    missed: BTreeMap<Kind, u64>,
    span: Option<(Time, Time)>,
}

impl Clients {
    /// Nobody listens yet. `host`: whose events they are.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host, all: Vec::new(), writers: JoinSet::new(), missed: 0 }
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

    /// Who wants events that are not stored.
    #[must_use]
    pub fn want(&self) -> Wanted {
        Wanted { any: !self.all.is_empty(), all: self.all.iter().any(|client| client.all) }
    }

    /// Takes one in: `state` is how things are, its `session` first. What has no room is counted.
    pub(super) fn join(
        &mut self,
        stream: UnixStream,
        all: bool,
        state: &[Event],
        ticket: Ticket,
    ) -> Result<()> {
        let (sender, receiver) = channel(QUEUE);
        let queued = Arc::new(AtomicUsize::new(0));
        let mut client = Client {
            _ticket: ticket,
            all,
            sender,
            queued: Arc::clone(&queued),
            missed: BTreeMap::new(),
            span: None,
        };
        let mut text = Vec::new();
        let mut left_out = 0;
        for event in state {
            let end = text.len();
            json::line(event, &mut text)?;
            if text.len() > STATE_BYTES && event.body.kind() == Kind::Listen {
                text.truncate(end);
                left_out += 1;
            }
        }
        if let Some(event) = state.first().filter(|_| left_out > 0) {
            let missed = [(Kind::Listen, left_out)].into();
            let why = "too many sockets are served: `observer ports` lists them all";
            text.extend(loss(&self.host, missed, (event.time, event.time), why)?);
        }
        client.send(Bytes::from(text));
        self.all.push(client);
        self.writers.spawn(write(stream, receiver, queued));
        Ok(())
    }

    /// Hands events to everybody who wants them, and forgets who went away. Those who want the same share one copy.
    pub fn send(&mut self, events: &[EncodedEvent]) -> Result<()> {
        let mut waits: usize = self.all.iter().map(Client::waits).sum();
        let mut batches: [Option<Batch<'_>>; 2] = [None, None];
        for client in &mut self.all {
            let batch = batches[usize::from(client.all)]
                .get_or_insert_with(|| Batch::of(events, client.all));
            if batch.text.is_empty() {
                continue;
            }
            let share = if waits > ALL_BYTES { SHARE_BYTES } else { QUEUE_BYTES };
            let before = client.waits();
            self.missed += client.take(batch, share, &self.host)?;
            waits = waits.saturating_sub(before) + client.waits();
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

    /// Ends all connections: what waits is written first, as far as it is read.
    pub async fn close(&mut self, patience: Duration) {
        self.all.clear();
        let written = async { while self.writers.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, written).await.is_err() {
            tracing::info!("a client did not read the last events");
        }
    }
}

/// Events that some of them want, and their lines as one text.
struct Batch<'a> {
    wanted: Vec<&'a EncodedEvent>,
    text: Bytes,
}

impl<'a> Batch<'a> {
    fn of(events: &'a [EncodedEvent], all: bool) -> Self {
        let wanted: Vec<_> = events.iter().filter(|event| all || !event.only_all).collect();
        let text = if let [only] = wanted[..] {
            only.text.clone()
        } else {
            let mut text = Vec::with_capacity(wanted.iter().map(|event| event.text.len()).sum());
            for event in &wanted {
                text.extend_from_slice(&event.text);
            }
            text.into()
        };
        Self { wanted, text }
    }
}

impl Client {
    /// How many bytes wait for it.
    fn waits(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// How many it missed.
    fn take(&mut self, batch: &Batch<'_>, share: usize, host: &Host) -> Result<u64> {
        let (waits, len) = (self.waits(), batch.text.len());
        // One that has read everything gets what comes next, whatever the others do.
        let is_full = len > QUEUE_BYTES || (waits > 0 && waits + len > share);
        // A batch may come after a loss.
        if is_full || self.sender.capacity() < 2 {
            for event in &batch.wanted {
                *self.missed.entry(event.kind).or_default() += 1;
                let (from, to) = self.span.get_or_insert((event.time, event.time));
                (*from, *to) = (event.time.min(*from), event.time.max(*to));
            }
            return Ok(batch.wanted.len() as u64);
        }
        if let Some(span) = self.span.take() {
            let why = "this client did not read them in time";
            let loss = loss(host, std::mem::take(&mut self.missed), span, why)?;
            self.send(loss.into());
        }
        self.send(batch.text.clone());
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

/// The `loss` event of a client's own. It is in no store, and has no `seq`.
fn loss(
    host: &Host,
    missed: BTreeMap<Kind, u64>,
    (from, to): (Time, Time),
    why: &str,
) -> Result<Vec<u8>> {
    let loss = LossEvent {
        lost: missed.into_iter().map(|(kind, count)| (kind.name().to_owned(), count)).collect(),
        from,
        to,
        reason: why.to_owned(),
        at_most: false,
    };
    let event = Event {
        schema: SCHEMA,
        seq: None,
        time: to,
        boot_id: host.boot_id.clone(),
        host: host.name.clone(),
        body: Body::Loss(loss),
    };
    let mut text = Vec::new();
    json::line(&event, &mut text)?;
    Ok(text)
}

/// Whether a client has closed both directions.
fn is_gone(stream: &UnixStream) -> bool {
    let mut poll = [PollFd::new(stream, PollFlags::empty())];
    let polled = rustix::event::poll(&mut poll, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_err() || poll[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Writes to one client until it goes away or the service ends.
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
            () = tokio::time::sleep(CHECK_EVERY), if has_said_all => {
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
