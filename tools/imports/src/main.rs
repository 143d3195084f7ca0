//! Import circles and long files among the files of `src/`: `cargo run -p imports`. Other crates: `cargo run -p imports --
//! <the folder with lib.rs>`.

mod graph;

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use graph::Imports;

/// This project's library.
const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src");

/// The most lines that a file may have: it is read in one sitting.
const LINES: usize = 450;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let src = arguments.next().map_or_else(|| SRC.into(), PathBuf::from);
    if arguments.next().is_some() || src.to_string_lossy().starts_with('-') {
        let _ = writeln!(stderr(), "usage: imports [the folder with lib.rs]");
        return ExitCode::from(2);
    }
    let imports = match Imports::of(&src) {
        Ok(imports) => imports,
        Err(error) => {
            let _ = writeln!(stderr(), "error: {}: {error}", src.display());
            return ExitCode::from(2);
        }
    };
    let (circles, groups, long) = (imports.circles(), imports.groups(), imports.longer_than(LINES));
    let lines = circles.iter().map(|circle| format!("circle: {circle}"));
    let lines =
        lines.chain(groups.iter().map(|group| format!("{} files import each other: {}", group.len(), group.join(" "))));
    let lines = lines.chain(long.iter().map(|(file, lines)| format!("{lines} lines: {file}")));
    let last = format!("{} files in circles, {} of more than {LINES} lines", groups.concat().len(), long.len());
    for line in lines.chain([last]) {
        // Not `println!`, which panics when the reader of a pipe is gone.
        let _ = writeln!(stdout(), "{line}");
    }
    if circles.is_empty() && long.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_circles_and_no_long_files() {
        let imports = Imports::of(SRC.as_ref()).unwrap();
        assert!(imports.groups().is_empty(), "files import each other in a circle: `cargo run -p imports`");
        assert!(imports.longer_than(LINES).is_empty(), "files are too long: `cargo run -p imports`");
    }
}
