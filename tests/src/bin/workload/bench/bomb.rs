//! A fork bomb, for a group that limits how many may live.

use std::time::{Duration, Instant};

use crate::args::Args;
use crate::{Outcome, sys};

/// How many each of them makes before it leaves.
const CHILDREN: usize = 3;

/// `bench-bomb SECONDS`: each process makes others, and leaves; none outlives SECONDS. Refused unless it runs in a group
/// with a limit: `in-cgroup DIR bench-bomb …`.
pub(super) fn bomb(mut args: Args) -> Outcome {
    let seconds = args.number("SECONDS")?;
    let ends = Instant::now() + Duration::from_secs(seconds);
    limited()?;
    // The dead are nobody's.
    sys::disposition(libc::SIGCHLD, libc::SIG_IGN);
    while Instant::now() < ends {
        if sys::fork(|| multiply(ends)).is_err() {
            sys::sleep_ms(1);
        }
    }
    Ok(0)
}

fn multiply(ends: Instant) -> i32 {
    for _ in 0..CHILDREN {
        if Instant::now() >= ends {
            break;
        }
        if sys::fork(|| multiply(ends)).is_err() {
            sys::sleep_ms(1);
        }
    }
    1
}

fn limited() -> Result<(), String> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").map_err(|why| why.to_string())?;
    let own = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let root = match controllers {
            "pids" => "/sys/fs/cgroup/pids",
            "" => "/sys/fs/cgroup",
            _ => return None,
        };
        std::fs::read_to_string(format!("{root}{path}/pids.max")).ok()
    });
    let mut limits = own.filter_map(|text| text.trim().parse::<u32>().ok());
    if limits.any(|most| most <= 4096) {
        return Ok(());
    }
    Err("not in a group with a limit on processes".to_owned())
}
