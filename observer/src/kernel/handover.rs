//! Hands the programs, rings and maps of a run to the next one, through a service manager that keeps descriptors (systemd's file
//! descriptor store). The programs stay attached between the runs, and their records wait in the rings.
//!
//! A run gives the manager its descriptors under the names `observer.ABI.RUN.PART`. The next run attaches programs of its own
//! beside them, reads what the old rings hold, and has the manager forget them. An object of another version does no harm: its
//! ABI is in the name and in each record.
//!
//! **Bounded:** [`NOTES_READ`] notes and senders are copied; the rest has the sizes of `observer-ebpf/src/maps.rs`.

pub mod ledger;

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::loaded_links,
};
use observer_common::{
    header::ABI,
    signal::{NoteKey, Sender, SenderKey, SignalNote},
};

use self::ledger::LeftLedger;
use super::{Kernel, clock, counts, counts::Lost, refusals};

/// What the next run reads. The rings come in the order in which they are read.
const MAPS: [&str; 8] =
    ["OOM_RING", "REFUSAL_RING", "PORT_RING", "EXIT_RING", "NOTES", "SENDERS", "LOST", "REFUSALS"];
/// How the name of a ring ends.
const RING: &str = "_RING";

/// Most entries that are read of a map of notes or senders: it may change meanwhile, and the walk begin anew.
const NOTES_READ: usize = 16384;
/// Leave what is there: the new programs know better.
const BPF_NOEXIST: u64 = 1;
const BPF_LINK_GET_FD_BY_ID: i32 = 30;

/// The service manager, and what it kept.
pub struct Handover {
    /// What it kept, by name.
    pub given: Vec<(String, OwnedFd)>,
    /// Has it keep descriptors under a name.
    pub keep: fn(&str, &[BorrowedFd<'_>]),
    /// Has it forget what it keeps under a name.
    pub forget: fn(&str),
    /// The number of the last event in the store.
    pub stored: Option<u64>,
}

/// What an earlier run left.
pub struct Remains {
    /// Number of the run.
    run: u64,
    /// Names under which the manager keeps it.
    names: Vec<String>,
    /// Its programs are attached as long as somebody has these.
    links: Vec<OwnedFd>,
    /// The rings.
    pub rings: Vec<RingBuf<MapData>>,
    /// Other maps by name, of programs with the ABI of ours.
    maps: Vec<(String, MapData)>,
    /// What it wrote down.
    pub ledger: Option<LeftLedger>,
}

/// The name of a part of a run's descriptors.
#[must_use]
pub fn name(run: u64, part: KeptPart) -> String {
    format!("observer.{ABI}.{run}.{}", part.word())
}

/// The number of the run after these.
#[must_use]
pub fn next_run(remains: &[Remains]) -> u64 {
    remains.last().map_or(0, |last| last.run).saturating_add(1)
}

/// Descriptors that are kept under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptPart {
    /// The attachments.
    Links,
    /// Rings and other maps.
    Maps,
    /// The ledger.
    Ledger,
}

impl KeptPart {
    const ALL: [Self; 3] = [Self::Links, Self::Maps, Self::Ledger];

    const fn word(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Maps => "maps",
            Self::Ledger => "ledger",
        }
    }
}

