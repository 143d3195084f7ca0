//! Observers: any split of the data into batches, order of merges, ISA and treatment of NaN gives one state, that of the
//! reference; nothing that is refused changes it.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::calibrate::{
    AbsMax, Calibrator, Clip, Histogram, Method, MinMax, Moments, NonFinite, Observer, Spread, mse_ranges, percentile,
};
use zeropoint::{Code, CodeRange, Exec, Granularity, QuantParams, Range, reference};
use zeropoint_fuzz::{Backwards, CodeType, IsaInput, RangeInput, Reals, SchemeInput, Shape, of_code_type};

#[derive(Arbitrary, Debug)]
struct Input {
    codes: CodeType,
    range: RangeInput,
    scheme: SchemeInput,
    shape: Shape,
    x: Reals,
    exponent: u8,
    skip: bool,
    /// Where batches end, and where they are observed.
    cuts: Vec<(u16, IsaInput, u8)>,
    last: IsaInput,
    /// Which two of the observers are merged next.
    merges: Vec<[u8; 2]>,
    what: What,
}

#[derive(Arbitrary, Debug)]
enum What {
    Histogram { percent: u16 },
    Extremes { absolute: bool },
    Moments,
    Method { method: u8, argument: f64 },
    Shrunk,
    Percentile { percent: u16 },
}

fuzz_target!(|input: Input| of_code_type!(input.codes, run(&input)));

/// The batches, and where they are observed.
fn batches<'x>(input: &Input, x: &'x [f32], unit: usize) -> Vec<(&'x [f32], IsaInput, usize)> {
    let units = x.len() / unit;
    let mut cuts: Vec<_> =
        input.cuts.iter().take(8).map(|&(cut, isa, n)| (usize::from(cut) % (units + 1) * unit, isa, n)).collect();
    cuts.push((units * unit, input.last, 0));
    cuts.sort_by_key(|cut| cut.0);
    let mut start = 0;
    let batch = |(end, isa, threads): (usize, IsaInput, u8)| {
        let batch = (&x[start..end], isa, usize::from(threads % 3) + 1);
        start = end;
        batch
    };
    cuts.into_iter().map(batch).collect()
}

/// An observer that saw all batches; and one that is merged, in the input's order, of observers that saw one each.
fn observed<O: Observer + Clone>(input: &Input, batches: &[(&[f32], IsaInput, usize)], observer: &O) -> [O; 2] {
    let observe = |observer: &mut O, &(batch, isa, threads): &(&[f32], IsaInput, usize)| {
        let threads = Backwards(threads);
        observer.observe(Exec::from(isa.isa()).on(&threads), batch).unwrap();
    };
    let mut whole = observer.clone();
    batches.iter().for_each(|batch| observe(&mut whole, batch));
    let mut each: Vec<O> = batches
        .iter()
        .map(|batch| {
            let mut one = observer.clone();
            observe(&mut one, batch);
            one
        })
        .collect();
    let mut merges = input.merges.iter();
    while each.len() > 1 {
        let [a, b] = merges.next().copied().unwrap_or_default().map(usize::from);
        let other = each.swap_remove(a % each.len());
        let into = b % each.len();
        each[into].merge(&other).unwrap();
    }
    [whole, each.pop().unwrap()]
}

