// The README's pictures as data: rustdoc has no files beside its pages.
#![cfg_attr(doc, doc = include_str!("../docs/pictures.md"))]
#![doc = include_str!("../README.md")]
mod arch;
mod cache;
pub mod calibrate;
mod codes;
pub mod conventions;
mod error;
pub mod exec;
pub mod files;
pub mod formats;
pub mod fp8;
pub mod groups;
mod half;
pub mod int16x8;
mod isa;
mod kernel;
pub mod layers;
mod matmul;
mod matrix;
mod memory;
#[cfg(feature = "ndarray")]
pub mod ndarray;
mod params;
mod quantize;
mod quantized;
pub mod random;
pub mod raw;
mod reduce;
pub mod reference;
pub mod report;
pub mod rescale;
mod rounding;
mod shared;
mod sign;
mod simd;
pub mod training;
mod views;

pub use codes::{ByteCode, Code, CodeRange};
pub use error::Error;
pub use exec::{Exec, Threads};
pub use half::{Halves, HalvesMut};
pub use isa::{ISA_VARIABLE, Isa};
pub use matmul::{Accumulators, Dequantize, PackedMatrix, Requantize, Rhs, Rule, Stage, UnpackedMatrix, matmul};
pub use matrix::{Matrix, MatrixMut};
pub use params::{Granularity, OffsetKind, QuantParams, Range, RoundingKind, ScaleKind, Scheme};
pub use quantize::{
    dequantize, fake_quantize, fake_quantize_in_place, quantize, straight_through, straight_through_in_place,
};
pub use quantized::Quantized;
pub use random::Stream;
pub use reduce::{abs_max, min_max, ranges};
pub use rounding::Rounding;
pub use views::{Destination, FakeDestination, PackedCodes, PackedCodesMut, Source};
