//! Quantization-aware training: the backward pass of fake-quantization, with the gradients of learned scales, zero points and
//! clipping bounds.
//!
//! The forward pass is [`fake_quantize`](crate::fake_quantize()), of any of the eight types: `ŷ = S · (clamp(round(x / S)) − Z)`. Its
//! true derivative is 0 almost everywhere, since it is a staircase. So training takes that of the *straight-through* function, for
//! which the rounding of an element is a constant δ of that element:
//!
//! ```text
//! v = x / S      δ = round(v) − v      ŷ = S · clamp(v + δ, qmin − Z, qmax − Z)
//! ```
//!
//! It has the value of the staircase, and these derivatives, with which the incoming gradient g is multiplied:
//!
//! | | where nothing is clamped | where the code is clamped | sum of a group |
//! |---|---|---|---|
//! | ∂ŷ/∂x | 1 | 0 | none: a gradient for every element |
//! | ∂ŷ/∂S | round(v) − v | the bound: qmin − Z or qmax − Z | `Σ g · (ŷ − x) / S`, without x where clamped |
//! | ∂ŷ/∂Z | 0 | −S | `−S · Σ g`, where clamped |
//!
//! The first two are LSQ's (Esser et al., "Learned step size quantization", 2020), with Z those of LSQ+ (Bhalgat et al., 2020).
//! [`fake_quantize_gradients`] makes all of them in one pass over x and g.
//!
//! **Where the code is clamped** is where `RNE(v) + Z` is outside the code range, as for the mask of
//! [`straight_through`](crate::straight_through()), so that the gradients with respect to x are the same bytes. The conditions of
//! others differ from it near the ends of the range only. LSQ's paper clamps v before it rounds: half a step beyond the last
//! code counts as clamped there. PyTorch's `_fake_quantize_learnable_per_channel_affine` (2.15) has these gradients, element by
//! element, except where v is exactly between two integers and Z is odd: its backward pass rounds v + Z, to the other one.
//!
//! **Stochastic rounding.** ŷ is that of the forward pass, made of the same words of the same stream; the condition stays that of
//! the nearest code. So backward agrees with forward, and the mean of δ is 0: the gradient of S comes from clamped elements alone, on
//! average.
//!
//! **Zero points** are integers. Their gradient is that of a real zero point by which codes are shifted, at its rounded value, and
//! nobody rounds it back but the caller, who keeps it as a real number and rounds it for [`QuantParams::new`].
//!
//! **LSQ's gradient scale**, [`lsq_factor`], is the caller's to multiply with: sums are linear in g.
//!
//! # Clipping bounds
//!
//! PACT (Choi et al., 2018) learns the end α of the range, in place of S: `y = clamp(x, 0, α)`, then quantized to a range that α
//! determines. With δ as a constant again, ∂ŷ/∂α is 1 where `x ≥ α`, else 0; with bounds on both sides, for weights, it is −1 where
//! `x ≤ −α`. [`clip_gradients`] makes the sums and masks g, of [`ClipBounds`]. (∂ŷ/∂S differs: there the inner codes move, too.)
//!
//! # Reproducible
//!
//! Products are exact, and sums are f64 in an order that is a function of shape and granularity alone: in chunks of 16384 elements,
//! whose segments have sixteen sums or more
//! ([`reference::fake_quantize_gradients`](crate::reference::fake_quantize_gradients) says how). So every ISA and any number of threads
//! make the same bits, and ŷ, which they are sums of, is the f32 that the forward pass has.
//!
//! Infinite x are clamped, NaN is neither inside the range nor beyond it: its gradients are 0. Where a gradient g is NaN or infinite,
//! so are sums that it is a part of, and a NaN that comes out is `f32::NAN` or `f64::NAN`. Sums of a group without elements are 0.
//!
//! ```
//! use zeropoint::training::{Gradients, fake_quantize_gradients};
//! use zeropoint::{CodeRange, Exec, QuantParams, Rounding, fake_quantize};
//!
//! // A scale learns to fit its data: to the least squared error.
//! let exec = Exec::best()?;
//! let codes = CodeRange::narrow(3)?; // −3 … 3
//! let x: Vec<f32> = (0..1000).map(|i| ((i as f32 * 0.37).sin() * 5.0).powi(3) / 25.0).collect();
//! let (mut y, mut gradient) = (vec![0.0; 1000], vec![0.0; 1000]);
//! let mut step = |scale: f32| -> Result<(f64, f64), zeropoint::Error> {
//!     let params = QuantParams::per_tensor(codes, scale, 0)?;
//!     fake_quantize(exec, &x, &params, Rounding::Nearest, &mut y)?;
//!     let loss = y.iter().zip(&x).map(|(y, x)| f64::from(y - x).powi(2)).sum();
//!     let incoming: Vec<f32> = y.iter().zip(&x).map(|(y, x)| 2.0 * (y - x)).collect();
//!     let mut scales = [0.0];
//!     let gradients = Gradients { x: &mut gradient, scales: &mut scales, zero_points: None };
//!     fake_quantize_gradients(exec, &x, &incoming, &params, Rounding::Nearest, gradients)?;
//!     Ok((loss, scales[0]))
//! };
//! let mut scale = 0.2;
//! let (before, _) = step(scale)?;
//! for _ in 0..100 {
//!     scale -= 5e-5 * step(scale)?.1 as f32;
//! }
//! assert!(step(scale)?.0 < 0.1 * before);
//! # Ok::<(), zeropoint::Error>(())
//! ```
//!
//! Per channel, block or tensor; f32, f16 or bf16; matrices with row strides: as [`fake_quantize`](crate::fake_quantize()) has them.

