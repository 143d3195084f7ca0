//! Calibration.

use super::groups::group;
use super::powers::power_of_two;
use super::quantize::quantize_one;
use super::reduce::ranges;
use crate::calibrate::Levels;
use crate::calibrate::logarithm::ln;
use crate::codes::{Code, CodeRange};
use crate::params::{Granularity, Range, Scheme};

/// [`Histogram`](crate::calibrate::Histogram): the exponent of the bins' width, and the counts of values from 0 on
/// and below 0 in each bin. Width 2ᵏ, with the smallest k of at least −160 that leaves all magnitudes below `4096 · 2ᵏ`; bin
/// `floor(|x| / 2ᵏ)`.
///
/// ```
/// use zeropoint::reference;
/// let (exponent, [positive, negative]) = reference::histogram(&[3.0, -1.5]);
/// assert_eq!((exponent, positive[3072], negative[1536]), (-10, 1, 1));
/// ```
#[must_use]
pub fn histogram(x: &[f32]) -> (i32, [Vec<u64>; 2]) {
    let amax = x.iter().fold(0.0, |amax: f64, &x| amax.max(f64::from(x).abs()));
    let mut exponent = -160;
    while amax >= 4096.0 * power_of_two(exponent) {
        exponent += 1;
    }
    let mut counts = [vec![0; 4096], vec![0; 4096]];
    for &x in x {
        let bin = (f64::from(x).abs() / power_of_two(exponent)).floor();
        counts[usize::from(x < 0.0)][bin as usize] += 1;
    }
    (exponent, counts)
}

/// The mean, the unbiased standard deviation and the mean absolute deviation of a batch, as
/// [`Moments`](crate::calibrate::Moments) has them to the last bit: every sum is of chunks of 4096 elements, a chunk's of
/// sixteen lanes, and lane l has the elements l, l + 16, …
///
/// ```
/// use zeropoint::reference;
/// assert_eq!(reference::moments(&[1.0, 3.0]), [2.0, 2_f64.sqrt(), 1.0]);
/// ```
#[must_use]
pub fn moments(x: &[f32]) -> [f64; 3] {
    fn chunk_sum(chunk: &[f32], f: impl Fn(f64) -> f64) -> f64 {
        let lane = |lane| chunk.iter().skip(lane).step_by(16).fold(0.0, |sum, &x| sum + f(x.into()));
        (0..16).fold(0.0, |sum, i| sum + lane(i))
    }
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for chunk in x.chunks(4096) {
        let n = chunk.len() as f64;
        let chunk_total = chunk_sum(chunk, |x| x);
        let mean = chunk_total / n;
        let chunk_squares = chunk_sum(chunk, |x| (x - mean) * (x - mean));
        if count == 0.0 {
            (count, sum, squares) = (n, chunk_total, chunk_squares);
            continue;
        }
        // Chan's formula.
        let apart = mean - sum / count;
        squares = squares + chunk_squares + apart * apart * (count * n / (count + n));
        count += n;
        sum += chunk_total;
    }
    let mean = sum / count;
    let deviations = x.chunks(4096).fold(0.0, |sum, chunk| sum + chunk_sum(chunk, |x| (x - mean).abs()));
    let variance = if count < 2.0 { 0.0 } else { squares / (count - 1.0) };
    [mean, variance.sqrt(), deviations / count]
}

/// [`percentile`](crate::calibrate::percentile()): all values in order.
#[must_use]
pub fn percentile(x: &[f32], p: f64) -> f32 {
    let mut x = x.to_vec();
    x.sort_by(f32::total_cmp);
    let mut order = p / 100.0 * (x.len() - 1) as f64;
    // Within rounding of an integer it is that integer.
    if (order - order.round()).abs() <= 4.0 * f64::EPSILON * order {
        order = order.round();
    }
    let (lower, upper) = (f64::from(x[order.floor() as usize]), f64::from(x[order.ceil() as usize]));
    let part = order.fract();
    let between = if part < 0.5 { lower + (upper - lower) * part } else { upper - (upper - lower) * (1.0 - part) };
    between as f32 + 0.0
}

/// [`clip_by_mse`](crate::calibrate::clip_by_mse): every bin for every candidate, as integers.
#[must_use]
pub fn clip_by_mse(counts: &[u64], largest_code: u32, start: usize, stride: usize) -> usize {
    let levels = Levels::Symmetric { steps: 2 * largest_code, below: largest_code, above: largest_code };
    clip_by_mse_on_sides([counts, &[]], levels, start, stride)
}

