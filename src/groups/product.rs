//! The public multiplication by weights in groups, and its checks.

use super::activations::Activations;
use super::job::{Job, Results};
use super::packed::PackedWeights;
use super::stage::{CodeStage, RealStage};
use crate::codes::Code;
use crate::error::{Error, check_length, elements_of};
use crate::exec::Exec;
use crate::half::HalvesMut;
use crate::matmul::output::Output;
use crate::matmul::rhs::check_isa;
use crate::matmul::shape::check_accumulator;
use crate::matrix::{Largest, MatrixMut};
use crate::quantize::quantize;
use crate::rounding::Rounding;
use crate::views::{Destination, ViewMut};

/// Multiplies activations `[M, K]` by weights in groups `[N, K]` into `out`, `[M, N]`, by the [rules](super) of this module.
///
/// By a [`RealStage`], `out` is of f32, or [`HalvesMut`](crate::HalvesMut) of f16 or bf16; by a [`CodeStage`], of its codes.
///
/// # Errors
/// [`Error::PackedIsa`] when the weights are packed for another ISA; [`Error::Length`] when the shapes do not go together;
/// [`Error::Shape`] for activations in groups of another length; [`Error::Depth`] for groups whose sums could leave i32;
/// [`Error::NonFinite`] and [`Error::Range`] for real activations that have no parameters; [`Error::Shape`] for packed codes.
/// Then `out` is untouched.
pub fn matmul<'e, S: GroupStage>(
    exec: impl Into<Exec<'e>>,
    x: &Activations<'_>,
    weights: &PackedWeights,
    stage: &S,
    mut out: impl Destination<S::Element>,
) -> Result<(), Error> {
    stage.multiply(exec.into(), x, weights, out.view_mut())
}

/// What becomes of totals: a [`RealStage`] or a [`CodeStage`].
pub trait GroupStage: sealed::Multiply {}

mod sealed {
    use super::{Activations, Error, Exec, PackedWeights, ViewMut};

    pub trait Multiply {
        /// The type of results.
        type Element;
        /// The product, with this stage.
        fn multiply(
            &self,
            exec: Exec<'_>,
            x: &Activations<'_>,
            weights: &PackedWeights,
            out: ViewMut<'_, Self::Element>,
        ) -> Result<(), Error>;
    }
}
use sealed::Multiply;

#[cfg(feature = "groups")]
impl GroupStage for RealStage {}

// Only with the feature, since rustc compiles the methods of every trait implementation, reachable or not.
#[cfg(feature = "groups")]
impl Multiply for RealStage {
    type Element = f32;

    fn multiply(
        &self,
        exec: Exec<'_>,
        x: &Activations<'_>,
        weights: &PackedWeights,
        out: ViewMut<'_, f32>,
    ) -> Result<(), Error> {
        match out {
            ViewMut::Halves(HalvesMut { bits, kind }) => {
                multiply(exec, x, weights, self, ViewMut::Slice(bits), Results::Halves(kind))
            }
            out => multiply(exec, x, weights, self, out, Results::F32),
        }
    }
}

#[cfg(feature = "groups")]
impl<C: Code> GroupStage for CodeStage<'_, C> {}

#[cfg(feature = "groups")]
impl<C: Code> Multiply for CodeStage<'_, C> {
    type Element = C;

    fn multiply(
        &self,
        exec: Exec<'_>,
        x: &Activations<'_>,
        weights: &PackedWeights,
        out: ViewMut<'_, C>,
    ) -> Result<(), Error> {
        let to_codes = |x: &[f32], codes: &mut [u8]| {
            let codes = bytemuck::cast_slice_mut::<u8, C>(codes);
            quantize(exec.isa(), x, self.params, Rounding::Nearest, codes).expect("parameters per tensor fit any row");
        };
        multiply(exec, x, weights, &self.real, out, Results::Codes(&to_codes))
    }
}

/// Checks the operands, and multiplies into a slice or a matrix.
fn multiply<T>(
    exec: Exec<'_>,
    x: &Activations<'_>,
    weights: &PackedWeights,
    stage: &RealStage,
    out: ViewMut<'_, T>,
    results: Results<'_>,
) -> Result<(), Error> {
    check(exec, x, weights, stage)?;
    let (rows, columns) = (x.rows(), weights.outputs());
    let mut out = match out {
        ViewMut::Matrix(out) => out,
        ViewMut::Slice(out) => {
            check_length("the result", elements_of(&[rows, columns]), out.len())?;
            MatrixMut::new(out, rows, columns)?
        }
        ViewMut::Packed(packed) => {
            return Err(Error::Shape { why: "packed codes have no rows for a result", found: packed.length });
        }
        ViewMut::Halves(_) => unreachable!("reals of 16 bits are slices of bits here"),
    };
    check_length("the result's rows", rows, out.rows())?;
    check_length("the result's columns", columns, out.columns())?;
    Job { x, weights, stage, out: Output::new(&mut out), results }.run(exec)
}

fn check(exec: Exec<'_>, x: &Activations<'_>, weights: &PackedWeights, stage: &RealStage) -> Result<(), Error> {
    check_isa(weights.isa(), exec.isa())?;
    check_length("the depth of the activations", weights.depth(), x.depth())?;
    if let Some(found) = x.group_length()
        && found.min(weights.depth()) != weights.length.min(weights.depth())
    {
        return Err(Error::Shape { why: "the groups of the activations are not those of the weights", found });
    }
    let depth = weights.length.min(weights.depth());
    check_accumulator(depth, 0, [x.largest()?, weights.largest], Largest::default())?;
    if !stage.bias.is_empty() {
        check_length("the bias", weights.outputs(), stage.bias.len())?;
    }
    Ok(())
}
