//! C and C++ programs, compiled by gcc and clang with every warning an error: they run, also under valgrind and with AddressSanitizer.

mod support;

use support::{C, everywhere};

#[test]
fn smoke() {
    everywhere("tests/c/smoke.c", C);
}
