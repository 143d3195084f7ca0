//! The programs of this package from end to end.

mod compare;
#[path = "../../../lenet/tests/malformed/mod.rs"]
mod malformed;
mod output;
mod report;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A path of this process's own for a file that a test makes.
fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("programs-{}-{name}", std::process::id()))
}

/// Runs one of the programs. Where programs of this target need an emulator that the kernel does not know of,
/// `ZEROPOINT_TEST_RUNNER` is the command that runs them, words separated by spaces:
///
/// ```text
/// ZEROPOINT_TEST_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu -cpu max"
/// ```
fn run(program: &str, arguments: &[&str]) -> Output {
    command(program, arguments).output().expect("the program starts; does it need ZEROPOINT_TEST_RUNNER?")
}

/// The program refuses the arguments: one line on standard error that contains `why`, nothing on standard output.
#[track_caller]
fn refuses(program: &str, arguments: &[&str], why: &str) {
    let output = run(program, arguments);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {} {stderr}", output.status);
    assert!(stderr.starts_with("error: ") && stderr.contains(why), "{stderr:?} does not contain {why:?}");
    assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{stderr}");
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let runner = std::env::var("ZEROPOINT_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().chain([program]);
    let mut command = Command::new(words.next().expect("at least the program"));
    command.args(words).args(arguments);
    command
}

/// Runs a program that can have no more memory than that; an emulator needs more for itself.
fn within_a_gibibyte(program: Command) -> Output {
    let mut command = Command::new("sh");
    let limit = if std::env::var_os("ZEROPOINT_TEST_RUNNER").is_some() { "" } else { "ulimit -v 1048576; " };
    command.args(["-c", &format!("{limit}exec \"$0\" \"$@\"")]).arg(program.get_program()).args(program.get_args());
    command.output().expect("a shell")
}
