//! Loads that `cargo xtask bench` times: bounded, on as many workers as asked for, with what they took as one line of JSON.
//!
//! Nothing is measured here but time: what somebody else makes of the load is the bench's business.

mod audit;
mod bomb;
mod connector;
mod deaths;
mod hook;
mod mix;
mod net;
mod netlink;
mod plain;
mod ring;

use std::time::Instant;

use crate::args::Args;
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[
    ("bench", bench),
    ("bench-bomb", bomb::bomb),
    ("bench-hook", hook::hook),
    ("bench-record", hook::record),
    ("bench-connector", connector::connector),
    ("bench-audit", audit::audit),
];

/// What one worker does: so many operations. Gives how many processes died in them.
type Load = fn(u64) -> Result<u64, String>;

const LOADS: &[(&str, Load)] = &[
    ("fork-exit", deaths::fork_exit),
    ("spawn", deaths::spawn),
    ("killed", deaths::killed),
    ("threads", plain::threads),
    ("signals", plain::signals),
    ("handled", plain::handled),
    ("getppid", plain::getppid),
    ("connect", net::connect),
    ("bind", net::bind),
    ("refused", net::refused),
    ("mix", mix::mix),
];

/// `bench LOAD N [WORKERS]`: N operations on each of WORKERS processes, one to a processor.
///
/// Says `{"operations":…,"deaths":…,"nanoseconds":…,"cpu_nanoseconds":…}`; the deaths of the workers are counted in.
fn bench(mut args: Args) -> Outcome {
    let name = args.text("LOAD")?;
    let number: u64 = args.number("N")?;
    let workers: u32 = args.number_or(2);
    let Some((_, load)) = LOADS.iter().find(|(known, _)| *known == name) else {
        let names: Vec<_> = LOADS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no load {name:?}; there are: {}", names.join(" ")));
    };
    deaths::prepare()?;
    let began = Instant::now();
    let outcome = side_by_side(workers, || load(number));
    let nanoseconds = began.elapsed().as_nanos();
    deaths::tidy();
    let deaths = outcome? + u64::from(workers);
    let operations = number * u64::from(workers);
    let cpu = cpu_nanoseconds();
    sys::say_line(&format!(
        r#"{{"operations":{operations},"deaths":{deaths},"nanoseconds":{nanoseconds},"cpu_nanoseconds":{cpu}}}"#
    ));
    Ok(0)
}

/// Forks the workers and adds up what they say through a pipe.
fn side_by_side(workers: u32, body: impl Fn() -> Result<u64, String>) -> Result<u64, String> {
    let (mut reader, writer) = std::io::pipe().map_err(|why| why.to_string())?;
    let mut children = Vec::new();
    for _ in 0..workers {
        children.push(sys::fork_tied(|| match body() {
            Ok(deaths) => {
                let sent = std::io::Write::write_all(&mut &writer, &deaths.to_ne_bytes());
                i32::from(sent.is_err())
            }
            Err(why) => {
                sys::complain(&why);
                1
            }
        })?);
    }
    drop(writer);
    let mut deaths = 0;
    for child in children {
        let mut counted = [0; 8];
        if sys::reap(child)? != 0 || std::io::Read::read_exact(&mut reader, &mut counted).is_err() {
            return Err("a worker failed".to_owned());
        }
        deaths += u64::from_ne_bytes(counted);
    }
    Ok(deaths)
}

/// Of the workers, and of all that died in them.
fn cpu_nanoseconds() -> i64 {
    // SAFETY: all zeros is a valid rusage, and it outlives the call.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut used);
        used
    };
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    (micros(used.ru_utime) + micros(used.ru_stime)) * 1000
}
