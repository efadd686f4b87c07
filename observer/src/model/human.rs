//! Formats sizes, spans, counts and processes for people.
//!
//! **Invariant:** values in, text out; no I/O.

use super::Process;

/// `512 MiB`, `1.5 GiB`, `900 B`: three significant digits at most, in powers of 1024.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes;
    let mut rest = 0;
    let mut unit = "B";
    for name in UNITS {
        if value < 1024 {
            break;
        }
        rest = value % 1024;
        value /= 1024;
        unit = name;
    }
    // Rounded down: usage below a limit must not show as the limit.
    let tenths = rest * 10 / 1024;
    if value < 100 && tenths > 0 {
        format!("{value}.{tenths} {unit}")
    } else {
        format!("{value} {unit}")
    }
}

/// `0.4 s`, `31 s`, `4 min 10 s`, `3 h 12 min`, `5 d 2 h`: two units at most.
#[must_use]
pub fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 0.001 {
        return format!("{:.0} µs", seconds * 1e6);
    }
    if seconds < 1.0 {
        return format!("{:.0} ms", seconds * 1e3);
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and a cast of a float saturates"
    )]
    let whole = seconds as u64;
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {big_unit}"),
        _ => format!("{big} {big_unit} {small} {small_unit}"),
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => two(whole / 60, "min", whole % 60, "s"),
        3600..86400 => two(whole / 3600, "h", whole % 3600 / 60, "min"),
        _ => two(whole / 86400, "d", whole % 86400 / 3600, "h"),
    }
}

/// `nginx 812 (nginx.service)`.
#[must_use]
pub fn who(process: &Process) -> String {
    let comm = process.comm.as_deref().unwrap_or("?");
    match process.place() {
        Some(place) => format!("{comm} {} ({place})", process.pid),
        None => format!("{comm} {}", process.pid),
    }
}

/// `1 death`, `2 deaths`.
#[must_use]
pub fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::{count, size, span};

    #[test]
    fn counts() {
        assert_eq!(count(0, "record"), "0 records");
        assert_eq!(count(1, "OOM kill"), "1 OOM kill");
        assert_eq!(count(2, "death"), "2 deaths");
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (512 << 20, "512 MiB"),
            ((512 << 20) - 1, "511 MiB"),
            (3 << 30, "3 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn spans() {
        for (seconds, text) in [
            (-1.0, "0 µs"),
            (0.000_25, "250 µs"),
            (0.004, "4 ms"),
            (1.25, "1.2 s"),
            (31.9, "31 s"),
            (60.0, "1 min"),
            (250.0, "4 min 10 s"),
            (11_520.0, "3 h 12 min"),
            (439_200.0, "5 d 2 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
