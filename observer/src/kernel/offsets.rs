//! Resolves the eBPF programs' globals (`observer_common::offsets`) from the running kernel's BTF.

use anyhow::{Result, bail};
use observer_common::offsets::{ABSENT, GLOBALS, Wanted};

use super::btf::{Btf, Structure};

/// A value for each global, in the order of [`GLOBALS`].
#[derive(Debug)]
pub struct Offsets(Vec<u32>);

/// Not missing where absent: later kernels have the field under another name, which another global asks for.
const SUCCEEDED: [&str; 1] = ["MM_RSS_COUNT"];

impl Offsets {
    /// Resolves every global; fails when a required one is missing.
    pub fn resolve(btf: &Btf) -> Result<Self> {
        let mut structures = Structures { btf, last: None };
        let values: Vec<u32> = GLOBALS
            .iter()
            .map(|global| value(&mut structures, global.wanted).unwrap_or(ABSENT))
            .collect();
        for (global, value) in GLOBALS.iter().zip(&values) {
            if global.required && *value == ABSENT {
                bail!("this kernel's BTF has no {}", describe(global.wanted));
            }
        }
        Ok(Self(values))
    }

    /// Name and value of each global.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &u32)> {
        GLOBALS.iter().map(|global| global.name).zip(&self.0)
    }

    /// The fields that this kernel lacks.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        GLOBALS
            .iter()
            .zip(&self.0)
            .filter(|(global, value)| **value == ABSENT && !SUCCEEDED.contains(&global.name))
            .map(|(global, _)| describe(global.wanted))
            .collect()
    }

    /// A global's value, `None` when the kernel lacks it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u32> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| *value).filter(|v| *v != ABSENT)
    }
}

/// Caches the last structure: a search by name is slow, and neighbours in the table are mostly fields of the same one.
struct Structures<'a> {
    btf: &'a Btf,
    last: Option<(&'static str, Option<Structure<'a>>)>,
}

impl<'a> Structures<'a> {
    fn get(&mut self, name: &'static str) -> Option<Structure<'a>> {
        match self.last {
            Some((last, found)) if last == name => found,
            _ => self.last.insert((name, self.btf.structure(name))).1,
        }
    }
}

fn value(structures: &mut Structures<'_>, wanted: Wanted) -> Option<u32> {
    match wanted {
        Wanted::Member(name, paths) => {
            let structure = structures.get(name)?;
            paths.iter().find_map(|path| structure.offset(path))
        }
        Wanted::Bit(name, paths) => {
            let structure = structures.get(name)?;
            paths.iter().find_map(|path| structure.bit(path))
        }
        Wanted::Size(name) => structures.get(name).map(|structure| structure.size()),
        Wanted::Enumerator(name, enumerator) => structures.btf.enumerator(name, enumerator),
        Wanted::TracepointArguments(name, count) => {
            let arguments = structures.btf.tracepoint_arguments(name)?;
            (arguments.len() >= count as usize).then_some(1)
        }
    }
}

fn describe(wanted: Wanted) -> String {
    match wanted {
        Wanted::Member(structure, paths) | Wanted::Bit(structure, paths) => {
            format!("{structure}.{}", paths.join(" or ."))
        }
        Wanted::Size(structure) => format!("struct {structure}"),
        Wanted::Enumerator(_, enumerator) => enumerator.to_owned(),
        Wanted::TracepointArguments(name, count) => format!("{count} arguments of {name}"),
    }
}
