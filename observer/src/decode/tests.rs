//! Decodes valid records, and rejects broken ones.

use bytes::Bytes;
use observer_common::{
    exit::ExitRecord,
    header::{ABI, Header, KIND_EXIT},
    task::{TASK_EXE_CUT, TaskRecord},
};
use proptest::prelude::*;
use zerocopy::{FromZeros, IntoBytes};

use super::{
    DecodeError, KernelEvent, decode,
    samples::{exit, exit_bytes, kernel_note, note, oom, oom_bytes, set_levels},
};

fn exit_record(exe: &[u8], cgroup: &[u8], args: &[u8], flags: u32) -> Vec<u8> {
    let mut task = TaskRecord::new_zeroed();
    task.tgid = 7;
    task.flags = flags;
    task.exe_len = u16::try_from(exe.len()).expect("short");
    task.cgroup_len = u16::try_from(cgroup.len()).expect("short");
    task.args_len = u16::try_from(args.len()).expect("short");
    let mut record = ExitRecord::new_zeroed();
    let size =
        size_of::<ExitRecord>() + size_of::<TaskRecord>() + exe.len() + cgroup.len() + args.len();
    let size = u32::try_from(size).expect("short");
    record.header = Header { size, kind: KIND_EXIT, abi: ABI, time_ns: 5 };
    record.status = 9;
    [record.as_bytes(), task.as_bytes(), exe, cgroup, args].concat()
}

fn decode_exit(bytes: Vec<u8>) -> super::Exit {
    match decode(&Bytes::from(bytes)) {
        Ok(KernelEvent::Exit(exit)) => *exit,
        other => panic!("not an exit: {other:?}"),
    }
}

#[test]
fn path_components_are_reversed() {
    let exit = decode_exit(exit_record(
        b"node\0bin\0usr\0",
        b"a.service\0system.slice\0",
        b"node\0x\0",
        0,
    ));
    assert_eq!(exit.task.exe, b"/usr/bin/node");
    assert_eq!(exit.task.cgroup, b"/system.slice/a.service");
    assert_eq!(&exit.task.args[..], b"node\0x\0");
    assert_eq!(exit.time_ns, 5);
}

#[test]
fn root_cgroup_is_a_slash_and_unknown_executable_is_empty() {
    let exit = decode_exit(exit_record(b"", b"", b"", 0));
    assert_eq!(exit.task.exe, b"");
    assert_eq!(exit.task.cgroup, b"/");
}

#[test]
fn a_cut_path_begins_with_an_ellipsis() {
    let exit = decode_exit(exit_record(b"c\0b\0", b"", b"", TASK_EXE_CUT));
    assert_eq!(exit.task.exe, "…/b/c".as_bytes());
}

#[test]
fn notes_follow_with_their_senders() {
    let mut sample = exit(20, 9);
    sample.notes = vec![note(15, 10), kernel_note(9, 11), note(9, 12)];
    let Ok(KernelEvent::Exit(exit)) = decode(&exit_bytes(&sample)) else { panic!("not an exit") };
    let senders = exit.notes.iter().map(|note| note.sender.as_ref().map(|task| task.record.tgid));
    assert_eq!(senders.collect::<Vec<_>>(), [Some(10), None, Some(12)]);
    assert_eq!(
        exit.notes[2].sender.as_ref().map(|task| &task.exe[..]),
        Some(&b"/usr/bin/node"[..])
    );
    assert_eq!(exit.notes[0].sender_comm(), b"node");
}

#[test]
fn an_oom_kill_has_victim_trigger_and_their_cgroups() {
    let mut sample = oom(20, 21);
    set_levels(&mut sample, &[(1, 2), (3, 4)]);
    sample.trigger_memory = b"/a/b".to_vec();
    let Ok(KernelEvent::Oom(oom)) = decode(&oom_bytes(&sample)) else { panic!("not an OOM kill") };
    assert_eq!(oom.victim_memory, b"/system.slice/shop.service");
    assert_eq!(oom.trigger_memory, b"/a/b");
    assert_eq!((oom.victim.record.tgid, oom.trigger.record.tgid), (20, 21));
    assert_eq!(oom.levels().len(), 2);
    assert!(oom.kill_sent());
}

#[test]
fn lengths_are_checked() {
    let mut bytes = exit_record(b"", b"", b"", 0);
    bytes.push(0);
    assert!(matches!(decode(&Bytes::from(bytes)), Err(DecodeError::Length { .. })));
    let mut bytes = exit_record(b"", b"", b"", 0);
    bytes.truncate(20);
    bytes[0] = 20;
    bytes[1] = 0;
    assert!(matches!(decode(&Bytes::from(bytes)), Err(DecodeError::Short { .. })));
}

#[test]
fn another_abi_and_an_unknown_kind_are_refused() {
    let mut bytes = exit_record(b"", b"", b"", 0);
    bytes[6] = 0xff;
    assert!(matches!(decode(&Bytes::from(bytes)), Err(DecodeError::Abi(_))));
    let mut bytes = exit_record(b"", b"", b"", 0);
    bytes[4] = 0xee;
    assert_eq!(decode(&Bytes::from(bytes)).err(), Some(DecodeError::Kind(0xee)));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..2048), kind in 0u16..4) {
        if bytes.len() >= 8 {
            let size = u32::try_from(bytes.len()).expect("short");
            bytes[..4].copy_from_slice(&size.to_ne_bytes());
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[6..8].copy_from_slice(&ABI.to_ne_bytes());
        }
        let _ = decode(&Bytes::from(bytes));
    }
}
