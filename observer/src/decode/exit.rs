//! Decodes the record of a death.

use observer_common::{
    exit::ExitRecord,
    signal::{
        NOTE_HANDLED, NOTE_HAS_SENDER, NOTE_IGNORED, NOTE_NO_INFO, NOTE_SENDER_EXITING,
        NOTE_SENDER_NS_INIT, NOTE_TO_THREAD, NOTE_TRACED, SignalNote,
    },
};

use super::{
    DecodeError, Task,
    cursor::Cursor,
    task::{TaskId, until_nul},
};

/// A process whose last thread ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// The fixed part.
    pub record: ExitRecord,
    /// The process.
    pub task: Task,
    /// Signals that it got before, which may have caused it.
    pub notes: Vec<Note>,
}

/// A signal that was sent to the process.
#[derive(Clone, Debug)]
pub struct Note {
    /// The fixed part.
    pub record: SignalNote,
    /// The sender, if the kernel side captured it.
    pub sender: Option<Task>,
}

impl Note {
    /// The process that ran when the signal was generated.
    #[must_use]
    pub fn sender_id(&self) -> TaskId {
        let sender = &self.record.sender;
        TaskId { tgid: sender.tgid, start_ns: sender.start_time_ns }
    }

    /// That process's name.
    #[must_use]
    pub fn sender_comm(&self) -> &[u8] {
        until_nul(&self.record.sender_comm)
    }

    /// Whether the target ignored the signal.
    #[must_use]
    pub fn ignored(&self) -> bool {
        self.record.flags & NOTE_IGNORED != 0
    }

    /// Whether a tracer had attached to the target, and may have kept the signal back.
    #[must_use]
    pub fn traced(&self) -> bool {
        self.record.flags & NOTE_TRACED != 0
    }

    /// Whether the target had a handler for the signal, and so lived on.
    #[must_use]
    pub fn handled(&self) -> bool {
        self.record.flags & NOTE_HANDLED != 0
    }

    /// Whether that process was exiting.
    #[must_use]
    pub fn sender_exiting(&self) -> bool {
        self.record.flags & NOTE_SENDER_EXITING != 0
    }

    /// Whether that process was the init of a pid namespace.
    #[must_use]
    pub fn sender_is_namespace_init(&self) -> bool {
        self.record.flags & NOTE_SENDER_NS_INIT != 0
    }

    /// Whether the signal was sent to one thread.
    #[must_use]
    pub fn to_thread(&self) -> bool {
        self.record.flags & NOTE_TO_THREAD != 0
    }

    /// Whether the signal came without a siginfo.
    #[must_use]
    pub fn no_info(&self) -> bool {
        self.record.flags & NOTE_NO_INFO != 0
    }
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Exit, DecodeError> {
    let record: ExitRecord = cursor.fixed()?;
    let task = Task::decode(cursor)?;
    let mut notes = Vec::new();
    for _ in 0..record.notes {
        let note: SignalNote = cursor.fixed()?;
        let sender = match note.flags & NOTE_HAS_SENDER {
            0 => None,
            _ => Some(Task::decode(cursor)?),
        };
        notes.push(Note { record: note, sender });
    }
    Ok(Exit { time_ns: record.header.time_ns, record, task, notes })
}
