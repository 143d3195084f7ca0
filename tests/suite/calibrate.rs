//! Observers equal `reference` on every ISA, whatever order, split and threads; ranges keep what they promise, on data
//! that breaks them elsewhere.

use crate::common::{bits, every_isa, finite, schemes};
use proptest::prelude::*;
use zeropoint::calibrate::{
    AbsMax, AverageMinMax, Calibrator, Clip, Ema, Histogram, Levels, Method, MinMax, Moments, NonFinite, Observer,
    Spread, clip_by_entropy, clip_by_mse, group_ranges, percentile, percentile_of_bins,
};
use zeropoint::{
    Code, CodeRange, Error, Granularity, Isa, QuantParams, Range, Rounding, Scheme, fake_quantize, ranges, reference,
};

pub const METHODS: [Method; 13] = [
    Method::MinMax,
    Method::AbsMax,
    Method::Average,
    Method::Ema(0.9),
    Method::Moving(0.1),
    Method::Std(2.0),
    Method::Gauss,
    Method::Laplace,
    Method::Percentile(99.0),
    Method::Percentile(100.0),
    Method::Percentiles(98.0),
    Method::Entropy,
    Method::Mse,
];

fn isa() -> Isa {
    Isa::best().unwrap()
}

fn observer(method: Method) -> Calibrator {
    method.observer(CodeRange::narrow(8).unwrap(), Scheme::SYMMETRIC, 1).unwrap()
}

fn seen(isa: Isa, method: Method, x: &[f32]) -> Calibrator {
    let mut observer = observer(method);
    observer.observe(isa.into(), x).unwrap();
    observer
}

fn histogram(isa: Isa, batches: &[&[f32]]) -> Histogram {
    let mut histogram = Histogram::new(Clip::Percentile(99.0)).unwrap();
    for batch in batches {
        histogram.observe(isa.into(), batch).unwrap();
    }
    histogram
}

/// All that a histogram knows.
fn state(histogram: &Histogram) -> (f64, [Vec<u64>; 2], Option<Range>) {
    (histogram.bin_width(), histogram.counts().map(<[u64]>::to_vec), histogram.min_max())
}

/// Tensors of some scale, with outliers and zeros, long enough for the histogram's tables now and then.
fn batches() -> impl Strategy<Value = Vec<f32>> {
    let length = prop_oneof![6 => 1_usize..200, 1 => 4_000_usize..5_000];
    (length, -40_i32..40).prop_flat_map(|(length, exponent)| {
        let element = prop_oneof![
            8 => (-4.0_f32..4.0).prop_map(move |x| x * x * x * 2_f32.powi(exponent)),
            2 => Just(0.0_f32),
            1 => finite(),
        ];
        prop::collection::vec(element, length)
    })
}

fn counts() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![3 => 0_u64..50, 1 => Just(0), 1 => 0_u64..1 << 40], 1..150)
}

