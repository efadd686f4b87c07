//! What waits for a scan, each bound to a process, in the order in which it came.
//!
//! **Bounded:** in bytes, where whoever has most waiting loses first; by whoever takes what is overdue, in time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    user: u32,
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
    users: HashMap<u32, ScanQueueUser>,
    bytes: usize,
    next: u64,
}

/// What a user has in the queue.
#[derive(Debug, Default)]
struct ScanQueueUser {
    entries: BTreeSet<u64>,
    bytes: usize,
}

impl<T> Default for ScanQueue<T> {
    fn default() -> Self {
        let (entries, times) = (BTreeMap::new(), BTreeMap::new());
        let users = HashMap::new();
        Self { entries, last: HashMap::new(), times, users, bytes: 0, next: 0 }
    }
}

impl<T> ScanQueue<T> {
    /// Takes an item of a user's process in. Gives back what there is no room for: the item, or the newest of whoever has most.
    pub(super) fn push(
        &mut self,
        (id, user): (TaskId, u32),
        time_ns: u64,
        bytes: usize,
        item: T,
    ) -> Vec<T> {
        let mut out = Vec::new();
        let own = self.users.get(&user).map_or(0, |user| user.bytes) + bytes;
        while self.bytes + bytes > WAITING_BYTES && !self.entries.is_empty() {
            let most = self.users.values().max_by_key(|user| user.bytes);
            let newest = most.filter(|most| most.bytes > own);
            let Some(at) = newest.and_then(|most| most.entries.last().copied()) else {
                out.push(item);
                return out;
            };
            out.extend(self.remove(at));
        }
        self.bytes += bytes;
        *self.times.entry(time_ns).or_default() += 1;
        self.last.insert(id, self.next);
        let owner = self.users.entry(user).or_default();
        owner.entries.insert(self.next);
        owner.bytes += bytes;
        self.entries.insert(self.next, ScanQueueItem { id, user, time_ns, bytes, item });
        self.next += 1;
        out
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
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
        let wanted = self.entries.iter().filter(|(_, entry)| is_wanted(entry));
        let wanted: Vec<u64> = wanted.map(|(at, _)| *at).collect();
        wanted.into_iter().filter_map(|at| self.remove(at)).collect()
    }

    fn remove(&mut self, at: u64) -> Option<T> {
        let entry = self.entries.remove(&at)?;
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
        if let Some(owner) = self.users.get_mut(&entry.user) {
            owner.entries.remove(&at);
            owner.bytes -= entry.bytes;
            if owner.entries.is_empty() {
                self.users.remove(&entry.user);
            }
        }
        Some(entry.item)
    }
}

#[cfg(test)]
mod tests {
    use super::{ScanQueue, WAITING_BYTES};
    use crate::decode::TaskId;

    fn id(tgid: u32) -> (TaskId, u32) {
        (TaskId { tgid, start_ns: 1 }, 1000)
    }

    #[test]
    fn bounded_in_bytes_and_looked_at_by_time() {
        let mut waiting = ScanQueue::default();
        assert_eq!(waiting.push(id(1), 30, WAITING_BYTES - 10, 'a'), []);
        assert_eq!(waiting.push(id(2), 10, 10, 'b'), []);
        assert_eq!(waiting.push(id(3), 20, 1, 'c'), ['c'], "no room");
        assert_eq!((waiting.since_ns(0), waiting.since_ns(10)), (Some(10), Some(30)));
        assert_eq!(waiting.take_before(10), []);
        assert_eq!(waiting.take_before(11), ['b']);
        assert_eq!(waiting.since_ns(0), Some(30));
        assert_eq!(waiting.push(id(3), 20, 1, 'c'), [], "there is room again");
        assert_eq!(waiting.get_mut(id(3).0).copied(), Some('c'));
        assert_eq!(waiting.take_if(|_| true), ['a', 'c']);
        assert!(waiting.is_empty() && waiting.since_ns(0).is_none());
        assert_eq!(waiting.get_mut(id(3).0), None);
        assert!(waiting.users.is_empty() && waiting.bytes == 0);
    }

    #[test]
    fn whoever_has_most_loses_first() {
        let mut waiting = ScanQueue::default();
        let half = WAITING_BYTES / 2;
        assert_eq!(waiting.push(id(1), 10, half, 'a'), []);
        assert_eq!(waiting.push(id(2), 20, half, 'b'), []);
        let roots = (TaskId { tgid: 3, start_ns: 1 }, 0);
        assert_eq!(waiting.push(roots, 30, half, 'c'), ['b'], "the newest of who has more");
        assert_eq!(waiting.push(roots, 40, half, 'd'), ['d'], "now root has as much");
        assert_eq!(waiting.take_if(|_| true), ['a', 'c']);
    }
}
