//! Where histograms and values are clipped: levels follow the scheme and the data's sides, percentiles the integers that they are
//! within rounding of, and counts never wrap.

use crate::calibrate::METHODS;
use crate::common::{Ranges, emulated, every_isa, schemes};
use proptest::prelude::*;
use zeropoint::calibrate::{
    AbsMax, AverageMinMax, Clip, Histogram, Levels, Method, MinMax, Moments, NonFinite, Observer, Spread,
    clip_by_entropy, clip_by_mse, group_ranges, percentile, percentile_of_bins,
};
use zeropoint::report::quantization_error;
use zeropoint::{Code, CodeRange, Error, Exec, Granularity, Isa, QuantParams, Range, Scheme, Stream, reference};

fn exec() -> Exec<'static> {
    Isa::best().unwrap().into()
}

fn histogram(clip: Clip, x: &[f32]) -> Histogram {
    let mut histogram = Histogram::new(clip).unwrap();
    histogram.observe(exec(), x).unwrap();
    histogram
}

fn levels() -> impl Strategy<Value = Levels> {
    fn of<C: Ranges>() -> Vec<Levels> {
        let by_scheme = |codes| schemes().into_iter().map(move |scheme| Levels::of(codes, scheme));
        C::all().into_iter().flat_map(|codes| by_scheme(codes).chain([Levels::by_code_type(codes)])).collect()
    }
    prop::sample::select([of::<u8>(), of::<i8>()].concat())
}