proptest! {
    #![proptest_config(crate::common::cases(80))]

    #[test]
    fn histograms_equal_reference_in_any_order_and_split(
        x in batches(), cuts in prop::array::uniform2(any::<prop::sample::Index>()),
    ) {
        let (exponent, want) = reference::histogram(&x);
        let (mut a, mut b) = (cuts[0].index(x.len() + 1), cuts[1].index(x.len() + 1));
        (a, b) = (a.min(b), a.max(b));
        let parts: Vec<&[f32]> = [&x[..a], &x[a..b], &x[b..]].into_iter().filter(|part| !part.is_empty()).collect();
        let range = reference::ranges(&x, Granularity::Tensor, 1)[0];
        every_isa(|isa| {
            let whole = state(&histogram(isa, &[&x]));
            assert_eq!(whole, (2_f64.powi(exponent), want.clone(), Some(range)), "{isa}");
            let backwards: Vec<&[f32]> = parts.iter().rev().copied().collect();
            assert!(state(&histogram(isa, &backwards)) == whole, "{isa}: in pieces");
        });
        // Merged in any order and any tree.
        let of = |parts: &[&[f32]]| histogram(isa(), parts);
        let merged = |mut a: Histogram, b: Histogram| { a.merge(&b).unwrap(); a };
        let [first, second, third] = [&x[..a], &x[a..b], &x[b..]].map(|part| if part.is_empty() { of(&[]) } else { of(&[part]) });
        let left = merged(merged(first.clone(), second.clone()), third.clone());
        let right = merged(third, merged(second, first));
        assert!(state(&left) == state(&right) && state(&left) == state(&of(&[&x])), "merged");
    }

    #[test]
    fn extremes_merge_in_any_order_and_split(
        x in prop::collection::vec(finite(), 6..60), channels in 1_usize..4,
    ) {
        let length = x.len() / (3 * channels) * channels;
        prop_assume!(length > 0);
        let x = &x[..3 * length];
        let granularity = Granularity::channel(&[x.len() / channels, channels], 1).unwrap();
        let whole = ranges(isa(), x, granularity).unwrap();
        let [a, b, c] = [0, 1, 2].map(|i| {
            let mut observer = MinMax::new(granularity);
            observer.observe(isa().into(), &x[i * length..][..length]).unwrap();
            observer
        });
        let merged = |mut a: MinMax, b: &MinMax| { a.merge(b).unwrap(); a };
        assert_eq!(merged(merged(a.clone(), &b), &c).ranges().unwrap(), whole);
        assert_eq!(merged(c, &merged(b, &a)).ranges().unwrap(), whole);
    }

    #[test]
    fn moments_equal_reference(x in batches()) {
        let want = reference::moments(&x);
        every_isa(|isa| {
            let mut observer = Moments::new(Spread::Deviations(1.0)).unwrap();
            observer.observe(isa.into(), &x).unwrap();
            let found = [observer.mean(), observer.std(), observer.mean_deviation()];
            assert_eq!(found.map(f64::to_bits), want.map(f64::to_bits), "{isa}: {found:?} {want:?}");
        });
        // Against the definition.
        let n = x.len() as f64;
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let squares: f64 = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
        let amax = x.iter().fold(0.0, |most: f64, &x| most.max(f64::from(x).abs()));
        assert!((want[0] - mean).abs() <= 1e-12 * amax);
        assert!((want[1] - (squares / (n - 1.0).max(1.0)).sqrt()).abs() <= 1e-9 * amax);
    }

    #[test]
    fn clips_equal_reference(counts in counts(), code_bits in 2_u32..9, start in 0_usize..100, stride in 1_usize..4) {
        let levels = 1 << (code_bits - 1);
        assert_eq!(
            clip_by_mse(&counts, levels - 1, start, stride).unwrap(),
            reference::clip_by_mse(&counts, levels - 1, start, stride)
        );
        assert_eq!(
            clip_by_entropy(&counts, levels, start, stride).unwrap(),
            reference::clip_by_entropy(&counts, levels, start, stride)
        );
    }

    #[test]
    fn percentiles_are_bracketed_by_the_exact_one(x in batches(), p in prop_oneof![50.0_f64..=100.0, Just(100.0)]) {
        let magnitudes: Vec<f32> = x.iter().map(|x| x.abs()).collect();
        for (numbers, clip) in [(&magnitudes, Clip::Percentile(2.0 * p - 100.0)), (&x, Clip::Percentiles(p))] {
            let (Clip::Percentile(p) | Clip::Percentiles(p)) = clip else { unreachable!() };
            assert_eq!(percentile(numbers, p).unwrap().to_bits(), reference::percentile(numbers, p).to_bits());
            let mut histogram = Histogram::new(clip).unwrap();
            histogram.observe(isa().into(), &x).unwrap();
            let range = histogram.range().unwrap();
            let found = if matches!(clip, Clip::Percentile(_)) { range.max.max(-range.min) } else { range.max };
            let mut sorted = numbers.clone();
            sorted.sort_by(f32::total_cmp);
            let order = p / 100.0 * (x.len() - 1) as f64;
            // The bin of either neighbour, widened to 0 with signs.
            let width = histogram.bin_width();
            let bin = |x: f32| (f64::from(x) / width).floor() * width;
            let (lower, upper) = (bin(sorted[order.floor() as usize]), bin(sorted[order.ceil() as usize]) + width);
            let (lower, upper) = (lower.max(0.0) as f32, upper.max(0.0) as f32);
            assert!(found >= lower && found <= upper, "{clip:?}: {found} is not in {lower} … {upper}");
            if p == 100.0 {
                assert_eq!(found.max(0.0), sorted[x.len() - 1].max(0.0));
            }
            if matches!(clip, Clip::Percentile(_)) && magnitudes.iter().any(|&x| x > 0.0) {
                assert!(found > 0.0, "never 0 for what is not");
            }
        }
    }

    #[test]
    fn ranges_scale_with_powers_of_two(x in prop::collection::vec(-4.0_f32..4.0, 1..300), exponent in -60_i32..60) {
        let factor = 2_f32.powi(exponent);
        let scaled: Vec<f32> = x.iter().map(|x| x * factor).collect();
        for method in METHODS {
            let [small, large] = [&x, &scaled].map(|x| seen(isa(), method, x).range().unwrap());
            assert_eq!(bits(&[small.min * factor, small.max * factor]), bits(&[large.min, large.max]), "{method}");
        }
    }

    /// Any method, any of the eight types, any n: zero is exact, errors inside the range are half a step at most, and what
    /// is quantized stays.
    #[test]
    fn ranges_make_parameters_of_every_type(x in batches(), code_bits in 2_u32..9) {
        for method in METHODS {
            let range = seen(isa(), method, &x).range().unwrap();
            quantizes(&x, range, CodeRange::unsigned(code_bits).unwrap());
            quantizes(&x, range, CodeRange::signed(code_bits).unwrap());
            quantizes(&x, range, CodeRange::narrow(code_bits).unwrap());
        }
    }

    #[test]
    fn groups_have_observers_of_their_own(
        (x, granularity) in crate::common::granularities().prop_flat_map(|(granularity, length)| {
            (prop::collection::vec(-9.0_f32..9.0, length), Just(granularity))
        }),
    ) {
        prop_assume!(!x.is_empty());
        let minmax = observer(Method::MinMax);
        assert_eq!(group_ranges(isa(), &x, granularity, &minmax).unwrap(), ranges(isa(), &x, granularity).unwrap());
    }
}

