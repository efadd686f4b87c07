//! `observer doctor`: what this kernel supports, found out by trying.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::DoctorArgs,
    error::status,
    kernel::{Kernel, host::Host, load::Options, preflight},
    sanitize::sanitize,
    stdout,
};

/// What was found.
#[derive(Debug, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a finding of its own, with its own name in the JSON"
)]
struct DoctorReport {
    version: &'static str,
    kernel: String,
    preemptible: bool,
    root: bool,
    btf: bool,
    memory_controller: &'static str,
    supported: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    hooks: Vec<HookReport>,
    missing_fields: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HookReport {
    hook: String,
    purpose: &'static str,
    attached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    without: Option<&'static str>,
}

/// Loads and attaches everything for a moment, and reports.
pub fn run(args: &DoctorArgs, programs: Options) -> Result<u8> {
    let report = examine(programs);
    let text = if args.json { serde_json::to_string(&report)? + "\n" } else { text(&report) };
    stdout::print(&text)?;
    Ok(if report.supported { status::DONE } else { status::UNSUPPORTED })
}

fn examine(programs: Options) -> DoctorReport {
    let loaded = Kernel::load(Options { binds: true, ..programs });
    let (hooks, missing_fields, problem) = match loaded {
        Ok(kernel) => {
            let hooks = kernel.attached.iter().map(|attached| HookReport {
                hook: attached.hook.attach.to_string(),
                purpose: attached.hook.purpose,
                attached: attached.refused.is_none(),
                refused: attached.refused.clone(),
                without: attached.refused.is_some().then_some(attached.hook.without),
            });
            (hooks.collect(), kernel.missing_fields.clone(), None)
        }
        Err(error) => (Vec::new(), Vec::new(), Some(format!("{error:#}"))),
    };
    DoctorReport {
        version: env!("CARGO_PKG_VERSION"),
        kernel: preflight::release(),
        preemptible: preflight::preemptible(),
        root: rustix::process::geteuid().is_root(),
        btf: Path::new(preflight::BTF_PATH).exists(),
        memory_controller: if Host::this().memory_v1 { "cgroup v1" } else { "cgroup v2" },
        supported: problem.is_none(),
        problem,
        hooks,
        missing_fields,
    }
}

fn text(report: &DoctorReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}{}", sanitize(value));
    };
    let preemption = if report.preemptible { "preemptible" } else { "not preemptible" };
    line("kernel", &format!("{}, {preemption}", report.kernel));
    line("user", if report.root { "root" } else { "not root" });
    line("types", if report.btf { preflight::BTF_PATH } else { "no BTF" });
    line("memory", report.memory_controller);
    for hook in &report.hooks {
        let verdict = if hook.attached { "ok" } else { "no" };
        line(verdict, &format!("{:<28} {}", hook.hook, hook.purpose));
        if let Some(refused) = &hook.refused {
            line("", &format!("{:<28} refused: {refused}", ""));
        }
        if let Some(without) = hook.without {
            line("", &format!("{:<28} so: {without}", ""));
        }
    }
    for field in &report.missing_fields {
        line("absent", field);
    }
    match &report.problem {
        None => line("verdict", "supported: `observer tail` works here"),
        Some(problem) => line("verdict", &format!("not supported: {problem}")),
    }
    text
}
