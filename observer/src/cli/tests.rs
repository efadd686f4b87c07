//! Options and settings together.

use clap::{CommandFactory, Parser};

use super::{Cli, Settings, Switch};

fn settings(words: &[&str]) -> Settings {
    let cli = Cli::try_parse_from([&["observer"], words].concat()).expect("options");
    Settings::of(&cli).expect("settings")
}

#[test]
fn definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_flag_beats_the_file_and_the_file_counts_for_tail() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("observer.toml");
    std::fs::write(&file, "binds = \"off\"\nsocket = \"/s\"\ndir = \"/d\"\n").expect("written");
    let file = file.to_str().expect("text");
    let tail = settings(&["tail", "--config", file]);
    assert_eq!((tail.binds, tail.socket.to_str()), (Switch::Off, Some("/s")));
    let tail = settings(&["tail", "--config", file, "--binds", "on", "--socket", "/t"]);
    assert_eq!((tail.binds, tail.socket.to_str()), (Switch::On, Some("/t")));
    // Accepted everywhere, also where they do not count.
    let status = settings(&["status", "--dir", "/x", "--config", file, "--socket", "/y"]);
    assert_eq!((status.dir.to_str(), status.socket.to_str()), (Some("/x"), Some("/y")));
    let log = settings(&["--config", file, "log"]);
    assert_eq!(log.dir.to_str(), Some("/d"));
    let verify = settings(&["verify", "--config", file, "/v"]);
    assert_eq!(verify.dir.to_str(), Some("/v"));
}

#[test]
fn places_stand_only_where_they_count() {
    let places = ["--dir", "--socket", "--config"];
    for (command, counts) in [
        ("log", [true, false, true]),
        ("why", [true, false, true]),
        ("verify", [true, false, true]),
        ("report", [true, false, true]),
        ("serve", [true, true, true]),
        ("tail", [false, true, true]),
        ("ports", [false, true, true]),
        ("status", [false, true, true]),
        ("doctor", [false, false, false]),
        ("demo", [false, false, false]),
        ("schema", [false, false, false]),
        ("replay", [false, false, false]),
    ] {
        let mut cli = Cli::command();
        let help = cli.find_subcommand_mut(command).expect(command).render_long_help().to_string();
        assert_eq!(places.map(|place| help.contains(place)), counts, "{command}: {help}");
    }
}

/// `-h` has a line an option.
#[test]
fn short_help_is_one_line_an_option() {
    let mut cli = Cli::command().term_width(100);
    cli.build();
    for command in cli.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        let name = command.get_name().to_owned();
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.len() <= 80, "{name} {}: {help}", arg.get_id());
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.len() <= 80, "{name}: {about}");
    }
}
