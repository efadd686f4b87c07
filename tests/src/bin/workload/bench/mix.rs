//! A busy web host: mostly connections, now and then a thread, a helper program, a worker that fails.

use super::{deaths, net, plain};
use crate::sys;

/// Requests for each helper program that is started.
const PER_HELPER: u64 = 20;
/// Requests for each worker that ends with an error.
const PER_FAILURE: u64 = 50;

/// So many requests. A hundredth of the processes that die here die of something.
pub(super) fn mix(number: u64) -> Result<u64, String> {
    let (listener, address) = net::listen()?;
    let request = [b'x'; 512];
    let mut died = 0;
    for n in 1..=number {
        net::exchange(&listener, address, &request)?;
        plain::getppid(20)?;
        if n % 5 == 0 {
            plain::threads(1)?;
        }
        if n % PER_HELPER == 0 {
            deaths::spawn_one()?;
            died += 1;
        }
        if n % PER_FAILURE == 0 {
            sys::reap(sys::fork(|| 1)?)?;
            died += 1;
        }
        if n % (10 * PER_FAILURE) == 0 {
            died += deaths::killed(1)?;
        }
    }
    Ok(died)
}
