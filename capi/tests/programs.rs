//! C and C++ programs, compiled by gcc and clang with every warning an error: they run, also under valgrind and with AddressSanitizer.

mod support;

use support::{C, everywhere};

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