/// The search of [`Clip::Mse`](crate::calibrate::Clip::Mse) in bins of values above 0 and below, up to the last of each side that has
/// one: every bin for every candidate, as integers.
#[must_use]
pub fn clip_by_mse_on_sides([above, below]: [&[u64]; 2], levels: Levels, start: usize, stride: usize) -> usize {
    let bins = above.len().max(below.len());
    let error = |i: usize| -> i128 {
        // In half bins: the middle of bin j is x = 2j + 1, that of bin i is m, a step is span / steps.
        let m = 2 * i as i128 + 1;
        let (span, steps, codes) = match levels {
            Levels::Symmetric { steps, below, above } => (2 * m, steps, [above, below]),
            Levels::Asymmetric { steps } => {
                let [upper, lower] = [above, below].map(|counts| m.min(2 * counts.len() as i128));
                let zero_point = (lower as f64 * f64::from(steps) / (lower + upper) as f64).round_ties_even() as u32;
                (lower + upper, steps, [steps - zero_point, zero_point])
            }
        };
        let steps = i128::from(steps);
        let mut sum = 0;
        for (counts, codes) in [above, below].into_iter().zip(codes) {
            for (j, &count) in counts.iter().enumerate() {
                let x = 2 * j as i128 + 1;
                let nearest = (2 * x * steps + span) / (2 * span); // ties up: they cost the same
                let code = nearest.min(codes.into());
                sum += i128::from(count) * (x * steps - code * span).pow(2);
            }
        }
        sum
    };
    let start = start.min(bins - 1);
    let mut best = start;
    for i in (start..bins).step_by(stride) {
        if error(i) < error(best) {
            best = i;
        }
    }
    best
}

/// [`clip_by_entropy`](crate::calibrate::clip_by_entropy): every bin for every candidate.
#[must_use]
pub fn clip_by_entropy(counts: &[u64], levels: u32, start: usize, stride: usize) -> usize {
    clip_by_entropy_with(counts, |_| levels as usize, start, stride)
}

/// [`clip_by_entropy`] with a number of levels for each candidate, as [`Clip::Entropy`](crate::calibrate::Clip::Entropy) has:
/// `levels(i)` of the magnitudes in i bins.
#[must_use]
pub fn clip_by_entropy_with(counts: &[u64], levels: impl Fn(usize) -> usize, start: usize, stride: usize) -> usize {
    let (mut counts, levels_of) = (counts.to_vec(), levels);
    if counts.len() > 1 {
        counts[0] = counts[1];
    }
    let total: u64 = counts.iter().sum();
    let sum_of_logs = |counts: &[u64]| -> f64 {
        counts.iter().filter(|&&count| count > 0).fold(0.0, |sum, &count| sum + count as f64 * ln(count as f64))
    };
    let divergence = |i: usize| {
        let levels = levels_of(i);
        let mut p = counts[..i].to_vec();
        let tail: u64 = counts[i..].iter().sum();
        if p[i - 1] == 0 && tail > 0 {
            return f64::INFINITY;
        }
        p[i - 1] += tail;
        // The groups: bin j is in group j · levels / i.
        let mut q = 0.0;
        for group in 0..levels {
            let bins = || (0..i).filter(|&j| j * levels / i == group);
            let mass: u64 = bins().map(|j| p[j]).sum();
            let sum: u64 = bins().map(|j| counts[j]).sum();
            let used = bins().filter(|&j| counts[j] > 0).count();
            if sum > 0 {
                q += mass as f64 * ln(sum as f64 / used as f64);
            }
        }
        let inside: u64 = counts[..i].iter().sum();
        (sum_of_logs(&p) - q) / total as f64 - ln(total as f64) + ln(inside as f64)
    };
    let mut best = (f64::INFINITY, counts.len());
    let mut first = start.min(counts.len());
    while first < counts.len() && first < levels_of(first) {
        first += 1;
    }
    for i in (first..=counts.len()).step_by(stride) {
        let divergence = divergence(i);
        if divergence < f64::INFINITY && divergence <= best.0 {
            best = (divergence, i);
        }
    }
    best.1
}

/// [`mse_ranges`](crate::calibrate::mse_ranges). The squares of a group are summed in sixteen lanes, and lane l has those of its
/// elements l, l + 16, …
#[must_use]
pub fn mse_ranges<C: Code>(
    x: &[f32],
    granularity: Granularity,
    groups: usize,
    codes: CodeRange<C>,
    scheme: Scheme,
) -> Vec<Range> {
    let mut best = Vec::new();
    for (g, whole) in ranges(x, granularity, groups).into_iter().enumerate() {
        let elements: Vec<f32> = (0..x.len()).filter(|&i| group(granularity, i) == g).map(|i| x[i]).collect();
        let part = |i: usize| {
            let t = i as f32 / 64.0;
            Range { min: t * whole.min, max: t * whole.max }
        };
        let mut least = (f64::INFINITY, part(1));
        for range in (1..=64).map(part) {
            let (scale, zero_point) = scheme.parameters(codes, range).expect("a part of a range with parameters");
            let mut lanes = [0.0; 16];
            for (i, &x) in elements.iter().enumerate() {
                let real = scale * (quantize_one(x, scale, zero_point, codes) - zero_point) as f32;
                lanes[i % 16] += f64::from(x - real) * f64::from(x - real);
            }
            let error = lanes.iter().fold(0.0, |sum, lane| sum + lane);
            if error < least.0 {
                least = (error, range);
            }
        }
        best.push(least.1);
    }
    best
}
