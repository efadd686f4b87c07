//! How long each command takes: in its help, and on the first line that it prints.

use clap::Command;

/// On two cores with nothing else to do.
const MACHINE: &str = "two cores";

/// Command, the option that changes its time, warm time, and time in a fresh clone.
const TIMES: &[(&str, &str, &str, &str)] = &[
    ("ebpf", "", "1 minute", "4"),
    ("ebpf", "--check", "1 minute", "4"),
    ("run", "", "1 minute to build", "2"),
    ("test", "", "8 minutes", "12"),
    ("test", "--quick", "1 minute", "3"),
    ("guests", "", "2.5 hours", "3"),
    ("guests", "--short", "25 minutes", "30"),
    ("guests", "--compatibility", "5 minutes", "15"),
    ("guests", "--peers", "5 minutes", "10"),
    ("host", "", "10 minutes", "20"),
    ("deb", "", "3 minutes", "5"),
    ("bench", "", "45 minutes", "50"),
    ("fuzz", "", "22 minutes", "30"),
    ("lint", "", "1 minute", "4"),
    ("ci", "", "45 minutes", "75"),
];

/// `about 1 minute, 4 in a fresh clone`; nothing for a command that is not in the list.
pub(crate) fn of(command: &str, option: &str) -> Option<String> {
    let row = |option: &str| TIMES.iter().find(|row| (row.0, row.1) == (command, option));
    let (_, _, warm, cold) = row(option).or_else(|| row(""))?;
    Some(format!("about {warm}, {cold} in a fresh clone"))
}

/// Adds the times to the help of every subcommand.
pub(crate) fn in_help(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        let Some(text) = help(&name) else { return command };
        command.mut_subcommand(name, |one| one.after_help(text))
    })
}

fn help(command: &str) -> Option<String> {
    let mut text = format!("Time on {MACHINE}: {}", of(command, "")?);
    for (_, option, ..) in TIMES.iter().filter(|row| row.0 == command && !row.1.is_empty()) {
        text += &format!("; with {option}, {}", of(command, option)?);
    }
    Some(text + ".")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{TIMES, help, of};
    use crate::cli::Cli;

    #[test]
    fn every_command_says_its_time() {
        let command = Cli::command();
        for one in command.get_subcommands() {
            assert!(of(one.get_name(), "").is_some(), "{}", one.get_name());
        }
    }

    #[test]
    fn every_row_is_of_a_command_and_an_option_that_exist() {
        let command = Cli::command();
        for (name, option, ..) in TIMES {
            let one = command.find_subcommand(name).expect(name);
            let known = |long: &str| one.get_arguments().any(|arg| arg.get_long() == Some(long));
            assert!(option.is_empty() || known(option.trim_start_matches("--")), "{name} {option}");
        }
    }

    #[test]
    fn help_has_the_times_of_the_options_too() {
        let expected = "Time on two cores: about 1 minute, 4 in a fresh clone; \
            with --check, about 1 minute, 4 in a fresh clone.";
        assert_eq!(help("ebpf").as_deref(), Some(expected));
    }
}
