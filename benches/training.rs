//! The backward pass of training beside hand loops of intrinsics, in turns: what one run says of two loops does not depend on the
//! clock rate that another run had.
//!
//! ```sh
//! cargo bench -p zeropoint-benches --bench training              # all operations
//! cargo bench -p zeropoint-benches --bench training -- clip      # those whose name has this in it
//! ```
//!
//! A hand loop makes the same gradients, bit for bit, and sums in f64, with the scales of the same groups, rounded to nearest;
//! beside stochastic rounding the ratio tells what that costs. It knows no zero points but their gradients, no NaN, no gradient
//! that is not finite and no scale without a reciprocal. It has as many sums of a group as the rule has slots, sixteen, but knows no
//! chunks. After it was measured, its results are compared with the kernel's: sums of groups that are no longer than a chunk have
//! the same bits.

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

/// Which elements have a scale in common.
#[derive(Clone, Copy)]
enum Groups {
    /// So many elements that follow each other.
    Runs(usize),
    /// The elements of a column of so many rows; then come other rows, with other scales.
    Columns { columns: usize, rows: usize },
}

/// The scales of groups, with their reciprocals in two parts: a little below the reciprocal, and what is missing. A product with
/// both rounds to the same code as the quotient.
struct Scales {
    groups: Groups,
    scale: Vec<f32>,
    reciprocal: [Vec<f32>; 2],
}

impl Scales {
    fn new(groups: Groups, scale: &[f32]) -> Self {
        let high = |scale: f32| (1.0 / scale).next_down();
        let low = |scale: f32| ((1.0 - f64::from(scale) * f64::from(high(scale))) / f64::from(scale)) as f32;
        let reciprocal =
            [scale.iter().map(|&scale| high(scale)).collect(), scale.iter().map(|&scale| low(scale)).collect()];
        Scales { groups, scale: scale.to_vec(), reciprocal }
    }
}

/// The loops for `avx2` and `avx512`.
type ByIsa<L> = [L; 2];

/// A loop of intrinsics from x, gradients and scales to gradients of x, of scales and of zero points.
type OfScales = fn(&[f32], &[f32], &Scales, &mut [f32], &mut [Vec<f64>; 2]);

/// A loop of intrinsics from x, gradients and a bound to gradients of x, and that of the bound.
type OfBound = fn(&[f32], &[f32], f32, &mut [f32]) -> f64;

/// The loop for an ISA.
fn of_isa<L: Copy>([avx2, avx512]: ByIsa<L>, isa: Isa) -> L {
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
        ("tensor", Granularity::Tensor, Groups::Runs(length)),
        ("row", Granularity::channel(&shape, 0).unwrap(), Groups::Runs(ROW)),
        ("column", Granularity::channel(&shape, 1).unwrap(), Groups::Columns { columns: ROW, rows: usize::MAX }),
        (
            "column of 16",
            Granularity::channel(&[length / 16, 16], 1).unwrap(),
            Groups::Columns { columns: 16, rows: usize::MAX },
        ),
        ("block of 32", Granularity::block(&shape, 32).unwrap(), Groups::Runs(32)),
        ("block of 128", Granularity::block(&shape, 128).unwrap(), Groups::Runs(128)),
        (
            "block of 32 rows",
            Granularity::block_along(&shape, 0, 32).unwrap(),
            Groups::Columns { columns: ROW, rows: 32 },
        ),
    ];
    for (of, granularity, groups) in granularities {
        let params = params(granularity, length);
        let in_a_chunk = matches!(groups, Groups::Runs(length) if length <= ROW);
        let hand_scales = Scales::new(groups, params.scales());
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
            let mut of_hand = [(); 2].map(|()| vec![0.0; groups]);
            let loops: ByIsa<OfScales> = if with_zero_points {
                [hand::fake_quantize_avx2::<true>, hand::fake_quantize_avx512::<true>]
            } else {
                [hand::fake_quantize_avx2::<false>, hand::fake_quantize_avx512::<false>]
            };
            let mut hand = |isa| of_isa(loops, isa)(&x, &gradient, &hand_scales, &mut hand_out, &mut of_hand);
            Case { name: &name, kernel: &mut kernel, hand: &mut hand }.measure(length, test);
            let nearest = rounding == Rounding::Nearest;
            check((&out, nearest.then_some(&scales)), (&hand_out, &of_hand[0]), in_a_chunk);
            check((&out, with_zero_points.then_some(&zero_points)), (&hand_out, &of_hand[1]), in_a_chunk);
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
        let mut of_hand = 0.0;
        let loops: ByIsa<OfBound> = if clip.is_symmetric() {
            [hand::clip_avx2::<true>, hand::clip_avx512::<true>]
        } else {
            [hand::clip_avx2::<false>, hand::clip_avx512::<false>]
        };
        let mut hand = |isa| of_hand = of_isa(loops, isa)(&x, &gradient, BOUND, &mut hand_out);
        Case { name, kernel: &mut kernel, hand: &mut hand }.measure(length, test);
        check((&out, Some(&bound)), (&hand_out, &[of_hand]), false);
    }
}

