//! `decode` and `diagnose` do no I/O and ask nobody for the time: a capture gives the same events as the kernel did.
//! `model` has no types of the kernel's side either.

use anyhow::{Result, bail};

use super::source::{self, Source};
use crate::workspace;

/// What reaches outside the process. A path is one of them if it begins so, or has it in the middle.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::thread::sleep",
    "tokio::",
    "rustix::",
    "libc::",
    "File::",
    "Timestamp::now",
    "Zoned::now",
    "Instant::now",
    "SystemTime::now",
];

/// What only the kernel's side knows.
const KERNEL_SIDE: &[&str] = &["observer_common::", "crate::decode", "crate::kernel"];

/// What each module must not mention outside tests.
const RULES: [(&str, &str, &[&str]); 4] = [
    ("decode", "does no I/O", OUTSIDE),
    ("diagnose", "does no I/O", OUTSIDE),
    ("model", "does no I/O", OUTSIDE),
    ("model", "has no types of the kernel", KERNEL_SIDE),
];

/// Fails with each mention that a rule forbids.
pub(super) fn check() -> Result<()> {
    let sources = source::read(&workspace::root().join("observer/src"))?;
    let problems: Vec<String> = sources.iter().flat_map(problems).collect();
    if !problems.is_empty() {
        bail!("{} (the rules are RULES in {})\n{}", problems.len(), file!(), problems.join("\n"));
    }
    Ok(())
}

fn problems(source: &Source) -> Vec<String> {
    let rules = RULES.iter().filter(|(module, _, _)| *module == source.module());
    let broken = |(module, rule, forbidden): &(&str, &str, &[&str])| {
        let mentions = source.mentions.iter().filter(|mention| {
            forbidden
                .iter()
                .any(|entry| format!("::{}", mention.path).contains(&format!("::{entry}")))
        });
        let said = mentions.map(|mention| {
            format!(
                "observer/src/{}:{}: {}: `{module}` {rule}",
                source.name, mention.line, mention.path
            )
        });
        said.collect::<Vec<_>>()
    };
    rules.flat_map(broken).collect()
}

#[cfg(test)]
mod tests {
    use super::super::source::{Mention, Source};
    use super::problems;

    fn said(name: &str, path: &str) -> Vec<String> {
        let mentions = vec![Mention { line: 3, path: path.to_owned() }];
        problems(&Source { name: name.to_owned(), mentions })
    }

    #[test]
    fn what_reaches_outside_is_named_with_its_rule() {
        let expected = "observer/src/decode/raw.rs:3: std::fs::read: `decode` does no I/O";
        assert_eq!(said("decode/raw.rs", "std::fs::read"), [expected]);
        for path in
            ["File::open", "std::fs::File::open", "jiff::Timestamp::now", "std::net::TcpStream"]
        {
            assert_eq!(said("diagnose/bind.rs", path).len(), 1, "{path}");
        }
        for path in
            ["std::net::IpAddr", "PathFile::Gone", "std::io::Write", "observer_common::exit::Exit"]
        {
            assert_eq!(said("diagnose/bind.rs", path), [""; 0], "{path}");
        }
    }

    #[test]
    fn the_model_knows_no_kernel() {
        assert_eq!(said("model/socket.rs", "crate::decode::Endpoint").len(), 1);
        assert_eq!(said("model/socket.rs", "observer_common::socket::State").len(), 1);
        assert_eq!(said("enrich/procfs.rs", "std::fs::read"), [""; 0]);
    }
}
