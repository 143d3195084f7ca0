// The README's pictures as data: rustdoc has no files beside its pages.
#![cfg_attr(doc, doc = include_str!("../docs/pictures.md"))]
#![doc = include_str!("../README.md")]
mod arch;
mod cache;
pub mod calibrate;
mod codes;
mod error;
mod exec;
mod formats;
mod isa;
mod kernel;
mod layers;
mod matmul;
mod matrix;
mod memory;
#[cfg(feature = "rayon")]
pub mod parallel;
mod params;
mod quantize;
mod random;
mod reduce;
pub mod reference;
mod report;
mod sign;
mod simd;

pub use codes::{Code, CodeRange};
pub use error::Error;
pub use exec::{Exec, Threads};
pub use formats::{BlockFormat, decode_blocks, encode_blocks, split_blocks};
pub use isa::{ISA_VARIABLE, Isa};
pub use layers::{Conv2d, Linear, MaxPool2d, Window};
pub use matmul::{
    Accumulators, BlockActivations, Dequantize, DequantizeRows, FixedPoint, FloatMultiplier, Gemmlowp, Multiplier,
    PackedBlocks, PackedMatrix, Requantize, RequantizeStochastic, Rhs, Shift, Stage, UnpackedMatrix, matmul,
    matmul_blocks, multipliers, quantize_bias, quantize_multiplier,
};
pub use matrix::{Matrix, MatrixMut, ZeroPoints};
pub use params::{Granularity, OffsetKind, QuantParams, Range, RoundingKind, ScaleKind, Scheme};
pub use quantize::{
    dequantize, dequantize_matrix, dequantize_packed, fake_quantize, fake_quantize_in_place, fake_quantize_matrix,
    fake_quantize_stochastic, fake_quantize_stochastic_in_place, fake_quantize_with_mask, pack_nibbles, quantize,
    quantize_dynamic, quantize_matrix, quantize_packed, quantize_packed_stochastic, quantize_stochastic,
    straight_through, straight_through_in_place, unpack_nibbles,
};
pub use random::{Stream, StreamRng, fill_uniform, fill_words};
pub use reduce::{abs_max, min_max, ranges};
pub use report::{ErrorReport, quantization_error, reconstruction_error};