mod backward;
mod chunk;
mod clip;
mod job;
mod operands;
mod segments;

use crate::codes::{Code, CodeRange};
use crate::error::{Error, check_length, elements_of};
use crate::exec::Exec;
use crate::kernel::{Kernel, Vectors};
use crate::params::{Params, QuantParams};
use crate::quantize::operands::{GRADIENT, OUTPUT, Shape, common_shape};
use crate::quantize::ops::ToNearest;
use crate::random::fill::WordSource;
use crate::rounding::Rounding;
use crate::views::{Destination, Source, View, ViewMut};
use backward::{OfClipping, OfFakeQuantization};
pub use clip::ClipBounds;
use job::{Job, Rounds};
use operands::{Input, Output};

/// Where the gradients of a backward pass of fake-quantization go.
#[derive(Debug)]
pub struct Gradients<'a, D> {
    /// With respect to x: a [`Destination`] of f32, of as many elements.
    pub x: D,
    /// With respect to the scale of every group.
    pub scales: &'a mut [f64],
    /// With respect to the zero point of every group. Symmetric schemes do without: these sums cost a fifth of the time.
    pub zero_points: Option<&'a mut [f64]>,
}

/// Where the gradients of a backward pass of clipping go.
#[derive(Debug)]
pub struct ClipGradients<'a, D> {
    /// With respect to x: a [`Destination`] of f32, of as many elements.
    pub x: D,
    /// With respect to the bound of every group.
    pub bounds: &'a mut [f64],
}

/// The gradients of [`fake_quantize`](crate::fake_quantize()) at `x` with respect to x, scales and zero points, from that of its
/// result: formulas and conventions are in the essay of the [module](crate::training).
///
/// `rounding` is that of the forward pass: if it is stochastic, the same stream from the same place on.
///
/// ```
/// use zeropoint::training::{Gradients, fake_quantize_gradients};
/// use zeropoint::{CodeRange, Exec, QuantParams, Rounding};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?; // −4 … 3.5
/// let (mut x, mut scales, mut zero_points) = ([0.0; 3], [0.0], [0.0]);
/// let gradients = Gradients { x: &mut x, scales: &mut scales, zero_points: Some(&mut zero_points) };
/// fake_quantize_gradients(Exec::best()?, &[0.375, -1.5, 100.0], &[2.0, 3.0, 4.0], &params, Rounding::Nearest, gradients)?;
/// assert_eq!(x, [2.0, 3.0, 0.0]); // 100 is clamped
/// assert_eq!(scales, [2.0 * (1.0 - 0.75) + 4.0 * 7.0]); // round(v) − v, and the bound
/// assert_eq!(zero_points, [4.0 * -0.5]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters;
/// [`Error::Stream`] when the stream has fewer words than `x` elements; [`Error::Rounding`] for stochastic rounding with
/// parameters of a scheme for nearest rounding.
#[inline(always)]
pub fn fake_quantize_gradients<'e, C: Code>(
    exec: impl Into<Exec<'e>>,
    x: impl Source<f32>,
    gradient: impl Source<f32>,
    params: &QuantParams<C>,
    rounding: impl Into<Rounding>,
    gradients: Gradients<'_, impl Destination<f32>>,
) -> Result<(), Error> {
    let (exec, params) = (exec.into(), params.inner());
    let Gradients { x: mut out, scales, zero_points } = gradients;
    let pass = Pass::new(x.view(), Some(gradient.view()), out.view_mut(), params)?;
    fake(exec, pass, rounding.into(), scales, zero_points)
}

