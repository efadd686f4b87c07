//! The public vocabulary: the events that are written as JSON and shown in the terminal.
//!
//! **Invariant:** no kernel types, no I/O. Fields may be added; to change or remove one takes a new [`SCHEMA`].

mod alike;
mod bind;
mod cause;
pub mod cgroup;
mod cut;
mod event;
mod exit;
mod flood;
pub mod human;
mod incident;
mod oom;
mod process;
mod session;
mod signals;
mod socket;
mod text;
mod time;

pub use alike::{Numbers, Shape};
pub use bind::{BindEvent, Call, Errno, Holder, ListenEvent, Relation, ReleaseEvent};
pub use cause::{Cause, CauseType, Confidence, Prompt};
pub use cut::{CUTS, LINE_MAX};
pub use event::{Body, Event, Kind, SCHEMA};
pub use exit::{ExitEvent, ExitStatus};
pub use flood::FloodEvent;
pub use incident::{IncidentEvent, Sentence};
pub use oom::{Memory, OomEvent, Scope};
pub use process::{Parent, Process};
pub use session::{After, ClockInfo, HookInfo, LossEvent, SessionEvent};
pub use signals::{fault_code_name, signal_name};
pub use socket::{Protocol, Socket, SocketState};
pub(crate) use text::{hex, unhex};
pub use text::{hex_of_non_utf8, lossy};
pub use time::Time;

use std::{borrow::Cow, collections::BTreeMap};

/// Why a key is absent, by key.
pub type Missing = BTreeMap<Cow<'static, str>, Cow<'static, str>>;
