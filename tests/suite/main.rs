//! The properties and worked numbers that this crate promises, one module a subject. All in one crate, because what
//! costs in these tests is to compile the kernels they call.

mod common;
mod floats;
mod stored_reals;
mod xxh64;

mod allocation;
mod batch;
mod calibrate;
mod clips;
mod conventions;
mod distance;
mod empty;
mod errors;
#[cfg(feature = "rayon")]
mod exhaustive;
mod files;
mod formats;
mod fp8;
mod freeze;
mod golden;
mod group_schemes;
mod groups;
#[cfg(unix)]
mod guard_pages;
mod halves;
mod int16x8;
mod isa;
mod layers;
mod matmul;
mod oracles;
mod packed;
#[cfg(feature = "rayon")]
mod parallel;
mod params;
mod quantize;
mod quantized;
mod random;
mod report;
mod rescale;
mod sawb;
mod sizes;
mod stochastic;
mod tiny;
mod training;
mod workspace;
