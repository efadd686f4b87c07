//! The other side of the socket: commands that ask the service.

use std::{io, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use super::protocol::{Request, RequestRefused};
use crate::error::Failure;

/// An answer, line by line.
pub struct ServiceAnswer {
    stream: BufReader<UnixStream>,
    /// What has come of the line that is read.
    begun: Vec<u8>,
}

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
    let stream = BufReader::with_capacity(64 * 1024, stream);
    Ok(Some(ServiceAnswer { stream, begun: Vec::new() }))
}

/// No file, or the file that a service has left.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    )
}

impl ServiceAnswer {
    /// The next line; `None` when the service has ended, also in the midst of a line. Dropping the future loses nothing.
    pub async fn line(&mut self) -> Result<Option<String>> {
        let read = self.stream.read_until(b'\n', &mut self.begun).await;
        read.context("the service can't be read")?;
        if self.begun.pop_if(|last| *last == b'\n').is_none() {
            return Ok(None);
        }
        let text = String::from_utf8(std::mem::take(&mut self.begun))
            .context("the service sends what is no text")?;
        if text.starts_with("{\"error\":")
            && let Ok(refusal) = serde_json::from_str::<RequestRefused>(&text)
        {
            bail!("the service refuses: {}", refusal.error);
        }
        Ok(Some(text))
    }

    /// A line that must come soon.
    pub async fn only_line(&mut self) -> Result<String> {
        let line = tokio::time::timeout(Duration::from_secs(30), self.line()).await;
        line.context("the service does not answer")??.context("the service gave no answer")
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncWriteExt, BufReader},
        net::UnixStream,
    };

    use super::ServiceAnswer;

    #[test]
    fn a_service_killed_within_a_line_has_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (mut service, client) = UnixStream::pair().expect("a pair");
            let mut answer = ServiceAnswer { stream: BufReader::new(client), begun: Vec::new() };
            service.write_all(b"{\"seq\":1}\n{\"seq\"").await.expect("written");
            drop(service);
            assert_eq!(answer.line().await.expect("a line").as_deref(), Some("{\"seq\":1}"));
            assert_eq!(answer.line().await.expect("its end"), None);
        });
    }
}
