//! The range of every group of a tensor in memory by the least squared error of its own elements: for groups that are too
//! many, or too small, for histograms.

use super::groups::{elements_of, share_groups};
use crate::codes::{Code, CodeBounds, CodeRange};
use crate::error::Error;
use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::params::{Granularity, Params, Range, Scheme};
use crate::quantize::vec_params::{Groups, ParamSource};
use crate::reduce::ranges::{number_of_ranges, ranges_into};
use crate::simd::LANES;
use crate::simd::walk::block;

/// Candidates for a range: its parts of 1/64, 2/64, …
const CANDIDATES: usize = 64;

/// Elements, times candidates, that a core quantizes in a nanosecond at most: an upper bound, so that work is shared only
/// if every core gains by it.
const TRIED: usize = 16;

/// The range of every group, both ends of its minimum and maximum times t = 1/64, 2/64, … or 1, that quantizes the group
/// with the least squared error by these codes and this scheme, rounded to nearest:
///
/// ```text
/// S, Z of [t · min, t · max] by the scheme     error(t) = Σ (x − S · (q − Z))²,  q = clamp(round(x / S)) + Z
/// ```
///
/// The smallest of equal ones, also where all errors are infinite, as reals beyond every f32 make them.
/// [`QuantParams::from_ranges`](crate::QuantParams::from_ranges) makes parameters of the ranges.
///
/// Every candidate quantizes every element, so time grows with the elements: for weights in groups. The time that a
/// [`Histogram`](super::Histogram) with [`Clip::Mse`](super::Clip::Mse) takes hardly does: for whole tensors.
///
/// ```
/// use zeropoint::calibrate::mse_ranges;
/// use zeropoint::{CodeRange, Exec, Granularity, QuantParams, Range, Scheme};
/// let (codes, scheme) = (CodeRange::narrow(2)?, Scheme::SYMMETRIC); // −1, 0 and 1
/// let per_block = Granularity::block(&[2, 8], 8)?;
/// let x = [1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.5, 2.0, 0.0, -2.0, 2.0, 0.0, 2.0, -2.0, 2.0];
/// let ranges = mse_ranges(Exec::best()?, &x, per_block, codes, scheme)?;
/// assert_eq!(ranges[0], Range { min: -45.0 / 64.0, max: 1.5 * 45.0 / 64.0 }); // 1.5 is clipped
/// assert_eq!(ranges[1], Range { min: -2.0, max: 2.0 });
/// let params = QuantParams::from_ranges(codes, scheme, per_block, &ranges)?;
/// # assert_eq!(params.scales().len(), 2);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`ranges`](crate::ranges()), and [`Scheme::parameters`] of them.
pub fn mse_ranges<'t, C: Code>(
    exec: impl Into<Exec<'t>>,
    x: &[f32],
    granularity: Granularity,
    codes: CodeRange<C>,
    scheme: Scheme,
) -> Result<Vec<Range>, Error> {
    shrunk_ranges(exec.into(), x, granularity, codes.bounds(), scheme)
}

fn shrunk_ranges(
    exec: Exec<'_>,
    x: &[f32],
    granularity: Granularity,
    codes: CodeBounds,
    scheme: Scheme,
) -> Result<Vec<Range>, Error> {
    let mut ranges = vec![Range::default(); number_of_ranges(x, granularity)?];
    ranges_into(exec, x, granularity, &mut ranges)?;
    // A range that has no parameters is found here, with its group; then its parts have some, too.
    Params::from_ranges(codes, scheme, granularity, &ranges)?;
    share_groups(exec, x.len().saturating_mul(CANDIDATES) / TRIED, &mut ranges, |exec, group, range| {
        *range = best_part(exec.isa(), &elements_of(x, granularity, group), codes, scheme, *range);
    });
    Ok(ranges)
}

/// The part of a range with the least error.
fn best_part(isa: Isa, x: &[f32], codes: CodeBounds, scheme: Scheme, range: Range) -> Range {
    let part = |i: usize| {
        let t = (i + 1) as f32 / CANDIDATES as f32;
        Range { min: t * range.min, max: t * range.max }
    };
    let parts: [Range; CANDIDATES] = core::array::from_fn(part);
    let each = Granularity::Block { length: 1, axis: CANDIDATES, inner: 1 };
    let mut params = Params::unfilled(codes, each, CANDIDATES);
    assert!(params.solve(isa, scheme, 0, &parts), "a part of a range with parameters has some");
    parts[isa.run(LeastError { x, params: &params })]
}

/// The first of some groups whose parameters quantize all elements with the least squared error.
struct LeastError<'a> {
    x: &'a [f32],
    params: &'a Params,
}

impl Kernel for LeastError<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> usize {
        let LeastError { x, params } = self;
        let groups = Groups::new(v, params, false);
        let mut best = (f64::INFINITY, 0);
        for group in 0..params.scales().len() {
            let params = groups.one(group).vector((), 0);
            // Sums of every sixteenth element, as those of an error report. (0, with which the last vector is filled up,
            // has no error by any parameters.)
            let mut squares = v.splat_f64(0.0);
            for start in (0..x.len()).step_by(LANES) {
                let x = v.load_f32(&block(x, start));
                let real = params.real(v, v.round_to_i32(params.clamped(v, x)));
                let error = v.sub_f32(x, real);
                squares = v.add_product_f64(squares, error, error);
            }
            let mut lanes = [0.0; LANES];
            v.store_f64(squares, &mut lanes);
            let mut error = 0.0;
            for lane in lanes {
                error += lane;
            }
            if error < best.0 {
                best = (error, group);
            }
        }
        best.1
    }
}
