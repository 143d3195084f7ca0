//! Where to clip a histogram: percentile, entropy, mean squared error; and the exact percentile of values in memory.
//!
//! These work on any histogram of magnitudes, whoever made it: bin i counts what lies in i … i + 1, in units of the bins'
//! width.

use super::levels::{Grid, Levels, Sides};
use super::logarithm::ln;
use super::observer::COUNTS;
use crate::error::Error;
use crate::reduce::extremes::first_non_finite;

pub(super) fn check_percentile(percentile: f64) -> Result<(), Error> {
    if (0.0..=100.0).contains(&percentile) {
        return Ok(());
    }
    Err(Error::Setting { what: "percentile", found: percentile, why: "not in 0 … 100" })
}

/// `p / 100 · count`, the place among so many values. Within rounding of an integer it is that integer: 99.9 % of 1000 values are
/// 999, not a little more, which may be of a value far away.
fn percent_of(p: f64, count: u64) -> f64 {
    let place = p / 100.0 * count as f64;
    let nearest = place.round();
    if (place - nearest).abs() <= 4.0 * f64::EPSILON * place { nearest } else { place }
}

/// The percentile of values in memory: the value of order `p / 100 · (n − 1)`, between two values the straight line ("linear").
/// Of magnitudes, give magnitudes. ±0 is 0.
///
/// These are the bits of `numpy.percentile` of f64 values, rounded once to f32, but for an order that is within rounding of an
/// integer: it is that integer, where NumPy takes a part of the next value (99.9 % of 1001 values: order 999, there
/// 999.0000000000001). `torch.quantile` differs in the last bits of f64. Of f32 tensors both compute the order in f32.
///
/// ```
/// use zeropoint::calibrate::percentile;
/// assert_eq!(percentile(&[4.0, 1.0, 3.0, 2.0], 50.0)?, 2.5);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`], [`Error::NonFinite`], [`Error::Setting`] unless 0 ≤ p ≤ 100.
pub fn percentile(x: &[f32], p: f64) -> Result<f32, Error> {
    check_percentile(p)?;
    if x.is_empty() {
        return Err(Error::Empty { what: "the tensor", group: None });
    }
    if let Some(error) = first_non_finite("the tensor", x) {
        return Err(error);
    }
    let order = percent_of(p, x.len() as u64 - 1);
    let mut x = x.to_vec();
    let (_, &mut lower, above) = x.select_nth_unstable_by(order.floor() as usize, f32::total_cmp);
    let upper = above.iter().copied().fold(f32::INFINITY, f32::min);
    // −0 + 0 = +0
    if order.fract() == 0.0 {
        return Ok(lower + 0.0);
    }
    let (lower, upper, part) = (f64::from(lower), f64::from(upper), order.fract());
    // From the nearer end, as NumPy does.
    let between = if part < 0.5 { lower + (upper - lower) * part } else { upper - (upper - lower) * (1.0 - part) };
    Ok(between as f32 + 0.0)
}

/// The percentile of binned values, in bins from the lower edge of the first: the place in its bin that divides the bin's
/// values as `p / 100` does all. Where nothing was counted, 0.
///
/// It is in the bin of the exact percentile, or of one of the two values that the exact percentile is between.
///
/// ```
/// use zeropoint::calibrate::percentile_of_bins;
/// assert_eq!(percentile_of_bins(&[2, 0, 4, 2], 50.0)?, 2.5);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] unless 0 ≤ p ≤ 100; [`Error::Shape`] for 2⁶³ values or more.
pub fn percentile_of_bins(counts: &[u64], p: f64) -> Result<f64, Error> {
    check_percentile(p)?;
    let target = percent_of(p, total([counts, &[]])?);
    let mut below = 0;
    for (bin, &count) in counts.iter().enumerate() {
        if count > 0 && (below + count) as f64 >= target {
            return Ok(bin as f64 + (target - below as f64) / count as f64);
        }
        below += count;
    }
    Ok(0.0)
}

