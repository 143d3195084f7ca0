//! i16 activations by i8 weights, TFLite's 16x8 quantization: for activations that 8 bits are too coarse for.
//!
//! ```text
//! C[i,j] = Σₖ A[i,k] · W[j,k] + bias[j]     A in i16, W in i8, zero points 0; exact, in i64
//! ```
//!
//! Products are summed in i32 for 504 k at a time, which none can leave, and these sums in i64: exact for every code pair, up to
//! a depth of 2²⁵ − 1. Then an output [`Stage`] makes elements of them:
//!
//! | stage | element |
//! |---|---|
//! | [`Accumulators`] | the accumulator itself, i64 |
//! | [`Dequantize`] | f32: `acc as f32 · (S_a · S_w) + bias`, every operation rounded once |
//! | [`Requantize`] | codes, i16 as a rule: the accumulator times `S_a · S_w / S_out` by a [`Rule`], `+ Z_out`, saturated to activation bounds |
//!
//! ```
//! use zeropoint::int16x8::{PackedMatrix, Requantize, Rule, matmul};
//! use zeropoint::*;
//! let exec = Exec::best()?;
//! let (x, w) = ([1.0_f32, -0.5, 0.25, 2.0], [0.5_f32, 1.0, -1.0, 0.25]); // 2 rows, 2 outputs, depth 2
//! let x_params = QuantParams::fit(exec, &x, CodeRange::narrow16(16)?, Scheme::SYMMETRIC, Granularity::Tensor)?;
//! let w_params = QuantParams::fit(exec, &w, CodeRange::narrow(8)?, Scheme::SYMMETRIC, Granularity::channel(&[2, 2], 0)?)?;
//! let y_params = QuantParams::per_tensor(CodeRange::narrow16(16)?, 2.5 / 32767.0, 0)?;
//! let (mut x_codes, mut w_codes) = ([0_i16; 4], [0_i8; 4]);
//! quantize(exec, &x, &x_params, Rounding::Nearest, &mut x_codes)?;
//! quantize(exec, &w, &w_params, Rounding::Nearest, &mut w_codes)?;
//!
//! let weights = PackedMatrix::pack(exec, Quantized::new(Matrix::new(&w_codes, 2, 2)?, &w_params)?)?;
//! let stage = Requantize::new(&weights, &x_params, &y_params, Rule::HalfAway)?;
//! let (mut y_codes, mut y) = ([0_i16; 4], [0.0; 4]);
//! let x = Quantized::new(Matrix::new(&x_codes, 2, 2)?, &x_params)?;
//! matmul(exec, x, &weights, &stage, MatrixMut::new(&mut y_codes, 2, 2)?)?;
//! dequantize(exec, &y_codes, &y_params, &mut y)?;
//! let exact = [0.0, -1.125, 2.125, 0.25]; // x · wᵀ
//! assert!(y.iter().zip(exact).all(|(y, exact)| (y - exact).abs() < 0.01));
//! # Ok::<(), zeropoint::Error>(())
//! ```

pub use crate::matmul::int16x8::matmul;
pub use crate::matmul::int16x8::packed::PackedMatrix;
pub use crate::matmul::int16x8::requantize::{Requantize, Rule};
pub use crate::matmul::int16x8::stage::{Accumulators, Dequantize, Stage};
