//! Scales and zero points: `r = S · (q − Z)`, where Z is the code of real 0; which elements share them; and how a
//! range of real numbers becomes a pair of them.
//!
//! What a scheme makes of a range is in the table of [`Scheme`]. Parameters in other conventions enter by constructors of their
//! own: [`QuantParams::from_distiller`] and its neighbours.

mod conventions;
mod formula;
mod granularity;
mod quant_params;
mod range;
mod reciprocal;
mod scheme;
mod storage;
mod stretches;

pub use granularity::Granularity;
pub(crate) use granularity::{Grouping, Run, Runs};
pub use quant_params::QuantParams;
pub use range::Range;
pub use scheme::{OffsetKind, RoundingKind, ScaleKind, Scheme};
pub(crate) use storage::{GroupParams, Params, RowParams, check_each_scale};
pub(crate) use stretches::{Stretch, Stretches};
