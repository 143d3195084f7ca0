//! Block formats for interchange: some values, their scales, codes, as other programs store them.
//!
//! | format | values | bytes | layout | value |
//! |---|---|---|---|---|
//! | [MXINT8](BlockFormat::MxInt8) | 32 | 33 | E (E8M0), 32 × i8 | `q · 2⁻⁶ · 2^(E − 127)`; NaN when E is 255 |
//! | [Q8_0](BlockFormat::Q8_0) | 32 | 34 | d, 32 × i8 | `q · d` |
//! | [Q4_0](BlockFormat::Q4_0) | 32 | 18 | d, 16 × u8 | `(q − 8) · d`; byte j has value j low, j + 16 high |
//! | [Q4_1](BlockFormat::Q4_1) | 32 | 20 | d, m, 16 × u8 | `q · d + m`; bytes as in Q4_0 |
//! | [Q5_0](BlockFormat::Q5_0) | 32 | 22 | d, u32 with bit 4 of every code, 16 × u8 | `(q − 16) · d` |
//! | [Q5_1](BlockFormat::Q5_1) | 32 | 24 | d, m, u32 with bit 4 of every code, 16 × u8 | `q · d + m` |
//! | [Q2_K](BlockFormat::Q2_K) | 256 | 84 | 16 × (4 bits s, 4 bits m), 64 × u8, d, dmin | `q · (d · s) − dmin · m`, by groups of 16 |
//! | [Q4_K](BlockFormat::Q4_K) | 256 | 144 | d, dmin, 8 × (6 bits s, 6 bits m), 128 × u8 | `q · (d · s) − dmin · m`, by groups of 32 |
//! | [Q5_K](BlockFormat::Q5_K) | 256 | 176 | as Q4_K, with 32 × u8 of bit 4 before the low bits | as Q4_K |
//! | [Q6_K](BlockFormat::Q6_K) | 256 | 210 | 128 × low 4 bits, 64 × high 2 bits, 16 × i8 s, d | `(q − 32) · (d · s)`, by groups of 16 |
//! | [MXFP4](BlockFormat::MxFp4) | 32 | 17 | E (E8M0), 16 × u8 | `v · 2^(E − 128)`; bytes as in Q4_0; NaN when E is 255 |
//! | [NVFP4](BlockFormat::NvFp4) | 64 | 36 | 4 × E4M3 s, 32 × u8 | `v · (s / 2 · t)`, by groups of 16; byte j of a group has value j low, j + 8 high |
//!
//! d, m and dmin are f16, little-endian. The products of d or dmin with s or m have at most 19 bits: f32 has them exactly.
//! v is an E2M1 doubled, one of the integers 0, 1, 2, 3, 4, 6, 8, 12 with a sign, and t the scale of the tensor, which is
//! not in the bytes: an [`NvFp4`] has it where a format is asked for.
//!
//! [`PackedWeights::from_format`](crate::groups::PackedWeights::from_format) prepares encoded weights for products.
//!
//! # How blocks are encoded
//!
//! What a format cannot store is found before the first byte is written. The formulas stand with each format, in the file
//! that has its name. Rounding follows the document or the scalar code that defines the format, on every ISA, each operation rounded
//! once. (The vector code of ggml rounds ties of Q8_0 otherwise than its scalar code, and compilers that fuse its
//! multiplications and additions, as some do by default for AArch64, change some bytes of super-blocks.) MXFP4 and NVFP4
//! can be rounded stochastically ([`encode_blocks_with`]).
//!
//! The scale of a block of up to 64 values comes from its largest magnitude or its range. Sixteen groups are encoded
//! together: their largest magnitudes make one vector, and so do their scales, so that a division is paid for once and not
//! per group.
//!
//! The scales of super-blocks, those of 256 values, are searched for: some twenty are tried around the one that the range
//! gives, and the one of the smallest weighted error is kept (`make_qkx2_quants` and `make_qx_quants` of ggml, without an
//! importance matrix). Each lane of the vectors searches for another group, so that sums are those of the scalar code, in
//! its order.
//!
//! Blocks of small values decode to zeros. An f16 has no value between 0 and 2⁻²⁴, so their scale is rounded to 0, whatever
//! the codes are: of Q8_0 where the largest magnitude is at most 3.784895e-6 (127 · 2⁻²⁵), of Q4_0 at most 2.3841858e-7
//! (2⁻²²), of Q5_0 at most 4.7683716e-7 (2⁻²¹). ggml does the same. (Where the reciprocal of such a scale is infinite, the
//! codes of ggml are not defined; these are clamped.) The smallest step of MXINT8 is 2⁻¹³³: half of it, 4.59e-41, is its
//! limit, and that of MXFP4 1.47e-39 (2⁻¹²⁹).
//!
//! # To add a format
//!
//! 1. A file, with its `mod` below, that implements `Blocks`, how a block is taken apart, and either `Format`, for blocks that
//!    one largest value encodes, or `Units`, for any others. `block.rs` and `units.rs` have these traits; their parameters are
//!    the bytes of a block and its vectors of sixteen values. `q8_0.rs` shows the one, `nvfp4.rs` the other, of 64 values.
//! 2. In `format.rs`, a variant of [`BlockFormat`], its place in [`ALL`](BlockFormat::ALL), and a line in `with_format!`, from
//!    which sizes and everything else follow.
//! 3. The compiler asks for the rest: a line in `encode.rs`, its plain loops in `reference/formats.rs`, and in
//!    `groups/stored/blocks.rs` whether its scales are f16 as they are stored.
//!
//! Tests, fuzzing and benches go through `ALL`. A known block goes into `tests/suite/formats.rs`, or, of a program that can be
//! asked, into `tests/suite/golden/formats.py` and `groups.py`; its costs into `benches/instructions/`; its line into the
//! tables above and in `groups/stored.rs`, its name into the README.

mod block;
pub(crate) mod decode;
pub(crate) mod doubled;
mod e2m1;
mod encode;
mod extremes;
pub(crate) mod format;
mod mxfp4;
mod mxint8;
mod nibbles;
pub(crate) mod nvfp4;
pub(crate) mod powers;
mod q2_k;
mod q4_0_q5_0;
mod q4_1_q5_1;
mod q4_k;
mod q5_k;
mod q6_k;
mod q8_0;
mod search;
mod super_block;
pub(crate) mod tensor_format;
mod units;
pub(crate) mod vectors;

pub use decode::{block_offsets, decode_blocks, split_blocks};
pub use encode::{encode_blocks, encode_blocks_with};
pub use format::BlockFormat;
pub use nvfp4::NvFp4;
pub use tensor_format::TensorFormat;
