//! Weights in groups along the depth: codes of 2 to 8 bits with a scale for every group of them, multiplied in integers inside a
//! group, in f32 across groups.
//!
//! ```text
//! acc[g] = Σₖ (A[i,k] − za[i,g]) · (W[j,k] − zw[j,g])         k of group g: exact, in i32
//! sum[g] = Σₖ (A[i,k] − za[i,g])
//! ```
//!
//! | activations | from group 0 on, with t = 0 at first | result |
//! |---|---|---|
//! | one scale a row | `t = t + acc[g] as f32 · S[j,g]`, and with a real offset `t = t + sum[g] as f32 · B[j,g]` | `S_a[i] · t` |
//! | a scale a group | `t = t + acc[g] as f32 · (S_a[i,g] · S[j,g])`, and `t = t + sum[g] as f32 · (S_a[i,g] · B[j,g])` | `t` |
//!
//! Each product and each sum is rounded once to f32, in this order, on every ISA: multiply-adds are not fused, and a vector holds
//! outputs that are neighbours, never parts of one sum. Then bias and bounds of a [`RealStage`], and codes of a [`CodeStage`]. A
//! NaN is `f32::NAN`. The bytes of a row do not depend on the other rows.
//!
//! Inside a group the algebra of zero points is that of any product of matrices. Stored codes w' and a' have zero points of their
//! own: weights of up to six bits have no sign, and activations are i8, whatever they were.
//!
//! ```text
//! acc[g] = Σ a'·w' − zw' · Σ a' − za' · Σ (w' − zw')
//! ```
//!
//! The first correction is a value that accumulators start with where all stored weights have one zero point (symmetric weights
//! do); else a rank-one update for every group. The second is none for symmetric activations.

pub(crate) mod activations;
pub(crate) mod dot;
mod job;
mod packed;
mod packed_file;
mod panel;
mod product;
mod reals;
mod rows;
mod stage;
mod stored;
pub(crate) mod tile;
pub(crate) mod vectors;
mod weights;

pub use activations::Activations;
pub use packed::PackedWeights;
pub use product::{GroupStage, matmul};
pub use reals::Reals;
pub use stage::{CodeStage, RealStage};
pub use stored::StoredWeights;
pub use stored::awq::Awq;
pub use stored::gptq::Gptq;
pub use stored::nbits::MatMulNBits;
pub use stored::quantized::GroupScheme;
pub use weights::Weights;
