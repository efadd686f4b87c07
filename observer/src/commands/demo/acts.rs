//! The outage, step by step. Each act is announced before it is played, and over when the
//! kernel has said what it has to.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::Signal;

use super::{
    children,
    parts::GROW,
    stage::{Cut, Stage},
};
use crate::{
    logging,
    model::{Body, CauseType, Event, human},
};

/// Who holds the worker to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// The kernel, by a memory group.
    Kernel,
    /// The supervisor, where there is no such group.
    Supervisor,
}

/// Longest wait for an answer on the port.
const ANSWER: Duration = Duration::from_millis(300);

/// All acts, from the first process to the last.
pub(super) async fn play(
    stage: &mut Stage<'_>,
    keeper: Keeper,
    limit_bytes: u64,
) -> Result<(), Cut> {
    stage.process("supervisor").await?;
    stage.pause(500).await?;
    stage.cast.start_worker()?;
    let worker = stage.process("worker").await?;
    let holder = stage.process("holder").await?;
    let port = stage.cast.port.context("the worker has no port")?;
    act(&format!(
        "1. demo-worker {worker} serves 127.0.0.1:{port}. Its child, demo-holder {holder}, inherits the socket."
    ));
    let what = format!("the `listen` of the worker {worker}");
    stage.event(&what, |event| listens(event, worker)).await?;
    stage.pause(1000).await?;
    die(stage, keeper, worker, port, limit_bytes).await?;
    refuse(stage, holder, port).await?;
    recover(stage, holder, port).await
}

async fn die(
    stage: &mut Stage<'_>,
    keeper: Keeper,
    worker: u32,
    port: u16,
    limit_bytes: u64,
) -> Result<(), Cut> {
    let limit = human::size(limit_bytes);
    act(&format!("2. A request makes demo-worker {worker} outgrow its limit of {limit}."));
    stage.pause(500).await?;
    ask(port, GROW).context("the worker does not answer")?;
    if keeper == Keeper::Kernel {
        let what = format!("the `oom` of the worker {worker}");
        let oom = |event: &Event| matches!(&event.body, Body::Oom(oom) if oom.victim.pid == worker);
        stage.event(&what, oom).await?;
    }
    let cause = match keeper {
        Keeper::Kernel => CauseType::OomKill,
        Keeper::Supervisor => CauseType::Killed,
    };
    let what = format!("the `exit` of the worker {worker}, with that cause,");
    stage.event(&what, |event| dies(event, worker, cause)).await?;
    stage.pause(1200).await
}

async fn refuse(stage: &mut Stage<'_>, holder: u32, port: u16) -> Result<(), Cut> {
    act(
        "3. All that its supervisor knows is a status of 137. It starts a replacement on the same port.",
    );
    stage.pause(300).await?;
    stage.cast.start_replacement(port)?;
    let refused = stage.process("refused").await?;
    let what = format!("the `bind` of {refused}, refused because of the holder {holder},");
    let is_it = |event: &Event| {
        matches!(&event.body, Body::Bind(bind) if bind.process.pid == refused
            && bind.holders.iter().any(|other| other.process.pid == holder))
    };
    stage.event(&what, is_it).await?;
    stage.pause(300).await?;
    if ask(port, "anybody?").is_err() {
        logging::say("   (a client that tries the port gets no answer)");
    }
    stage.pause(1200).await
}

async fn recover(stage: &mut Stage<'_>, holder: u32, port: u16) -> Result<(), Cut> {
    act(&format!("4. Now it is known who has to go: kill {holder}."));
    stage.pause(300).await?;
    children::signal(holder, Signal::TERM)?;
    let what = format!("the `exit` of the holder {holder}");
    stage.event(&what, |event| dies(event, holder, CauseType::Killed)).await?;
    let what = format!("the `release` of port {port}");
    let released = |event: &Event| matches!(&event.body, Body::Release(release) if release.socket.port == Some(port));
    stage.event(&what, released).await?;
    stage.pause(700).await?;
    act("5. The supervisor tries once more.");
    stage.cast.start_replacement(port)?;
    let serving = stage.process("serving").await?;
    let what = format!("the `listen` of {serving}");
    stage.event(&what, |event| listens(event, serving)).await?;
    ask(port, "anybody?").context("the new worker does not answer")?;
    stage.pause(500).await
}

/// Tells what comes next.
fn act(text: &str) {
    logging::say("");
    logging::say(text);
}

/// A request to the port, and whether it was answered. Short enough to keep everything else waiting.
fn ask(port: u16, request: &str) -> std::io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(request.as_bytes())?;
    stream.read_exact(&mut [0])
}

fn listens(event: &Event, pid: u32) -> bool {
    matches!(&event.body, Body::Listen(listen) if listen.process.pid == pid)
}

fn dies(event: &Event, pid: u32, cause: CauseType) -> bool {
    matches!(&event.body, Body::Exit(exit) if exit.process.pid == pid && exit.cause.cause_type == cause)
}
