//! What a shell and `man` know of viperf, made of the definitions that parse the command line.

mod manual;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::Shell;

use crate::arguments::definition;
use crate::exit::{ExitStatus, Failure};
use crate::report::quoted;
use crate::terminal;

pub(crate) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(viperf completions bash)          for this shell
  viperf completions bash > /etc/bash_completion.d/viperf
  viperf completions zsh > /usr/local/share/zsh/site-functions/_viperf
  viperf completions fish > ~/.config/fish/completions/viperf.fish
";

pub(crate) const MAN_EXAMPLES: &str = "\
Examples:
  viperf man record | man -l -                   read one page
  viperf man --output /usr/local/share/man/man1  write all of them
";

/// `viperf completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// `bash`, `zsh`, `fish`, `elvish` or `powershell`
    #[arg(value_enum, value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

/// `viperf man`.
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// The verb [default: viperf as a whole]
    #[arg(value_name = "VERB")]
    verb: Option<String>,

    /// Write every page into FOLDER
    #[arg(short, long, value_name = "FOLDER", conflicts_with = "verb")]
    output: Option<PathBuf>,
}

/// Prints the completions of one shell.
pub(crate) fn print_completions(arguments: &CompletionsArguments) -> Result<ExitStatus, Failure> {
    let mut bytes = Vec::new();
    clap_complete::generate(arguments.shell, &mut definition(), "viperf", &mut bytes);
    terminal::print(&bytes)?;
    // On a terminal they are of no use.
    if let Some(command) = place_for(arguments.shell) {
        terminal::suggest_below_text(command);
    }
    Ok(ExitStatus::DONE)
}

fn place_for(shell: Shell) -> Option<&'static str> {
    match shell {
        Shell::Bash => Some("source <(viperf completions bash)"),
        Shell::Zsh => Some("source <(viperf completions zsh)"),
        Shell::Fish => Some("viperf completions fish | source"),
        _ => None,
    }
}

/// Prints a manual page, or writes all of them.
pub(crate) fn show_pages(arguments: &ManArguments) -> Result<ExitStatus, Failure> {
    let mut pages = manual::pages(definition());
    if let Some(folder) = &arguments.output {
        return write_pages(folder, &pages);
    }
    let wanted = match &arguments.verb {
        Some(verb) => format!("viperf-{verb}"),
        None => "viperf".to_owned(),
    };
    let page = pages.iter().position(|page| page.name == wanted);
    let Some(page) = page.map(|index| pages.swap_remove(index)) else {
        let verbs = pages
            .iter()
            .filter_map(|page| page.name.strip_prefix("viperf-"));
        let verbs: Vec<_> = verbs.collect();
        return Err(Failure::wrong_usage(format!(
            "there is no verb {}; there are {}",
            arguments.verb.as_deref().unwrap_or_default(),
            verbs.join(", ")
        )));
    };
    terminal::print(&page.text)?;
    Ok(ExitStatus::DONE)
}

fn write_pages(folder: &Path, pages: &[manual::Page]) -> Result<ExitStatus, Failure> {
    let write = |page: &manual::Page| {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{}.1", page.name)), &page.text)
    };
    for page in pages {
        write(page).map_err(|error| {
            Failure::failed(format!("{} cannot be written: {error}", folder.display()))
        })?;
    }
    terminal::tell(&format!("wrote {} pages", pages.len()));
    let first = folder.join("viperf.1");
    terminal::suggest(&format!(
        "man {}",
        quoted(&std::path::absolute(&first).unwrap_or(first))
    ));
    Ok(ExitStatus::DONE)
}
