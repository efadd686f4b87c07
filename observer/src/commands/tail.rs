//! `observer tail`: live events, from the service or from programs of its own.

mod joined;

use std::pin::pin;

use anyhow::{Context, Result};
use aya_log::EbpfLogger;
use jiff::tz::TimeZone;
use tokio::io::unix::AsyncFd;

use super::{show::Show, stop::Stop};
use crate::{
    cli::{EbpfLog, Settings, Switch, TailArgs},
    engine::{CodeZero, live::Live},
    error::status,
    kernel::load::Options,
    logging,
    service::{client, protocol::Request},
    stdout::Reader,
};

/// Shows events until Ctrl-C, SIGTERM, or until nobody reads any more.
pub fn run(args: &TailArgs, programs: Options, settings: &Settings) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(tail(args, programs, settings));
    // A terminal that is stopped may hold a write for ever: don't wait for it.
    runtime.shutdown_background();
    done
}

/// What the service can't do for one client alone.
fn needs_own_programs(args: &TailArgs, programs: Options) -> bool {
    args.capture.is_some()
        || args.ebpf_log != EbpfLog::Off
        || args.binds == Some(Switch::Off)
        || programs.no_trampolines
}

async fn tail(args: &TailArgs, programs: Options, settings: &Settings) -> Result<u8> {
    args.show.filter.check()?;
    let stop = Stop::new()?;
    if !needs_own_programs(args, programs)
        && let Some(answer) =
            client::ask(&settings.socket, &Request::Tail { all: args.all }).await?
    {
        return joined::follow(answer, args, stop).await;
    }
    let binds = settings.binds == Switch::On;
    standalone(args, Options { binds, ..programs }, stop).await
}

async fn standalone(args: &TailArgs, programs: Options, mut stop: Stop) -> Result<u8> {
    let options = Options { exits_all: args.all, log_level: args.ebpf_log.level(), ..programs };
    let mut live = Live::start(options, CodeZero::Unnumbered)?;
    if args.ebpf_log != EbpfLog::Off {
        forward_log(&mut live)?;
    }
    if let Some(path) = &args.capture {
        live.capture(path, args.all)?;
    }
    let mut show = Show::new(&args.show, TimeZone::system())?;
    let outcome = {
        let mut stop = pin!(stop.asked());
        tokio::select! {
            outcome = follow(&mut live, &mut show) => outcome,
            () = &mut stop => Ok(Reader::There),
        }
    };
    let ended = match outcome {
        Ok(Reader::There) => last_words(&mut live, &mut show).await,
        Ok(Reader::Gone) => Ok(()),
        Err(error) => Err(error),
    };
    // Also of a disk that is full: so much was shown, and so much was not.
    logging::say(&show.summary());
    ended.map(|()| status::DONE)
}

async fn last_words(live: &mut Live, show: &mut Show<'_>) -> Result<()> {
    let mut taken = Ok(());
    live.finish(|event| keep_first(&mut taken, show.take(&event))).await?;
    taken?;
    show.last_words().await
}

async fn follow(live: &mut Live, show: &mut Show<'_>) -> Result<Reader> {
    let session = live.session(None);
    if show.events(&[session]).await? == Reader::Gone {
        return Ok(Reader::Gone);
    }
    loop {
        live.ready().await?;
        let mut taken = Ok(());
        live.events(|event| keep_first(&mut taken, show.take(&event)))?;
        taken?;
        if show.flush().await? == Reader::Gone {
            return Ok(Reader::Gone);
        }
    }
}

/// Of many outcomes the first error counts.
fn keep_first(all: &mut Result<()>, one: Result<()>) {
    if all.is_ok() {
        *all = one;
    }
}

/// Passes on what the eBPF programs say of themselves.
fn forward_log(live: &mut Live) -> Result<()> {
    let logger = EbpfLogger::init(live.ebpf_mut()).context("the eBPF programs' log")?;
    // SAFETY: the logger owns its ring's file descriptor and keeps it open, the same one, until it is dropped.
    let logger = unsafe { AsyncFd::register_with_interest(logger, tokio::io::Interest::READABLE) };
    let mut logger = logger.context("the eBPF programs' log")?;
    tokio::spawn(async move {
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    });
    Ok(())
}