/// The bins of a side, up to the last that has a value.
fn used(counts: &[u64]) -> &[u64] {
    &counts[..counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The searches on both sides equal plain loops over every bin, for the levels of any scheme, on data of one side or of both.
    #[test]
    fn searches_on_sides_equal_reference(
        x in prop::collection::vec(-1.0_f32..1.0, 1..300),
        sides in (0.0_f32..=1.0, 0.0_f32..=1.0),
        levels in levels(),
        stride in 200_usize..900,
        start in 0_usize..3000,
    ) {
        let side = |x: f32| if x < 0.0 { x * sides.0 } else { x * sides.1 };
        let x: Vec<f32> = x.into_iter().map(|x| side(x * x * x)).collect();
        prop_assume!(x.iter().any(|&x| x != 0.0));
        let (min, max) = x.iter().fold((0.0_f32, 0.0_f32), |(min, max), &x| (min.min(x), max.max(x)));
        let mse = histogram(Clip::Mse { levels, start, stride }, &x);
        let [mut above, below] = mse.counts().map(used);
        if max == 0.0 {
            above = &[]; // zeros
        }
        // A candidate has steps of a bin at least.
        let span = |i: usize| match levels {
            Levels::Symmetric { .. } => 2.0 * (i as f64 + 0.5),
            Levels::Asymmetric { .. } => {
                let end = |counts: &[u64]| (i as f64 + 0.5).min(counts.len() as f64);
                end(above) + end(below)
            }
        };
        let (Levels::Symmetric { steps, .. } | Levels::Asymmetric { steps }) = levels;
        let bins = above.len().max(below.len());
        let first = (start..bins).find(|&i| span(i) >= f64::from(steps)).unwrap_or(bins);
        let want = reference::clip_by_mse_on_sides([above, below], levels, first, stride);
        let width = mse.bin_width();
        let cut = |bins: f64| {
            let amax = (bins * width) as f32;
            Range { min: (-amax).max(min), max: amax.min(max) }
        };
        assert_eq!(mse.range().unwrap(), cut(want as f64 + 0.5), "{levels:?}");

        let levels_of = |bins: usize| match levels {
            Levels::Symmetric { above, .. } => above as usize + 1,
            Levels::Asymmetric { steps } => {
                let span = bins.min(above.len()) + bins.min(below.len());
                (f64::from(steps + 1) * bins as f64 / span as f64).round().max(2.0) as usize
            }
        };
        let want = reference::clip_by_entropy_with(&mse.magnitudes(), levels_of, start, stride);
        let entropy = mse.choosing(Clip::Entropy { levels, start, stride }).unwrap();
        assert_eq!(entropy.range().unwrap(), cut(want as f64), "{levels:?}");
    }

    /// The range of −x is that of x from the other side, for codes that are the same on both.
    #[test]
    fn ranges_of_the_mirror_image(x in prop::collection::vec(0.01_f32..4.0, 1..400), cut in 0_usize..400) {
        let x: Vec<f32> = x.iter().enumerate().map(|(i, &x)| if i < cut { -x * x } else { x * x * x }).collect();
        let mirrored: Vec<f32> = x.iter().map(|x| -x).collect();
        for method in METHODS {
            let range = |x: &[f32]| {
                let mut observer = method.observer(CodeRange::narrow(4).unwrap(), Scheme::SYMMETRIC, x.len()).unwrap();
                observer.observe(exec(), x).unwrap();
                observer.range().unwrap()
            };
            if method == Method::AbsMax && cut.min(x.len()) % x.len() == 0 {
                continue; // From 0 on, of values without a sign.
            }
            let Range { min, max } = range(&mirrored);
            assert_eq!(range(&x), Range { min: -max, max: -min }, "{method}");
        }
    }
}

/// Uniform in 0 … 1, without the ends.
fn uniform(count: usize) -> Vec<f64> {
    let words = reference::words(Stream::new(8), count);
    words.into_iter().map(|word| (f64::from(word) + 0.5) / 4_294_967_296.0).collect()
}

/// SQNR of an asymmetric scheme whose range a method chose.
fn sqnr<C: Code>(x: &[f32], codes: CodeRange<C>, clip: Clip) -> f64 {
    sqnr_of(x, codes, histogram(clip, x).range().unwrap())
}

fn sqnr_of<C: Code>(x: &[f32], codes: CodeRange<C>, range: Range) -> f64 {
    let params = QuantParams::from_ranges(codes, Scheme::ASYMMETRIC, Granularity::Tensor, &[range]).unwrap();
    quantization_error(exec(), x, &params).unwrap().sqnr()
}

#[test]
fn an_asymmetric_scheme_has_all_its_levels() {
    // A search in f64, the same on every ISA, of a million values four times: minutes in an emulator.
    if emulated() {
        return;
    }
    let n = 1_000_000;
    let pairs = uniform(2 * n);
    let normal = |i: usize| (-2.0 * pairs[2 * i].ln()).sqrt() * (core::f64::consts::TAU * pairs[2 * i + 1]).cos();
    let laplace = |i: usize| -pairs[2 * i].ln() * if pairs[2 * i + 1] < 0.5 { -1.0 } else { 1.0 };
    let tensor = |f: &dyn Fn(usize) -> f64| (0..n).map(|i| f(i) as f32).collect::<Vec<f32>>();
    // What the best range of the sample makes; for other samples it is some hundredths of a dB more or less.
    for (name, x, bits, least) in [
        ("normal", tensor(&normal), 4, 19.25),
        ("Laplace", tensor(&laplace), 3, 11.40),
        ("behind a ReLU", tensor(&|i| normal(i).max(0.0)), 3, 18.87),
        ("behind a negated ReLU", tensor(&|i| -normal(i).max(0.0)), 3, 18.87),
    ] {
        let (unsigned, signed) = (CodeRange::unsigned(bits).unwrap(), CodeRange::signed(bits).unwrap());
        let levels = Levels::of(unsigned, Scheme::ASYMMETRIC);
        assert_eq!(levels, Levels::of(signed, Scheme::ASYMMETRIC));
        let mse = [sqnr(&x, unsigned, Clip::mse(levels)), sqnr(&x, signed, Clip::mse(levels))];
        assert!(mse[0] == mse[1] && mse[0] >= least, "{name}: {mse:?}");
        let best = (100..500).map(|i| {
            let amax = i as f32 / 100.0;
            let (min, max) = x.iter().fold((0.0_f32, 0.0_f32), |(min, max), &x| (min.min(x), max.max(x)));
            sqnr_of(&x, unsigned, Range { min: min.max(-amax), max: max.min(amax) })
        });
        let best = best.fold(0.0, f64::max);
        // (Of a symmetric range the zero point is a tie, 7 or 8 by the last bit of S: that decides some hundredths.)
        assert!(mse[0] > best - 0.05, "{name}: {mse:?}, and {best} is possible");
        // The code type that has these levels by itself: signed for both sides, unsigned for one. (Least divergence is not least
        // error: with fewer levels it may come closer.)
        let one_sided = x.iter().all(|&x| x >= 0.0) || x.iter().all(|&x| x <= 0.0);
        let by_type = if one_sided { Levels::by_code_type(unsigned) } else { Levels::by_code_type(signed) };
        assert_eq!(sqnr(&x, unsigned, Clip::entropy(levels)), sqnr(&x, unsigned, Clip::entropy(by_type)), "{name}");
        assert_eq!(sqnr(&x, signed, Clip::entropy(levels)), sqnr(&x, signed, Clip::entropy(by_type)), "{name}");
    }
}

/// 99.9 % of 1000 values are 999, though 99.9 / 100 · 1000 is a little more in floats: the percentile ends where the bin of the
/// 999th value does, and the outlier does not count. From above as from below.
#[test]
fn percentiles_at_the_end_of_a_bin() {
    assert_eq!(percentile_of_bins(&[999, 0, 0, 0, 0, 0, 0, 0, 0, 1], 99.9), Ok(1.0));
    for thousands in 1..2000 {
        let counts = [999 * thousands, 0, 0, thousands];
        assert_eq!(percentile_of_bins(&counts, 99.9), Ok(1.0), "{thousands}");
        assert_eq!(percentile_of_bins(&[99 * thousands, 0, thousands], 99.0), Ok(1.0), "{thousands}");
        assert!(percentile_of_bins(&counts, 99.9001).unwrap() > 3.0, "{thousands}");
    }
    let x: Vec<f32> = (1..1000).map(|i| i as f32 / 999.0).chain([1000.0]).collect();
    let negative: Vec<f32> = x.iter().map(|x| -x).collect();
    for (clip, x) in [
        (Clip::Percentile(99.9), &x),
        (Clip::Percentiles(99.9), &x),
        (Clip::Percentile(99.9), &negative),
        (Clip::Percentiles(99.9), &negative),
    ] {
        let range = histogram(clip, x).range().unwrap();
        assert!(range.max.max(-range.min) < 2.0, "{clip:?} {range:?}");
    }
    // In memory: the order is 999, not 999.0000000000001, a part of the outlier's distance.
    let mut x: Vec<f32> = (0..1001).map(|i| i as f32 / 1000.0).collect();
    x[1000] = 1e20;
    assert_eq!(percentile(&x, 99.9), Ok(0.999));
}

/// An observer merged with its own clone again and again: the counts double until they are refused, and nothing is added then.
#[test]
fn counts_do_not_wrap() {
    fn doubled<O: Observer + Clone>(mut observer: O) {
        let (mut doublings, mut before) = (0, None);
        let error = loop {
            match observer.merge(&observer.clone()) {
                Ok(()) => doublings += 1,
                Err(error) => break error,
            }
            before = Some((observer.ranges().ok(), observer.skipped()));
            assert!(doublings < 64, "{} skipped", observer.skipped());
        };
        assert_eq!(error, Error::Merge { why: "together they counted 2⁶³ values or more" });
        assert_eq!((observer.ranges().ok(), observer.skipped()), before.unwrap(), "untouched");
        assert!(doublings > 55, "{doublings}");
        // There is room for what is observed.
        observer.observe(exec(), &[f32::NAN, 1.0, -1.0, 0.5]).unwrap();
    }
    fn seen<O: Observer>(mut observer: O, x: &[f32]) -> O {
        observer.observe(exec(), x).unwrap();
        observer
    }
    let (skip, skipped) = (NonFinite::Skip, [1.0, -2.0, f32::NAN, f32::INFINITY]);
    // Values that were skipped, which all count; and values that were seen, which two do not.
    doubled(seen(MinMax::new(Granularity::Tensor).non_finite(skip), &skipped));
    doubled(seen(AbsMax::new(Granularity::Tensor).non_finite(skip), &skipped));
    for x in [&skipped[..], &[1.0, -2.0, 0.5, 0.25]] {
        doubled(seen(AverageMinMax::new(1).unwrap().non_finite(skip), x));
        doubled(seen(Moments::new(Spread::Deviations(1.0)).unwrap().non_finite(skip), x));
        doubled(seen(Histogram::new(Clip::Percentile(99.0)).unwrap().non_finite(skip), x));
    }
}

/// The searches of histograms given by hand are those of magnitudes with the code type's levels.
#[test]
fn the_convention_of_the_documents() {
    let x: Vec<f32> = (0..4000).map(|i| ((i * 7919) % 4001) as f32 / 800.0 - 2.0).map(|x| x * x * x).collect();
    for bits in 2..=8 {
        let codes = CodeRange::narrow(bits).unwrap();
        let largest = codes.max() as u32;
        let levels = Levels::by_code_type(codes);
        let mse = histogram(Clip::mse(levels), &x);
        let (magnitudes, width) = (mse.magnitudes(), mse.bin_width());
        let i = clip_by_mse(&magnitudes, largest, largest as usize, 1).unwrap();
        let (min, max) = (x.iter().copied().fold(0.0, f32::min), x.iter().copied().fold(0.0, f32::max));
        let cut = |bins: f64| Range { min: (-(bins * width) as f32).max(min), max: ((bins * width) as f32).min(max) };
        assert_eq!(mse.range().unwrap(), cut(i as f64 + 0.5), "{bits}");
        let i = clip_by_entropy(&magnitudes, largest + 1, 256, 1).unwrap();
        let entropy = mse.choosing(Clip::entropy(levels)).unwrap();
        assert_eq!(entropy.range().unwrap(), cut(i as f64), "{bits}");
    }
    every_isa(|isa| {
        let mut observer = Method::Mse.observer(CodeRange::narrow(4).unwrap(), Scheme::SYMMETRIC, 1).unwrap();
        observer.observe(isa.into(), &x).unwrap();
        let by_type = histogram(Clip::mse(Levels::by_code_type(CodeRange::narrow(4).unwrap())), &x);
        assert_eq!(observer.range(), by_type.range(), "narrow codes of a symmetric scheme are the documents' case");
    });
}

/// An observer counts the elements of its group; the error of all groups counts those of the tensor.
#[test]
fn groups_name_the_element() {
    let columns = Granularity::channel(&[5, 4], 1).unwrap();
    let mut x = [1.0; 20];
    (x[13], x[14], x[16]) = (f32::INFINITY, f32::NAN, f32::NAN);
    every_isa(|isa| {
        let observer = Method::Percentile(50.0).observer(CodeRange::narrow(8).unwrap(), Scheme::SYMMETRIC, 1).unwrap();
        let error = Error::NonFinite { what: "the tensor", index: 13, found: f32::INFINITY };
        assert_eq!(group_ranges(isa, &x, columns, &observer), Err(error), "{isa}");
    });
}

/// Searches and tables that end at 8 bits refuse codes of more; of codes of 16 bits that are no more, they do not.
#[test]
fn codes_of_more_than_eight_bits() {
    let (wide, few) = (CodeRange::signed16(16).unwrap(), CodeRange::signed16(8).unwrap());
    for (scheme, found) in [(Scheme::ASYMMETRIC, 65_535.0), (Scheme::SYMMETRIC, 32_768.0)] {
        for method in [Method::Mse, Method::Entropy] {
            let refused = Error::Setting { what: "steps of a range", found, why: "not in 1 … 255" };
            assert_eq!(method.observer(wide, scheme, 1).unwrap_err(), refused);
            assert!(method.observer(few, scheme, 1).is_ok());
        }
        for method in [Method::Gauss, Method::Laplace] {
            let refused = Error::Setting { what: "bits", found: 16.0, why: "not in 1 … 8" };
            assert_eq!(method.observer(wide, scheme, 1).unwrap_err(), refused);
            assert_eq!(method.observer(CodeRange::unsigned16(16).unwrap(), scheme, 1).unwrap_err(), refused);
            assert!(method.observer(few, scheme, 1).is_ok());
        }
        for method in ["minmax", "absmax", "moving", "std", "percentiles:99.9"] {
            let mut observer = method.parse::<Method>().unwrap().observer(wide, scheme, 1).unwrap();
            observer.observe(exec(), &[-1.0, 0.5, 2.0]).unwrap();
            let params = QuantParams::from_ranges(wide, scheme, Granularity::Tensor, &[observer.range().unwrap()]);
            assert!(params.unwrap().scales()[0] < 1e-3, "{method}");
        }
    }
}
