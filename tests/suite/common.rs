//! What the tests share: every ISA, numbers that hurt, codes that hurt.

use std::sync::LazyLock;

use proptest::prelude::*;
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    ByteCode, Code, CodeRange, Error, Granularity, Isa, Matrix, MatrixMut, QuantParams, Rounding, Rule, Scheme, Stream,
    quantize, raw,
};

pub use crate::floats::{SPECIALS, bits, nudge};

/// Finds the parameters of a tensor's own ranges, and quantizes it by them.
pub fn quantize_dynamic<C: Code>(
    isa: Isa,
    x: &[f32],
    range: CodeRange<C>,
    scheme: Scheme,
    granularity: Granularity,
    codes: &mut [C],
) -> Result<QuantParams<C>, Error> {
    let params = QuantParams::fit(isa, x, range, scheme, granularity)?;
    quantize(isa, x, &params, Rounding::Nearest, codes)?;
    Ok(params)
}

/// The ISAs that this CPU has; or those that the environment names, of an emulated CPU whose others are tested on another one.
static ISAS: LazyLock<Vec<Isa>> = LazyLock::new(|| match std::env::var("ZEROPOINT_TEST_ISAS") {
    Ok(names) => names.split(',').map(|name| Isa::named(name).unwrap()).collect(),
    Err(_) => Isa::supported(),
});

/// The configuration of a property that is tested by this number of cases on a CPU; by a fraction of them where
/// `ZEROPOINT_TEST_FRACTION` says so, on an emulated CPU that runs what the machine itself has run by all cases.
pub fn cases(number: u32) -> ProptestConfig {
    ProptestConfig::with_cases(number.div_ceil(fraction()))
}

/// Which part of its cases a long test has: all, or what the environment says.
pub fn fraction() -> u32 {
    std::env::var("ZEROPOINT_TEST_FRACTION").map_or(1, |fraction| fraction.parse().unwrap())
}

/// Every case of a long loop; or every n-th from the first on, where `ZEROPOINT_TEST_FRACTION` is n.
pub fn part<T>(cases: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    cases.into_iter().step_by(fraction() as usize)
}

/// Whether an emulator runs the tests.
pub fn emulated() -> bool {
    std::env::var_os("ZEROPOINT_TEST_RUNNER").is_some()
}

/// The slowest and the fastest ISA that are tested.
#[cfg(feature = "rayon")]
pub fn slowest_and_fastest(check: impl FnMut(Isa)) {
    let mut both = vec![ISAS[0], ISAS[ISAS.len() - 1]];
    both.dedup();
    both.into_iter().for_each(check);
}

/// Runs a check on every ISA that is tested.
pub fn every_isa(check: impl FnMut(Isa)) {
    ISAS.iter().copied().for_each(check);
}

/// Numbers around the boundaries of a scale of bytes, and the special ones: NaN, infinities, zeros, subnormals, huge, ties and
/// one ulp around ties.
pub fn reals(scale: f32) -> impl Strategy<Value = f32> {
    reals_within(scale, 260)
}

/// Numbers within so many steps of a scale, and somewhat more; and the special ones.
pub fn reals_within(scale: f32, steps: i32) -> impl Strategy<Value = f32> {
    let most = 1.15 * steps as f32;
    prop_oneof![
        8 => (-most..most).prop_map(move |v| v * scale),
        3 => (-steps..steps, -1_i32..=1).prop_map(move |(k, ulps)| nudge((k as f32 + 0.5) * scale, ulps)),
        1 => any::<u32>().prop_map(f32::from_bits),
        1 => prop::sample::select(SPECIALS.to_vec()),
    ]
}

/// Finite numbers.
pub fn finite() -> impl Strategy<Value = f32> {
    prop_oneof![4 => -1e3_f32..1e3, 1 => any::<f32>().prop_filter("finite", |x| x.is_finite()), 1 => Just(-0.0_f32)]
}

