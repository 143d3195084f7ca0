//! The backward pass of training beside hand loops of intrinsics, in turns: what one run says of two loops does not depend on the
//! clock rate that another run had.
//!
//! ```sh
//! cargo bench -p zeropoint-benches --bench training              # all operations
//! cargo bench -p zeropoint-benches --bench training -- clip      # those whose name has this in it
//! ```
//!
//! A hand loop makes the same gradients, bit for bit, and sums in f64, of a tensor with one scale, rounded to nearest; beside
//! other granularities and stochastic rounding the ratio tells what these cost. It knows no NaN and no gradient that is not
//! finite, and its lanes are summed in any order. After it was measured, its results are compared with the kernel's.

use harness::measure::{Times, turn};
use zeropoint::training::{ClipBounds, ClipGradients, Gradients, clip_gradients, fake_quantize_gradients};
use zeropoint::{CodeRange, Granularity, Isa, QuantParams, Rounding, Stream};

/// The elements of tensors that lie in the level-1, -2 and -3 caches, and beyond.
const LENGTHS: [usize; 4] = [2 << 10, 32 << 10, 512 << 10, 16 << 20];

/// Turns of each of two loops, which alternate: the middle half of them counts.
const ROUNDS: usize = 21;

/// Not a power of two: its reciprocal takes two parts, and every product is rounded.
const SCALE: f32 = 0.0157;

/// A clipping bound that clips a quarter of the values, which are between −2 and 2.
const BOUND: f32 = 1.5;

/// The elements of a row.
const ROW: usize = 1024;

/// Numbers inside and outside the range, the same in every run.
fn reals(count: usize, first: u32) -> Vec<f32> {
    let word = |i: u32| (i ^ first).wrapping_mul(2_654_435_761) >> 8;
    (0..count as u32).map(|i| word(i) as f32 / (1 << 22) as f32 - 2.0).collect()
}

fn params(granularity: Granularity, length: usize) -> QuantParams<i8> {
    let groups = granularity.groups(length).unwrap();
    let codes = CodeRange::narrow(8).unwrap();
    QuantParams::new(codes, granularity, vec![SCALE; groups], vec![0; groups]).unwrap()
}

/// A loop of intrinsics from x, gradients and a scale or bound to gradients of x. It returns the sums; the second is that of zero
/// points.
type HandLoop = fn(&[f32], &[f32], f32, &mut [f32]) -> [f64; 2];

/// The loop for an ISA.
fn of_isa([avx2, avx512]: [HandLoop; 2], isa: Isa) -> HandLoop {
    if isa.to_string() == "avx512" { avx512 } else { avx2 }
}

/// A kernel, and the hand loop that is its measure.
struct Case<'a> {
    name: &'a str,
    kernel: &'a mut dyn FnMut(Isa),
    hand: &'a mut dyn FnMut(Isa),
}

impl Case<'_> {
    /// Prints elements a nanosecond, and the kernel's part of the hand loop's.
    fn measure(self, length: usize, test: bool) {
        let Case { name, kernel, hand } = self;
        for isa in ["avx2", "avx512"].into_iter().filter_map(|name| Isa::named(name).ok()) {
            if test {
                kernel(isa);
                hand(isa);
                continue;
            }
            let (mut of_kernel, mut of_hand) = (Times::default(), Times::default());
            for _ in 0..ROUNDS {
                of_kernel.push(turn(&mut || kernel(isa)));
                of_hand.push(turn(&mut || hand(isa)));
            }
            let rate = |times: &Times| length as f64 / times.middle() / 1e9;
            let (kernel, hand, ratio) = (rate(&of_kernel), rate(&of_hand), of_kernel.ratio(&of_hand));
            println!("{name:44} {length:9} {isa:8} {kernel:6.2} {hand:6.2} Gelem/s {ratio:6.2}");
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // As criterion: `cargo bench` says so, and `cargo test --benches` runs everything once.
    let test = !arguments.iter().any(|argument| argument == "--bench") || arguments.contains(&"--test".to_owned());
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    if !hand::available() {
        return println!("The hand loops are for CPUs with AVX2 and AVX-512.");
    }
    println!("{:44} {:>9} {:8} kernel   hand               ratio", "", "elements", "ISA");
    for length in if test { &LENGTHS[..1] } else { &LENGTHS[..] } {
        all(*length, test, &|name| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter)));
    }
}

