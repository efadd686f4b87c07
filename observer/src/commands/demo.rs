//! `observer demo`: stages a small outage in ten seconds and shows the real kernel events about its own processes.
//!
//! **Bounded:** five processes, one loopback port, one memory cgroup of 32 MiB; all end with it.

mod acts;
mod cast;
mod children;
mod ending;
mod group;
mod parts;
mod stage;

pub use parts::run as run_part;

use anyhow::Result;
use jiff::tz::TimeZone;

use self::{
    acts::{Keeper, play},
    cast::Cast,
    group::Group,
    stage::{Cut, Stage},
};
use super::{show::Show, stop::Stop};
use crate::{
    cli::{DemoArgs, Format, ShowArgs},
    engine::{CodeZero, live::Live},
    error::status,
    filter::Filter,
    format::{style::Palette, text::TextFormat},
    kernel::load::Options,
    logging,
    model::{Event, human},
    stdout,
};

/// What the worker may use: far more than it needs, and nothing that a machine would miss.
const LIMIT_BYTES: u64 = 32 << 20;

/// Runs it; status 1 when an expected kernel event did not come.
pub fn run(args: &DemoArgs, programs: Options) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(demo(args, programs));
    // A terminal that is stopped may hold a write for ever: don't wait for it.
    runtime.shutdown_background();
    done
}

async fn demo(args: &DemoArgs, programs: Options) -> Result<u8> {
    // Before there is anything that would be left behind.
    let stop = Stop::new()?.with_hang_up()?;
    // Programs of its own, also beside a running service: it shows the same with and without, and what the service
    // leaves out or filters does not matter. The service sees the same deaths, as it should.
    let mut live = Live::start(Options { binds: true, ..programs }, CodeZero::Ignored)?;
    group::sweep();
    let format = if args.json { Format::Json } else { Format::Text };
    let show_args = ShowArgs { format, json: args.json, filter: Filter::default() };
    let show = Show::new(&show_args, TimeZone::system())?;
    let group = match Group::make(LIMIT_BYTES) {
        Ok(group) => Some(group),
        Err(why) => {
            logging::say(&format!(
                "no memory group can be had, so the supervisor kills the worker instead of the kernel: {why}"
            ));
            None
        }
    };
    let keeper = if group.is_some() { Keeper::Kernel } else { Keeper::Supervisor };
    logging::say(&format!(
        "In about ten seconds: a worker over its limit of {}, who keeps its port, and how to find out.",
        human::size(LIMIT_BYTES)
    ));
    let cast = Cast::start(LIMIT_BYTES, group.as_ref().map(Group::dir))?;
    // The processes end before their group does, also where an error leaves early: what is declared last goes first.
    let mut stage = Stage::new(&mut live, show, stop, cast);
    let played = match stage.begin().await {
        Ok(()) => play(&mut stage, keeper, LIMIT_BYTES).await,
        cut => cut,
    };
    let events = stage.end();
    drop(group);
    match played {
        Ok(()) => {
            finish(args, &events)?;
            Ok(status::DONE)
        }
        Err(Cut::Gone) => Ok(status::DONE),
        Err(Cut::Asked) => {
            logging::say("observer: stopped before the end; nothing is left behind");
            Ok(status::NO_MATCH)
        }
        Err(Cut::Missed(what)) => {
            logging::say(&format!("observer: {what}: `observer doctor` may say why"));
            Ok(status::NO_MATCH)
        }
        Err(Cut::Failed(error)) => Err(error),
    }
}

/// The incident goes to stdout; with `--json` as an event.
fn finish(args: &DemoArgs, events: &[Event]) -> Result<()> {
    logging::say("");
    logging::say("What happened, as `observer why` tells it:");
    let text = TextFormat::new(Palette::for_stdout(), TimeZone::system()).within(std::io::stdout());
    for event in ending::the_end(events) {
        let shown =
            if args.json { serde_json::to_string(&event)? + "\n" } else { text.event(&event) };
        stdout::print(&shown)?;
    }
    logging::say("");
    logging::say("For real:");
    logging::say("  observer tail         what dies and who is refused, as it happens");
    logging::say("  observer ports 8080   who holds a port right now");
    logging::say("  observer why :8080    what happened to it");
    Ok(())
}
