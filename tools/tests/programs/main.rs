//! The programs of this package from end to end.

mod compare;
mod report;

use std::process::{Command, Output};

/// Runs one of the programs. Where programs of this target need an emulator that the kernel does not know of,
/// `ZEROPOINT_TEST_RUNNER` is the command that runs them, words separated by spaces:
///
/// ```text
/// ZEROPOINT_TEST_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu -cpu max"
/// ```
fn run(program: &str, arguments: &[&str]) -> Output {
    let runner = std::env::var("ZEROPOINT_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().chain([program]);
    let mut command = Command::new(words.next().expect("at least the program"));
    command.args(words).args(arguments).output().expect("the program starts; does it need ZEROPOINT_TEST_RUNNER?")
}
