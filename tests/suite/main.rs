//! The properties, worked numbers and examples that this crate promises, one module a subject. All in one crate, because what
//! costs in these tests is to compile the kernels they call.

mod common;

mod allocation;
mod blocks;
mod calibrate;
mod compare;
mod errors;
#[cfg(feature = "rayon")]
mod exhaustive;
mod formats;
mod golden;
#[cfg(unix)]
mod guard_pages;
mod isa;
mod layers;
mod lenet;
mod matmul;
mod packed;
#[cfg(feature = "rayon")]
mod parallel;
mod params;
mod quantize;
mod random;
mod report;
#[cfg(feature = "rayon")]
mod report_example;
mod stochastic;
