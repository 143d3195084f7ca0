//! Block formats for interchange: 32 values, one scale, codes, as other programs store them.
//!
//! | format | bytes | layout | value |
//! |---|---|---|---|
//! | [MXINT8](BlockFormat::MxInt8) | 33 | E (E8M0), 32 × i8 | `q · 2⁻⁶ · 2^(E − 127)`; NaN when E is 255 |
//! | [Q8_0](BlockFormat::Q8_0) | 34 | d (f16, little-endian), 32 × i8 | `q · d` |
//! | [Q4_0](BlockFormat::Q4_0) | 18 | d (f16, little-endian), 16 × u8 | `(nibble − 8) · d`; byte j has value j low, j + 16 high |
//!
//! [`PackedWeights::from_format`](crate::groups::PackedWeights::from_format) prepares encoded weights for products.
//!
//! The scale of a block comes from its own largest magnitude. Sixteen blocks are encoded together: their largest magnitudes
//! make one vector, and so do their scales, so that a division is paid for once and not per block; then the codes are
//! written, two blocks at a time. What a format cannot store is found before the first byte is written.
//!
//! The formulas stand with each format, in a file of its own. Rounding follows the document or the scalar code that defines
//! the format, on every ISA. (The vector code of ggml rounds ties of Q8_0 otherwise than its scalar code.)
//!
//! Blocks of small values decode to zeros. An f16 has no value between 0 and 2⁻²⁴, so their scale is rounded to 0, whatever the
//! codes are: of Q8_0 where the largest magnitude is at most 3.784895e-6 (127 · 2⁻²⁵), of Q4_0 at most 2.3841858e-7 (2⁻²²). ggml does
//! the same. The smallest step of MXINT8 is 2⁻¹³³: half of it, 4.59e-41, is its limit.
//!
//! To add a format of any number of vectors a block: a variant of [`BlockFormat`] with its sizes, also in
//! [`ALL`](BlockFormat::ALL), a file that implements `Format`, a line in the `match` of `encode.rs` and in the two of `decode.rs`,
//! and its plain loops in `reference/formats.rs`. Tests go through `ALL`; a known block goes into `worked_blocks` of
//! `tests/suite/formats.rs`, its costs into `benches/blocks.rs` and `benches/callgrind.rs`, and its line into the table above.

mod block;
pub(crate) mod decode;
mod encode;
pub(crate) mod format;
mod mxint8;
mod q4_0;
mod q8_0;
pub(crate) mod vectors;

pub use decode::{decode_blocks, split_blocks};
pub use encode::encode_blocks;
pub use format::BlockFormat;
