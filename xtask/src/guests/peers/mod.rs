//! `cargo xtask guests --peers`: observer and other tools beside the same processes; which tool reported what.
//!
//! The workload prints what happened, and the same rules compare each tool's output with it.

mod document;
mod judge;
mod observer;
mod output;
mod questions;
mod said;
mod tools;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use super::initramfs::{self, Contents};
use super::kernels::Kernel;
use super::qemu::{Ended, Guest};
use super::{Options, fleet, kernels};
use crate::build::{self, Build};
use crate::{talk, workspace};
use output::Output;
use tools::Tools;

/// A stable kernel on which every tool loads, and which does not crash under emulation.
const KERNEL: &str = "6.1";

/// Boots one guest, and writes docs/generated/peers.md.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    super::install_tools()?;
    let run_dir = super::cache().join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&run_dir)?;
    let version = options.kernels.first().map_or(KERNEL, String::as_str);
    let kernel = match kernels::get(version, &run_dir)? {
        Ok(kernel) => kernel,
        Err(reason) => bail!(reason),
    };
    let tools = Tools::get(&super::cache().join("peers"), &run_dir)?;
    let initrd = initramfs::pack(&contents()?, "exec sh /bin/peers-watch\n", &run_dir)?;
    tools.add_to(&initrd)?;
    let printed = boot(kernel, &initrd, &run_dir)?;
    fs::remove_file(initrd)?;
    fs::write(run_dir.join("printed"), printed.join("\n") + "\n")?;
    let output = Output::read(&printed)?;
    output.keep(&run_dir.join("said"))?;
    talk::note(&format!("the output of each tool is in {}", run_dir.join("said").display()));
    let (text, not_right) = document::text(&output, &tools.version)?;
    let path = workspace::root().join("docs/generated/peers.md");
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    talk::note("written: docs/generated/peers.md");
    for question in &not_right {
        talk::problem(&format!("observer is not right about: {question}"));
    }
    Ok(if not_right.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The programs of the guest.
fn contents() -> Result<Contents> {
    talk::step("building static binaries for the guest");
    let scripts = workspace::root().join("tests/peers");
    Ok(Contents {
        programs: vec![
            ("observer".to_owned(), build::observer(Build::StaticLive)?),
            ("workload".to_owned(), build::workload(Build::StaticDebug)?),
            ("peers-watch".to_owned(), scripts.join("watch")),
            ("peers-cases".to_owned(), scripts.join("cases")),
        ],
    })
}

fn boot(kernel: Kernel, initrd: &Path, run_dir: &Path) -> Result<Vec<String>> {
    let guest = Guest {
        kernel,
        initrd: initrd.to_owned(),
        console: run_dir.to_owned(),
        limit: super::LIMIT,
        memory_mib: 1024,
    };
    match fleet::boot(&guest)? {
        Ended::Finished { status: 0, output } => Ok(output),
        Ended::Finished { status, .. } => bail!("the workload failed: exit status {status}"),
        Ended::Crashed { why } => bail!("the guest crashed: {why}"),
        Ended::TimedOut { .. } => bail!("the guest reached its time limit"),
    }
}