/// ABI, run and part of a name.
fn parts_of(name: &str) -> Option<(u16, u64, KeptPart)> {
    let mut words = name.strip_prefix("observer.")?.split('.');
    let (abi, run, part) =
        (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
    let part = KeptPart::ALL.into_iter().find(|known| known.word() == part)?;
    words.next().is_none().then_some((abi, run, part))
}

/// Sorts what the manager kept by run, the earliest first. What is not known is closed.
#[must_use]
pub fn sort(given: Vec<(String, OwnedFd)>) -> Vec<Remains> {
    let mut remains: Vec<Remains> = Vec::new();
    for (name, descriptor) in given {
        let Some((abi, run, part)) = parts_of(&name) else {
            tracing::warn!(name, "the service manager kept something that is not known");
            continue;
        };
        let at = remains.binary_search_by_key(&run, |remains| remains.run).unwrap_or_else(|at| {
            remains.insert(at, Remains::new(run));
            at
        });
        let of_run = &mut remains[at];
        if !of_run.names.contains(&name) {
            of_run.names.push(name);
        }
        if let Err(error) = of_run.add(part, abi == ABI, descriptor) {
            tracing::warn!("something that the service manager kept can't be used: {error:#}");
        }
    }
    remains
}

impl Remains {
    fn new(run: u64) -> Self {
        let (names, links, rings, maps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { run, names, links, rings, maps, ledger: None }
    }

    fn add(&mut self, part: KeptPart, same_abi: bool, descriptor: OwnedFd) -> Result<()> {
        match part {
            KeptPart::Links => self.links.push(descriptor),
            KeptPart::Ledger if same_abi => self.ledger = LeftLedger::read(descriptor),
            KeptPart::Ledger => {}
            KeptPart::Maps => {
                let map = MapData::from_fd(descriptor).context("it is no map")?;
                let name = map.info()?.name_as_str().unwrap_or_default().to_owned();
                if name.ends_with(RING) {
                    self.rings.push(RingBuf::try_from(Map::from_map_data(map)?)?);
                } else if same_abi {
                    self.maps.push((name, map));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<Map> {
        let at = self.maps.iter().position(|(known, _)| known == name)?;
        Map::from_map_data(self.maps.swap_remove(at).1).ok()
    }

    /// Records that its programs could not deliver, a count for each slot; `None` if that is not known.
    pub fn lost(&mut self) -> Option<Lost> {
        let lost = PerCpuArray::try_from(self.take("LOST")?).ok()?;
        counts::sum(&lost).ok()
    }

    /// How many refusals its programs counted, of those that they still count; `None` if that is not known.
    pub fn refusals(&mut self) -> Option<u64> {
        refusals::sum(self.take("REFUSALS")?).ok()
    }

    /// Has the manager forget it; its programs are detached once the manager and this process have closed it.
    pub fn forget(self, forget: fn(&str)) {
        self.names.iter().for_each(|name| forget(name));
    }
}

/// Descriptors of the maps that the next run needs.
pub(super) fn maps(ebpf: &Ebpf) -> Result<Vec<OwnedFd>> {
    let descriptor = |name: &&str| {
        let map = ebpf.map(name).with_context(|| format!("the eBPF object has no map {name}"))?;
        let (Map::RingBuf(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)) = map
        else {
            anyhow::bail!("{name} is of a type that is not handed over");
        };
        Ok(data.fd().as_fd().try_clone_to_owned()?)
    };
    MAPS.iter().map(descriptor).collect()
}

impl Kernel {
    /// Gives the manager what the next run needs. Takes `CAP_SYS_ADMIN`.
    pub fn hand_over(&self, run: u64, keep: fn(&str, &[BorrowedFd<'_>])) {
        let links = self.links();
        for (part, descriptors) in [(KeptPart::Links, &links), (KeptPart::Maps, &self.maps)] {
            let descriptors: Vec<BorrowedFd> = descriptors.iter().map(|fd| fd.as_fd()).collect();
            keep(&name(run, part), &descriptors);
        }
    }

    /// Descriptors of the attachments: they can only be had by their numbers.
    fn links(&self) -> Vec<OwnedFd> {
        let attached = self.attached.iter().filter(|attached| attached.refused.is_none());
        let program = |name| self.ebpf.program(name)?.info().ok().map(|info| info.id());
        let programs: HashSet<u32> =
            attached.filter_map(|attached| program(attached.hook.program)).collect();
        let links = loaded_links().filter_map(Result::ok);
        links
            .filter(|link| programs.contains(&link.program_id()))
            .filter_map(|link| {
                descriptor_of(link.id())
                    .inspect_err(|error| tracing::warn!("a program is not handed over: {error}"))
                    .ok()
            })
            .collect()
    }

    /// Copies the notes of signals and their senders, so that whoever was sent a signal before is said to have been killed by the
    /// sender.
    pub fn adopt(&mut self, remains: &mut Remains) -> Result<()> {
        const SENDER_KEY: usize = size_of::<SenderKey>();
        const NOTE_KEY: usize = size_of::<NoteKey>();
        // Senders first: a note without its sender would name nobody.
        if let Some(senders) = remains.take("SENDERS") {
            copy::<SENDER_KEY, { size_of::<Sender>() }>(senders, self.map("SENDERS")?, |_| ())?;
        }
        if let Some(notes) = remains.take("NOTES") {
            let mut targets = HashSet::new();
            copy::<NOTE_KEY, { size_of::<SignalNote>() }>(notes, self.map("NOTES")?, |key| {
                targets.insert(u32::from_ne_bytes([key[0], key[1], key[2], key[3]]));
            })?;
            let mut noted = Array::<_, u64>::try_from(self.map("NOTED")?)?;
            for target in targets {
                // The kernel side only asks whether there may be one: the present is never too early.
                noted.set(target % noted.len(), clock::boot_ns(), 0)?;
            }
        }
        Ok(())
    }

    fn map(&mut self, name: &str) -> Result<&mut Map> {
        self.ebpf.map_mut(name).with_context(|| format!("the eBPF object has no map {name}"))
    }
}

/// Copies what the other map lacks; `each` sees every key.
fn copy<const KEY: usize, const VALUE: usize>(
    from: Map,
    to: &mut Map,
    mut each: impl FnMut(&[u8; KEY]),
) -> Result<()> {
    let from = HashMap::<_, [u8; KEY], [u8; VALUE]>::try_from(from)?;
    let mut to = HashMap::<_, [u8; KEY], [u8; VALUE]>::try_from(to)?;
    for (key, value) in from.iter().take(NOTES_READ).filter_map(Result::ok) {
        // One that is there already is newer.
        let _ = to.insert(key, value, BPF_NOEXIST);
        each(&key);
    }
    Ok(())
}

/// A descriptor of an attachment.
fn descriptor_of(link: u32) -> io::Result<OwnedFd> {
    // `union bpf_attr` for this command: the number, an unused one, flags.
    let attributes = [link, 0, 0];
    // SAFETY: the kernel reads as many bytes as it is told; a descriptor that it returns is new and nobody else's.
    unsafe {
        let got = libc::syscall(
            libc::SYS_bpf,
            BPF_LINK_GET_FD_BY_ID,
            attributes.as_ptr(),
            size_of_val(&attributes),
        );
        match i32::try_from(got) {
            Ok(descriptor) if descriptor >= 0 => Ok(OwnedFd::from_raw_fd(descriptor)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Waits until no program runs any more that had begun when this was called.
pub fn wait_for_running_programs() {
    use rustix::thread::{MembarrierCommand, membarrier};
    // The kernel implements it as a grace period of RCU, which programs run under.
    if let Err(error) = membarrier(MembarrierCommand::Global) {
        tracing::debug!(%error, "no grace period");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for part in KeptPart::ALL {
            assert_eq!(parts_of(&name(7, part)), Some((ABI, 7, part)));
        }
        let others = ["", "stored", "observer", "observer.1.2", "observer.1.2.other", "x.1.2.maps"];
        for other in others.into_iter().chain(["observer.1.2.maps.3", "observer.-1.2.maps"]) {
            assert_eq!(parts_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_not_known_is_closed_and_runs_are_sorted() {
        let null = || OwnedFd::from(File::open("/dev/null").expect("a device"));
        let names = ["connection", "observer.1.9.links", "observer.1.3.maps", "observer.7.4.links"];
        let remains = sort(names.map(|name| (name.to_owned(), null())).into());
        let runs: Vec<_> = remains.iter().map(|r| (r.run, r.links.len(), r.rings.len())).collect();
        assert_eq!(runs, [(3, 0, 0), (4, 1, 0), (9, 1, 0)]);
        assert_eq!(next_run(&remains), 10);
        assert_eq!(next_run(&[]), 1);
    }
}
