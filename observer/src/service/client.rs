//! The other side of the socket: commands that ask the service.

use std::{io, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::UnixStream,
};

use super::protocol::{Request, RequestRefused};
use crate::error::Failure;

/// An answer, line by line.
pub struct ServiceAnswer(Lines<BufReader<UnixStream>>);

/// Asks the service that listens on `path`. `None`: there is none.
pub async fn ask(path: &Path, request: &Request) -> Result<Option<ServiceAnswer>> {
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let path = path.display();
            let text =
                format!("not permitted to use {path}: be root, or in the group of that file");
            return Err(Failure::Unsupported(text).into());
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("can't reach the service on {}", path.display()));
        }
    };
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text).await.context("the service does not listen")?;
    Ok(Some(ServiceAnswer(BufReader::with_capacity(64 * 1024, stream).lines())))
}

/// No file, or the file that a service has left.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    )
}

impl ServiceAnswer {
    /// The next line; `None` when the service has ended it. Dropping the future loses nothing.
    pub async fn line(&mut self) -> Result<Option<String>> {
        let line = self.0.next_line().await.context("the service can't be read")?;
        if let Some(text) = &line
            && text.starts_with("{\"error\":")
            && let Ok(refusal) = serde_json::from_str::<RequestRefused>(text)
        {
            bail!("the service refuses: {}", refusal.error);
        }
        Ok(line)
    }

    /// A line that must come soon.
    pub async fn only_line(&mut self) -> Result<String> {
        let line = tokio::time::timeout(Duration::from_secs(30), self.line()).await;
        line.context("the service does not answer")??.context("the service gave no answer")
    }
}
