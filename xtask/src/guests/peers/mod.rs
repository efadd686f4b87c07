//! `cargo xtask guests --peers`: observer and what people use instead, over the same known ends; who saw what.
//!
//! The workload says what happened; each cell of the table is that held against what a tool said, by the same rules for all.

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

/// Of the kernels that Debian has, the stable one that every peer loads on and that emulation does not break.
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
    talk::note(&format!("what each tool said is in {}", run_dir.join("said").display()));
    let (text, not_right) = document::text(&output, &tools.version)?;
    let path = workspace::root().join("docs/generated/peers.md");
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    talk::note("written: docs/generated/peers.md");
    for question in &not_right {
        talk::problem(&format!("observer has no right answer: {question}"));
    }
    Ok(if not_right.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What of the guest's is ours.
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
        Ended::Finished { status, .. } => bail!("the workload did not go as planned: {status}"),
        Ended::Crashed { why } => bail!("the guest broke down: {why}"),
        Ended::TimedOut { .. } => bail!("the guest did not end within the time"),
    }
}