/// Scales: ordinary, powers of two, odd mantissas, and the extremes.
pub fn scales() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => 1e-3_f32..10.0,
        1 => (-126_i32..127).prop_map(|k| 2_f32.powi(k)),
        1 => (0x0080_0000_u32..0x7f80_0000).prop_map(f32::from_bits),
        1 => prop::sample::select(vec![f32::MIN_POSITIVE, f32::MAX, 5.0 / 255.0, 1.0 / 3.0]),
    ]
}

/// Codes of any value, the extremes often.
pub fn codes<C: Code + Arbitrary>() -> impl Strategy<Value = C> {
    prop_oneof![2 => any::<C>(), 1 => Just(C::MIN), 1 => Just(C::MAX)]
}

/// A zero point inside the type, the extremes often.
pub fn zero_points<C: Code>() -> impl Strategy<Value = i32> {
    let (min, max): (i32, i32) = (C::MIN.into(), C::MAX.into());
    prop_oneof![2 => min..=max, 1 => Just(min), 1 => Just(max), 1 => Just(0)]
}

/// The code ranges of a type: of n bits, and some that are not.
pub trait Ranges: Code + Arbitrary {
    fn all() -> Vec<CodeRange<Self>>;
}

impl Ranges for u8 {
    fn all() -> Vec<CodeRange<u8>> {
        let others = [2, 9, 100, 254].map(|max| CodeRange::new(0, max).unwrap());
        (2..=8).map(|bits| CodeRange::unsigned(bits).unwrap()).chain(others).collect()
    }
}

impl Ranges for i8 {
    fn all() -> Vec<CodeRange<i8>> {
        let of = |bits| [CodeRange::signed(bits).unwrap(), CodeRange::narrow(bits).unwrap()];
        let others = [(-100, 27), (-27, 100), (-3, 4), (-128, 1), (0, 127), (0, 100)];
        (2..=8).flat_map(of).chain(others.map(|(min, max)| CodeRange::new(min, max).unwrap())).collect()
    }
}

impl Ranges for u16 {
    fn all() -> Vec<CodeRange<u16>> {
        let others = [2, 255, 256, 1000, 65_534].map(|max| CodeRange::new(0, max).unwrap());
        (2..=16).map(|bits| CodeRange::unsigned16(bits).unwrap()).chain(others).collect()
    }
}

impl Ranges for i16 {
    fn all() -> Vec<CodeRange<i16>> {
        let of = |bits| [CodeRange::signed16(bits).unwrap(), CodeRange::narrow16(bits).unwrap()];
        let others = [(-100, 155), (-100, 156), (-20_000, 27), (-3, 32_767), (-32_768, 1), (0, 32_767)];
        (2..=16).flat_map(of).chain(others.map(|(min, max)| CodeRange::new(min, max).unwrap())).collect()
    }
}

/// The eight types, and those that are symmetric around the middle of the codes.
pub fn schemes() -> Vec<Scheme> {
    let around_the_middle = [Scheme::MIDDLE, Scheme::SHIFT_MIDDLE];
    let stochastic = around_the_middle.map(Scheme::stochastic);
    Scheme::ALL.into_iter().chain(around_the_middle).chain(stochastic).collect()
}

/// Granularities of every kind, with the length of a tensor that has them.
pub fn granularities() -> impl Strategy<Value = (Granularity, usize)> {
    prop_oneof![
        (0_usize..140).prop_map(|length| (Granularity::Tensor, length)),
        // The innermost axis, an outer one, and channels of less than a vector.
        (1_usize..40, 0_usize..6).prop_map(|(c, outer)| (Granularity::channel(&[outer, c], 1).unwrap(), outer * c)),
        (0_usize..3, 1_usize..7, 1_usize..70).prop_map(|(outer, channels, inner)| {
            (Granularity::channel(&[outer, channels, inner], 1).unwrap(), outer * channels * inner)
        }),
        (0_usize..4, 1_usize..90, 1_usize..50)
            .prop_map(|(rows, row, length)| { (Granularity::block(&[rows, row], length).unwrap(), rows * row) }),
        // Blocks along an outer axis: of few long rows, and of many short ones.
        (0_usize..3, 1_usize..7, 2_usize..90, 1_usize..9).prop_map(along_the_middle_axis),
        (1_usize..3, 1_usize..60, 2_usize..20, 1_usize..70).prop_map(along_the_middle_axis),
    ]
}