/// [`fake_quantize_gradients`] of a gradient into itself: `gradients.x` is the gradient of the result before, and that with respect
/// to x after.
///
/// ```
/// use zeropoint::training::{Gradients, fake_quantize_gradients_in_place};
/// use zeropoint::{CodeRange, Exec, QuantParams, Rounding};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let (mut gradient, mut scales) = ([2.0, 3.0, 4.0], [0.0]);
/// let gradients = Gradients { x: &mut gradient, scales: &mut scales, zero_points: None };
/// fake_quantize_gradients_in_place(Exec::best()?, &[0.375, -1.5, 100.0], &params, Rounding::Nearest, gradients)?;
/// assert_eq!((gradient, scales), ([2.0, 3.0, 0.0], [28.5]));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters;
/// [`Error::Stream`] when the stream has fewer words than `x` elements; [`Error::Rounding`] for stochastic rounding with
/// parameters of a scheme for nearest rounding.
#[inline(always)]
pub fn fake_quantize_gradients_in_place<'e, C: Code>(
    exec: impl Into<Exec<'e>>,
    x: impl Source<f32>,
    params: &QuantParams<C>,
    rounding: impl Into<Rounding>,
    gradients: Gradients<'_, impl Destination<f32>>,
) -> Result<(), Error> {
    let (exec, params) = (exec.into(), params.inner());
    let Gradients { x: mut gradient, scales, zero_points } = gradients;
    let pass = Pass::new(x.view(), None, gradient.view_mut(), params)?;
    fake(exec, pass, rounding.into(), scales, zero_points)
}

/// The gradients of clipping with respect to x and the bounds, from that of the clipped, or clipped and fake-quantized, values:
/// formulas and conventions are in the essay of the [module](crate::training). `clip` has the bounds.
///
/// With respect to x it is the incoming one inside the bounds, bit for bit, else 0; at a bound it is the bound's. (So it is 0 at 0 behind a
/// ReLU.)
///
/// ```
/// use zeropoint::training::{ClipBounds, ClipGradients, clip_gradients};
/// use zeropoint::{Exec, Granularity};
/// let (x, gradient) = ([-1.0, 0.5, 2.0, 7.0], [1.0, 2.0, 4.0, 8.0]);
/// let (mut out, mut bounds) = ([0.0; 4], [0.0]);
/// let one_sided = ClipBounds::one_sided(Granularity::Tensor, &[2.0])?;
/// clip_gradients(Exec::best()?, &x, &gradient, &one_sided, ClipGradients { x: &mut out, bounds: &mut bounds })?;
/// assert_eq!((out, bounds), ([0.0, 2.0, 0.0, 0.0], [12.0]));
///
/// let symmetric = ClipBounds::symmetric(Granularity::Tensor, &[1.0])?;
/// clip_gradients(Exec::best()?, &x, &gradient, &symmetric, ClipGradients { x: &mut out, bounds: &mut bounds })?;
/// assert_eq!((out, bounds), ([0.0, 2.0, 0.0, 0.0], [11.0]));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the bounds.
pub fn clip_gradients<'e>(
    exec: impl Into<Exec<'e>>,
    x: impl Source<f32>,
    gradient: impl Source<f32>,
    clip: &ClipBounds,
    gradients: ClipGradients<'_, impl Destination<f32>>,
) -> Result<(), Error> {
    let ClipGradients { x: mut out, bounds } = gradients;
    let pass = Pass::new(x.view(), Some(gradient.view()), out.view_mut(), clip.inner())?;
    clipped(exec.into(), pass, clip, bounds)
}

/// [`clip_gradients`] of a gradient into itself: `gradients.x` is the gradient of the result before, and that with respect to x
/// after.
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the bounds.
pub fn clip_gradients_in_place<'e>(
    exec: impl Into<Exec<'e>>,
    x: impl Source<f32>,
    clip: &ClipBounds,
    gradients: ClipGradients<'_, impl Destination<f32>>,
) -> Result<(), Error> {
    let ClipGradients { x: mut gradient, bounds } = gradients;
    let pass = Pass::new(x.view(), None, gradient.view_mut(), clip.inner())?;
    clipped(exec.into(), pass, clip, bounds)
}

/// The factor by which LSQ multiplies the gradient of a scale: `1 / √(n · qmax)`, for n elements that share it. With it, scales
/// learn as fast as weights, in proportion to their size.
///
/// ```
/// use zeropoint::CodeRange;
/// use zeropoint::training::lsq_factor;
/// assert_eq!(lsq_factor(CodeRange::signed(4)?, 700), 1.0 / 70.0);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[must_use]
pub fn lsq_factor<C: Code>(codes: CodeRange<C>, elements: usize) -> f64 {
    1.0 / (elements as f64 * f64::from(codes.bounds().max)).sqrt()
}

/// The operands of a backward pass, of one shape.
struct Pass<'a> {
    params: &'a Params,
    shape: Shape,
    x: Input<'a>,
    gradient: Option<Input<'a>>,
    out: Output<'a>,
}