fn quantizes<C: Code>(x: &[f32], range: Range, codes: CodeRange<C>) {
    for scheme in schemes() {
        let Ok(params) = QuantParams::from_ranges(codes, scheme, Granularity::Tensor, &[range]) else {
            let unsigned_zero = codes.min().into() == 0 && range.min < 0.0;
            // A span of more than 2¹²⁷ may have no scale, which it is for two bits and one step of headroom.
            assert!(unsigned_zero || range.max.max(-range.min) > 2_f32.powi(126), "{scheme:?} {range:?}");
            continue;
        };
        let (scale, zero_point) = (params.scales()[0], params.zero_points()[0]);
        assert_eq!(reference::quantize_one(0.0, scale, zero_point, codes), zero_point);
        let (mut once, mut twice) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        fake_quantize(isa(), x, &params, Rounding::Nearest, &mut once).unwrap();
        fake_quantize(isa(), &once, &params, Rounding::Nearest, &mut twice).unwrap();
        assert_eq!(bits(&once), bits(&twice), "{scheme:?} {range:?}");
        let [lower, upper] = [codes.min(), codes.max()].map(|code| {
            let code: i32 = code.into();
            f64::from(scale) * f64::from(code - zero_point)
        });
        for (&x, &once) in x.iter().zip(&once) {
            let (x, once, scale) = (f64::from(x), f64::from(once), f64::from(scale));
            if x >= lower && x <= upper {
                let ulp = x.abs().max(once.abs()).max(f64::from(f32::MIN_POSITIVE)) * 2_f64.powi(-23);
                assert!((x - once).abs() <= scale / 2.0 + ulp, "{x} became {once} in steps of {scale}");
            }
        }
    }
}