/// The bin i whose middle is the clip range `amax = i + ½` with the least squared error of codes −L … L, `L =
/// largest_code`:
///
/// ```text
/// S = (i + ½) / L      error = Σ count[j] · (x − S · min(round(x / S), L))²,  x = j + ½      i = start, start + stride, …
/// ```
///
/// The first of equal ones. Errors are compared as integers, so there is no rounding to decide.
///
/// # Errors
/// [`Error::Setting`] unless the largest code is 1 … 255, [`Error::Shape`] when there are no bins, more than 2²⁰, no stride, or
/// 2⁶³ values or more.
pub fn clip_by_mse(counts: &[u64], largest_code: u32, start: usize, stride: usize) -> Result<usize, Error> {
    check_bins(counts.len(), largest_code, stride)?;
    least_error(Sides { above: counts, below: &[] }, Levels::of_magnitudes(largest_code), start, stride)
}

/// [`clip_by_mse`] of values on both sides of 0, with levels of any scheme. The settings are checked.
pub(super) fn least_error(sides: Sides<'_>, levels: Levels, start: usize, stride: usize) -> Result<usize, Error> {
    total([sides.above, sides.below])?;
    let moments = [sides.below, sides.above].map(Moments::of);
    let error = |i: usize| {
        let grid = sides.grid(levels, 2 * i as i64 + 1);
        moments[0].error(&grid, grid.below) + moments[1].error(&grid, grid.above)
    };
    let bins = sides.bins();
    let candidates = (start.min(bins - 1)..bins).step_by(stride).map(|i| (error(i), i));
    Ok(candidates.min().expect("there is a first").1)
}

/// Sums over the bins before each bin, of count · xᵏ for k of 0, 1 and 2, where x = 2j + 1 is twice the middle of bin j.
struct Moments(Vec<[i128; 3]>);

impl Moments {
    fn of(counts: &[u64]) -> Self {
        let mut prefixes = Vec::with_capacity(counts.len() + 1);
        let mut sums = [0_i128; 3];
        prefixes.push(sums);
        for (j, &count) in counts.iter().enumerate() {
            let (x, count) = (2 * j as i128 + 1, i128::from(count));
            sums = [sums[0] + count, sums[1] + count * x, sums[2] + count * x * x];
            prefixes.push(sums);
        }
        Moments(prefixes)
    }

    /// `Σ count · (steps · x − q · span)²`, the squared error of codes 0 … `codes` times `(2 · steps)²`, less
    /// `steps² · Σ count · x²`, which is the same for all candidates.
    fn error(&self, grid: &Grid, codes: i64) -> i128 {
        let Grid { span, steps, .. } = *grid;
        let bins = self.0.len() as i64 - 1;
        // Of the bins whose value is nearest to code q or a larger one.
        let first_bin = |q: i64| {
            let ties = (2 * q - 1) * span - 2 * steps;
            ((ties + 4 * steps - 1) / (4 * steps)).clamp(0, bins) as usize
        };
        let mut begin = first_bin(1);
        let mut sum = 0;
        for q in 1..=codes {
            let end = if q == codes { bins as usize } else { first_bin(q + 1) };
            let [from, to] = [self.0[begin], self.0[end]];
            let step = i128::from(q * span);
            sum += step * (step * (to[0] - from[0]) - i128::from(2 * steps) * (to[1] - from[1]));
            begin = end;
        }
        sum
    }
}

/// The number of bins i, and so the clip range `amax = i`, with the least Kullback–Leibler divergence between the counts and
/// what `levels` (2ⁿ⁻¹ of signed codes of n bits, 2ⁿ of unsigned ones) leave of them:
///
/// ```text
/// P = the first i bins, the last of which has all that lies beyond too
/// Q = the first i bins in `levels` groups of equal width, each spread evenly over its bins that are not empty
/// KL = Σ P · ln(P / Q), both of sum 1; infinite where Q is 0 and P is not      i = start, start + stride, …
/// ```
///
/// The count of the first bin is taken for that of the second: zeros are exact in any codes. The last of equal ones. A start
/// below the levels, which would leave groups empty, is the levels.
///
/// # Errors
/// [`Error::Setting`] unless the levels are 2 … 256, [`Error::Shape`] when there are no bins, more than 2²⁰, no stride, or
/// 2⁶³ values or more.
pub fn clip_by_entropy(counts: &[u64], levels: u32, start: usize, stride: usize) -> Result<usize, Error> {
    check_bins(counts.len(), levels.saturating_sub(1), stride)?;
    least_divergence(counts, &|_| levels as usize, start, stride)
}

