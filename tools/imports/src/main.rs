//! Import circles and long files among the files of `src/`: `cargo run -p imports`. Other crates: `cargo run -p imports --
//! <the folder with lib.rs>`.

mod graph;

use std::path::PathBuf;
use std::process::ExitCode;

use graph::Imports;

/// This project's library.
const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src");

/// The most lines that a file may have: it is read in one sitting.
const LINES: usize = 450;

fn main() -> ExitCode {
    let src = std::env::args_os().nth(1).map_or_else(|| SRC.into(), PathBuf::from);
    let imports = match Imports::of(&src) {
        Ok(imports) => imports,
        Err(error) => {
            eprintln!("error: {}: {error}", src.display());
            return ExitCode::from(2);
        }
    };
    let (circles, long) = (imports.circles(), imports.longer_than(LINES));
    for circle in &circles {
        println!("circle: {circle}");
    }
    let groups = imports.groups();
    for group in &groups {
        println!("{} files import each other: {}", group.len(), group.join(" "));
    }
    for (file, lines) in &long {
        println!("{lines} lines: {file}");
    }
    println!("{} files in circles, {} of more than {LINES} lines", groups.concat().len(), long.len());
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
