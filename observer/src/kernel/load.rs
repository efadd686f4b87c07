//! Loads the eBPF object, sets its field offsets, and attaches the programs that this kernel allows.
//!
//! **Invariant:** a program that the kernel refuses is in [`Kernel::attached`] with the reason; only a required one fails.

use std::{collections::HashSet, fs::File, os::fd::OwnedFd, path::Path};

use anyhow::{Context, Result};
use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, Endianness, VerifierLogLevel, include_bytes_aligned,
    maps::{Array, HashMap, MapData, PerCpuArray},
    programs::{Iter, ProgramError},
};
use observer_common::settings::{EXITS_ALL, FIRST_MNTNS, SETTINGS};

use super::{
    btf,
    counts::Lost,
    footprint::{Room, give_program_back, without_files},
    handover, hooks,
    hooks::Hook,
    host::first_mntns,
    offsets::Offsets,
    preflight,
    refusals::Refusals,
    rings::Rings,
};
use crate::error::Failure;

/// The object that `cargo xtask ebpf` builds.
static OBJECT: &[u8] = include_bytes_aligned!("../../../observer-ebpf/object/observer.bpf.o");

/// Programs that scan all descriptors, the cheaper one first; the other is for kernels without `bpf_sock_from_file`.
const HOLDERS: [&str; 2] = ["holders", "holders_by_probe"];

/// Maps of the other programs: the kernel allocates and zeroes them whether those programs are loaded or not.
const KEPT: [&str; 9] = [
    "NOTES",
    "NOTED",
    "SENDERS",
    "OOM_CONTROLS",
    "PATTERNS",
    "REMEMBERED",
    "WATCHED",
    "SHARES",
    "REFUSALS",
];

/// How to load.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Options {
    /// Report processes that ended with code 0 too.
    pub exits_all: bool,
    /// Only the iterator over holders: nothing is attached.
    pub holders_only: bool,
    /// Watch binds and listens.
    pub binds: bool,
    /// Attach without BPF trampolines, as on a kernel that refuses them.
    pub no_trampolines: bool,
    /// Level of the programs' own log (`aya_log`): 0 is off.
    pub log_level: u8,
}

/// A program that was tried, and the outcome.
#[derive(Debug)]
pub struct Attached {
    /// The program.
    pub hook: Hook,
    /// Why it is not attached.
    pub refused: Option<String>,
}

/// The loaded programs; dropping it detaches them.
pub struct Kernel {
    pub(super) ebpf: Ebpf,
    rings: Option<Rings>,
    refusals: Option<Refusals>,
    pub(super) lost: PerCpuArray<MapData, Lost>,
    settings: Array<MapData, u32>,
    wanted_ports: Array<MapData, u64>,
    marked_ports: Vec<u16>,
    watched: HashMap<MapData, u32, u32>,
    holders: &'static str,
    no_trampolines: bool,
    /// Descriptors of what the next run needs: [`super::handover`].
    pub(super) maps: Vec<OwnedFd>,
    /// Every program that was tried, in order.
    pub attached: Vec<Attached>,
    /// Fields that this kernel's structures lack.
    pub missing_fields: Vec<String>,
}

