//! Whose limit it was, from oom_control or from counters alone.

use observer_common::oom::{CONSTRAINT_UNKNOWN, LEVEL_UNKNOWN};

use super::{Surroundings, UNLIMITED, above, event, is_under};
use crate::{
    decode::{
        Oom,
        samples::{oom, set_levels},
    },
    model::{OomEvent, Process, Scope},
};

const PAGE: u64 = 4096;
/// `PAGE_COUNTER_MAX`.
const NO_LIMIT: u64 = u64::MAX / 2 / PAGE;

fn event_of(oom: &Oom, memory_v1: bool, callers: &[&str]) -> OomEvent {
    let callers: Vec<Option<String>> =
        callers.iter().map(|name| Some((*name).to_owned())).chain([None]).collect();
    let process = |pid| Process { pid, comm: Some("node".into()), ..Process::default() };
    let around =
        Surroundings { page_bytes: PAGE, memory_v1, memory_bytes: 2 << 30, callers: &callers };
    event(oom, process(oom.victim.record.tgid), process(oom.trigger.record.tgid), around)
}

/// An OOM kill of a cgroup, by the counters of the levels from the victim's own upwards.
fn in_cgroup(victim_memory: &str, trigger_memory: &str, levels: &[(u64, u64)]) -> OomEvent {
    let mut oom = oom(20, 21);
    oom.victim_memory = victim_memory.as_bytes().to_vec();
    oom.trigger_memory = trigger_memory.as_bytes().to_vec();
    set_levels(&mut oom, levels);
    event_of(&oom, false, &["mem_cgroup_out_of_memory", "try_charge_memcg"])
}

#[track_caller]
fn assert_limit(oom: &OomEvent, cgroup: &str, limit_pages: u64, usage_pages: u64) {
    assert_eq!(oom.scope, Some(Scope::Cgroup));
    assert_eq!(oom.limit_cgroup.as_deref(), Some(cgroup));
    assert_eq!(oom.limit_bytes, Some(limit_pages * PAGE));
    assert_eq!(oom.usage_bytes, Some(usage_pages * PAGE));
    assert!(oom.missing.is_empty(), "{:?}", oom.missing);
}

#[test]
fn its_own_limit() {
    let oom = in_cgroup("/shop", "/shop", &[(1000, 1000), (5000, NO_LIMIT)]);
    assert_limit(&oom, "/shop", 1000, 1000);
    assert!(oom.summary.ends_with("/shop reached its memory limit of 3.9 MiB"), "{}", oom.summary);
}

#[test]
fn the_limit_of_an_ancestor() {
    let levels = [(400, NO_LIMIT), (400, 800), (998, 1000), (5000, NO_LIMIT)];
    let oom = in_cgroup("/panel/shop/web", "/panel/shop/web", &levels);
    assert_limit(&oom, "/panel", 1000, 998);
}

#[test]
fn of_two_full_levels_the_lower() {
    let oom = in_cgroup("/panel/shop", "/panel/shop", &[(500, 500), (1000, 1000), (0, NO_LIMIT)]);
    assert_limit(&oom, "/panel/shop", 500, 500);
}

/// The victim's own group is full too, but a sibling's charge never passes there.
#[test]
fn a_sibling_that_asks_leaves_only_common_ancestors() {
    let levels = [(500, 500), (1000, 1000), (0, NO_LIMIT)];
    assert_limit(&in_cgroup("/panel/shop", "/panel/blog", &levels), "/panel", 1000, 1000);
    // A name that begins alike is no ancestor.
    assert_limit(&in_cgroup("/panel/shop", "/panel/shop2", &levels), "/panel", 1000, 1000);
}

/// Counters are read a moment after the charge failed, when something may have been given back already.
#[test]
fn without_a_full_level_the_fullest() {
    let oom = in_cgroup("/panel/shop", "/panel/shop", &[(100, 500), (900, 1000), (0, NO_LIMIT)]);
    assert_limit(&oom, "/panel", 1000, 900);
}

#[test]
fn without_any_limit_nothing_is_made_up() {
    let oom = in_cgroup("/shop", "/shop", &[(100, NO_LIMIT), (900, UNLIMITED)]);
    assert_eq!((oom.scope, oom.limit_cgroup, oom.limit_bytes), (Some(Scope::Cgroup), None, None));
    assert!(oom.missing.contains_key("limit_cgroup"));
}

