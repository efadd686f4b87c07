//! What the binary under test attaches on this kernel: with function tracing, and without.
//!
//! Asked of `observer doctor`, once: it is the one that tried.

use std::sync::OnceLock;

use serde_json::Value;

use crate::observer;

/// Leaves the programs out that a kernel without function tracing refuses.
pub const WITHOUT: &str = "--no-trampolines";

/// The hooks of one tier.
pub struct Tier {
    attached: Vec<String>,
    refused: Vec<(String, String)>,
}

/// With everything that the kernel takes.
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
    /// A doctor that fails attaches nothing; a test of its own is there to say so.
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

    /// Every hook that a program sits at.
    pub fn attached(&self) -> &[String] {
        &self.attached
    }

    /// Whether a program sits there.
    pub fn has(&self, hook: &str) -> bool {
        self.attached.iter().any(|attached| attached == hook)
    }

    /// Why no program sits there, if none does.
    pub fn why_not(&self, hook: &str) -> Option<String> {
        let told = self.refused.iter().find(|(name, _)| name == hook);
        let why = told.map_or("doctor does not name it", |(_, why)| why);
        (!self.has(hook)).then(|| format!("no {hook} here: {why}"))
    }
}
