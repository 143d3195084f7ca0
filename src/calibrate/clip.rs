//! Where to clip a histogram: percentile, entropy, mean squared error; and the exact percentile of values in memory.
//!
//! These work on any histogram of magnitudes, whoever made it: bin i counts what lies in i … i + 1, in units of the bins'
//! width.

use super::logarithm::ln;
use crate::error::Error;

pub(super) fn check_percentile(percentile: f64) -> Result<(), Error> {
    if (0.0..=100.0).contains(&percentile) {
        return Ok(());
    }
    Err(Error::Setting { what: "percentile", found: percentile, why: "not in 0 … 100" })
}

/// The percentile of values in memory: the value of order `p / 100 · (n − 1)`, between two values the straight line, as
/// `numpy.percentile` and `torch.quantile` have it ("linear"). Of magnitudes, give magnitudes. ±0 is 0.
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
        return Err(Error::Empty { what: "the tensor" });
    }
    if let Some(&found) = x.iter().find(|x| !x.is_finite()) {
        return Err(Error::NonFinite { what: "the tensor", found });
    }
    let order = p / 100.0 * (x.len() - 1) as f64;
    let mut x = x.to_vec();
    let (_, &mut lower, above) = x.select_nth_unstable_by(order.floor() as usize, f32::total_cmp);
    let upper = above.iter().copied().fold(f32::INFINITY, f32::min);
    // −0 + 0 = +0
    if order.fract() == 0.0 {
        return Ok(lower + 0.0);
    }
    let (lower, upper) = (f64::from(lower), f64::from(upper));
    Ok((lower + (upper - lower) * order.fract()) as f32 + 0.0)
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
    let target = p / 100.0 * total(counts)? as f64;
    // A target within rounding of an integer is that integer: 99.9 % of 1000 values are 999, not a little more, whose bin may
    // be far away.
    let nearest = target.round();
    let target = if (target - nearest).abs() <= 4.0 * f64::EPSILON * target { nearest } else { target };
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
    check_bins(counts, largest_code, stride)?;
    // Prefix sums of count · xᵏ, with x = 2j + 1: twice the middle of a bin.
    let mut prefixes = vec![[0_i128; 3]];
    for (j, &count) in counts.iter().enumerate() {
        let [zeroth, first, second] = prefixes[j];
        let (x, count) = (2 * j as i128 + 1, i128::from(count));
        prefixes.push([zeroth + count, first + count * x, second + count * x * x]);
    }
    let codes = i64::from(largest_code);
    let error = |i: usize| {
        // L · x − q · m is the error of code q, times 2L. Σ count · (L · x − q · m)², without L² · Σ count · x², which is
        // the same for all i.
        let m = 2 * i as i64 + 1;
        let first_bin = |q: i64| {
            let ties = (2 * q - 1) * m - 2 * codes;
            ((ties + 4 * codes - 1) / (4 * codes)).clamp(0, counts.len() as i64) as usize
        };
        let mut begin = first_bin(1);
        let mut sum = 0;
        for q in 1..=codes {
            let end = if q == codes { counts.len() } else { first_bin(q + 1) };
            let [from, to] = [prefixes[begin], prefixes[end]];
            let step = i128::from(q * m);
            sum += step * (step * (to[0] - from[0]) - i128::from(2 * codes) * (to[1] - from[1]));
            begin = end;
        }
        sum
    };
    let candidates = (start.min(counts.len() - 1)..counts.len()).step_by(stride).map(|i| (error(i), i));
    Ok(candidates.min().expect("there is a first").1)
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
    check_bins(counts, levels.saturating_sub(1), stride)?;
    let count = |j: usize| if j == 0 && counts.len() > 1 { counts[1] } else { counts[j] };
    // Of the bins below: their counts, how many are not empty, and Σ count · ln(count).
    let mut prefixes = vec![(0_u64, 0_u64, 0.0_f64)];
    for j in 0..counts.len() {
        let (sum, used, entropy) = prefixes[j];
        prefixes.push((sum + count(j), used + u64::from(count(j) > 0), entropy + times_ln(count(j))));
    }
    let total = prefixes[counts.len()].0;
    let levels = levels as usize;
    let divergence = |i: usize| {
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
    for i in (start.max(levels).min(counts.len())..=counts.len()).step_by(stride) {
        let divergence = divergence(i);
        if divergence <= best.0 && divergence < f64::INFINITY {
            best = (divergence, i);
        }
    }
    Ok(best.1)
}

fn check_bins(counts: &[u64], largest_code: u32, stride: usize) -> Result<(), Error> {
    if !(1..=255).contains(&largest_code) {
        return Err(Error::Setting { what: "largest code", found: largest_code.into(), why: "not in 1 … 255" });
    }
    if counts.is_empty() || counts.len() > 1 << 20 {
        return Err(Error::Shape { why: "not 1 … 2²⁰ bins", found: counts.len() });
    }
    if stride == 0 {
        return Err(Error::Shape { why: "no stride", found: 0 });
    }
    total(counts).map(drop)
}

/// How many values were counted: fewer than 2⁶³, so that no sum of them wraps.
fn total(counts: &[u64]) -> Result<u64, Error> {
    let total = counts.iter().try_fold(0, |sum: u64, &count| sum.checked_add(count).filter(|&sum| sum < 1 << 63));
    total.ok_or(Error::Shape { why: "bins of 2⁶³ numbers or more", found: counts.len() })
}

/// `n · ln(n)`
fn times_ln(n: u64) -> f64 {
    if n == 0 { 0.0 } else { n as f64 * ln(n as f64) }
}
