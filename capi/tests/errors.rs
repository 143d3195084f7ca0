//! Numbers of errors: every error of the library has one, and none changes.

use std::path::Path;

fn source(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a source")
}

/// The names of a file's lines that begin, after spaces, with a capital and end with `end`.
fn names<'t>(text: &'t str, end: &'t str) -> impl Iterator<Item = &'t str> {
    let name = move |line: &'t str| line.trim_start().strip_suffix(end);
    text.lines().filter_map(name).filter(|name| name.chars().all(char::is_alphanumeric))
}

#[test]
fn every_error_of_the_library_has_a_number() {
    let (library, table) = (source("../src/error.rs"), source("src/error.rs"));
    let (_, variants) = library.split_once("pub enum Error {").expect("the errors");
    let (variants, _) = variants.split_once("\n}\n").expect("their end");
    let all: Vec<&str> = names(variants, " {").collect();
    assert!(all.len() >= 25, "{all:?}");
    for name in all {
        let arm = format!("Error::{name} {{ .. }} => zp_error::{name},");
        assert!(table.contains(&arm), "no number for Error::{name}");
    }
}

/// Released numbers, which stay as they are for ever. Add new ones; change none.
#[test]
fn numbers_do_not_change() {
    let header = source("include/zeropoint.h");
    let numbers: Vec<&str> = header
        .lines()
        .map(|line| line.trim())
        .filter(|line| line.starts_with("ZP_ERROR_") && line.contains(" = "))
        .collect();
    let released = source("tests/released-errors.txt");
    for line in released.lines() {
        assert!(numbers.contains(&line), "{line} is not in the header");
    }
    let unreleased: Vec<_> =
        numbers.iter().filter(|line| !released.lines().any(|released| released == **line)).collect();
    assert!(unreleased.is_empty(), "add to tests/released-errors.txt: {unreleased:?}");
    let mut last: Vec<&str> =
        numbers.iter().filter_map(|line| line.split_once(" = ")).map(|(_, number)| number).collect();
    last.sort_unstable();
    assert!(last.windows(2).all(|pair| pair[0] != pair[1]), "a number is used twice");
    let noted = format!("Last added: {}", last.last().expect("numbers").trim_end_matches(','));
    assert!(source("src/error.rs").contains(&noted), "src/error.rs does not say: {noted}");
}