/// [`clip_by_entropy`] with so many levels for each candidate. The settings are checked.
pub(super) fn least_divergence(
    counts: &[u64],
    levels_of: &dyn Fn(usize) -> usize,
    start: usize,
    stride: usize,
) -> Result<usize, Error> {
    total([counts, &[]])?;
    let count = |j: usize| if j == 0 && counts.len() > 1 { counts[1] } else { counts[j] };
    // Of the bins below: their counts, how many are not empty, and Σ count · ln(count).
    let mut prefixes = vec![(0_u64, 0_u64, 0.0_f64)];
    for j in 0..counts.len() {
        let (sum, used, entropy) = prefixes[j];
        prefixes.push((sum + count(j), used + u64::from(count(j) > 0), entropy + times_ln(count(j))));
    }
    let total = prefixes[counts.len()].0;
    let divergence = |i: usize| {
        let levels = levels_of(i);
        let (inside, _, _) = prefixes[i];
        let (last, tail) = (count(i - 1), total - inside);
        if tail > 0 && last == 0 {
            return f64::INFINITY;
        }
        let p = prefixes[i - 1].2 + times_ln(last + tail);
        let mut q = 0.0;
        let mut begin = 0;
        for group in 1..=levels {
            let end = (group * i).div_ceil(levels);
            let (from, to) = (prefixes[begin], prefixes[end]);
            let (sum, used) = (to.0 - from.0, to.1 - from.1);
            if sum > 0 {
                let mass = if group == levels { sum + tail } else { sum };
                q += mass as f64 * ln(sum as f64 / used as f64);
            }
            begin = end;
        }
        (p - q) / total as f64 - ln(total as f64) + ln(inside as f64)
    };
    let mut best = (f64::INFINITY, counts.len());
    // (Groups of too few bins would be empty.)
    let first = (start..counts.len()).find(|&i| i >= levels_of(i)).unwrap_or(counts.len());
    for i in (first..=counts.len()).step_by(stride) {
        let divergence = divergence(i);
        if divergence <= best.0 && divergence < f64::INFINITY {
            best = (divergence, i);
        }
    }
    Ok(best.1)
}

fn check_bins(bins: usize, largest_code: u32, stride: usize) -> Result<(), Error> {
    if !(1..=255).contains(&largest_code) {
        return Err(Error::Setting { what: "largest code", found: largest_code.into(), why: "not in 1 … 255" });
    }
    if bins == 0 || bins > 1 << 20 {
        return Err(Error::Shape { why: "not 1 … 2²⁰ bins", found: bins });
    }
    check_stride(stride)
}

pub(super) fn check_stride(stride: usize) -> Result<(), Error> {
    if stride == 0 { Err(Error::Shape { why: "no stride", found: 0 }) } else { Ok(()) }
}

/// How many values were counted: fewer than 2⁶³, so that no sum of them wraps.
fn total(counts: [&[u64]; 2]) -> Result<u64, Error> {
    let [a, b] = counts;
    let mut all = a.iter().chain(b);
    let total = all.try_fold(0, |sum: u64, &count| sum.checked_add(count).filter(|&sum| sum < COUNTS));
    total.ok_or(Error::Shape { why: "bins of 2⁶³ numbers or more", found: a.len() + b.len() })
}

/// `n · ln(n)`
fn times_ln(n: u64) -> f64 {
    if n == 0 { 0.0 } else { n as f64 * ln(n as f64) }
}
