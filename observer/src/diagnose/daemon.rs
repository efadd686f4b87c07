//! Programs that are known by the folder of their file, never by name alone: any process may call itself `earlyoom`.
//!
//! A path is believed of a process of root's in the mount namespace of the first process: in a mount namespace of his own
//! anybody may have any file at any path. For OOM daemons their system unit counts as much: only root can start a process there,
//! and systemd gives many of them a mount namespace of their own (ProtectSystem=).

use crate::model::{Confidence, Process};

struct Daemon {
    name: &'static str,
    units: &'static [&'static str],
    /// File names of the program, or of the script that an interpreter runs.
    programs: &'static [&'static str],
}

const DAEMONS: &[Daemon] = &[
    Daemon { name: "systemd-oomd", units: &["systemd-oomd.service"], programs: &["systemd-oomd"] },
    Daemon { name: "earlyoom", units: &["earlyoom.service"], programs: &["earlyoom"] },
    Daemon {
        name: "nohang",
        units: &["nohang.service", "nohang-desktop.service"],
        programs: &["nohang"],
    },
    Daemon { name: "oomd", units: &["oomd.service"], programs: &["oomd", "oomd_bin"] },
    Daemon { name: "bustd", units: &["bustd.service"], programs: &["bustd"] },
];

/// Folders that only root can write to.
const FOLDERS: [&str; 10] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib/systemd",
    "/lib/systemd",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/bin",
    "/usr/libexec/podman",
    "/usr/lib/podman",
];

/// The OOM daemon that a process is, and how sure that is.
#[must_use]
pub fn recognise(process: &Process) -> Option<(&'static str, Confidence)> {
    DAEMONS.iter().find_map(|daemon| {
        let program = runs(process, daemon);
        let unit = in_system_unit(process, daemon);
        match (program, unit) {
            (true, true) => Some((daemon.name, Confidence::Certain)),
            // Started by hand, or under another unit.
            (true, false) if is_of_root(process) => Some((daemon.name, Confidence::Likely)),
            _ => None,
        }
    })
}

/// Whether a process of root's runs one of these programs as a package installs them.
pub(super) fn runs_installed(process: &Process, programs: &[&str]) -> bool {
    is_of_root(process) && process.exe.as_deref().is_some_and(|exe| is_installed(exe, programs))
}

/// A process of root's, for which paths mean what they mean to root.
fn is_of_root(process: &Process) -> bool {
    process.uid == Some(0) && process.in_first_mntns
}

/// Whether a path is one of these programs as a package installs it: anybody may copy a program, or its name.
fn is_installed(path: &str, programs: &[&str]) -> bool {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit_once('/')
        .is_some_and(|(folder, file)| FOLDERS.contains(&folder) && programs.contains(&file))
}

fn runs(process: &Process, daemon: &Daemon) -> bool {
    let installed = |path: &str| is_installed(path, daemon.programs);
    let Some(exe) = process.exe.as_deref() else { return false };
    if installed(exe) {
        return true;
    }
    // nohang is a script: its interpreter is the executable.
    let interpreted = exe.rsplit('/').next().is_some_and(|file| file.starts_with("python3"));
    let args = process.args.as_deref().unwrap_or_default();
    interpreted && args.iter().skip(1).find(|a| !a.starts_with('-')).is_some_and(|a| installed(a))
}

/// A unit of the system manager: users may name their own units as they like, but those lie under `user.slice`.
fn in_system_unit(process: &Process, daemon: &Daemon) -> bool {
    process.cgroup.as_deref().is_some_and(|cgroup| {
        cgroup.strip_prefix("/system.slice/").is_some_and(|unit| daemon.units.contains(&unit))
    })
}

#[cfg(test)]
mod tests {
    use super::{recognise, runs_installed};
    use crate::model::{Confidence, Process};

    fn process(exe: &str, cgroup: &str, uid: u32) -> Process {
        Process {
            exe: Some(exe.into()),
            cgroup: Some(cgroup.into()),
            uid: Some(uid),
            comm: Some("earlyoom".into()),
            in_first_mntns: true,
            ..Process::default()
        }
    }

    #[test]
    fn program_and_unit() {
        let real = process("/usr/bin/earlyoom", "/system.slice/earlyoom.service", 0);
        assert_eq!(recognise(&real), Some(("earlyoom", Confidence::Certain)));
        let by_hand = process("/usr/bin/earlyoom", "/user.slice/user-0.slice/session-1.scope", 0);
        assert_eq!(recognise(&by_hand), Some(("earlyoom", Confidence::Likely)));
    }

    #[test]
    fn a_name_is_not_enough() {
        assert_eq!(recognise(&process("/home/eve/earlyoom", "/", 1000)), None);
        assert_eq!(recognise(&process("/usr/bin/earlyoom", "/", 1000)), None);
        let user_unit = "/user.slice/user@1000.service/app.slice/earlyoom.service";
        assert_eq!(recognise(&process("/home/eve/earlyoom", user_unit, 1000)), None);
    }

    #[test]
    fn a_path_in_a_mount_namespace_of_its_own_is_anybodys() {
        let elsewhere = |cgroup| {
            let there = process("/usr/bin/earlyoom", cgroup, 0);
            Process { in_first_mntns: false, ..there }
        };
        assert_eq!(recognise(&elsewhere("/user.slice/user-1000.slice/session-1.scope")), None);
        // systemd made it one, for ProtectSystem=.
        let unit = elsewhere("/system.slice/earlyoom.service");
        assert_eq!(recognise(&unit), Some(("earlyoom", Confidence::Certain)));
        let proxy = ["docker-proxy"];
        let installed = process("/usr/bin/docker-proxy", "/", 0);
        assert!(runs_installed(&installed, &proxy));
        assert!(!runs_installed(&Process { in_first_mntns: false, ..installed.clone() }, &proxy));
        assert!(!runs_installed(&Process { uid: Some(1000), ..installed }, &proxy));
    }

    #[test]
    fn a_script_under_its_interpreter() {
        let mut nohang = process("/usr/bin/python3.12", "/system.slice/nohang.service", 0);
        nohang.args = Some(["python3", "/usr/sbin/nohang", "--monitor"].map(str::to_owned).into());
        assert_eq!(recognise(&nohang), Some(("nohang", Confidence::Certain)));
    }
}
