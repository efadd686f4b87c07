//! What waits for a scan, each bound to a process, in the order in which it came.
//!
//! **Bounded:** in bytes; by whoever takes what is overdue, in time.

use std::collections::{BTreeMap, HashMap};

use super::WAITING_BYTES;
use crate::decode::{Task, TaskId};

/// About what a captured process takes, besides its own texts.
const TASK_BYTES: usize = 1024;

/// How much memory a record about this process holds.
pub(super) fn bytes_of(task: &Task) -> usize {
    TASK_BYTES + task.args.len() + task.exe.len() + task.cgroup.len()
}

#[derive(Debug)]
struct ScanQueueItem<T> {
    id: TaskId,
    time_ns: u64,
    bytes: usize,
    item: T,
}

/// A queue that is looked at by time, and by process.
#[derive(Debug)]
pub(super) struct ScanQueue<T> {
    /// By the order in which they came.
    entries: BTreeMap<u64, ScanQueueItem<T>>,
    /// The last of each process.
    last: HashMap<TaskId, u64>,
    /// How many there are of each moment.
    times: BTreeMap<u64, u32>,
    bytes: usize,
    next: u64,
}

impl<T> Default for ScanQueue<T> {
    fn default() -> Self {
        let (entries, times) = (BTreeMap::new(), BTreeMap::new());
        Self { entries, last: HashMap::new(), times, bytes: 0, next: 0 }
    }
}

impl<T> ScanQueue<T> {
    /// Takes an item in, or gives it back when there is no room.
    pub(super) fn push(&mut self, id: TaskId, time_ns: u64, bytes: usize, item: T) -> Option<T> {
        if self.bytes + bytes > WAITING_BYTES && !self.entries.is_empty() {
            return Some(item);
        }
        self.bytes += bytes;
        *self.times.entry(time_ns).or_default() += 1;
        self.last.insert(id, self.next);
        self.entries.insert(self.next, ScanQueueItem { id, time_ns, bytes, item });
        self.next += 1;
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.values().map(|entry| &entry.item)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.values_mut().map(|entry| &mut entry.item)
    }

    /// The last item of a process.
    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut T> {
        let at = self.last.get(&id)?;
        self.entries.get_mut(at).map(|entry| &mut entry.item)
    }

    /// The earliest moment after this one.
    pub(super) fn since_ns(&self, after_ns: u64) -> Option<u64> {
        let later = (std::ops::Bound::Excluded(after_ns), std::ops::Bound::Unbounded);
        self.times.range(later).next().map(|(time_ns, _)| *time_ns)
    }

    /// Takes out those of which that is true, in their order.
    pub(super) fn take_if(&mut self, mut is_wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        self.take(|entry| is_wanted(&entry.item))
    }

    /// Takes out those that came before a moment.
    pub(super) fn take_before(&mut self, before_ns: u64) -> Vec<T> {
        if self.times.first_key_value().is_none_or(|(first, _)| *first >= before_ns) {
            return Vec::new();
        }
        self.take(|entry| entry.time_ns < before_ns)
    }

    fn take(&mut self, mut is_wanted: impl FnMut(&ScanQueueItem<T>) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for (at, entry) in std::mem::take(&mut self.entries) {
            if !is_wanted(&entry) {
                self.entries.insert(at, entry);
                continue;
            }
            self.bytes -= entry.bytes;
            if self.last.get(&entry.id) == Some(&at) {
                self.last.remove(&entry.id);
            }
            if let Some(count) = self.times.get_mut(&entry.time_ns) {
                *count -= 1;
                if *count == 0 {
                    self.times.remove(&entry.time_ns);
                }
            }
            taken.push(entry.item);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::{ScanQueue, WAITING_BYTES};
    use crate::decode::TaskId;

    fn id(tgid: u32) -> TaskId {
        TaskId { tgid, start_ns: 1 }
    }

    #[test]
    fn bounded_in_bytes_and_looked_at_by_time() {
        let mut waiting = ScanQueue::default();
        assert_eq!(waiting.push(id(1), 30, WAITING_BYTES - 10, 'a'), None);
        assert_eq!(waiting.push(id(2), 10, 10, 'b'), None);
        assert_eq!(waiting.push(id(3), 20, 1, 'c'), Some('c'), "no room");
        assert_eq!((waiting.since_ns(0), waiting.since_ns(10)), (Some(10), Some(30)));
        assert_eq!(waiting.take_before(10), []);
        assert_eq!(waiting.take_before(11), ['b']);
        assert_eq!(waiting.since_ns(0), Some(30));
        assert_eq!(waiting.push(id(3), 20, 1, 'c'), None, "there is room again");
        assert_eq!(waiting.get_mut(id(3)).copied(), Some('c'));
        assert_eq!(waiting.take_if(|_| true), ['a', 'c']);
        assert!(waiting.is_empty() && waiting.since_ns(0).is_none());
        assert_eq!(waiting.get_mut(id(3)), None);
    }
}