fn run<C: Code>(input: &Input) {
    let (granularity, length) = input.shape.granularity();
    let step = 2_f64.powi(i32::from(input.exponent) - 149) as f32;
    let x = if input.skip { input.x.reals(length, step, 100) } else { input.x.finite(length, step, 100) };
    let finite: Vec<f32> = x.iter().copied().filter(|x| x.is_finite()).collect();
    let skipped = (x.len() - finite.len()) as u64;
    let non_finite = if input.skip { NonFinite::Skip } else { NonFinite::Refuse };
    match input.what {
        What::Histogram { percent } => {
            let clip = Clip::Percentile(f64::from(percent % 1001) / 10.0);
            let Ok(histogram) = Histogram::new(clip) else { return };
            for histogram in observed(input, &batches(input, &x, 1), &histogram.non_finite(non_finite)) {
                assert_eq!(histogram.skipped(), skipped);
                if finite.is_empty() {
                    assert!(histogram.range().is_err());
                    continue;
                }
                let (exponent, want) = reference::histogram(&finite);
                assert_eq!(histogram.bin_width(), 2_f64.powi(exponent));
                assert_eq!(histogram.counts().map(<[u64]>::to_vec), want);
                let all = reference::ranges(&finite, Granularity::Tensor, 1)[0];
                assert_eq!(histogram.min_max(), Some(all));
                let range = histogram.range().unwrap();
                assert!(
                    range.min >= all.min.min(-all.max) && range.max <= all.max.max(-all.min),
                    "{range:?} of {all:?}"
                );
            }
        }
        What::Extremes { absolute } => {
            // A batch has all of the tensor's groups: only channels on the innermost axes may be cut into batches.
            let unit = match granularity {
                Granularity::Channel { channels, inner } => channels * inner,
                Granularity::Tensor => 1,
                Granularity::Block { .. } => x.len().max(1),
            };
            let batches = batches(input, &x, unit);
            let groups = granularity.groups(x.len()).unwrap();
            let mut want = vec![None::<Range>; groups];
            for (i, &x) in x.iter().enumerate().filter(|(_, x)| x.is_finite()) {
                let (range, x) = (&mut want[granularity.group_of(i)], x + 0.0);
                let seen = range.unwrap_or(Range { min: x, max: x });
                *range = Some(Range { min: seen.min.min(x), max: seen.max.max(x) });
            }
            let check = |found: Result<Vec<Range>, _>, want: Option<Vec<Range>>| match want {
                Some(want) if !x.is_empty() => assert_eq!(found.unwrap(), want),
                _ => assert!(found.is_err()),
            };
            if absolute {
                let of = |range: Range| {
                    let most = range.max.max(-range.min);
                    Range { min: if range.min < 0.0 { -most } else { 0.0 }, max: most }
                };
                let want: Option<Vec<Range>> = want.into_iter().map(|range| range.map(of)).collect();
                for observer in observed(input, &batches, &AbsMax::new(granularity).non_finite(non_finite)) {
                    assert_eq!(observer.skipped(), skipped);
                    check(observer.ranges(), want.clone());
                }
            } else {
                let want: Option<Vec<Range>> = want.into_iter().collect();
                for observer in observed(input, &batches, &MinMax::new(granularity).non_finite(non_finite)) {
                    assert_eq!(observer.skipped(), skipped);
                    check(observer.ranges(), want.clone());
                }
            }
        }
        What::Moments => {
            let mut observer = Moments::new(Spread::Deviations(1.0)).unwrap().non_finite(non_finite);
            observer.observe(input.last.isa().into(), &x).unwrap();
            assert_eq!((observer.count(), observer.skipped()), (finite.len() as u64, skipped));
            if !finite.is_empty() {
                let found = [observer.mean(), observer.std(), observer.mean_deviation()];
                assert_eq!(found.map(f64::to_bits), reference::moments(&finite).map(f64::to_bits));
            }
        }
        What::Method { method, argument } => {
            let codes = input.range.range::<C>();
            methods(input, codes, &x, method, argument, non_finite);
        }
        What::Shrunk => {
            let codes = input.range.range::<C>();
            // The reference tries every candidate for every element: a larger tensor is cut, and has one group.
            const MOST: usize = 300;
            let (x, granularity) = if length > MOST {
                (&finite[..MOST.min(finite.len())], Granularity::Tensor)
            } else {
                (&x[..], granularity)
            };
            let (groups, scheme) = (granularity.groups(x.len()).unwrap(), input.scheme.scheme());
            match mse_ranges(input.last.isa(), x, granularity, codes, scheme) {
                Ok(found) if !x.is_empty() => {
                    assert_eq!(found, reference::mse_ranges(x, granularity, groups, codes, scheme));
                }
                Ok(_) => {}
                // Refused as the ranges are, or as the parameters of these. (Nothing has parameters, but no range.)
                Err(error) => assert!(
                    x.is_empty() || QuantParams::fit(input.last.isa(), x, codes, scheme, granularity).is_err(),
                    "{error} {x:?} {granularity:?} {scheme:?}"
                ),
            }
        }
        What::Percentile { percent } => {
            let percent = f64::from(percent % 1001) / 10.0;
            match percentile(&x, percent) {
                Ok(found) => assert_eq!(found.to_bits(), reference::percentile(&x, percent).to_bits()),
                Err(_) => assert!(finite.is_empty() || skipped > 0),
            }
        }
    }
}

/// A method of any argument: what it refuses changes nothing, and a range that it tells is one.
fn methods<C: Code>(input: &Input, codes: CodeRange<C>, x: &[f32], method: u8, argument: f64, non_finite: NonFinite) {
    let method = match method % 12 {
        0 => Method::MinMax,
        1 => Method::AbsMax,
        2 => Method::Average,
        3 => Method::Ema(argument),
        4 => Method::Moving(argument),
        5 => Method::Std(argument),
        6 => Method::Gauss,
        7 => Method::Laplace,
        8 => Method::Percentile(argument),
        9 => Method::Percentiles(argument),
        10 => Method::Entropy,
        _ => Method::Mse,
    };
    let Ok(mut observer) = method.observer(codes, input.scheme.scheme(), 1 + x.len() % 3) else { return };
    observer = Calibrator::non_finite(observer, non_finite);
    for (batch, isa, _) in batches(input, x, 1 + x.len() % 3) {
        observer.observe(isa.isa().into(), batch).unwrap();
        let (range, skipped) = (observer.range(), observer.skipped());
        assert!(non_finite == NonFinite::Skip || observer.observe(isa.isa().into(), &[f32::NAN; 6]).is_err());
        if non_finite == NonFinite::Refuse {
            assert_eq!((observer.range(), observer.skipped()), (range, skipped));
        }
    }
    let mut twice = observer.clone();
    if twice.merge(&observer).is_ok() {
        assert_eq!(twice.skipped(), 2 * observer.skipped());
    }
    if let Ok(range) = observer.range() {
        assert!(range.min <= range.max && range.min.is_finite() && range.max.is_finite(), "{method}: {range:?}");
    }
}
