//! Parses a cgroup's path: the systemd unit, the container, and a short name for people.
//!
//! **Invariant:** text in, text out; no I/O.

use std::borrow::Cow;

/// The unit of the system manager in a path: `/system.slice/nginx.service` is `nginx.service`. A slice holds units and is none.
///
/// The outermost one, as systemd has it (`cg_path_get_unit`): whoever runs inside a unit, a user's manager or a container may
/// name the cgroups below it as he likes.
#[must_use]
pub fn unit(path: &str) -> Option<&str> {
    path.split('/').find(|name| is_unit(name))
}

/// The unit of a user's manager in a path, below that manager's own unit: `…/user@1000.service/app.slice/shop.service` is
/// `shop.service` (`cg_path_get_user_unit`). Its user chose the name.
#[must_use]
pub fn user_unit(path: &str) -> Option<&str> {
    let mut names = path.split('/').skip_while(|name| !is_unit(name));
    names.next().filter(|unit| unit.starts_with("user@"))?;
    names.find(|name| is_unit(name))
}

/// The part of a path that nobody inside could choose: up to the outermost unit, container or slice of a user. `None`: it is in
/// none of them. Whoever may make cgroups inside of it stays in it; all sessions of a user and his manager are one.
///
/// Only slices and what container runtimes make can be above: below other cgroups, anybody may have chosen the names.
#[must_use]
pub fn outermost(path: &str) -> Option<&str> {
    const RUNTIMES: [&str; 5] = ["docker", "kubepods", "libpod_parent", "lxc", "machine"];
    // Its first names are missing, and the others may be anybody's.
    if path.starts_with('…') {
        return Some("…");
    }
    let in_pods = path.starts_with("/kubepods/");
    let (mut above, mut end) = ("", 0);
    for (depth, name) in path.split('/').enumerate().skip(1) {
        end += 1 + name.len();
        let is_slice = name.ends_with(".slice");
        let of_user = depth == 2 && above == "user.slice" && name.starts_with("user-") && is_slice;
        if of_user || is_unit(name) || container_in(above, name).is_some() {
            return path.get(..end);
        }
        let is_runtimes = (depth == 1 && RUNTIMES.contains(&name))
            || (in_pods
                && (["besteffort", "burstable"].contains(&name) || name.starts_with("pod")));
        if !is_slice && !is_runtimes {
            return None;
        }
        above = name;
    }
    None
}

fn is_unit(name: &str) -> bool {
    const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    KINDS.iter().any(|kind| name.len() > kind.len() && name.ends_with(kind))
}

/// Id (the first 12 digits, as container tools print it) or name of the container that a path belongs to.
///
/// Known forms: `docker-<id>.scope`, `/docker/<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope`,
/// `libpod-<id>.scope`, `/kubepods/…/<id>`, `lxc.payload.<name>`, `/lxc/<name>`, `machine-<name>.scope`.
#[must_use]
pub fn container(path: &str) -> Option<&str> {
    let mut above = "";
    let mut found = None;
    for name in path.split('/') {
        found = container_in(above, name).or(found);
        above = name;
    }
    found
}

/// The container whose own cgroup has this name, below the one named `above`.
fn container_in<'a>(above: &str, name: &'a str) -> Option<&'a str> {
    let id = name.strip_suffix(".scope").unwrap_or(name);
    let id = id.rsplit_once(['-', ':']).map_or(id, |(_, id)| id);
    if is_id(id) {
        return Some(&id[..12]);
    }
    let machine = || name.strip_prefix("machine-").and_then(|name| name.strip_suffix(".scope"));
    let below_lxc = || Some(name).filter(|name| above == "lxc" && !name.is_empty());
    name.strip_prefix("lxc.payload.").or_else(below_lxc).or_else(machine)
}

/// Short name of a cgroup: a systemd unit's own name, `container ID` for a container's scope, else the path.
#[must_use]
pub fn short(path: &str) -> Cow<'_, str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let unit = [".service", ".slice", ".scope"]
        .iter()
        .any(|kind| name.len() > kind.len() && name.ends_with(kind));
    match container(name) {
        Some(id) => format!("container {id}").into(),
        None if unit => name.into(),
        None => path.into(),
    }
}

/// Docker, Podman, containerd and CRI-O all use ids of 64 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::{container, outermost, short, unit, user_unit};

    #[test]
    fn short_names() {
        assert_eq!(short("/panel.slice/shop.service"), "shop.service");
        assert_eq!(short("/panel.slice"), "panel.slice");
        assert_eq!(short("/panel/shop"), "/panel/shop");
        assert_eq!(short("/"), "/");
        assert_eq!(short("/x/.slice"), "/x/.slice");
        assert_eq!(short(&format!("/system.slice/docker-{ID}.scope")), "container 0123456789ab");
    }

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn units() {
        assert_eq!(unit("/system.slice/nginx.service"), Some("nginx.service"));
        assert_eq!(unit("/user.slice/user-0.slice/session-3.scope"), Some("session-3.scope"));
        let of_a_user = "/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service/sub";
        assert_eq!(unit(of_a_user), Some("user@1000.service"));
        assert_eq!(user_unit(of_a_user), Some("nginx.service"));
        assert_eq!(user_unit("/system.slice/nginx.service"), None);
        // Delegated, or made in a container.
        let below = "/system.slice/eve.service/nginx.service";
        assert_eq!((unit(below), user_unit(below)), (Some("eve.service"), None));
        assert_eq!(unit("/"), None);
        assert_eq!(unit("/.service"), None);
    }

    #[test]
    fn whoever_is_inside_can_not_choose_the_outermost_part() {
        for (path, part) in [
            ("/system.slice/nginx.service/a/b.service", Some("/system.slice/nginx.service")),
            ("/user.slice/user-7.slice/session-3.scope/x", Some("/user.slice/user-7.slice")),
            (
                "/user.slice/user-7.slice/user@7.service/app.slice/a.service",
                Some("/user.slice/user-7.slice"),
            ),
            (
                "/machine.slice/machine-web.scope/a.service",
                Some("/machine.slice/machine-web.scope"),
            ),
            ("/lxc.payload.web/user.slice/user-7.slice", Some("/lxc.payload.web")),
            ("/lxc/web/a.service", Some("/lxc/web")),
            ("/a/user.slice/user-7.slice", None),
            ("/eve/1/2", None),
            // Given to somebody who names what is in it.
            ("/eve/1.service", None),
            ("/eve.slice/1/2.service", None),
            ("/", None),
            ("", None),
            ("…/nginx.service", Some("…")),
        ] {
            assert_eq!(outermost(path), part, "{path}");
        }
        let docker = format!("/docker/{ID}");
        assert_eq!(outermost(&format!("{docker}/{ID}/a.service")), Some(&*docker));
        let pod = format!("/kubepods/besteffort/pod1/{ID}");
        assert_eq!(outermost(&format!("{pod}/x")), Some(&*pod));
        assert_eq!(outermost(&format!("/eve/{ID}")), None);
    }

    #[test]
    fn containers() {
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}"),
            format!("/docker/{ID}/init.scope"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("/kubepods/besteffort/pod1/{ID}"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
        ] {
            assert_eq!(container(&path), Some("0123456789ab"), "{path}");
        }
        assert_eq!(container("/lxc.payload.web"), Some("web"));
        assert_eq!(container("/lxc/web/system.slice"), Some("web"));
        assert_eq!(container("/system.slice/nginx.service"), None);
    }
}
