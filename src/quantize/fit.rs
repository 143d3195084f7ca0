//! Parameters of a tensor's own ranges: what activations need whose range is not known beforehand.

use crate::codes::{Code, CodeBounds, CodeRange};
use crate::error::Error;
use crate::exec::Exec;
use crate::memory::Scratch;
use crate::params::{Granularity, Params, QuantParams, Range, Scheme};
use crate::reduce::blocks::EvenGroups;
use crate::reduce::ranges::ranges_into;
use crate::reduce::tensor::range_of;

impl<C: Code> QuantParams<C> {
    /// The parameters that a scheme gives the ranges of `x`, one range a group: [`ranges`](crate::ranges()) and
    /// [`QuantParams::from_ranges`] in one call.
    ///
    /// For up to 4000 groups, calls that repeat do not allocate: a thread makes parameters of the memory of parameters that it
    /// dropped.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Exec, Granularity, QuantParams, Rounding, Scheme, quantize};
    /// let exec = Exec::best()?;
    /// let x = [0.5, -1.0, 0.25, 8.0, -4.0, 2.0];
    /// let per_row = Granularity::channel(&[2, 3], 0)?;
    /// let params = QuantParams::fit(exec, &x, CodeRange::narrow(8)?, Scheme::SYMMETRIC, per_row)?;
    /// let mut codes = [0_i8; 6];
    /// quantize(exec, &x, &params, Rounding::Nearest, &mut codes)?;
    /// assert_eq!(codes, [64, -127, 32, 127, -64, 32]);
    /// assert_eq!(params.scales(), [1.0 / 127.0, 8.0 / 127.0]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// Groups of an empty tensor have the parameters of the range 0 … 0: an empty batch is no error.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first NaN or infinity; [`Error::Multiple`] when the length does not go with the granularity;
    /// as [`Scheme::parameters`]; [`Error::Shape`] for more than 2²⁰ groups of an empty tensor.
    pub fn fit<'e>(
        exec: impl Into<Exec<'e>>,
        x: &[f32],
        codes: CodeRange<C>,
        scheme: Scheme,
        granularity: Granularity,
    ) -> Result<Self, Error> {
        Ok(QuantParams::of(codes, params_of(exec.into(), x, codes.bounds(), scheme, granularity)?))
    }
}

/// The parameters that a scheme gives the ranges of a tensor, for codes of any type.
pub(crate) fn params_of(
    exec: Exec<'_>,
    x: &[f32],
    codes: CodeBounds,
    scheme: Scheme,
    granularity: Granularity,
) -> Result<Params, Error> {
    if x.is_empty() {
        return fit_nothing(codes, scheme, granularity);
    }
    let mut params = Params::unfilled(codes, granularity, granularity.groups(x.len())?);
    fit(exec, x, scheme, &mut params)?;
    Ok(params)
}

/// Groups that an empty tensor has parameters for, at most: four times the largest vocabulary of a language model, which is the
/// longest axis that anybody quantizes by. No data bounds their number, and a corrupt size must not take the memory.
const GROUPS_OF_NOTHING: usize = 1 << 20;

/// The parameters of groups without elements.
fn fit_nothing(codes: CodeBounds, scheme: Scheme, granularity: Granularity) -> Result<Params, Error> {
    let groups = granularity.groups(0)?;
    if groups > GROUPS_OF_NOTHING {
        return Err(Error::Shape { why: "an empty tensor has more than 2²⁰ groups", found: groups });
    }
    Params::from_ranges(codes, scheme, granularity, &vec![Range::default(); groups])
}

/// Groups whose ranges the level-2 cache holds until their parameters are computed.
const GROUPS_TOGETHER: usize = 4096;

/// Fills in the parameters that a scheme gives the ranges of a tensor.
fn fit(exec: Exec<'_>, x: &[f32], scheme: Scheme, params: &mut Params) -> Result<(), Error> {
    let (isa, granularity) = (exec.isa(), params.granularity());
    if granularity == Granularity::Tensor {
        return params.fill(isa, scheme, &[range_of(exec, x)?]);
    }
    if fit_even_groups(exec, x, scheme, params) {
        return Ok(());
    }
    let mut workspace = Scratch::default();
    let ranges = workspace.elements(params.scales().len());
    ranges_into(exec, x, granularity, ranges)?;
    params.fill(isa, scheme, ranges)
}

/// Fills in the parameters of very many groups that follow each other, some groups at a time. False where groups are fewer
/// or lie otherwise, or when a range has no parameters: then the ranges of the whole tensor tell which one.
fn fit_even_groups(exec: Exec<'_>, x: &[f32], scheme: Scheme, params: &mut Params) -> bool {
    let count = params.scales().len();
    let (GROUPS_TOGETHER.., Some(groups)) = (count, EvenGroups::of(x, params.granularity())) else { return false };
    // Several threads find all ranges first.
    if exec.threads() > 1 {
        return false;
    }
    let isa = exec.isa();
    let mut workspace = Scratch::default();
    let ranges = workspace.elements(GROUPS_TOGETHER);
    for first in (0..count).step_by(GROUPS_TOGETHER) {
        // The last step computes some groups again.
        let first = first.min(count - GROUPS_TOGETHER);
        isa.run(groups.ranges(first, ranges));
        if !params.solve(isa, scheme, first, ranges) {
            return false;
        }
    }
    params.finish();
    true
}