#[test]
fn degenerate_data() {
    let finite_range = |method: Method, x: &[f32]| {
        let mut found = None;
        every_isa(|isa| {
            let range = seen(isa, method, x).range().unwrap();
            assert_eq!(*found.get_or_insert(range), range, "{method} {isa}");
        });
        let range = found.unwrap();
        let codes = CodeRange::signed(8).unwrap();
        QuantParams::from_ranges(codes, Scheme::ASYMMETRIC, Granularity::Tensor, &[range]).unwrap();
        range
    };
    let growing: Vec<f32> = (0..40).map(|i| 3_f32.powi(i - 20)).collect();
    for method in METHODS {
        let all = [
            vec![0.0; 40],
            vec![-0.0; 3],
            vec![2.5; 40],
            vec![-2.5],
            vec![1e-45; 5],
            vec![1e-40, -3e-45, 0.0],
            vec![3e38, -3e38, 3e38],
            vec![f32::MAX],
            growing.clone(),
        ];
        for x in all {
            let Range { min, max } = finite_range(method, &x);
            let (data_min, data_max) = x.iter().fold((0.0_f32, 0.0_f32), |(a, b), &x| (a.min(x), b.max(x)));
            let (data_min, data_max) = if method == Method::AbsMax && data_min < 0.0 {
                let amax = data_max.max(-data_min);
                (-amax, amax)
            } else {
                (data_min, data_max)
            };
            assert!(min >= data_min && max <= data_max, "{method} of {x:?}: {min} {max}");
            assert!(x.iter().all(|&x| x == 0.0) == (min == 0.0 && max == 0.0), "{method} of {x:?}: {min} {max}");
        }
    }
    // A batch at a time, each a thousand times as large as the one before.
    let batches: Vec<[f32; 2]> = (-14..12).map(|i| [10_f32.powi(3 * i), -0.5 * 10_f32.powi(3 * i)]).collect();
    let mut batch_wise = Histogram::new(Clip::Percentile(50.0)).unwrap();
    batches.iter().for_each(|batch| batch_wise.observe(isa().into(), batch).unwrap());
    assert_eq!(state(&batch_wise), state(&histogram(isa(), &[batches.as_flattened()])));
}

#[test]
fn ties_and_the_smallest_range() {
    // Whole bins in every group: nothing is lost by any clip range that has all.
    assert_eq!(clip_by_entropy(&[4, 4, 4, 4, 0, 0], 2, 2, 1).unwrap(), 6, "the last");
    assert_eq!(clip_by_mse(&[0; 10], 3, 4, 1).unwrap(), 4, "the first");
    // A percentile below the smallest f32.
    let mut histogram = Histogram::new(Clip::Percentile(50.0)).unwrap();
    histogram.observe(isa().into(), &[0.0, 0.0, 0.0, 1e-45]).unwrap();
    assert_eq!(histogram.range().unwrap().max, f32::from_bits(1));
}

/// Counts that f32 cannot have; in one bin, which 16 bits cannot have either.
#[test]
fn more_equal_numbers_than_floats_count() {
    let batch = vec![0.75_f32; 1 << 18];
    let mut histogram = histogram(isa(), &[]);
    let mut moments = Moments::new(Spread::Deviations(1.0)).unwrap();
    for _ in 0..64 {
        histogram.observe(isa().into(), &batch).unwrap();
        moments.observe(isa().into(), &batch).unwrap();
    }
    histogram.observe(isa().into(), &[0.75]).unwrap();
    moments.observe(isa().into(), &[0.75]).unwrap();
    let [positive, _] = histogram.counts();
    assert_eq!((positive[3072], positive.iter().sum::<u64>()), ((1 << 24) + 1, (1 << 24) + 1));
    assert_eq!((moments.count(), moments.mean(), moments.std()), ((1 << 24) + 1, 0.75, 0.0));
}