impl Kernel {
    /// Checks, loads and attaches. An optional program that the kernel refuses is noted; a required one fails.
    pub fn load(options: Options) -> Result<Self> {
        preflight::check()?;
        let room = Room::new();
        let types = btf::Btf::read(Path::new(preflight::BTF_PATH))?;
        let offsets = Offsets::resolve(&types).map_err(|e| Failure::Unsupported(e.to_string()))?;
        let victim_is_task =
            types.tracepoint_arguments("mark_victim").is_some_and(|a| a.first() == Some(&true));
        let has_group_dead = offsets.get("EXIT_HAS_GROUP_DEAD").is_some();
        let has_task_pt_regs = types.has_function("bpf_task_pt_regs");
        let names = types.names_to_attach_to()?;
        drop(types);

        // `EbpfLoader::new` parses the kernel's types for relocations, which the object has none of, and no option stops it:
        // 5 ms and 20 MiB. It goes on without them when it can't open the file.
        let mut loader = without_files(EbpfLoader::new);
        // The verifier's log takes longer to write than the programs take to load.
        let log_level = if tracing::enabled!(tracing::Level::DEBUG) {
            VerifierLogLevel::DEBUG
        } else {
            VerifierLogLevel::DISABLE
        };
        loader.btf(None).verifier_log_level(log_level);
        for (name, value) in offsets.iter() {
            loader.override_global(name, value, true);
        }
        loader.override_global(aya_log::LEVEL, &options.log_level, false);
        if options.holders_only {
            for ring in ["OOM_RING", "REFUSAL_RING", "PORT_RING", "EXIT_RING"] {
                loader.map_max_entries(ring, 4096);
            }
            for map in KEPT {
                loader.map_max_entries(map, 1);
            }
        }
        if options.log_level == 0 {
            loader.map_max_entries("AYA_LOGS", 4096);
        }
        let mut ebpf = loader.load(OBJECT).map_err(refused)?;
        drop(loader);
        let btf = Btf::parse(&names, Endianness::default())
            .context("can't read the kernel's type information")?;
        drop(names);

        let mut settings: Array<_, u32> =
            Array::try_from(take(&mut ebpf, "SETTINGS")?).context("SETTINGS")?;
        debug_assert_eq!(settings.len(), SETTINGS);
        settings.set(EXITS_ALL, u32::from(options.exits_all), 0).context("SETTINGS")?;
        settings.set(FIRST_MNTNS, first_mntns(), 0).context("SETTINGS")?;
        let maps = if options.holders_only { Vec::new() } else { handover::maps(&ebpf)? };
        let mut kernel = Self {
            maps,
            rings: Some(Rings::take(&mut ebpf)?),
            refusals: Some(Refusals::take(&mut ebpf)?),
            lost: PerCpuArray::try_from(take(&mut ebpf, "LOST")?).context("LOST")?,
            settings,
            wanted_ports: Array::try_from(take(&mut ebpf, "PORTS_WANTED")?)
                .context("PORTS_WANTED")?,
            marked_ports: Vec::new(),
            watched: HashMap::try_from(take(&mut ebpf, "WATCHED")?).context("WATCHED")?,
            holders: HOLDERS[0],
            no_trampolines: options.no_trampolines,
            attached: Vec::new(),
            missing_fields: offsets.missing(),
            ebpf,
        };
        if !options.holders_only {
            kernel.attach(&btf, has_group_dead, victim_is_task)?;
        }
        if options.binds {
            kernel.attach_binds(&btf, has_task_pt_regs);
        }
        kernel.prepare_holders(&btf)?;
        drop(btf);
        if options.holders_only {
            // A process that only scans ends soon.
            std::mem::forget(room);
        } else {
            drop(room);
            give_program_back();
        }
        Ok(kernel)
    }

    /// The signal program first: a death whose signal was sent before it is attached has no sender.
    fn attach(&mut self, btf: &Btf, has_group_dead: bool, victim_is_task: bool) -> Result<()> {
        self.optional(btf, hooks::SIGNAL);
        let begin = self.optional(btf, hooks::OOM_BEGIN);
        if begin {
            self.optional(btf, hooks::OOM_END);
        }
        if victim_is_task {
            self.optional(btf, hooks::OOM);
        } else if begin {
            self.optional(btf, hooks::OOM_BY_PID);
        } else {
            self.skip(
                hooks::OOM,
                "mark_victim passes a process id only, and function tracing does not work",
            );
        }
        let early = !has_group_dead && self.optional(btf, hooks::EXIT_EARLY);
        if !early {
            self.required(btf, hooks::EXIT)?;
        }
        if preflight::preemptible() {
            self.optional(btf, hooks::EXIT_AGAIN);
            self.optional(btf, hooks::EXIT_THIRD);
        }
        Ok(())
    }

    /// Attaches to the protocols' own functions or, where that fails, to the system calls.
    fn attach_binds(&mut self, btf: &Btf, has_task_pt_regs: bool) {
        let [first, rest @ ..] = hooks::BINDS;
        if self.optional(btf, first) {
            for hook in rest {
                self.optional(btf, hook);
            }
            return;
        }
        for hook in hooks::BIND_CALLS {
            if !has_task_pt_regs {
                self.skip(hook, "the kernel has no bpf_task_pt_regs (Linux 5.15)");
            } else if let Err(error) = preflight::tracefs() {
                self.skip(hook, &format!("{error:#}"));
            } else {
                self.optional(btf, hook);
            }
        }
        self.optional(btf, hooks::LISTEN_END);
    }

    /// Loads the first of [`HOLDERS`] that this kernel takes.
    fn prepare_holders(&mut self, btf: &Btf) -> Result<()> {
        let mut refused = String::new();
        for name in HOLDERS {
            let program = holders(&mut self.ebpf, name)?;
            match program.load("task_file", btf) {
                Ok(()) => {
                    self.holders = name;
                    return Ok(());
                }
                Err(error) => refused = reason(&error),
            }
            tracing::debug!(program = name, reason = refused, "not loaded");
        }
        Err(Failure::Unsupported(format!("this kernel refuses iter/task_file ({refused})")).into())
    }

