//! Standard output: data only, and a reader that goes away is no error.
//!
//! **Invariant:** nothing but this module and [`crate::logging`] prints; the lints forbid it elsewhere.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
};

use tokio::io::{AsyncWriteExt, Stdout, stdout};

use crate::sanitize::for_terminal;

/// Writes lines.
pub enum StdoutWriter {
    /// A file takes what it gets at once: handing that to another thread would cost more than the write.
    File(File),
    /// A pipe or a terminal may be read slowly, or never.
    Stream(Stdout),
}

/// Whether anybody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Go on.
    There,
    /// The pipe was closed: end without a word.
    Gone,
}

impl StdoutWriter {
    /// This process's standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        match file {
            Ok(file) if file.metadata().is_ok_and(|file| file.is_file()) => Self::File(file),
            _ => Self::Stream(stdout()),
        }
    }

    /// Writes the lines behind `sent`, or as many whole ones as make a piece, until they can be seen. When the future is
    /// dropped, `sent` says where to go on.
    pub async fn write(&mut self, lines: &[u8], sent: &mut usize) -> io::Result<Reader> {
        let piece = piece(lines, *sent);
        closed_is_no_error(match self {
            Self::File(file) => file.write_all(&lines[*sent..]).map(|()| *sent = lines.len()),
            Self::Stream(stream) => send(stream, &lines[..piece], sent).await,
        })
    }
}

/// At least so many bytes are handed over at a time, if there are: each costs a thread's wake-up.
const PIECE: usize = 128 * 1024;

/// Where the piece ends that begins at `sent`: at the end of a line.
fn piece(lines: &[u8], sent: usize) -> usize {
    let far = sent.saturating_add(PIECE).min(lines.len());
    let end = lines[far..].iter().position(|byte| *byte == b'\n');
    end.map_or(lines.len(), |more| far + more + 1)
}

async fn send(stream: &mut Stdout, lines: &[u8], sent: &mut usize) -> io::Result<()> {
    while *sent < lines.len() {
        *sent += stream.write(&lines[*sent..]).await?;
    }
    stream.flush().await
}

fn closed_is_no_error(result: io::Result<()>) -> io::Result<Reader> {
    match result {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error),
    }
}

/// Prints a text at once, for commands that end after it.
pub fn print(text: &str) -> io::Result<Reader> {
    let mut out = io::stdout().lock();
    let bytes = text.as_bytes();
    let shown = if out.is_terminal() { for_terminal(bytes) } else { bytes.into() };
    closed_is_no_error(out.write_all(&shown).and_then(|()| out.flush()))
}

/// Many lines for commands that read the store; they end with the reader.
pub struct StdoutLines {
    out: io::BufWriter<io::StdoutLock<'static>>,
    terminal: bool,
}

impl StdoutLines {
    /// To standard output.
    #[must_use]
    pub fn new() -> Self {
        let out = io::stdout().lock();
        let terminal = out.is_terminal();
        Self { out: io::BufWriter::with_capacity(256 * 1024, out), terminal }
    }

    /// Writes bytes, which end their own lines.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Reader> {
        let shown = if self.terminal { for_terminal(bytes) } else { bytes.into() };
        closed_is_no_error(self.out.write_all(&shown))
    }

    /// Shows what was written.
    pub fn flush(&mut self) -> io::Result<Reader> {
        closed_is_no_error(self.out.flush())
    }
}

impl Default for StdoutLines {
    fn default() -> Self {
        Self::new()
    }
}
