//! The kernel fields that the programs read. Userspace resolves their offsets from the running kernel's BTF before it loads.
//!
//! Rust emits no CO-RE relocations, so each offset is a read-only global of the eBPF object. The kernel freezes the globals: the
//! verifier sees constants, and a branch on [`ABSENT`] costs nothing.

/// The kernel has no such field.
pub const ABSENT: u32 = u32::MAX;

/// What a global holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Offset in bytes of the first of these member paths that exists in the structure.
    Member(&'static str, &'static [&'static str]),
    /// As `Member`, in bits: for members that are bit fields.
    Bit(&'static str, &'static [&'static str]),
    /// Size of a structure in bytes.
    Size(&'static str),
    /// Value of an enumerator.
    Enumerator(&'static str, &'static str),
    /// 1 when the tracepoint has at least so many arguments.
    TracepointArguments(&'static str, u32),
}

/// One global of the eBPF object.
#[derive(Clone, Copy, Debug)]
pub struct Global {
    /// Name of the global.
    pub name: &'static str,
    /// What it holds.
    pub wanted: Wanted,
    /// Whether loading fails without it: processes can't be identified.
    pub required: bool,
}

const fn member(
    name: &'static str,
    structure: &'static str,
    paths: &'static [&'static str],
) -> Global {
    Global { name, wanted: Wanted::Member(structure, paths), required: false }
}

const fn required(
    name: &'static str,
    structure: &'static str,
    paths: &'static [&'static str],
) -> Global {
    Global { name, wanted: Wanted::Member(structure, paths), required: true }
}

const fn other(name: &'static str, wanted: Wanted) -> Global {
    Global { name, wanted, required: false }
}

/// Every global that userspace sets.
pub const GLOBALS: &[Global] = &[
    required("TASK_EXIT_CODE", "task_struct", &["exit_code"]),
    required("TASK_FLAGS", "task_struct", &["flags"]),
    required("TASK_TGID", "task_struct", &["tgid"]),
    required("TASK_PID", "task_struct", &["pid"]),
    required("TASK_START", "task_struct", &["start_boottime", "real_start_time"]),
    required("TASK_MM", "task_struct", &["mm"]),
    required("TASK_SIGNAL", "task_struct", &["signal"]),
    required("TASK_LEADER", "task_struct", &["group_leader"]),
    required("TASK_PARENT", "task_struct", &["real_parent"]),
    required("TASK_COMM", "task_struct", &["comm"]),
    required("SIGNAL_LIVE", "signal_struct", &["live.counter"]),
    required("SIGNAL_FLAGS", "signal_struct", &["flags"]),
    required("SIGNAL_GROUP_EXIT_CODE", "signal_struct", &["group_exit_code"]),
    member("TASK_CRED", "task_struct", &["cred"]),
    member("TASK_PTRACE", "task_struct", &["ptrace"]),
    member("TASK_SIGHAND", "task_struct", &["sighand"]),
    member("SIGHAND_ACTION", "sighand_struct", &["action"]),
    member("TASK_FS", "task_struct", &["fs"]),
    member("FS_ROOT_MNT", "fs_struct", &["root.mnt"]),
    member("FS_ROOT_DENTRY", "fs_struct", &["root.dentry"]),
    member("TASK_NSPROXY", "task_struct", &["nsproxy"]),
    member("TASK_CGROUPS", "task_struct", &["cgroups"]),
    member("TASK_SECCOMP_MODE", "task_struct", &["seccomp.mode"]),
    member("TASK_THREAD_PID", "task_struct", &["thread_pid"]),
    member("SIGNAL_RLIM", "signal_struct", &["rlim"]),
    member("SIGNAL_OOM_MM", "signal_struct", &["oom_mm"]),
    member("SIGNAL_OOM_SCORE_ADJ", "signal_struct", &["oom_score_adj"]),
    member("CRED_UID", "cred", &["uid"]),
    member("CRED_USER_NS", "cred", &["user_ns"]),
    member("USER_NS_PARENT", "user_namespace", &["parent"]),
    member("USER_NS_LEVEL", "user_namespace", &["level"]),
    member("USER_NS_OWNER", "user_namespace", &["owner"]),
    member("NSPROXY_MNT", "nsproxy", &["mnt_ns"]),
    member("MNTNS_INUM", "mnt_namespace", &["ns.inum"]),
    member("NSPROXY_NET", "nsproxy", &["net_ns"]),
    member("NET_INUM", "net", &["ns.inum"]),
    member("NET_PROT_SOCK", "net", &["ipv4.sysctl_ip_prot_sock"]),
    member("PID_LEVEL", "pid", &["level"]),
    member("PID_NUMBERS", "pid", &["numbers"]),
    other("UPID_SIZE", Wanted::Size("upid")),
    member("UPID_NR", "upid", &["nr"]),
    member("UPID_NS", "upid", &["ns"]),
    member("PIDNS_INUM", "pid_namespace", &["ns.inum"]),
    member("MM_ARG_START", "mm_struct", &["arg_start"]),
    member("MM_ARG_END", "mm_struct", &["arg_end"]),
    member("MM_EXE_FILE", "mm_struct", &["exe_file"]),
    member("MM_HIWATER_RSS", "mm_struct", &["hiwater_rss"]),
    member("MM_TOTAL_VM", "mm_struct", &["total_vm"]),
    member("MM_PGTABLES", "mm_struct", &["pgtables_bytes.counter"]),
    // Linux 6.2 turned `struct mm_rss_stat { atomic_long_t count[] }` into an array of per-CPU counters.
    member("MM_RSS", "mm_struct", &["rss_stat"]),
    member("MM_RSS_COUNT", "mm_struct", &["rss_stat.count"]),
    member("PERCPU_COUNTER_COUNT", "percpu_counter", &["count"]),
    other("PERCPU_COUNTER_SIZE", Wanted::Size("percpu_counter")),
    member("FILE_DENTRY", "file", &["f_path.dentry"]),
    member("FILE_MNT", "file", &["f_path.mnt"]),
    member("DENTRY_PARENT", "dentry", &["d_parent"]),
    member("DENTRY_NAME", "dentry", &["d_name.name"]),
    member("DENTRY_HASH", "dentry", &["d_name.hash"]),
    member("DENTRY_HASH_PPREV", "dentry", &["d_hash.pprev"]),
    member("VFSMOUNT_ROOT", "vfsmount", &["mnt_root"]),
    member("MOUNT_MNT", "mount", &["mnt"]),
    member("MOUNT_PARENT", "mount", &["mnt_parent"]),
    member("MOUNT_MOUNTPOINT", "mount", &["mnt_mountpoint"]),
    member("CSS_SET_DFL", "css_set", &["dfl_cgrp"]),
    member("CSS_SET_SUBSYS", "css_set", &["subsys"]),
    other("MEMORY_CGRP_ID", Wanted::Enumerator("cgroup_subsys_id", "memory_cgrp_id")),
    member("CSS_CGROUP", "cgroup_subsys_state", &["cgroup"]),
    member("CSS_PARENT", "cgroup_subsys_state", &["parent"]),
    member("CGROUP_KN", "cgroup", &["kn"]),
    member("KN_NAME", "kernfs_node", &["name"]),
    member("KN_PARENT", "kernfs_node", &["__parent", "parent"]),
    member("KN_ID", "kernfs_node", &["id"]),
    member("KN_IATTR", "kernfs_node", &["iattr"]),
    member("IATTR_UID", "kernfs_iattrs", &["ia_uid"]),
    member("MEMCG_USAGE", "mem_cgroup", &["memory.usage.counter"]),
    member("MEMCG_MAX", "mem_cgroup", &["memory.max"]),
    member("MEMCG_MEMSW_USAGE", "mem_cgroup", &["memsw.usage.counter"]),
    member("MEMCG_MEMSW_MAX", "mem_cgroup", &["memsw.max"]),
    member("OC_MEMCG", "oom_control", &["memcg"]),
    member("OC_CONSTRAINT", "oom_control", &["constraint"]),
    member("OC_TOTALPAGES", "oom_control", &["totalpages"]),
    member("OC_CHOSEN", "oom_control", &["chosen"]),
    member("TASK_FILES", "task_struct", &["files"]),
    member("FILES_FDT", "files_struct", &["fdt"]),
    member("FDT_FD", "fdtable", &["fd"]),
    member("FDT_MAX", "fdtable", &["max_fds"]),
    member("FILE_PRIVATE", "file", &["private_data"]),
    member("FILE_INODE", "file", &["f_inode"]),
    member("INODE_MODE", "inode", &["i_mode"]),
    member("INODE_INO", "inode", &["i_ino"]),
    member("INODE_SB", "inode", &["i_sb"]),
    member("SB_DEV", "super_block", &["s_dev"]),
    member("DENTRY_INODE", "dentry", &["d_inode"]),
    member("SOCKET_SK", "socket", &["sk"]),
    member("SOCKET_FILE", "socket", &["file"]),
    member("SK_FAMILY", "sock_common", &["skc_family"]),
    member("SK_STATE", "sock_common", &["skc_state"]),
    member("SK_PEER_PORT", "sock_common", &["skc_dport"]),
    member("SK_NUM", "sock_common", &["skc_num"]),
    member("SK_ADDRESS", "sock_common", &["skc_rcv_saddr"]),
    member("SK_ADDRESS6", "sock_common", &["skc_v6_rcv_saddr"]),
    member("SK_DEVICE", "sock_common", &["skc_bound_dev_if"]),
    member("SK_NET", "sock_common", &["skc_net.net"]),
    other("SK_REUSE_BIT", Wanted::Bit("sock_common", &["skc_reuse"])),
    other("SK_REUSEPORT_BIT", Wanted::Bit("sock_common", &["skc_reuseport"])),
    other("SK_USERLOCKS_BIT", Wanted::Bit("sock", &["sk_userlocks"])),
    other("SK_V6ONLY_BIT", Wanted::Bit("sock_common", &["skc_ipv6only"])),
    member("SK_TYPE", "sock", &["sk_type"]),
    member("SK_PROTOCOL", "sock", &["sk_protocol"]),
    member("SK_UID", "sock", &["sk_uid"]),
    member("SK_BACKLOG", "sock", &["sk_max_ack_backlog"]),
    member("INET_SPORT", "inet_sock", &["inet_sport"]),
    member("ICSK_ULP", "inet_connection_sock", &["icsk_ulp_ops"]),
    member("ULP_NAME", "tcp_ulp_ops", &["name"]),
    member("UNIX_ADDR", "unix_sock", &["addr"]),
    member("UNIX_DENTRY", "unix_sock", &["path.dentry"]),
    member("UNIX_ADDR_LEN", "unix_address", &["len"]),
    member("UNIX_ADDR_NAME", "unix_address", &["name"]),
    member("REGS_DI", "pt_regs", &["di"]),
    member("REGS_SI", "pt_regs", &["si"]),
    member("REGS_DX", "pt_regs", &["dx"]),
    // Linux 6.16 moved sched_process_exit ahead of exit_mm and gave it `group_dead`.
    other("EXIT_HAS_GROUP_DEAD", Wanted::TracepointArguments("sched_process_exit", 2)),
];
