//! Every operation as plain loops over its formula: what the kernels are judged by.
//!
//! Nothing here is blocked, packed, vectorized or shared with a kernel, so that a reader can check it against the
//! formula and a user can check us against it. Sums are i64, parameters come one by one, and speed is no concern.
//!
//! # Panics
//! Where the operations return an error, these may panic: their arguments have to be valid.

mod calibrate;
mod distance;
mod formats;
mod fp8;
mod groups;
mod half;
mod layers;
mod matmul;
mod powers;
mod quantize;
mod random;
mod reduce;
mod report;
mod requantize;
mod super_blocks;
mod training;

pub use calibrate::{
    clip_by_entropy, clip_by_entropy_with, clip_by_mse, clip_by_mse_on_sides, histogram, moments, mse_ranges,
    percentile,
};
pub use distance::{cosine, dot, squared_distance};
pub use formats::{decode_blocks, encode_blocks, encode_blocks_with};
pub use fp8::{decode_fp8, encode_fp8, encode_fp8_stochastic};
pub use half::{narrow_to_bf16, narrow_to_f16, widen};
pub use layers::{average_pool2d, conv_transpose2d, conv2d, max_pool2d};
pub use matmul::{GroupScales, dequantize_accumulator, matmul, matmul_groups, matmul_int16x8};
pub use quantize::{
    dequantize, fake_quantize, fake_quantize_stochastic, quantize, quantize_dynamic, quantize_one,
    quantize_one_stochastic, quantize_stochastic, round_stochastically, straight_through, straight_through_mask,
};
pub use random::{uniform, words};
pub use reduce::ranges;
pub use report::{errors, saturated};
pub use requantize::{
    fixed_point_product, float_product, float_product_i64, gemmlowp_product, half_away_product, half_away_product_i64,
    quantize_multiplier, reduced_product_i64, requantize_stochastic, saturate, shift_product,
};
pub use training::{clip_gradients, fake_quantize_gradients, group_sums};
