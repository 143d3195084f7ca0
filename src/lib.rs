// The README's pictures as data: rustdoc has no files beside its pages.
#![cfg_attr(doc, doc = include_str!("../docs/pictures.md"))]
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod arch;
mod cache;
pub mod calibrate;
mod codes;
pub mod conventions;
mod error;
pub mod exec;
mod half;
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
pub mod report;
pub mod rescale;
mod rounding;
mod shared;
mod sign;
mod simd;
mod views;

// A family of operations is public where its feature is on. Where it is off, the family is private: the compiler still checks it,
// so that no choice of features can break it, but makes no code of it, since nothing reaches it.
#[cfg(feature = "distance")]
pub mod distance;
#[cfg(not(feature = "distance"))]
#[allow(dead_code, unused_imports, reason = "private without the feature")]
mod distance;
#[cfg(feature = "files")]
pub mod files;
#[cfg(not(feature = "files"))]
#[allow(dead_code, unused_imports, reason = "private without the feature")]
mod files;
#[cfg(feature = "formats")]
pub mod formats;
#[cfg(not(feature = "formats"))]
#[allow(dead_code, unused_imports, reason = "private without the feature")]
mod formats;
#[cfg(feature = "fp8")]
pub mod fp8;
#[cfg(not(feature = "fp8"))]
#[allow(dead_code, unused_imports, reason = "private without the feature")]
mod fp8;
#[cfg(feature = "groups")]
pub mod groups;
#[cfg(not(feature = "groups"))]
#[allow(dead_code, unused_imports, reason = "private without the feature")]
mod groups;
#[cfg(feature = "int16x8")]
pub mod int16x8;
#[cfg(not(feature = "int16x8"))]
#[allow(dead_code, unused_imports, reason = "private without the feature")]
mod int16x8;
#[cfg(feature = "reference")]
pub mod reference;
#[cfg(not(feature = "reference"))]
#[allow(dead_code, unused_imports, reason = "private without the feature")]
mod reference;
#[cfg(feature = "training")]
pub mod training;
#[cfg(not(feature = "training"))]
#[allow(dead_code, unused_imports, reason = "private without the feature")]
mod training;

pub use codes::{ByteCode, Code, CodeRange};
pub use error::Error;
pub use exec::{Exec, Threads};
pub use half::{Halves, HalvesMut};
pub use isa::{ISA_VARIABLE, Isa};
pub use matmul::{
    Accumulators, Batch, Dequantize, PackedMatrix, Requantize, Rhs, Rule, Stage, UnpackedMatrix, matmul, matmul_batch,
};
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