/// (No more elements than the other kinds have.)
fn along_the_middle_axis((outer, axis, inner, length): (usize, usize, usize, usize)) -> (Granularity, usize) {
    let axis = axis.min(900 / (outer.max(1) * inner));
    (Granularity::block_along(&[outer, axis, inner], 1, length).unwrap(), outer * axis * inner)
}

/// A tensor with parameters of any granularity: the numbers fit the first scale.
pub fn tensors<C: Ranges>() -> impl Strategy<Value = (Vec<f32>, QuantParams<C>)> {
    (granularities(), prop::sample::select(C::all())).prop_flat_map(|((granularity, length), codes)| {
        let groups = granularity.groups(length).unwrap();
        let (min, max): (i32, i32) = (codes.min().into(), codes.max().into());
        let zero_points = prop::collection::vec(prop_oneof![min..=max, Just(min), Just(max)], groups);
        (prop::collection::vec(scales(), groups), zero_points).prop_flat_map(move |(scales, zero_points)| {
            let x = reals_within(scales.first().copied().unwrap_or(1.0), (max - min).max(260));
            let x = prop::collection::vec(x, length);
            (x, Just(QuantParams::new(codes, granularity, scales, zero_points).unwrap()))
        })
    })
}

/// Places in a stream that has as many words more: around multiples of sixteen and of a chunk, and at the stream's end.
pub fn streams(words: usize) -> impl Strategy<Value = Stream> {
    let last = u64::MAX - (words as u64).saturating_sub(1);
    let offset = prop_oneof![
        Just(0),
        any::<u64>(),
        (0_u64..10, -2_i64..=2).prop_map(|(block, delta)| (16 * block).saturating_add_signed(delta)),
        (1_u64..1 << 40, -20_i64..=20).prop_map(|(chunk, delta)| (16_384 * chunk).saturating_add_signed(delta)),
        (0_u64..40).prop_map(move |back| last - back),
    ];
    (any::<u64>(), offset).prop_map(move |(seed, offset)| Stream { seed, offset: offset.min(last) })
}

/// Calls `write` with a slice of `length` elements inside a larger one, `offset` elements from an aligned address, and
/// checks that nothing around it changed.
pub fn guarded<T: Copy + PartialEq + std::fmt::Debug>(
    length: usize,
    offset: usize,
    canary: T,
    write: impl FnOnce(&mut [T]),
) -> Vec<T> {
    let mut buffer = vec![canary; offset + length + 64];
    write(&mut buffer[offset..offset + length]);
    assert!(buffer[..offset].iter().chain(&buffer[offset + length..]).all(|&x| x == canary), "wrote outside");
    buffer[offset..offset + length].to_vec()
}

/// What a requantizer makes of accumulators, on one ISA: of those that are the bias of a product without depth, and of those
/// that are given.
pub fn requantized<C: ByteCode>(
    isa: Isa,
    accumulators: &[i32],
    (rule, multipliers): (Rule, &[f64]),
    zero_point: i32,
    (min, max): (C, C),
) -> Vec<C> {
    let n = accumulators.len();
    let none = Matrix::<i8>::new(&[], 0, n).unwrap();
    let packed = raw::pack::<u8, i8>(isa, none, 0.into()).unwrap().with_accumulator_bias(accumulators).unwrap();
    let stage = raw::requantize(rule, multipliers, zero_point, min..=max).unwrap();
    let mut out = vec![C::default(); n];
    let a = Matrix::new(&[], 1, 0).unwrap();
    raw::matmul(isa, a, 0.into(), &packed, &stage, MatrixMut::new(&mut out, 1, n).unwrap()).unwrap();
    let mut of_given = vec![C::default(); n];
    let accumulators = Matrix::new(accumulators, 1, n).unwrap();
    raw::apply(isa, accumulators, &stage, MatrixMut::new(&mut of_given, 1, n).unwrap()).unwrap();
    assert_eq!(of_given, out, "{isa}");
    out
}
