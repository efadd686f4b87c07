//! `observer tail` while the service runs: its events, over its socket.

use std::pin::pin;

use anyhow::{Context, Result, bail};
use jiff::tz::TimeZone;

use crate::{
    cli::TailArgs,
    commands::{show::Show, stop::Stop},
    error::status,
    logging,
    model::Event,
    service::client::ServiceAnswer,
    stdout::Reader,
};

/// Shows what comes until Ctrl-C, or until nobody reads any more.
pub(super) async fn follow(
    mut answer: ServiceAnswer,
    args: &TailArgs,
    mut stop: Stop,
) -> Result<u8> {
    let mut show = Show::new(&args.show, TimeZone::system())?;
    let outcome = {
        let mut stop = pin!(stop.asked());
        tokio::select! {
            outcome = show_all(&mut answer, &mut show) => outcome,
            () = &mut stop => Ok(true),
        }
    };
    let last = show.last_words().await;
    logging::say(&show.summary());
    last?;
    if !outcome? {
        bail!("the service has ended");
    }
    Ok(status::DONE)
}

/// False when the service has ended.
async fn show_all(answer: &mut ServiceAnswer, show: &mut Show<'_>) -> Result<bool> {
    loop {
        let Some(line) = answer.line().await? else { return Ok(false) };
        let event: Event = serde_json::from_str(&line)
            .context("the service speaks another language: is it of another version?")?;
        if show.events(&[event]).await? == Reader::Gone {
            return Ok(true);
        }
    }
}
