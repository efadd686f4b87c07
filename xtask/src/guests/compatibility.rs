//! docs/generated/compatibility.md: what `observer doctor` reports on each kernel, and the results of the live tests.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, bail};

use super::report::{KernelReport, Outcome};
use crate::{talk, workspace};

const HEAD: &str = "# Compatibility

What `observer doctor` reports on each kernel, and the results of the live tests there. QEMU emulates the machines, with Debian's
cloud kernels, which stand for those of Ubuntu 20.04 with the HWE kernel (5.10 for its 5.15), 22.04 (6.1), 24.04 with the HWE kernel
(6.12, 6.18) and 26.04 (7.3). Control groups are of version 2, without version 1 beside it.

`cargo xtask guests --compatibility` generates this file; don't edit it.

## Hooks

Which programs the kernel loaded and attached. An empty field: this kernel does not need the program, since another one does
its work. `no`: the kernel refused it; the second table says what is lost without it.

";

const TESTS: &str = "
## Live tests

The live tests (`tests/tests/live/`) in each guest, by family: the last complete run, at the commit and on the day in the first
row (`+`: with uncommitted changes). A skipped test does not count as passed.

";

/// Writes the file from the output of `observer doctor`, which must be complete for every kernel, and from the last runs.
pub(super) fn write(kernels: &[KernelReport], runs: &[KernelReport]) -> Result<()> {
    let doctors: Vec<Doctor> = kernels.iter().map(Doctor::read).collect::<Result<_>>()?;
    let path = workspace::root().join("docs/generated/compatibility.md");
    fs::write(&path, text(&doctors) + &tests_text(runs))
        .with_context(|| format!("writing {}", path.display()))?;
    talk::note("written: docs/generated/compatibility.md");
    Ok(())
}

/// The report of `observer doctor` on one kernel.
struct Doctor {
    release: String,
    /// Hook, purpose, and whether it was attached.
    hooks: Vec<(String, String, &'static str)>,
    /// Hook that was refused, and what is lost without it.
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
                // The last line of the report; the tests' output follows.
                "verdict" => {
                    rest.split(':').next().unwrap_or(rest).clone_into(&mut doctor.verdict);
                    break;
                }
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
            bail!("`observer doctor` printed no verdict on kernel {}", kernel.version);
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
    let names = kernels.iter().map(|kernel| kernel.release.clone());
    text += &row(&["hook", "for"].map(str::to_owned).into_iter().chain(names).collect::<Vec<_>>());
    text += &row(&vec!["---".to_owned(); kernels.len() + 2]);
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
        text += &row(&[format!("`{hook}`"), purpose.to_owned()]
            .into_iter()
            .chain(there)
            .collect::<Vec<_>>());
    }
    let verdicts = kernels.iter().map(|kernel| kernel.verdict.clone());
    text +=
        &row(&["verdict", ""].map(str::to_owned).into_iter().chain(verdicts).collect::<Vec<_>>());
    text += "\n| kernel | refused | what is lost |\n| --- | --- | --- |\n";
    for kernel in kernels {
        for (hook, cost) in &kernel.refused {
            text += &row(&[kernel.release.clone(), format!("`{hook}`"), cost.clone()]);
        }
    }
    text
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// Per family: tests passed, failed and skipped; then why they were skipped.
fn tests_text(kernels: &[KernelReport]) -> String {
    let mut text = TESTS.to_owned();
    let versions = kernels.iter().map(|kernel| kernel.version.clone());
    text += &row(&["family".to_owned()].into_iter().chain(versions).collect::<Vec<_>>());
    text += &row(&vec!["---".to_owned(); kernels.len() + 1]);
    let mut families: BTreeMap<&str, Vec<Count>> = BTreeMap::new();
    let mut skipped: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (index, kernel) in kernels.iter().enumerate() {
        for (name, outcome) in kernel.tests() {
            let family = name.split("::").next().unwrap_or(name);
            let counts = families.entry(family).or_default();
            counts.resize_with(kernels.len(), Count::default);
            match outcome {
                Outcome::Passed => counts[index].passed += 1,
                Outcome::Failed => counts[index].failed += 1,
                Outcome::Skipped(why) => {
                    counts[index].skipped += 1;
                    skipped.entry((name, why)).or_default().push(&kernel.version);
                }
            }
        }
    }
    let runs = kernels.iter().map(|kernel| kernel.run.clone());
    text += &row(&["of".to_owned()].into_iter().chain(runs).collect::<Vec<_>>());
    for (family, counts) in &families {
        let cells = counts.iter().map(Count::cell);
        text += &row(&[format!("`{family}`")].into_iter().chain(cells).collect::<Vec<_>>());
    }
    text += "\n| skipped | why | on |\n| --- | --- | --- |\n";
    for ((name, why), versions) in skipped {
        text += &row(&[format!("`{name}`"), why.to_owned(), versions.join(", ")]);
    }
    text
}

/// Results of one family on one kernel.
#[derive(Default)]
struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Count {
    fn cell(&self) -> String {
        let mut words = Vec::new();
        for (count, word) in
            [(self.passed, "passed"), (self.failed, "**failed**"), (self.skipped, "skipped")]
        {
            if count > 0 {
                words.push(format!("{count} {word}"));
            }
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Doctor, tests_text, text};
    use crate::guests::{kernels::Kernel, qemu::Ended, report::KernelReport};

    #[test]
    fn a_refusal_has_its_cost_and_a_family_its_count() {
        let output = "kernel      5.10.0, not preemptible\n\
            ok          fexit/inet_bind   refused binds\n\
            no          fexit/mptcp_bind  refused binds\n\
            \x20           refused: unknown BTF type\n\
            \x20           so: such calls are not seen\n\
            verdict     supported: it works here\n\
            running 3 tests\n\
            test exit::code    ... ok\n\
            test bind::mptcp   ... ignored (skipped: no MPTCP)\n\
            test exit::killed  ... FAILED";
        let output = output.lines().map(str::to_owned).collect();
        let kernel = Kernel {
            version: "5.10".to_owned(),
            package: String::new(),
            image: std::path::PathBuf::new(),
        };
        let report = KernelReport::new(&kernel, Ended::Finished { status: 101, output });
        let text = text(&[Doctor::read(&report).expect("a verdict")]);
        assert!(text.contains("| `fexit/mptcp_bind` | refused binds | no |"), "{text}");
        let cost = "refused: unknown BTF type; so: such calls are not seen |";
        assert!(text.contains(cost), "{text}");
        assert!(text.contains("| verdict |  | supported |"), "{text}");
        let text = tests_text(&[report]);
        assert!(text.contains("| `exit` | 1 passed, 1 **failed** |"), "{text}");
        assert!(text.contains("| `bind::mptcp` | no MPTCP | 5.10 |"), "{text}");
    }
}
