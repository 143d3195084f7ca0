//! Integer matrix multiplication: exact i32 sums of 8-bit products, for any zero points, on every ISA.
//!
//! ```text
//! C[i,j] = Σₖ (A[i,k] − za[i]) · (B[k,j] − zb[j]) + bias[j]
//! ```
//!
//! A micro-kernel computes the sums of products of codes; [`offsets`], the one place of the algebra of zero points, says
//! what these sums begin with. Then an output [`Stage`] makes i32, f32 or codes of them.
//!
//! A [`job`](mod@job) divides a product in blocks of rows and panels of B, which stay in the level-2 cache while they meet.
//! The depth is not divided: a panel of any depth that occurs fits there too, and accumulators stay in registers from the
//! first product to the output stage. A B that is not [packed](mod@packed) is packed some panels at a time, or for a single
//! tile of rows read in place ([`unpacked`]). Left operands of i16 have loops of their own ([`int16x8`](mod@int16x8)), in which the
//! depth is divided, since their sums leave i32.
//!
//! The public functions are generic over the types of codes and results; they hand the engine bytes with a
//! [sign](crate::sign::Sign), a [right operand](rhs::RhsRef), a [stage](erased_stage::ErasedStage) and an [output](output::Output),
//! so that its loops are compiled once for every ISA.

pub(crate) mod batch;
pub(crate) mod dot;
pub(crate) mod epilogue;
pub(crate) mod erased;
pub(crate) mod erased_stage;
pub(crate) mod fixed_point;
pub(crate) mod given;
#[cfg_attr(not(feature = "int16x8"), allow(dead_code, reason = "only `crate::int16x8` makes it public"))]
pub(crate) mod int16x8;
pub(crate) mod interleave;
pub(crate) mod job;
pub(crate) mod lhs;
pub(crate) mod multiplier;
pub(crate) mod multiply;
pub(crate) mod offsets;
pub(crate) mod output;
pub(crate) mod pack;
pub(crate) mod pack_panel;
pub(crate) mod packed;
mod packed_file;
pub(crate) mod partition;
pub(crate) mod per_column;
pub(crate) mod product;
pub(crate) mod requantize;
pub(crate) mod rhs;
pub(crate) mod shape;
pub(crate) mod split;
pub(crate) mod stage;
pub(crate) mod tile;
pub(crate) mod unpacked;
pub(crate) mod unpacked_matrix;
pub(crate) mod weights;
pub(crate) mod words;

pub use batch::{Batch, matmul_batch};
pub use packed::PackedMatrix;
pub use product::matmul;
pub use requantize::Requantize;
pub use requantize::rule::Rule;
pub use rhs::Rhs;
pub use stage::{Accumulators, Dequantize, Stage};
pub use unpacked_matrix::UnpackedMatrix;
