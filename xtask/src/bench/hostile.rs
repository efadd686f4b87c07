//! What a user without rights may try, between the storms of the endurance run, and a root server that dies beside each. Its death
//! must be in the record, whatever is tried.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The words of each case, and those of whoever is refused there, `PORT` in place of the port. A user without rights runs both.
const CASES: [(&[&str], &[&str]); 6] = [
    (&["long-args", "300000000", "x", "hold", "tcp", "127.0.0.1:0"], &["bind", "5", "tcp", "PORT"]),
    (&["many-sockets", "3000", "tcp", "0", "reuseport"], &["bind", "20", "tcp", "PORT"]),
    (&["many-zombies", "1000", "1", "tcp", "0", "reuseport"], &["bind", "5", "tcp", "PORT"]),
    (&["many-children", "100", "200", "tcp", "0"], &["many-refusals", "200", "NUMBER"]),
    (&["many-sockets", "8000", "udp", "0"], &["bind", "5", "udp", "PORT"]),
    (&["hanging-mount", "FOLDER"], &[]),
];

const NOBODY: [&str; 2] = ["as-user", "65534"];

/// The cases one after the other, and what must be found of them.
pub(crate) struct Hostile {
    workload: PathBuf,
    folder: PathBuf,
    tried: usize,
    /// Names of root's servers that died.
    servers: Vec<String>,
}

/// A workload that says `ready` and waits. Killed on drop.
struct Waiting {
    child: Child,
    port: String,
}

impl Waiting {
    fn start(workload: &Path, words: &[&str]) -> Result<Self> {
        let mut child = Command::new(workload).args(words).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        let mut waiting = Self { child, port: String::new() };
        for line in out.lines() {
            match line?.split_once('=') {
                Some(("port", port)) => port.clone_into(&mut waiting.port),
                Some(("ready", _)) => return Ok(waiting),
                _ => {}
            }
        }
        anyhow::bail!("{} says no ready", words.join(" "))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It is ours, and is reaped here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Hostile {
    pub(crate) fn new(workload: &Path, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (workload, folder) = (workload.to_owned(), folder.to_owned());
        Ok(Self { workload, folder, tried: 0, servers: Vec::new() })
    }

    /// The next case, while a server of root's dies.
    pub(crate) fn next(&mut self) -> Result<()> {
        let (case, refused) = CASES[self.tried % CASES.len()];
        self.tried += 1;
        let folder = self.folder.to_string_lossy().into_owned();
        let own: &[&str] = if case[0] == "hanging-mount" { &[] } else { &NOBODY };
        let words: Vec<&str> =
            own.iter().chain(case).map(|w| if *w == "FOLDER" { &folder } else { *w }).collect();
        let waiting = Waiting::start(&self.workload, &words)?;
        let address = format!("127.0.0.1:{}", waiting.port);
        if !refused.is_empty() {
            let word = |word: &&'static str| match *word {
                "PORT" => address.clone(),
                "NUMBER" => waiting.port.clone(),
                other => other.to_owned(),
            };
            let words = NOBODY.iter().chain(refused).map(word);
            Command::new(&self.workload).args(words).stdout(Stdio::null()).status()?;
        }
        let name = format!("root-{}", self.tried);
        drop(Waiting::start(&self.workload, &["named", &name, "hold", "tcp", "127.0.0.1:0"])?);
        self.servers.push(name);
        Ok(())
    }

    /// How many were tried; fails if the death of one of root's servers is not among the events in this file.
    pub(crate) fn check(&self, events: &Path) -> Result<usize> {
        let mut missing: HashSet<String> =
            self.servers.iter().map(|name| format!(r#""comm":"{name}""#)).collect();
        for line in BufReader::new(File::open(events)?).lines() {
            let line = line?;
            if line.contains(r#""kind":"exit""#) && line.contains(r#""comm":"root-"#) {
                missing.retain(|name| !line.contains(name.as_str()));
            }
        }
        ensure!(missing.is_empty(), "{} deaths of root's are missing: {missing:?}", missing.len());
        Ok(self.tried)
    }
}