#[test]
fn non_finite_numbers_are_refused_or_skipped() {
    let clean = [1.0_f32, -2.0, 0.5, 3.0, 1.5, 2.0];
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut dirty = clean.to_vec();
        dirty.insert(3, bad);
        dirty.push(bad);
        for method in METHODS {
            every_isa(|isa| {
                let mut refusing = observer(method);
                let error = refusing.observe(isa.into(), &dirty).unwrap_err();
                assert!(
                    matches!(error, Error::NonFinite { found, .. } if found.to_bits() == bad.to_bits()),
                    "{method}"
                );
                assert_eq!(
                    refusing.range(),
                    Err(Error::Empty { what: "what was observed", group: None }),
                    "{method}: nothing recorded"
                );
                let mut skipping = observer(method).non_finite(NonFinite::Skip);
                skipping.observe(isa.into(), &dirty).unwrap();
                assert_eq!(skipping.skipped(), 2, "{method}");
                assert_eq!(skipping.range(), seen(isa, method, &clean).range(), "{method}");
                let mut nothing = observer(method).non_finite(NonFinite::Skip);
                nothing.observe(isa.into(), &[bad; 3]).unwrap();
                assert_eq!((nothing.skipped(), nothing.range().is_err()), (3, true), "{method}");
            });
        }
        // Where they stand matters to channels and samples.
        let mut rows = MinMax::new(Granularity::channel(&[2, 4], 0).unwrap()).non_finite(NonFinite::Skip);
        rows.observe(isa().into(), &[1.0, bad, 2.0, 3.0, bad, 5.0, 6.0, 7.0]).unwrap();
        assert_eq!(rows.ranges().unwrap(), [Range { min: 1.0, max: 3.0 }, Range { min: 5.0, max: 7.0 }]);
        let mut samples = AverageMinMax::new(2).unwrap().non_finite(NonFinite::Skip);
        samples.observe(isa().into(), &[1.0, bad, bad, bad, 2.0, 4.0]).unwrap();
        assert_eq!((samples.range(), samples.skipped()), (Ok(Range { min: 1.5, max: 2.5 }), 3));
    }
}