impl<'a> Pass<'a> {
    fn new(
        x: View<'a, f32>,
        gradient: Option<View<'a, f32>>,
        out: ViewMut<'a, f32>,
        params: &'a Params,
    ) -> Result<Self, Error> {
        let shape = match &gradient {
            Some(gradient) => common_shape(x.extent(), [(gradient.extent(), GRADIENT), (out.extent(), OUTPUT)]),
            None => common_shape(x.extent(), [(out.extent(), GRADIENT)]),
        }?;
        let input = |view| Input::new(shape.reals(view), shape);
        let out = Output::new(shape.reals_mut(out), shape);
        Ok(Pass { params, shape, x: input(x), gradient: gradient.map(input), out })
    }

    fn job<O, R: Rounds>(self, op: O, rounding: R) -> Job<'a, O, R> {
        let Pass { params, shape, x, gradient, out } = self;
        Job { params, op, rounding, shape, x, gradient, out }
    }
}

#[inline(always)]
fn fake(
    exec: Exec<'_>,
    pass: Pass<'_>,
    rounding: Rounding,
    scales: &mut [f64],
    zero_points: Option<&mut [f64]>,
) -> Result<(), Error> {
    match rounding {
        Rounding::Nearest => run_fake_to_nearest(exec, pass, scales, zero_points),
        Rounding::Stochastic(stream) => {
            rounding.check(elements_of(&[pass.shape.rows, pass.shape.columns]), pass.params)?;
            run_fake(exec, pass, WordSource::new(stream), scales, zero_points)
        }
    }
}

// Not generic: compiled in this crate, and linked only into programs that call them.
fn run_fake_to_nearest(
    exec: Exec<'_>,
    pass: Pass<'_>,
    scales: &mut [f64],
    zero_points: Option<&mut [f64]>,
) -> Result<(), Error> {
    run_fake(exec, pass, ToNearest, scales, zero_points)
}

fn run_fake(
    exec: Exec<'_>,
    pass: Pass<'_>,
    rounding: impl Rounds,
    scales: &mut [f64],
    zero_points: Option<&mut [f64]>,
) -> Result<(), Error> {
    let (isa, all) = (exec.isa(), pass.params.scales());
    check_length("the gradients of scales", all.len(), scales.len())?;
    let mut of_scales = |group: usize, sums: &[f64]| {
        let (scales, out) = (&all[group..][..sums.len()], &mut scales[group..][..sums.len()]);
        isa.run(Finish { sums, scales, out, gradient: of_scale });
    };
    let Some(zero_points) = zero_points else {
        return pass.job(OfFakeQuantization::<false>, rounding).run(exec, |group, [sums]| of_scales(group, sums));
    };
    check_length("the gradients of zero points", all.len(), zero_points.len())?;
    pass.job(OfFakeQuantization::<false>, rounding).run(exec, |group, [sums, beyond]| {
        of_scales(group, sums);
        let (scales, out) = (&all[group..][..beyond.len()], &mut zero_points[group..][..beyond.len()]);
        isa.run(Finish { sums: beyond, scales, out, gradient: of_zero_point });
    })
}

/// The gradient of a scale, from the sum of its group.
#[inline(always)]
fn of_scale(sum: f64, scale: f64) -> f64 {
    plain(sum / scale)
}

/// The gradient of a zero point, from the sum of its group.
#[inline(always)]
fn of_zero_point(sum: f64, scale: f64) -> f64 {
    // (Not −0 where nothing is clamped.)
    plain(0.0 - scale * sum)
}

/// A sum whose bits do not depend on the architecture, as those of NaN do.
#[inline(always)]
fn plain(sum: f64) -> f64 {
    if sum.is_nan() { f64::NAN } else { sum }
}

/// From the sums of groups to gradients of their parameters: a plain loop, of which the compiler makes vectors.
struct Finish<'a, G> {
    sums: &'a [f64],
    scales: &'a [f32],
    out: &'a mut [f64],
    gradient: G,
}

impl<G: Fn(f64, f64) -> f64> Kernel for Finish<'_, G> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        let Finish { sums, scales, out, gradient } = self;
        for ((out, &sum), &scale) in out.iter_mut().zip(sums).zip(scales) {
            *out = gradient(sum, f64::from(scale));
        }
    }
}

fn clipped(exec: Exec<'_>, pass: Pass<'_>, clip: &ClipBounds, bounds: &mut [f64]) -> Result<(), Error> {
    check_length("the gradients of bounds", clip.bounds().len(), bounds.len())?;
    let write = |group: usize, [sums]: [&[f64]; 1]| {
        bounds[group..].iter_mut().zip(sums).for_each(|(bound, &sum)| *bound = plain(sum));
    };
    if clip.is_symmetric() {
        pass.job(OfClipping::<true>, ToNearest).run(exec, write)
    } else {
        pass.job(OfClipping::<false>, ToNearest).run(exec, write)
    }
}