fn all(length: usize, test: bool, wanted: &dyn Fn(&str) -> bool) {
    let (x, gradient) = (reals(length, 0), reals(length, 12_345));
    let (mut out, mut hand_out) = (vec![0.0; length], vec![0.0; length]);
    let shape = [length / ROW, ROW];
    let granularities = [
        ("tensor", Granularity::Tensor),
        ("row", Granularity::channel(&shape, 0).unwrap()),
        ("column", Granularity::channel(&shape, 1).unwrap()),
        ("column of 16", Granularity::channel(&[length / 16, 16], 1).unwrap()),
        ("block of 32", Granularity::block(&shape, 32).unwrap()),
        ("block of 128", Granularity::block(&shape, 128).unwrap()),
        ("block of 32 rows", Granularity::block_along(&shape, 0, 32).unwrap()),
    ];
    for (of, granularity) in granularities {
        let params = params(granularity, length);
        let groups = params.scales().len();
        let (mut scales, mut zero_points) = (vec![0.0; groups], vec![0.0; groups]);
        for (name, rounding, with_zero_points) in [
            ("scale", Rounding::Nearest, false),
            ("scale and zero point", Rounding::Nearest, true),
            ("scale, stochastic", Stream::new(1).into(), false),
        ] {
            let name = format!("{name} per {of}");
            if !wanted(&name) {
                continue;
            }
            let mut kernel = |isa| {
                let zero_points = with_zero_points.then_some(&mut zero_points[..]);
                let gradients = Gradients { x: &mut out, scales: &mut scales, zero_points };
                fake_quantize_gradients(isa, &x, &gradient, &params, rounding, gradients).unwrap();
            };
            let mut of_hand = [0.0; 2];
            let loops: [HandLoop; 2] = if with_zero_points {
                [hand::fake_quantize_avx2::<true>, hand::fake_quantize_avx512::<true>]
            } else {
                [hand::fake_quantize_avx2::<false>, hand::fake_quantize_avx512::<false>]
            };
            let mut hand = |isa| of_hand = of_isa(loops, isa)(&x, &gradient, SCALE, &mut hand_out);
            Case { name: &name, kernel: &mut kernel, hand: &mut hand }.measure(length, test);
            let of_zero_points = if with_zero_points { zero_points.iter().sum() } else { 0.0 };
            let of_kernel = [scales.iter().sum(), of_zero_points];
            check((&out, of_kernel), (&hand_out, of_hand), rounding == Rounding::Nearest);
        }
    }
    let mut bound = [0.0];
    for (name, clip) in
        [("clip one-sided", ClipBounds::one_sided as fn(_, _) -> _), ("clip symmetric", ClipBounds::symmetric)]
    {
        if !wanted(name) {
            continue;
        }
        let clip = clip(Granularity::Tensor, &[BOUND]).unwrap();
        let mut kernel = |isa| {
            clip_gradients(isa, &x, &gradient, &clip, ClipGradients { x: &mut out, bounds: &mut bound }).unwrap();
        };
        let mut of_hand = [0.0; 2];
        let loops: [HandLoop; 2] = if clip.is_symmetric() {
            [hand::clip_avx2::<true>, hand::clip_avx512::<true>]
        } else {
            [hand::clip_avx2::<false>, hand::clip_avx512::<false>]
        };
        let mut hand = |isa| of_hand = of_isa(loops, isa)(&x, &gradient, BOUND, &mut hand_out);
        Case { name, kernel: &mut kernel, hand: &mut hand }.measure(length, test);
        check((&out, [bound[0], 0.0]), (&hand_out, of_hand), true);
    }
}

/// Stops unless both have the same gradients of x, and sums but for their order: then they did the same work.
fn check((x, sums): (&[f32], [f64; 2]), (hand_x, hand_sums): (&[f32], [f64; 2]), same_sums: bool) {
    let same = x.iter().zip(hand_x).all(|(x, hand)| x.to_bits() == hand.to_bits());
    assert!(same, "the hand loop has other gradients");
    let close = |(a, b): (f64, f64)| (a - b).abs() <= 1e-9 * x.len() as f64;
    let all = sums.into_iter().zip(hand_sums).all(close);
    assert!(all || !same_sums, "the hand loop has the sums {hand_sums:?}, not {sums:?}");
}

/// Loops of intrinsics, as fast as they can be written for one operation and one scale.
#[cfg(target_arch = "x86_64")]
mod hand {
    use core::arch::x86_64::*;

