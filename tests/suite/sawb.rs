//! SAWB's clipping bounds.

use crate::common::{every_isa, part};
use zeropoint::calibrate::{Observer, SAWB, Sawb};
use zeropoint::random::fill_uniform;
use zeropoint::{Error, Exec, Range, Stream};

/// The coefficients are the line of least squares through the best bounds of six distributions. (They are given with three decimals,
/// and the bounds that are found here are as exact as the sums of an integral.)
#[test]
fn coefficients() {
    type Density = fn(f64) -> f64;
    let distributions: [(Density, f64); 6] = [
        (|w| (-w * w / 2.0).exp(), 12.0),
        (|w| (-w).exp(), 40.0),
        (|w| (-w).exp() / (1.0 + (-w).exp()).powi(2), 45.0),
        (|_| 1.0, 1.0),
        (|w| 1.0 - w, 1.0),
        (|w| w.cos().exp(), std::f64::consts::PI),
    ];
    const POINTS: usize = 20_000;
    // Magnitudes from 0 to an end beyond which nothing counts, and their densities.
    let sampled = distributions.map(|(density, end)| {
        let values: Vec<f64> = (0..POINTS).map(|i| (i as f64 + 0.5) * end / POINTS as f64).collect();
        let densities: Vec<f64> = values.iter().map(|&w| density(w)).collect();
        (values, densities, end)
    });
    for (bits, coefficients) in part((2..).zip(SAWB)) {
        let levels = f64::from((1 << (bits - 1)) - 1);
        let points = sampled.each_ref().map(|(values, densities, end)| {
            let mean = |f: &dyn Fn(f64) -> f64| -> f64 {
                let sum: f64 = values.iter().zip(densities).map(|(&w, p)| f(w) * p).sum();
                sum / densities.iter().sum::<f64>()
            };
            let error = |bound: f64| mean(&|w| (w - bound / levels * (w / bound * levels).round().min(levels)).powi(2));
            let coarse = (1..=60).map(|k| end * f64::from(k) / 60.0);
            let best = coarse.min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap();
            let (mut low, mut high) = (best - end / 60.0 + 1e-9, best + end / 60.0);
            for _ in 0..25 {
                let third = (high - low) / 3.0;
                if error(low + third) < error(high - third) { high -= third } else { low += third }
            }
            let magnitude = mean(&|w| w);
            (mean(&|w| w * w).sqrt() / magnitude, (low + high) / 2.0 / magnitude)
        });
        let centre = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / 6.0, sum.1 + point.1 / 6.0));
        let covariance: f64 = points.iter().map(|point| (point.0 - centre.0) * (point.1 - centre.1)).sum();
        let variance: f64 = points.iter().map(|point| (point.0 - centre.0).powi(2)).sum();
        let c1 = covariance / variance;
        let c2 = c1 * centre.0 - centre.1;
        let [known1, known2] = coefficients;
        let off = ((c1 - known1) / c1).abs().max(((c2 - known2) / c2).abs());
        assert!(off < 5e-3, "{bits} bits: {c1} and {c2}, not {coefficients:?}");
    }
}

/// The bound is the formula, of all that was observed, whoever observed it.
#[test]
fn bounds() {
    let exec = Exec::best().unwrap();
    let mut x = vec![0.0; 40_000];
    fill_uniform(exec, Stream::new(1), &mut x).unwrap();
    x.iter_mut().for_each(|x| *x = *x * 2.0 - 1.0);
    let mean = |f: fn(f64) -> f64| x.iter().map(|&x| f(x.into())).sum::<f64>() / x.len() as f64;
    let [c1, c2] = SAWB[2];
    let want = c1 * mean(|x| x * x).sqrt() - c2 * mean(f64::abs);
    let mut observer = Sawb::new(4).unwrap();
    let mut other = observer.clone();
    observer.observe(exec, &x[..10_000]).unwrap();
    other.observe(exec, &x[10_000..]).unwrap();
    observer.merge(&other).unwrap();
    let range = observer.range().unwrap();
    assert!((f64::from(range.max) - want).abs() < 1e-6 * want && range.min == -range.max, "{range:?}, not ±{want}");
    every_isa(|isa| {
        let mut of_isa = Sawb::new(4).unwrap();
        for x in [&x[..10_000], &x[10_000..]] {
            of_isa.observe(isa.into(), x).unwrap();
        }
        assert_eq!(of_isa.range().unwrap(), range, "{isa}");
    });
    assert!(observer.merge(&Sawb::new(5).unwrap()).is_err());
    assert_eq!(Sawb::new(9).unwrap_err(), Error::Setting { what: "bits", found: 9.0, why: "not in 2 … 8" });
    assert!(Sawb::new(1).is_err() && Sawb::with_coefficients(f64::NAN, 1.0).is_err());
}

/// The bound is neither below the mean magnitude nor above the largest one.
#[test]
fn extremes() {
    let seen = |coefficients: [f64; 2], batch: &[f32]| {
        let mut observer = Sawb::with_coefficients(coefficients[0], coefficients[1]).unwrap();
        observer.observe(Exec::best().unwrap(), batch).unwrap();
        observer
    };
    let mut observer = seen(SAWB[2], &[-2.0, 0.0, 2.0]);
    observer.merge(&seen(SAWB[2], &[-4.0, 4.0])).unwrap();
    assert_eq!(observer.range(), Ok(Range::symmetric(4.0))); // by the formula, 4.98
    let observer = seen([1.0, 1.0], &[1.0, -1.0, 2.0, -2.0]);
    assert_eq!(observer.range(), Ok(Range::symmetric(1.5))); // by the formula, 0.08
}
