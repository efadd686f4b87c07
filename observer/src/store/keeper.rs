//! Keeps the folder within its limits: compresses closed segments, removes the oldest.
//!
//! **Invariant:** [`beyond_limits`] never names the current segment. Callers write a removal for age or size to the seals
//! before they call [`remove`].

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use super::{
    Folder, Limits, Segment,
    folder::{COMPRESSED, PLAIN, open_to_read},
};

/// zstd's own default: 10 to 1 on events, at 200 MB/s.
const LEVEL: i32 = 3;

/// Compresses closed segments, one after the other, on a thread of its own.
pub fn compress(folder: &Folder, segments: Vec<Segment>) {
    let folder = folder.clone();
    let started = std::thread::Builder::new().name("compress".to_owned()).spawn(move || {
        for segment in segments {
            if let Err(error) = compress_now(&folder, &segment)
                // Removed for its age or size meanwhile.
                && error.kind() != io::ErrorKind::NotFound
            {
                // It stays readable, and the next start tries again.
                tracing::warn!("can't compress {}: {error}", segment.stem);
            }
        }
    });
    if let Err(error) = started {
        tracing::warn!("can't start a thread to compress segments: {error}");
    }
}

/// Compresses the segments that an earlier run left plain, except the newest.
pub fn compress_closed(folder: &Folder, segments: &[Segment]) {
    let Some((_, older)) = segments.split_last() else { return };
    let mut plain_ones = Vec::new();
    for segment in older.iter().filter(|segment| segment.events.is_some()) {
        let plain = folder.path().join(format!("{}.{PLAIN}", segment.stem));
        if !segment.compressed {
            plain_ones.push(segment.clone());
        } else if plain.exists() {
            // The run before ended between compression and removal.
            let _ = fs::remove_file(plain);
        }
    }
    if !plain_ones.is_empty() {
        compress(folder, plain_ones);
    }
}

fn compress_now(folder: &Folder, segment: &Segment) -> io::Result<()> {
    let Some(plain) = &segment.events else { return Ok(()) };
    let done = folder.path().join(format!("{}.{COMPRESSED}", segment.stem));
    let new = folder.path().join(format!("{}.new", segment.stem));
    let outcome = write_compressed(folder, plain, &new);
    if outcome.is_err() {
        let _ = fs::remove_file(&new);
    }
    outcome?;
    fs::rename(&new, &done)?;
    folder.sync()?;
    match fs::remove_file(plain) {
        // The segment was removed for its age or size meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(done),
        other => other,
    }
}

fn write_compressed(folder: &Folder, from: &Path, to: &Path) -> io::Result<()> {
    let file = folder.open(to)?;
    file.set_len(0)?;
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(&mut open_to_read(from)?, &mut encoder)?;
    let file = encoder.finish()?;
    // Its age is that of its last event.
    file.set_modified(fs::metadata(from)?.modified()?)?;
    file.sync_all()
}

/// The segments beyond the limits of size and age, oldest first; never the one with the number `current`.
#[must_use]
pub fn beyond_limits(folder: &Folder, limits: &Limits, current: u64) -> Vec<Segment> {
    let Ok(segments) = folder.own_segments() else { return Vec::new() };
    let mut total: u64 = segments.iter().map(size).sum();
    let ends: Vec<SystemTime> = segments.iter().map(end).collect();
    let ages = ages(&ends, SystemTime::now(), limits);
    segments
        .into_iter()
        .zip(ages)
        .filter(|(segment, _)| segment.number < current)
        .take_while(|(segment, age)| {
            let goes = total > limits.keep_bytes || *age > limits.keep_age;
            total = total.saturating_sub(size(segment));
            goes
        })
        .map(|(segment, _)| segment)
        .collect()
}

/// How old the last event of each segment is, by when it was written. While a service runs, segments follow each other within
/// `segment_age`. So a step that is longer than all that is kept is a clock that was set ahead, or a long stop: it counts as twice
/// that age, and a step back counts nothing. Else a clock that jumps would let everything be removed.
fn ages(ends: &[SystemTime], now: SystemTime, limits: &Limits) -> Vec<Duration> {
    let jump = limits.segment_age.saturating_mul(2).min(limits.keep_age);
    let step = |from: SystemTime, to: SystemTime| {
        let step = to.duration_since(from).unwrap_or_default();
        if step > limits.keep_age { jump } else { step }
    };
    let (mut age, mut next) = (Duration::ZERO, now);
    let mut ages: Vec<Duration> = Vec::with_capacity(ends.len());
    for end in ends.iter().rev() {
        age = age.saturating_add(step(*end, next));
        ages.push(age);
        next = *end;
    }
    ages.reverse();
    ages
}

/// When its last event was written.
fn end(segment: &Segment) -> SystemTime {
    let meta = fs::metadata(segment.events.as_ref().unwrap_or(&segment.seals));
    meta.and_then(|meta| meta.modified()).unwrap_or_else(|_gone| SystemTime::now())
}

/// Removes segments with their seals and their torn events.
pub fn remove(folder: &Folder, segments: &[Segment]) {
    for segment in segments {
        // Both names, in this order: the compressing thread may be at work on it.
        let [plain, compressed] = [PLAIN, COMPRESSED]
            .map(|ending| folder.path().join(format!("{}.{ending}", segment.stem)));
        for file in [&plain, &compressed, &segment.seals, &segment.torn] {
            if let Err(error) = fs::remove_file(file)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("can't remove {}: {error}", file.display());
            }
        }
    }
}

fn size(segment: &Segment) -> u64 {
    let files = segment.events.iter().chain([&segment.seals, &segment.torn]);
    files.filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Limits, ages};

    /// The ages in days of segments that ended on these days, on the last of them. Seven days are kept.
    fn days(ends: &[u64]) -> Vec<u64> {
        let day = Duration::from_hours(24);
        let at = |n: &u64| SystemTime::UNIX_EPOCH + day * u32::try_from(*n).expect("a small one");
        let (now, ends) = ends.split_last().expect("now");
        let ends: Vec<SystemTime> = ends.iter().map(at).collect();
        let limits = Limits {
            segment_bytes: 0,
            segment_age: day,
            keep_bytes: 0,
            keep_age: day * 7,
            seal_after: day,
        };
        ages(&ends, at(now), &limits).iter().map(|age| age.as_secs() / day.as_secs()).collect()
    }

    #[test]
    fn a_clock_that_jumps_makes_nothing_old() {
        assert_eq!(days(&[0, 1, 2, 8]), [8, 7, 6]);
        // Ten years ahead, and back.
        assert_eq!(days(&[10, 11, 3660]), [3, 2]);
        assert_eq!(days(&[10, 11, 3660, 3661]), [4, 3, 1]);
        assert_eq!(days(&[10, 3660, 11, 12]), [3, 1, 1]);
    }
}