#[test]
fn oom_control_beats_the_counters() {
    let mut oom = oom(20, 21);
    oom.victim_memory = b"/panel/shop".to_vec();
    oom.trigger_memory = b"/panel/shop".to_vec();
    set_levels(&mut oom, &[(500, 500), (700, 1000), (0, NO_LIMIT)]);
    oom.record.constraint = 3;
    oom.record.limit_level = 1;
    assert_limit(&event_of(&oom, false, &[]), "/panel", 1000, 700);
    // The cgroup that it names may lie above the levels that were kept.
    oom.record.limit_level = LEVEL_UNKNOWN;
    assert_limit(&event_of(&oom, false, &[]), "/panel/shop", 500, 500);
    oom.record.limit_level = 77;
    assert_eq!(event_of(&oom, false, &[]).limit_cgroup, None);
}

#[test]
fn scopes_of_oom_control() {
    let mut oom = oom(20, 21);
    oom.record.total_pages = 1 << 18;
    for (constraint, scope, words) in [
        (0, Some(Scope::System), "the machine ran out of memory (1 GiB with swap)"),
        (1, Some(Scope::Cpuset), "the memory nodes of its cpuset were full"),
        (2, Some(Scope::Mempolicy), "the memory nodes of its memory policy were full"),
        (CONSTRAINT_UNKNOWN, None, "memory was short"),
        (9, None, "memory was short"),
    ] {
        oom.record.constraint = constraint;
        let event = event_of(&oom, false, &[]);
        assert_eq!(event.scope, scope);
        assert!(event.summary.ends_with(words), "{}", event.summary);
        assert_eq!(event.limit_cgroup, None);
        assert!(event.missing.contains_key("usage_bytes"));
    }
}

#[test]
fn scopes_of_the_stack() {
    let oom = oom(20, 21);
    let scope = |callers: &[&str]| event_of(&oom, false, callers).scope;
    assert_eq!(
        scope(&["out_of_memory", "__alloc_pages_slowpath.constprop.0"]),
        Some(Scope::System)
    );
    // The cgroup's own way leads through the page allocator as well.
    let cgroup = ["mem_cgroup_out_of_memory", "try_charge_memcg", "__alloc_pages_noprof"];
    assert_eq!(scope(&cgroup), Some(Scope::Cgroup));
    assert_eq!(scope(&["do_syscall_64"]), None);
    // Without oom_control the kernel's own total is unknown: the machine's is reported.
    assert_eq!(event_of(&oom, false, &["out_of_memory"]).limit_bytes, Some(2 << 30));
}

/// v1 limits memory, and memory with swap: whichever has less room was hit.
#[test]
fn version_1_counts_swap() {
    let mut oom = oom(20, 20);
    set_levels(&mut oom, &[(700, 1000), (0, NO_LIMIT)]);
    oom.record.levels[0].memsw_usage = 1200;
    oom.record.levels[0].memsw_max = 1200;
    let callers = ["mem_cgroup_out_of_memory"];
    assert_limit(&event_of(&oom, true, &callers), "/system.slice/shop.service", 1200, 1200);
    assert_limit(&event_of(&oom, false, &callers), "/system.slice/shop.service", 1000, 700);
    oom.record.levels[0].usage = 1000;
    assert_limit(&event_of(&oom, true, &callers), "/system.slice/shop.service", 1000, 1000);
}

#[test]
fn a_member_of_a_group_was_not_chosen() {
    let oom = oom(20, 21);
    assert!(!event_of(&oom, false, &["mem_cgroup_out_of_memory"]).group);
    let member = event_of(&oom, false, &["oom_kill_memcg_member", "mem_cgroup_out_of_memory"]);
    assert!(member.group);
    assert!(member.summary.contains("along with its cgroup"), "{}", member.summary);
}

#[test]
fn the_victims_memory() {
    let event = event_of(&oom(20, 21), false, &[]);
    assert_eq!(event.memory.anon_rss_bytes, 10_000 * PAGE);
    assert_eq!(event.memory.page_table_bytes, 1 << 16);
    assert!(
        event.summary.contains("OOM killer chose node 20 (41 MiB resident)"),
        "{}",
        event.summary
    );
}

#[test]
fn levels_are_components() {
    assert_eq!(above(b"/a/b/c", 0), "/a/b/c");
    assert_eq!(above(b"/a/b/c", 2), "/a");
    assert_eq!(above(b"/a/b/c", 3), "/");
    assert_eq!(above(b"/", 0), "/");
}

#[test]
fn under() {
    assert!(is_under(b"/a/b", b"/a"));
    assert!(is_under(b"/a", b"/a"));
    assert!(is_under(b"/x", b"/"));
    assert!(!is_under(b"/ab", b"/a"));
}

#[test]
fn figures_beyond_belief_do_not_wrap() {
    let mut oom = oom(20, 21);
    oom.record.anon_rss = u64::MAX;
    oom.record.file_rss = u64::MAX / PAGE;
    let event = event_of(&oom, false, &["out_of_memory"]);
    assert_eq!(event.memory.anon_rss_bytes, u64::MAX);
    assert!(event.summary.contains("15.9 EiB resident"), "{}", event.summary);
}
