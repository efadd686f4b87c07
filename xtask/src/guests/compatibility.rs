//! docs/compatibility.md: what `observer doctor` says on each kernel, side by side.

use std::fs;

use anyhow::{Context as _, Result, bail};

use super::report::KernelReport;
use crate::{talk, workspace};

const HEAD: &str = "# Compatibility

Kernel by kernel, what `observer doctor` says: which of its programs the kernel loaded and attached. The machines are emulated,
with Debian's kernels for clouds; they stand for those of Ubuntu 20.04 with the HWE kernel (5.10 for its 5.15), 22.04 (6.1),
24.04 with the HWE kernel (6.12, 6.18) and 26.04 (7.3).

`cargo xtask guests --compatibility` makes this file; don't edit it. An empty field: that kernel needs no such program, since
another one does its work. `no`: the kernel refused it, and the last table says what that costs.

";

/// Writes the file; every kernel must have come to its end.
pub(super) fn write(kernels: &[KernelReport]) -> Result<()> {
    let kernels: Vec<Doctor> = kernels.iter().map(Doctor::read).collect::<Result<_>>()?;
    let path = workspace::root().join("docs/compatibility.md");
    fs::write(&path, text(&kernels)).with_context(|| format!("writing {}", path.display()))?;
    talk::note("written: docs/compatibility.md");
    Ok(())
}

/// What the doctor said on one kernel.
struct Doctor {
    release: String,
    /// Hook with purpose, and whether it is there.
    hooks: Vec<(String, String, &'static str)>,
    /// What the refusals cost.
    refused: Vec<(String, String)>,
    verdict: String,
}

impl Doctor {
    fn read(kernel: &KernelReport) -> Result<Self> {
        let mut doctor = Self {
            release: String::new(),
            hooks: Vec::new(),
            refused: Vec::new(),
            verdict: String::new(),
        };
        for line in &kernel.output {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "kernel" => rest.clone_into(&mut doctor.release),
                "verdict" => rest.split(':').next().unwrap_or(rest).clone_into(&mut doctor.verdict),
                "ok" | "no" => {
                    let (hook, purpose) = rest.split_once("  ").unwrap_or((rest, ""));
                    let there = if word == "ok" { "yes" } else { "no" };
                    doctor.hooks.push((hook.to_owned(), purpose.trim().to_owned(), there));
                }
                "" => doctor.cost(rest),
                _ => {}
            }
        }
        if doctor.verdict.is_empty() {
            bail!("no verdict on kernel {}", kernel.version);
        }
        Ok(doctor)
    }

    fn cost(&mut self, text: &str) {
        if let Some((hook, _, "no")) = self.hooks.last() {
            match self.refused.last_mut() {
                Some((last, texts)) if last == hook => *texts += &format!("; {text}"),
                _ => self.refused.push((hook.clone(), text.to_owned())),
            }
        }
    }
}

fn text(kernels: &[Doctor]) -> String {
    let mut text = HEAD.to_owned();
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let names = kernels.iter().map(|kernel| kernel.release.clone());
    text += &row(["hook", "for"].map(str::to_owned).into_iter().chain(names).collect());
    text += &row(vec!["---".to_owned(); kernels.len() + 2]);
    let mut hooks: Vec<(&str, &str)> = Vec::new();
    for (hook, purpose, _) in kernels.iter().flat_map(|kernel| &kernel.hooks) {
        if !hooks.contains(&(hook, purpose)) {
            hooks.push((hook, purpose));
        }
    }
    for (hook, purpose) in hooks {
        let there = kernels.iter().map(|kernel| {
            let mut hooks = kernel.hooks.iter();
            let found = hooks.find(|(h, p, _)| (h.as_str(), p.as_str()) == (hook, purpose));
            found.map_or("", |(_, _, there)| there).to_owned()
        });
        text += &row([format!("`{hook}`"), purpose.to_owned()].into_iter().chain(there).collect());
    }
    let verdicts = kernels.iter().map(|kernel| kernel.verdict.clone());
    text += &row(["verdict", ""].map(str::to_owned).into_iter().chain(verdicts).collect());
    text += "\n| kernel | refused | what that costs |\n| --- | --- | --- |\n";
    for kernel in kernels {
        for (hook, cost) in &kernel.refused {
            text += &row(vec![kernel.release.clone(), format!("`{hook}`"), cost.clone()]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Doctor, text};
    use crate::guests::{kernels::Kernel, qemu::Ended, report::KernelReport};

    #[test]
    fn a_refusal_has_its_cost() {
        let output = "kernel      5.10.0, not preemptible\n\
            ok          fexit/inet_bind   refused binds\n\
            no          fexit/mptcp_bind  refused binds\n\
            \x20           refused: unknown BTF type\n\
            \x20           so: such calls are not seen\n\
            verdict     supported: it works here";
        let output = output.lines().map(str::to_owned).collect();
        let kernel = Kernel {
            version: "5.10".to_owned(),
            package: String::new(),
            image: std::path::PathBuf::new(),
        };
        let report = KernelReport::new(&kernel, Ended::Finished { status: 0, output });
        let text = text(&[Doctor::read(&report).expect("a verdict")]);
        assert!(text.contains("| `fexit/mptcp_bind` | refused binds | no |"), "{text}");
        let cost = "refused: unknown BTF type; so: such calls are not seen |";
        assert!(text.contains(cost), "{text}");
        assert!(text.contains("| verdict |  | supported |"), "{text}");
    }
}
