//! Makes `docs/reference/` from the code, and fails when a page there is stale.

use std::fmt::Write as _;
use std::path::Path;

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::exit_status::ExitStatus;
use crate::settings;

/// Compares a page with what the code says; with `STABLELM_BLESS` set, writes it.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "a test asks whether it should bless; the command itself never does"
)]
fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference")
        .join(name);
    if std::env::var_os("STABLELM_BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found, expected,
        "docs/reference/{name} is stale: run `just bless`"
    );
}

#[test]
fn the_command_line_page_is_the_help_itself() {
    let mut page =
        "# Command line\n\nThis is the help of every command, as `--help` prints it.\n".to_owned();
    let mut command = Cli::command().term_width(100);
    command.build();
    help(&mut command, &mut page);
    check("cli.md", &page);
}

fn help(command: &mut clap::Command, page: &mut String) {
    let name = command.get_bin_name().unwrap_or("stablelm").to_owned();
    let text = command.render_long_help().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    write!(
        page,
        "\n## {name}\n\n```text\n{}\n```\n",
        lines.join("\n").trim_end()
    )
    .unwrap();
    for inner in command
        .get_subcommands_mut()
        .filter(|inner| inner.get_name() != "help")
    {
        help(inner, page);
    }
}

#[test]
fn every_command_has_a_man_page() {
    let mut command = Cli::command();
    command.build();
    man(&command);
}

fn man(command: &clap::Command) {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .unwrap();
    let name = command.get_display_name().unwrap_or("stablelm").to_owned();
    check(&format!("man/{name}.1"), &String::from_utf8(page).unwrap());
    for inner in command
        .get_subcommands()
        .filter(|inner| inner.get_name() != "help")
    {
        man(inner);
    }
}

#[test]
fn the_exit_code_page_lists_every_code() {
    let mut page = "# Exit codes\n\n| code | means |\n| ---: | --- |\n".to_owned();
    for status in ExitStatus::ALL {
        writeln!(page, "| {} | {} |", status.code(), status.meaning()).unwrap();
    }
    check("exit-codes.md", &page);
}

#[test]
fn the_environment_page_lists_every_variable() {
    let mut page =
        "# Environment variables\n\nA flag wins over a variable, a variable over the default.\n\n"
            .to_owned();
    page.push_str("| variable | meaning |\n| --- | --- |\n");
    for (name, meaning) in settings::VARIABLES {
        writeln!(page, "| `{name}` | {meaning} |").unwrap();
    }
    check("environment.md", &page);
}

#[test]
fn the_recipe_in_the_help_is_one() {
    let mut command = Cli::command();
    let prepare = command
        .find_subcommand_mut("data")
        .unwrap()
        .find_subcommand_mut("prepare")
        .unwrap();
    let help = prepare.render_long_help().to_string();
    let (_, rest) = help.split_once("A recipe:\n").unwrap();
    let (recipe, _) = rest.split_once("\nExamples:").unwrap();
    let recipe: String = recipe
        .lines()
        .map(|line| line.trim_start().to_owned() + "\n")
        .collect();
    let recipe = stablelm_data::parse_recipe(&recipe, Path::new("recipe.toml")).unwrap();
    assert_eq!(recipe.sources.len(), 1);
}
