//! A model of the file's layout with random weights, small enough for every ISA, and the program on it.

mod bytes;
mod files;
#[expect(dead_code, reason = "a model has no header that is a text")]
#[path = "../../../lenet/tests/malformed/mod.rs"]
mod malformed;
mod numbers;
mod program;
mod synthetic;
mod tokens;
