//! What goes over the socket: a request of one line of JSON, then lines of JSON until one side has enough.

use serde::{Deserialize, Serialize};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Events as they happen; a `session` comes first.
    Tail {
        /// Processes that ended with code 0 too.
        #[serde(default)]
        all: bool,
    },
    /// One line: [`super::status::Status`].
    Status,
    /// Who holds which port: a line a socket.
    Ports {
        /// Only these, connections included.
        #[serde(default)]
        ports: Vec<u16>,
    },
}

/// A request that can't be answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestRefused {
    /// Why.
    pub error: String,
}

/// A longer request is none.
pub const LONGEST: usize = 64 * 1024;

/// Reads a request.
pub fn parse(line: &[u8]) -> Result<Request, String> {
    serde_json::from_slice(line).map_err(|error| format!("no request: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{Request, parse};

    #[test]
    fn requests() {
        assert_eq!(parse(br#"{"request":"tail"}"#), Ok(Request::Tail { all: false }));
        assert_eq!(
            parse(br#"{"request":"ports","ports":[80]}"#),
            Ok(Request::Ports { ports: vec![80] })
        );
        for wrong in [&b"tail"[..], b"{}", b"{\"request\":\"shutdown\"}", b"\xff"] {
            assert!(parse(wrong).is_err());
        }
    }
}