#[test]
fn what_observers_refuse() {
    let setting = |what, found, why| Error::Setting { what, found, why };
    assert_eq!(Histogram::new(Clip::Percentile(100.5)).err(), Some(setting("percentile", 100.5, "not in 0 … 100")));
    let levels = Levels::by_code_type(CodeRange::narrow(8).unwrap());
    for (levels, what, found) in [
        (Levels::Asymmetric { steps: 0 }, "steps of a range", 0.0),
        (Levels::Asymmetric { steps: 256 }, "steps of a range", 256.0),
        (Levels::Symmetric { steps: 511, below: 1, above: 1 }, "steps of a range", 256.0),
        (Levels::Symmetric { steps: 4, below: 0, above: 0 }, "codes on a side of 0", 0.0),
        (Levels::Symmetric { steps: 4, below: 256, above: 1 }, "codes on a side of 0", 256.0),
    ] {
        for clip in [Clip::mse(levels), Clip::entropy(levels)] {
            assert_eq!(Histogram::new(clip).err(), Some(setting(what, found, "not in 1 … 255")));
        }
    }
    let mse = Clip::Mse { levels, start: 0, stride: 0 };
    assert_eq!(Histogram::new(mse).err(), Some(Error::Shape { why: "no stride", found: 0 }));
    let entropy = Clip::Entropy { levels, start: 0, stride: 0 };
    assert_eq!(Histogram::new(entropy).err(), Some(Error::Shape { why: "no stride", found: 0 }));
    assert_eq!(Ema::new(1.0).err(), Some(setting("decay", 1.0, "not in 0 … 1")));
    assert_eq!(Ema::from_first_batch(0.0).err(), Some(setting("averaging constant", 0.0, "not in 0 … 1")));
    let gauss = Spread::Gauss { bits: 9, half: false };
    assert_eq!(Moments::new(gauss).err(), Some(setting("bits", 9.0, "not in 1 … 8")));
    let why = "a sample has no length";
    assert_eq!(AverageMinMax::new(0).err(), Some(Error::Shape { why, found: 0 }));
    let error = AverageMinMax::new(2).unwrap().observe(isa().into(), &[1.0; 3]);
    assert_eq!(error, Err(Error::Multiple { what: "the tensor", unit: 2, found: 3 }));
    for p in [f64::NAN, -1.0] {
        assert!(percentile(&[1.0], p).is_err() && percentile_of_bins(&[1], p).is_err());
    }
    assert!(percentile(&[], 1.0).is_err() && percentile(&[f32::NAN], 1.0).is_err());
    assert!(clip_by_entropy(&[], 2, 0, 1).is_err() && clip_by_mse(&[], 2, 0, 1).is_err());
    let many = Error::Shape { why: "bins of 2⁶³ numbers or more", found: 2 };
    assert_eq!(clip_by_entropy(&[u64::MAX, u64::MAX], 2, 0, 1), Err(many.clone()));
    assert_eq!(clip_by_mse(&[u64::MAX >> 1, 1], 2, 0, 1), Err(many.clone()));
    assert_eq!(percentile_of_bins(&[u64::MAX >> 1, 1], 50.0), Err(many));
    // One fewer: nothing wraps on the way.
    assert_eq!(clip_by_mse(&[0, u64::MAX >> 1], 255, 0, 1), Ok(1));
    assert!(
        clip_by_entropy(&[0, u64::MAX >> 1], 2, 0, 1).is_ok()
            && percentile_of_bins(&[0, u64::MAX >> 1], 99.0) == Ok(1.99)
    );
    for method in METHODS {
        assert_eq!(method.to_string().parse(), Ok(method));
        assert!(observer(method).merge(&observer(Method::Ema(0.5))).is_err());
    }
    for name in ["", "kl", "minmax:3", "percentile:", "percentile:x", "std:3:4"] {
        let error = name.parse::<Method>().unwrap_err();
        assert!(error.to_string().contains("percentile[:p]"), "{error}");
    }

    let mut ema = Ema::new(0.9).unwrap();
    ema.observe(isa().into(), &[1.0]).unwrap();
    let why = "a moving average depends on the order of all batches";
    assert_eq!(ema.merge(&ema.clone()), Err(Error::Merge { why }));
    let mut rows = MinMax::new(Granularity::block(&[2], 1).unwrap());
    let mut longer = rows.clone();
    rows.observe(isa().into(), &[1.0, 2.0]).unwrap();
    longer.observe(isa().into(), &[1.0; 4]).unwrap();
    assert_eq!(rows.merge(&longer), Err(Error::Merge { why: "they saw tensors of different lengths" }));
    assert_eq!(
        rows.observe(isa().into(), &[1.0; 4]),
        Err(Error::Length { what: "the batch's groups", expected: 2, found: 4 })
    );
    let tensor = AbsMax::new(Granularity::Tensor);
    assert!(AbsMax::new(Granularity::block(&[2], 1).unwrap()).merge(&tensor).is_err());
    let mut histogram = histogram(isa(), &[&[1.0]]);
    let other = Histogram::new(Clip::Percentile(98.0)).unwrap();
    assert_eq!(histogram.merge(&other), Err(Error::Merge { why: "they choose ranges in different ways" }));
    assert_eq!(histogram.counts()[0].iter().sum::<u64>(), 1, "untouched");
}
