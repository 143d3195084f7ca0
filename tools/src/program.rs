//! What every program does alike: its arguments, one line on standard error for whatever is wrong, and a quiet end when
//! nobody reads its standard output any more.

use std::error::Error;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;

/// What a program returns.
pub type Outcome = Result<(), Box<dyn Error>>;

/// The most characters of an error that are shown: libraries quote whole headers.
const LONGEST: usize = 400;

/// Parses the arguments and runs a program on them. Exit codes: 0 also when the reader of a pipe is gone, 1 for an error,
/// 2 for arguments that are wrong.
pub fn main<A: Parser>(run: impl FnOnce(&A) -> Outcome) -> ExitCode {
    match A::try_parse() {
        Ok(arguments) => end(run(&arguments)),
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let program = A::command();
            let names: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
            complain(&format!("a command is missing; choose one of: {}", names.join(", ")));
            ExitCode::from(2)
        }
        Err(error) if error.use_stderr() => {
            // What is wrong, without the usage below it.
            let text = error.render().to_string();
            let lines = text.lines().map(str::trim);
            let lines =
                lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
            let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
            complain(lines.join(" ").trim_start_matches("error: "));
            ExitCode::from(2)
        }
        Err(help) => end(print(help.render())),
    }
}

fn end(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Whether the error of [`print`] says that nobody reads any more.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Writes to standard output. Unlike `print!` it does not panic when the reader of a pipe is gone: the error that it returns
/// then ends the program quietly.
pub fn print(text: impl Display) -> Outcome {
    let mut out = std::io::stdout().lock();
    written(write!(out, "{text}").and_then(|()| out.flush()))
}

/// The outcome of writing to standard output, as that of [`print()`].
pub fn written(written: std::io::Result<()>) -> Outcome {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("standard output: {error}").into()),
        written => Ok(written?),
    }
}

/// Says in a line on standard error what was left out of the results.
pub fn warn(text: &str) {
    write_line(text);
}

fn complain(error: &str) {
    write_line(&format!("error: {error}"));
}

/// One line, whatever is in the names that it quotes.
fn write_line(text: &str) {
    let line: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let cut = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    // Not `eprintln!`, which panics when standard error is closed: nobody is left to be told.
    let _ = writeln!(std::io::stderr(), "{line}{cut}");
}
