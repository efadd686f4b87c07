//! What the binary under test attaches on this kernel, with and without function tracing.
//!
//! Taken from `observer doctor`, once.

use std::sync::OnceLock;

use serde_json::Value;

use crate::observer;

/// Leaves out the programs that need function tracing.
pub const WITHOUT: &str = "--no-trampolines";

/// The hooks of one tier: with or without function tracing.
pub struct Tier {
    attached: Vec<String>,
    refused: Vec<(String, String)>,
}

/// With everything that this kernel supports.
pub fn with() -> &'static Tier {
    static TIER: OnceLock<Tier> = OnceLock::new();
    TIER.get_or_init(|| Tier::ask(&["doctor", "--json"]))
}

/// Without function tracing.
pub fn without() -> &'static Tier {
    static TIER: OnceLock<Tier> = OnceLock::new();
    TIER.get_or_init(|| Tier::ask(&["doctor", "--json", WITHOUT]))
}

impl Tier {
    /// When `doctor` fails nothing is attached; a test of its own fails then.
    fn ask(words: &[&str]) -> Self {
        let output = observer::command(words).output().expect("it runs");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let hooks = report["hooks"].as_array().cloned().unwrap_or_default();
        let name = |hook: &Value| hook["hook"].as_str().unwrap_or_default().to_owned();
        let why = |hook: &Value| hook["refused"].as_str().unwrap_or_default().to_owned();
        let (attached, refused): (Vec<_>, Vec<_>) =
            hooks.iter().partition(|hook| hook["attached"] == true);
        Self {
            attached: attached.into_iter().map(name).collect(),
            refused: refused.into_iter().map(|hook| (name(hook), why(hook))).collect(),
        }
    }

    /// All hooks with an attached program.
    pub fn attached(&self) -> &[String] {
        &self.attached
    }

    /// Whether a program is attached there.
    pub fn has(&self, hook: &str) -> bool {
        self.attached.iter().any(|attached| attached == hook)
    }

    /// Why no program is attached there, if none is.
    pub fn why_not(&self, hook: &str) -> Option<String> {
        let reported = self.refused.iter().find(|(name, _)| name == hook);
        let why = reported.map_or("doctor does not name it", |(_, why)| why);
        (!self.has(hook)).then(|| format!("no {hook} here: {why}"))
    }
}