    /// Opens a scan of all descriptors: every socket that serves or could, and every connection on `ports`.
    /// Reading the file runs the scan; only one may be read at a time.
    pub fn open_holders(&mut self, ports: &[u16]) -> Result<File> {
        for port in std::mem::take(&mut self.marked_ports) {
            self.wanted_ports.set(u32::from(port / 64), 0, 0).context("PORTS_WANTED")?;
        }
        for port in ports {
            let index = u32::from(port / 64);
            let word = self.wanted_ports.get(&index, 0).context("PORTS_WANTED")?;
            self.wanted_ports.set(index, word | 1 << (port % 64), 0).context("PORTS_WANTED")?;
        }
        self.marked_ports = ports.to_vec();
        let program = holders(&mut self.ebpf, self.holders)?;
        let link = program.attach().context("iter/task_file")?;
        Ok(program.take_link(link)?.into_file()?)
    }

    /// Makes the programs report the death of the `wanted` processes whatever their exit code, and of no others. `watched` is what
    /// it was called with before.
    pub fn watch(&mut self, watched: &mut HashSet<u32>, wanted: &HashSet<u32>) -> Result<()> {
        let gone: Vec<u32> = watched.difference(wanted).copied().collect();
        for gone in gone {
            // An error only says that the key is gone, and nobody else writes to this map.
            let _ = self.watched.remove(&gone);
            watched.remove(&gone);
        }
        let new: Vec<u32> = wanted.difference(watched).copied().collect();
        for new in new {
            if self.watched.insert(new, 1, 0).is_ok() {
                watched.insert(new);
            } else {
                tracing::warn!(
                    "too many processes serve ports: some that end with code 0 are not reported"
                );
                break;
            }
        }
        Ok(())
    }

    fn required(&mut self, btf: &Btf, hook: Hook) -> Result<()> {
        hooks::attach(&mut self.ebpf, btf, hook).map_err(|error| {
            Failure::Unsupported(format!(
                "this kernel refuses {} ({}); see `observer doctor`",
                hook.attach,
                reason(&error)
            ))
        })?;
        self.attached.push(Attached { hook, refused: None });
        Ok(())
    }

    fn optional(&mut self, btf: &Btf, hook: Hook) -> bool {
        if self.no_trampolines && hook.attach.is_trampoline() {
            self.skip(hook, "not tried, because of --no-trampolines");
            return false;
        }
        let refused = hooks::attach(&mut self.ebpf, btf, hook).err().map(|e| reason(&e));
        if let Some(reason) = &refused {
            tracing::debug!(hook = %hook.attach, reason, "not attached");
        }
        let attached = refused.is_none();
        self.attached.push(Attached { hook, refused });
        attached
    }

    fn skip(&mut self, hook: Hook, why: &str) {
        self.attached.push(Attached { hook, refused: Some(why.to_owned()) });
    }

    /// See [`hooks::tell_servers`].
    #[must_use]
    pub fn tells_servers(&self) -> bool {
        let attached = |a: &&Attached| a.refused.is_none();
        let attached: Vec<&str> =
            self.attached.iter().filter(attached).map(|a| a.hook.program).collect();
        hooks::tell_servers(|program| attached.contains(&program))
    }

    /// Takes the rings; `None` the second time.
    pub fn take_rings(&mut self) -> Option<Rings> {
        self.rings.take()
    }

    /// Takes the counts of refusals; `None` the second time.
    pub fn take_refusals(&mut self) -> Option<Refusals> {
        self.refusals.take()
    }

    /// Switches the reporting of processes that end with code 0, while the programs run.
    pub fn set_exits_all(&mut self, all: bool) -> Result<()> {
        self.settings.set(EXITS_ALL, u32::from(all), 0).context("SETTINGS")
    }

    /// The eBPF object, for its log.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}

fn holders<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Iter> {
    let program = ebpf.program_mut(name);
    Ok(program.with_context(|| format!("the eBPF object has no program {name}"))?.try_into()?)
}

/// Takes a map out of the object.
pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    ebpf.take_map(name).with_context(|| format!("the eBPF object has no map {name}"))
}

/// Loading creates all maps: a kernel that lacks a map type refuses here.
fn refused(error: EbpfError) -> anyhow::Error {
    let text = format!("{:#}", anyhow::Error::from(error));
    Failure::Unsupported(format!(
        "this kernel refuses the eBPF maps or types (ring buffers need Linux 5.8): {text}"
    ))
    .into()
}

/// A program's load error in one line.
fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            tracing::debug!("the verifier says:\n{log}");
            let says = |line: &&str| !line.trim().is_empty() && !line.starts_with("processed ");
            match log.lines().rev().find(says) {
                Some(last) => format!("{io_error}: {last}"),
                None => io_error.to_string(),
            }
        }
        ProgramError::Btf(error) => error.to_string(),
        ProgramError::SyscallError(error) => format!("{}: {}", error.call, error.io_error),
        other => other.to_string(),
    }
}