/// Stops unless both have the same gradients of x, and, if there are any, the same sums, or but for their order: then they did the
/// same work.
fn check((x, sums): (&[f32], Option<&[f64]>), (hand_x, hand_sums): (&[f32], &[f64]), same_order: bool) {
    let same = x.iter().zip(hand_x).all(|(x, hand)| x.to_bits() == hand.to_bits());
    assert!(same, "the hand loop has other gradients");
    for (group, (sum, hand)) in sums.into_iter().flatten().zip(hand_sums).enumerate() {
        let tolerance = if same_order { 0.0 } else { 1e-9 * (x.len() / hand_sums.len()) as f64 };
        let close = (sum - hand).abs() <= tolerance;
        assert!(close, "the hand loop has the sum {hand} of group {group}, not {sum}");
    }
}

/// Loops of intrinsics, as fast as they can be written for one operation.
#[cfg(target_arch = "x86_64")]
mod hand {
    use core::arch::x86_64::*;
    use core::ops::Range;

    use super::{Groups, Scales};

    pub fn available() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
    }

    /// Rows of which the scales and sums of a vector of columns are read and written once.
    const ROWS: usize = 2;

    const ROUND: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    /// Loops over elements of which sixteen are computed by `$step`, from and to vectors of scales and sums.
    macro_rules! of_scales {
        ($name:ident, $features:literal, $vector:ty, $sums:ty, $splat:ident, $load:ident, $zero:ident, $step:ident, $sum:ident, $load_sums:ident, $store_sums:ident) => {
            pub fn $name<const ZERO_POINT: bool>(
                x: &[f32],
                gradient: &[f32],
                scales: &Scales,
                out: &mut [f32],
                sums: &mut [Vec<f64>; 2],
            ) {
                /// Every run of VECTORS vectors, or of any number if that is 0.
                #[target_feature(enable = $features)]
                fn runs<const ZERO_POINT: bool, const VECTORS: usize>(
                    x: &[[f32; 16]],
                    gradient: &[[f32; 16]],
                    scales: &Scales,
                    out: &mut [[f32; 16]],
                    [of_scales, of_zero_points]: &mut [Vec<f64>; 2],
                    vectors: usize,
                ) {
                    let vectors = if VECTORS > 0 { VECTORS } else { vectors };
                    let runs =
                        x.chunks_exact(vectors).zip(gradient.chunks_exact(vectors)).zip(out.chunks_exact_mut(vectors));
                    let parameters = scales.scale.iter().zip(&scales.reciprocal[0]).zip(&scales.reciprocal[1]);
                    let sums = of_scales.iter_mut().zip(of_zero_points);
                    for ((((x, gradient), out), ((scale, high), low)), sums) in runs.zip(parameters).zip(sums) {
                        let vectors: [$vector; 3] = [$splat(*scale), $splat(*high), $splat(*low)];
                        let mut lanes: [$sums; 4] = [$zero(); 4];
                        for ((x, gradient), out) in x.iter().zip(gradient).zip(out) {
                            $step::<ZERO_POINT>(x, gradient, vectors, out, &mut lanes);
                        }
                        let [a, b, c, d] = lanes;
                        let scale = f64::from(*scale);
                        *sums.0 = $sum(a, b) / scale;
                        if ZERO_POINT {
                            *sums.1 = -scale * $sum(c, d);
                        }
                    }
                }
                /// Every column of a band of rows.
                #[target_feature(enable = $features)]
                fn columns<const ZERO_POINT: bool>(
                    x: &[[f32; 16]],
                    gradient: &[[f32; 16]],
                    scales: &Scales,
                    out: &mut [[f32; 16]],
                    sums: &mut [Vec<f64>; 2],
                    groups: Range<usize>,
                ) {
                    let columns = groups.len();
                    let [of_scales, of_zero_points] = sums.each_mut().map(|sums| &mut sums[groups.clone()]);
                    let scale = &scales.scale[groups.clone()];
                    let [high, low] = scales.reciprocal.each_ref().map(|part| &part[groups.clone()]);
                    of_scales.fill(0.0);
                    of_zero_points.fill(0.0);
                    let (rows, vectors) = (if columns == 16 { usize::MAX } else { ROWS }, columns / 16);
                    let band = rows.saturating_mul(vectors);
                    let bands = x.chunks(band).zip(gradient.chunks(band)).zip(out.chunks_mut(band));
                    for ((x, gradient), out) in bands {
                        let parameters = scale.as_chunks().0.iter().zip(high.as_chunks().0).zip(low.as_chunks().0);
                        let sums = of_scales.as_chunks_mut().0.iter_mut().zip(of_zero_points.as_chunks_mut().0);
                        for (j, (((scale, high), low), sums)) in parameters.zip(sums).enumerate() {
                            let parameters: [$vector; 3] = [$load(scale), $load(high), $load(low)];
                            let mut lanes: [$sums; 4] = [$zero(); 4];
                            [lanes[0], lanes[1]] = $load_sums(sums.0);
                            if ZERO_POINT {
                                [lanes[2], lanes[3]] = $load_sums(sums.1);
                            }
                            let mut i = j;
                            while let (Some(x), Some(gradient), Some(out)) = (x.get(i), gradient.get(i), out.get_mut(i))
                            {
                                $step::<ZERO_POINT>(x, gradient, parameters, out, &mut lanes);
                                i += vectors;
                            }
                            $store_sums([lanes[0], lanes[1]], sums.0);
                            if ZERO_POINT {
                                $store_sums([lanes[2], lanes[3]], sums.1);
                            }
                        }
                    }
                    for ((of_scale, of_zero_point), scale) in of_scales.iter_mut().zip(of_zero_points).zip(scale) {
                        *of_scale /= f64::from(*scale);
                        *of_zero_point *= -f64::from(*scale);
                    }
                }
                assert!(available());
                let (x, gradient, out) = (x.as_chunks().0, gradient.as_chunks().0, out.as_chunks_mut().0);
                // SAFETY: the CPU has the features, as just checked.
                unsafe {
                    match scales.groups {
                        Groups::Runs(32) => runs::<ZERO_POINT, { 32 / 16 }>(x, gradient, scales, out, sums, 0),
                        Groups::Runs(128) => runs::<ZERO_POINT, { 128 / 16 }>(x, gradient, scales, out, sums, 0),
                        Groups::Runs(length) => runs::<ZERO_POINT, 0>(x, gradient, scales, out, sums, length / 16),
                        Groups::Columns { columns: count, rows } => {
                            let band = rows.saturating_mul(count / 16);
                            let bands = x.chunks(band).zip(gradient.chunks(band)).zip(out.chunks_mut(band));
                            for (band, ((x, gradient), out)) in bands.enumerate() {
                                columns::<ZERO_POINT>(x, gradient, scales, out, sums, band * count..(band + 1) * count);
                            }
                        }
                    }
                }
            }
        };
    }

    of_scales!(
        fake_quantize_avx512,
        "avx512f,avx512dq",
        __m512,
        __m512d,
        _mm512_set1_ps,
        load_512,
        _mm512_setzero_pd,
        step_512,
        sum_512,
        load_sums_512,
        store_sums_512
    );
    of_scales!(
        fake_quantize_avx2,
        "avx2,fma",
        [__m256; 2],
        [__m256d; 2],
        splat_256,
        load_256,
        zero_256,
        step_256,
        sum_256,
        load_sums_256,
        store_sums_256
    );

    macro_rules! inlined {
        ($($features:literal: fn $name:ident $(<$FLAG:ident>)? ($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => { $(
            #[inline]
            #[target_feature(enable = $features)]
            fn $name $(<const $FLAG: bool>)? ($($argument: $type),*) $(-> $result)? $body
        )* };
    }

    // ZERO_POINT: whether zero points have a gradient.
    inlined! {
        "avx512f,avx512dq": fn load_512(x: &[f32; 16]) -> __m512 {
            // SAFETY: sixteen numbers may be read.
            unsafe { _mm512_loadu_ps(x.as_ptr()) }
        }
        "avx512f,avx512dq": fn load_sums_512(sums: &[f64; 16]) -> [__m512d; 2] {
            // SAFETY: sixteen numbers may be read.
            unsafe { [_mm512_loadu_pd(sums.as_ptr()), _mm512_loadu_pd(sums.as_ptr().add(8))] }
        }
        "avx512f,avx512dq": fn store_sums_512(lanes: [__m512d; 2], sums: &mut [f64; 16]) {
            // SAFETY: sixteen numbers may be written.
            unsafe {
                _mm512_storeu_pd(sums.as_mut_ptr(), lanes[0]);
                _mm512_storeu_pd(sums.as_mut_ptr().add(8), lanes[1]);
            }
        }
        "avx512f,avx512dq": fn sum_512(a: __m512d, b: __m512d) -> f64 {
            _mm512_reduce_add_pd(_mm512_add_pd(a, b))
        }
        "avx512f,avx512dq": fn step_512<ZERO_POINT>(x: &[f32; 16], g: &[f32; 16], parameters: [__m512; 3], out: &mut [f32; 16], sums: &mut [__m512d; 4]) {
            let [scale, high, low] = parameters;
            let (lo, hi, sign) = (_mm512_set1_ps(-127.0), _mm512_set1_ps(127.0), _mm512_set1_ps(-0.0));
            let (x, g) = (load_512(x), load_512(g));
            let q = _mm512_roundscale_ps::<ROUND>(_mm512_fmadd_ps(x, high, _mm512_mul_ps(x, low)));
            let c = _mm512_min_ps(_mm512_max_ps(q, lo), hi);
            let within = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(q, c);
            let y = _mm512_mul_ps(c, scale);
            let e = _mm512_mask_sub_ps(y, within, y, x);
            // SAFETY: sixteen numbers may be written.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), _mm512_mask_and_ps(g, !within, g, sign)) }
            let (g0, g1) = (_mm512_cvtps_pd(_mm512_castps512_ps256(g)), _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(g)));
            sums[0] = _mm512_fmadd_pd(g0, _mm512_cvtps_pd(_mm512_castps512_ps256(e)), sums[0]);
            sums[1] = _mm512_fmadd_pd(g1, _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(e)), sums[1]);
            if ZERO_POINT {
                sums[2] = _mm512_mask_add_pd(sums[2], !within as u8, sums[2], g0);
                sums[3] = _mm512_mask_add_pd(sums[3], (!within >> 8) as u8, sums[3], g1);
            }
        }
        "avx2,fma": fn load_256(x: &[f32; 16]) -> [__m256; 2] {
            // SAFETY: sixteen numbers may be read.
            unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))] }
        }
        "avx2,fma": fn splat_256(x: f32) -> [__m256; 2] {
            [_mm256_set1_ps(x); 2]
        }
        "avx2,fma": fn zero_256() -> [__m256d; 2] {
            [_mm256_setzero_pd(); 2]
        }
        "avx2,fma": fn load_sums_256(sums: &[f64; 16]) -> [[__m256d; 2]; 2] {
            let sums = sums.as_ptr();
            // SAFETY: sixteen numbers may be read.
            unsafe {
                [[_mm256_loadu_pd(sums), _mm256_loadu_pd(sums.add(4))], [_mm256_loadu_pd(sums.add(8)), _mm256_loadu_pd(sums.add(12))]]
            }
        }
        "avx2,fma": fn store_sums_256(lanes: [[__m256d; 2]; 2], sums: &mut [f64; 16]) {
            let sums = sums.as_mut_ptr();
            // SAFETY: sixteen numbers may be written.
            unsafe {
                _mm256_storeu_pd(sums, lanes[0][0]);
                _mm256_storeu_pd(sums.add(4), lanes[0][1]);
                _mm256_storeu_pd(sums.add(8), lanes[1][0]);
                _mm256_storeu_pd(sums.add(12), lanes[1][1]);
            }
        }
        "avx2,fma": fn sum_four(sum: __m256d) -> f64 {
            let pair = _mm_add_pd(_mm256_castpd256_pd128(sum), _mm256_extractf128_pd::<1>(sum));
            _mm_cvtsd_f64(_mm_add_pd(pair, _mm_unpackhi_pd(pair, pair)))
        }
        "avx2,fma": fn sum_256(a: [__m256d; 2], b: [__m256d; 2]) -> f64 {
            sum_four(_mm256_add_pd(_mm256_add_pd(a[0], b[0]), _mm256_add_pd(a[1], b[1])))
        }
        "avx2,fma": fn step_256<ZERO_POINT>(x: &[f32; 16], g: &[f32; 16], parameters: [[__m256; 2]; 3], out: &mut [f32; 16], sums: &mut [[__m256d; 2]; 4]) {
            let [scale, high, low] = parameters;
            let (lo, hi, sign) = (_mm256_set1_ps(-127.0), _mm256_set1_ps(127.0), _mm256_set1_ps(-0.0));
            let (x, g) = (load_256(x), load_256(g));
            for h in 0..2 {
                let (x, g) = (x[h], g[h]);
                let q = _mm256_round_ps::<ROUND>(_mm256_fmadd_ps(x, high[h], _mm256_mul_ps(x, low[h])));
                let c = _mm256_min_ps(_mm256_max_ps(q, lo), hi);
                let within = _mm256_cmp_ps::<_CMP_EQ_OQ>(q, c);
                let e = _mm256_sub_ps(_mm256_mul_ps(c, scale[h]), _mm256_and_ps(within, x));
                // SAFETY: eight of sixteen numbers may be written.
                unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(8 * h), _mm256_and_ps(_mm256_or_ps(within, sign), g)) }
                let (of_scale, of_zero_point) = sums.split_at_mut(2);
                let widen = |x| [_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(x))];
                let (g2, e2) = (widen(g), widen(e));
                for q in 0..2 {
                    of_scale[h][q] = _mm256_fmadd_pd(g2[q], e2[q], of_scale[h][q]);
                }
                if ZERO_POINT {
                    let beyond = widen(_mm256_andnot_ps(within, g));
                    for q in 0..2 {
                        of_zero_point[h][q] = _mm256_add_pd(beyond[q], of_zero_point[h][q]);
                    }
                }
            }
        }
    }

    macro_rules! checked {
        ($(fn $name:ident<$FLAG:ident>($features:literal, $x:ident, $gradient:ident, $parameter:ident, $out:ident) $body:block)*) => { $(
            pub fn $name<const $FLAG: bool>($x: &[f32], $gradient: &[f32], $parameter: f32, $out: &mut [f32]) -> f64 {
                #[target_feature(enable = $features)]
                fn run<const $FLAG: bool>($x: &[f32], $gradient: &[f32], $parameter: f32, $out: &mut [f32]) -> f64 $body
                assert!(available() && $x.len() == $gradient.len() && $x.len() == $out.len());
                // SAFETY: as just checked.
                unsafe { run::<$FLAG>($x, $gradient, $parameter, $out) }
            }
        )* };
    }

    checked! {
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
            _mm512_reduce_add_pd(_mm512_add_pd(a, b)) - _mm512_reduce_add_pd(_mm512_add_pd(c, d))
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
            sum_four(_mm256_add_pd(sums[0], sums[1]))
        }
    }
}

/// No hand loops: they are written for x86-64.
#[cfg(not(target_arch = "x86_64"))]
mod hand {
    use super::Scales;

    pub fn available() -> bool {
        false
    }
    macro_rules! none {
        ($($name:ident($parameter:ty $(, $sums:ty)?) -> $result:ty),*) => { $(
            pub fn $name<const FLAG: bool>(_: &[f32], _: &[f32], _: $parameter, _: &mut [f32] $(, _: $sums)?) -> $result {
                unreachable!("not available")
            }
        )* };
    }
    none!(
        fake_quantize_avx512(&Scales, &mut [Vec<f64>; 2]) -> (),
        fake_quantize_avx2(&Scales, &mut [Vec<f64>; 2]) -> (),
        clip_avx512(f32) -> f64,
        clip_avx2(f32) -> f64
    );
}
