//! The service's socket: who may connect, and what they ask.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use super::protocol::{LONGEST, Request, RequestRefused, parse};

/// How long a client may take to say what it wants, and to take a short answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The listening socket; its file is removed when it is dropped.
pub struct ServiceSocket {
    /// Clients come here.
    pub listener: UnixListener,
    path: PathBuf,
}

impl ServiceSocket {
    /// Listens, for root and `group` only; fails when another service does so already.
    pub fn listen(path: &Path, group: Option<u32>) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            // Whatever the umask: the group must get there, and nobody else put a socket of his own in our place.
            let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
            let made = fs::create_dir_all(folder);
            rustix::process::umask(mask);
            made.with_context(|| format!("can't make the folder {}", folder.display()))?;
        }
        clear(path)?;
        // Nobody may connect before the mode is right.
        let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(mask);
        let listener = listener.with_context(|| {
            format!("can't listen on {}: name another with --socket", path.display())
        })?;
        if let Some(group) = group {
            std::os::unix::fs::chown(path, None, Some(group))
                .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o660)))
                .with_context(|| format!("can't give {} to its group", path.display()))?;
        }
        Ok(Self { listener, path: path.to_owned() })
    }
}

impl Drop for ServiceSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the file that a service which was killed has left; anything else stays.
fn clear(path: &Path) -> Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        bail!("{} is there and is no socket: name another with --socket", path.display());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => bail!(
            "another observer listens on {} already: stop it, or name another with --socket",
            path.display()
        ),
        Err(_) => fs::remove_file(path)
            .with_context(|| format!("can't remove the old socket {}", path.display())),
    }
}

/// Reads what a client wants. `Err`: what to answer.
pub async fn request(stream: &mut UnixStream) -> Result<Request, String> {
    let mut line = Vec::new();
    let mut piece = [0; 1024];
    let read = tokio::time::timeout(PATIENCE, async {
        while !line.contains(&b'\n') && line.len() < LONGEST {
            match stream.read(&mut piece).await {
                Ok(0) => break,
                Ok(n) => line.extend_from_slice(&piece[..n]),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    });
    read.await.map_err(|_elapsed| "no request came".to_owned())??;
    let end = line.iter().position(|byte| *byte == b'\n');
    parse(&line[..end.ok_or("a request is one line")?])
}

/// Answers why not.
pub async fn refuse(mut stream: UnixStream, error: String) {
    let Ok(text) = serde_json::to_string(&RequestRefused { error }) else { return };
    answer(&mut stream, (text + "\n").as_bytes()).await;
}

/// Gives a short answer, of lines with their ends; a client that doesn't read gets none.
pub async fn answer(stream: &mut UnixStream, lines: &[u8]) {
    let written = tokio::time::timeout(PATIENCE, async {
        stream.write_all(lines).await?;
        stream.shutdown().await
    });
    if let Ok(Err(error)) = written.await {
        tracing::debug!(%error, "a client went away");
    }
}