    pub fn available() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
    }

    macro_rules! checked {
        ($(fn $name:ident<$FLAG:ident>($features:literal, $x:ident, $gradient:ident, $parameter:ident, $out:ident) $body:block)*) => { $(
            pub fn $name<const $FLAG: bool>($x: &[f32], $gradient: &[f32], $parameter: f32, $out: &mut [f32]) -> [f64; 2] {
                #[target_feature(enable = $features)]
                fn run<const $FLAG: bool>($x: &[f32], $gradient: &[f32], $parameter: f32, $out: &mut [f32]) -> [f64; 2] $body
                assert!(available() && $x.len() == $gradient.len() && $x.len() == $out.len());
                // SAFETY: as just checked.
                unsafe { run::<$FLAG>($x, $gradient, $parameter, $out) }
            }
        )* };
    }

    /// The reciprocal, a little below it, and what is missing: a product with both rounds to the same code as the quotient.
    fn reciprocal(scale: f32) -> [f32; 2] {
        let high = (1.0 / scale).next_down();
        [high, ((1.0 - f64::from(scale) * f64::from(high)) / f64::from(scale)) as f32]
    }

    const ROUND: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    // FLAG: whether zero points have a gradient, or whether clipping is symmetric.
    checked! {
        fn fake_quantize_avx512<ZERO_POINT>("avx512f,avx512dq", x, gradient, scale, out) {
            let (s, [high, low]) = (_mm512_set1_ps(scale), reciprocal(scale).map(|part| _mm512_set1_ps(part)));
            let (lo, hi, sign) = (_mm512_set1_ps(-127.0), _mm512_set1_ps(127.0), _mm512_set1_ps(-0.0));
            let mut sums = [_mm512_setzero_pd(); 4];
            for ((x, g), out) in x.as_chunks::<16>().0.iter().zip(gradient.as_chunks::<16>().0).zip(out.as_chunks_mut::<16>().0) {
                // SAFETY: sixteen numbers may be read of each, and as many written.
                unsafe {
                    let (x, g) = (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(g.as_ptr()));
                    let q = _mm512_roundscale_ps::<ROUND>(_mm512_fmadd_ps(x, high, _mm512_mul_ps(x, low)));
                    let c = _mm512_min_ps(_mm512_max_ps(q, lo), hi);
                    let within = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(q, c);
                    let y = _mm512_mul_ps(c, s);
                    let e = _mm512_mask_sub_ps(y, within, y, x);
                    _mm512_storeu_ps(out.as_mut_ptr(), _mm512_mask_and_ps(g, !within, g, sign));
                    let (g0, g1) = (_mm512_cvtps_pd(_mm512_castps512_ps256(g)), _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(g)));
                    sums[0] = _mm512_fmadd_pd(g0, _mm512_cvtps_pd(_mm512_castps512_ps256(e)), sums[0]);
                    sums[1] = _mm512_fmadd_pd(g1, _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(e)), sums[1]);
                    if ZERO_POINT {
                        sums[2] = _mm512_mask_add_pd(sums[2], !within as u8, sums[2], g0);
                        sums[3] = _mm512_mask_add_pd(sums[3], (!within >> 8) as u8, sums[3], g1);
                    }
                }
            }
            let [a, b, c, d] = sums;
            let scale = f64::from(scale);
            [_mm512_reduce_add_pd(_mm512_add_pd(a, b)) / scale, -scale * _mm512_reduce_add_pd(_mm512_add_pd(c, d))]
        }
        fn clip_avx512<SYMMETRIC>("avx512f,avx512dq", x, gradient, bound, out) {
            let (lo, hi) = (_mm512_set1_ps(if SYMMETRIC { -bound } else { 0.0 }), _mm512_set1_ps(bound));
            let mut sums = [_mm512_setzero_pd(); 4];
            for ((x, g), out) in x.as_chunks::<16>().0.iter().zip(gradient.as_chunks::<16>().0).zip(out.as_chunks_mut::<16>().0) {
                // SAFETY: sixteen numbers may be read of each, and as many written.
                unsafe {
                    let (x, g) = (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(g.as_ptr()));
                    let (above, below) = (_mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, hi), _mm512_cmp_ps_mask::<_CMP_LE_OQ>(x, lo));
                    _mm512_storeu_ps(out.as_mut_ptr(), _mm512_maskz_mov_ps(!(above | below), g));
                    let (g0, g1) = (_mm512_cvtps_pd(_mm512_castps512_ps256(g)), _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(g)));
                    sums[0] = _mm512_mask_add_pd(sums[0], above as u8, sums[0], g0);
                    sums[1] = _mm512_mask_add_pd(sums[1], (above >> 8) as u8, sums[1], g1);
                    if SYMMETRIC {
                        sums[2] = _mm512_mask_add_pd(sums[2], below as u8, sums[2], g0);
                        sums[3] = _mm512_mask_add_pd(sums[3], (below >> 8) as u8, sums[3], g1);
                    }
                }
            }
            let [a, b, c, d] = sums;
            [_mm512_reduce_add_pd(_mm512_add_pd(a, b)) - _mm512_reduce_add_pd(_mm512_add_pd(c, d)), 0.0]
        }
        fn fake_quantize_avx2<ZERO_POINT>("avx2,fma", x, gradient, scale, out) {
            let (s, [high, low]) = (_mm256_set1_ps(scale), reciprocal(scale).map(|part| _mm256_set1_ps(part)));
            let (lo, hi, sign) = (_mm256_set1_ps(-127.0), _mm256_set1_ps(127.0), _mm256_set1_ps(-0.0));
            let mut sums = [_mm256_setzero_pd(); 4];
            for ((x, g), out) in x.as_chunks::<8>().0.iter().zip(gradient.as_chunks::<8>().0).zip(out.as_chunks_mut::<8>().0) {
                // SAFETY: eight numbers may be read of each, and as many written.
                unsafe {
                    let (x, g) = (_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(g.as_ptr()));
                    let q = _mm256_round_ps::<ROUND>(_mm256_fmadd_ps(x, high, _mm256_mul_ps(x, low)));
                    let c = _mm256_min_ps(_mm256_max_ps(q, lo), hi);
                    let within = _mm256_cmp_ps::<_CMP_EQ_OQ>(q, c);
                    let e = _mm256_sub_ps(_mm256_mul_ps(c, s), _mm256_and_ps(within, x));
                    _mm256_storeu_ps(out.as_mut_ptr(), _mm256_and_ps(_mm256_or_ps(within, sign), g));
                    sums[0] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(g)), _mm256_cvtps_pd(_mm256_castps256_ps128(e)), sums[0]);
                    sums[1] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_extractf128_ps::<1>(g)), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(e)), sums[1]);
                    if ZERO_POINT {
                        let beyond = _mm256_andnot_ps(within, g);
                        sums[2] = _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(beyond)), sums[2]);
                        sums[3] = _mm256_add_pd(_mm256_cvtps_pd(_mm256_extractf128_ps::<1>(beyond)), sums[3]);
                    }
                }
            }
            let scale = f64::from(scale);
            [sum(_mm256_add_pd(sums[0], sums[1])) / scale, -scale * sum(_mm256_add_pd(sums[2], sums[3]))]
        }
        fn clip_avx2<SYMMETRIC>("avx2,fma", x, gradient, bound, out) {
            let (lo, hi) = (_mm256_set1_ps(if SYMMETRIC { -bound } else { 0.0 }), _mm256_set1_ps(bound));
            let sign = _mm256_set1_ps(-0.0);
            let mut sums = [_mm256_setzero_pd(); 2];
            for ((x, g), out) in x.as_chunks::<8>().0.iter().zip(gradient.as_chunks::<8>().0).zip(out.as_chunks_mut::<8>().0) {
                // SAFETY: eight numbers may be read of each, and as many written.
                unsafe {
                    let (x, g) = (_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(g.as_ptr()));
                    let (above, below) = (_mm256_cmp_ps::<_CMP_GE_OQ>(x, hi), _mm256_cmp_ps::<_CMP_LE_OQ>(x, lo));
                    let beyond = _mm256_or_ps(above, below);
                    _mm256_storeu_ps(out.as_mut_ptr(), _mm256_andnot_ps(beyond, g));
                    let term = if SYMMETRIC {
                        _mm256_xor_ps(_mm256_and_ps(beyond, g), _mm256_and_ps(below, sign))
                    } else {
                        _mm256_and_ps(above, g)
                    };
                    sums[0] = _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(term)), sums[0]);
                    sums[1] = _mm256_add_pd(_mm256_cvtps_pd(_mm256_extractf128_ps::<1>(term)), sums[1]);
                }
            }
            [sum(_mm256_add_pd(sums[0], sums[1])), 0.0]
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn sum(x: __m256d) -> f64 {
        let pair = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
        _mm_cvtsd_f64(_mm_add_pd(pair, _mm_unpackhi_pd(pair, pair)))
    }
}

/// No hand loops: they are written for x86-64.
#[cfg(not(target_arch = "x86_64"))]
mod hand {
    pub fn available() -> bool {
        false
    }
    macro_rules! none {
        ($($name:ident),*) => { $(
            pub fn $name<const FLAG: bool>(_: &[f32], _: &[f32], _: f32, _: &mut [f32]) -> [f64; 2] {
                unreachable!("not available")
            }
        )* };
    }
    none!(fake_quantize_avx512, clip_avx512, fake_quantize_avx2, clip_avx2);
}
