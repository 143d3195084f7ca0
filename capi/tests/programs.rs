//! C and C++ programs, compiled by gcc and clang with every warning an error: they run, also under valgrind and with AddressSanitizer.

mod support;

use support::{C, CPP, everywhere};

#[test]
fn smoke() {
    everywhere("tests/c/smoke.c", C);
}

/// The library has debug assertions in tests, so that freed handles are found out, too.
#[test]
fn mistakes_are_errors() {
    everywhere("tests/c/mistakes.c", C);
}

#[test]
fn grid() {
    everywhere("tests/c/grid.c", C);
}

#[test]
fn archive() {
    everywhere("tests/c/archive.c", C);
}

#[test]
fn imports() {
    everywhere("tests/c/imports.c", C);
}

/// Workspaces, shared calls, and children of a fork.
#[test]
fn memory_and_threads_of_the_caller() {
    everywhere("tests/c/foreign.c", C);
}

/// The program of the README.
#[test]
fn example() {
    everywhere("examples/matmul.c", C);
    let lines =
        std::fs::read_to_string(support::folder().join("examples/matmul.c")).expect("it is there").lines().count();
    assert!(lines <= 60, "{lines} lines");
}

#[test]
fn example_in_cpp() {
    everywhere("examples/matmul.cpp", CPP);
}
