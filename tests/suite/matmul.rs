//! The integer matmul equals its formula on every ISA: all sign pairs, full code ranges, any zero points, any shape.

use crate::common::{codes, every_isa, part, requantized, zero_points};
use proptest::prelude::*;
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    Accumulators, ByteCode, Isa, Matrix, MatrixMut, PackedMatrix, Requantize, Rhs, Rule, Stage, UnpackedMatrix, raw,
    reference,
};

/// Operands of a multiplication, rows of A and of the result further apart than they are long.
#[derive(Debug, Clone)]
struct Case<A, B> {
    m: usize,
    n: usize,
    k: usize,
    a_gap: usize,
    a: Vec<A>,
    b: Vec<B>,
    a_zero_points: Vec<i32>,
    b_zero_points: Vec<i32>,
    bias: Vec<i32>,
}

fn cases<A: ByteCode + Arbitrary, B: ByteCode + Arbitrary>() -> impl Strategy<Value = Case<A, B>> {
    let sizes = prop_oneof![
        4 => (0_usize..20, 0_usize..60, 0_usize..70),
        1 => (Just(1_usize), 0_usize..130, 0_usize..300),
        1 => (0_usize..40, Just(1_usize), 0_usize..300),
        1 => (1_usize..5, 1_usize..5, Just(0_usize)),
    ];
    (sizes, 0_usize..5).prop_flat_map(|((m, n, k), a_gap)| {
        let one_or_each = |count: usize| prop_oneof![Just(1), Just(count.max(1))];
        (
            prop::collection::vec(codes::<A>(), m * (k + a_gap)),
            prop::collection::vec(codes::<B>(), k * n),
            one_or_each(m).prop_flat_map(|count| prop::collection::vec(zero_points::<A>(), count)),
            one_or_each(n).prop_flat_map(|count| prop::collection::vec(zero_points::<B>(), count)),
            prop::collection::vec(prop_oneof![Just(0), -1_000_000..1_000_000], n),
        )
            .prop_map(move |(a, b, a_zero_points, b_zero_points, bias)| Case {
                m,
                n,
                k,
                a_gap,
                a,
                b,
                a_zero_points,
                b_zero_points,
                bias,
            })
    })
}

/// One zero point stands for all.
fn of(zero_points: &[i32], count: usize) -> raw::ZeroPoints<'_> {
    if zero_points.len() == 1 && count != 1 { zero_points[0].into() } else { zero_points[..count].into() }
}

impl<A: ByteCode, B: ByteCode> Case<A, B> {
    fn a(&self) -> Matrix<'_, A> {
        Matrix::with_stride(&self.a, self.m, self.k, self.k + self.a_gap).unwrap()
    }

    fn a_zero_points(&self) -> raw::ZeroPoints<'_> {
        of(&self.a_zero_points, self.m)
    }

    fn accumulators(&self) -> Vec<i32> {
        let b = Matrix::new(&self.b, self.k, self.n).unwrap();
        let zero_points = of(&self.b_zero_points, self.n);
        let sums = reference::matmul(self.a(), self.a_zero_points(), b, zero_points, Some(&self.bias));
        sums.into_iter().map(|sum| i32::try_from(sum).unwrap()).collect()
    }

    /// B packed from both of its forms.
    fn packed(&self, isa: Isa) -> [PackedMatrix<A, B>; 2] {
        let (n, k) = (self.n, self.k);
        let zero_points = of(&self.b_zero_points, n);
        [
            raw::pack(isa, Matrix::new(&self.b, k, n).unwrap(), zero_points).unwrap(),
            raw::pack_transposed(isa, Matrix::new(&self.transposed(), n, k).unwrap(), zero_points).unwrap(),
        ]
        .map(|packed| packed.with_accumulator_bias(&self.bias).unwrap())
    }

    fn transposed(&self) -> Vec<B> {
        (0..self.n * self.k).map(|i| self.b[i % self.k * self.n + i / self.k]).collect()
    }

    /// B as it lies, in both of its forms.
    fn unpacked<'a>(&'a self, isa: Isa, transposed: &'a [B]) -> [UnpackedMatrix<'a, A, B>; 2] {
        let (n, k) = (self.n, self.k);
        let zero_points = of(&self.b_zero_points, n);
        [
            raw::unpacked(isa, Matrix::new(&self.b, k, n).unwrap(), zero_points).unwrap(),
            raw::unpacked_transposed(isa, Matrix::new(transposed, n, k).unwrap(), zero_points).unwrap(),
        ]
        .map(|unpacked| unpacked.with_accumulator_bias(&self.bias).unwrap())
    }

    /// The result of a stage, row after row; what lies between the rows is not touched.
    fn run<S: Stage>(&self, isa: Isa, b: &impl Rhs<A>, stage: &S, canary: S::Element) -> Vec<S::Element>
    where
        S::Element: PartialEq + std::fmt::Debug,
    {
        let stride = self.n + 3;
        let mut out = vec![canary; self.m * stride];
        let c = MatrixMut::with_stride(&mut out, self.m, self.n, stride).unwrap();
        raw::matmul(isa, self.a(), self.a_zero_points(), b, stage, c).unwrap();
        let rows = out.chunks_exact(stride);
        rows.flat_map(|row| {
            assert!(row[self.n..].iter().all(|&x| x == canary), "wrote between the rows");
            row[..self.n].iter().copied()
        })
        .collect()
    }

    fn accumulators_equal_reference(&self) {
        let want = self.accumulators();
        every_isa(|isa| {
            for packed in self.packed(isa) {
                assert_eq!(self.run(isa, &packed, &Accumulators, i32::MIN), want, "{isa}");
            }
            for unpacked in self.unpacked(isa, &self.transposed()) {
                assert_eq!(self.run(isa, &unpacked, &Accumulators, i32::MIN), want, "unpacked {isa}");
            }
        });
    }
}

proptest! {
    #![proptest_config(crate::common::cases(400))]

    #[test]
    fn u8_by_i8(case in cases::<u8, i8>()) {
        case.accumulators_equal_reference();
    }

    #[test]
    fn u8_by_u8(case in cases::<u8, u8>()) {
        case.accumulators_equal_reference();
    }

    #[test]
    fn i8_by_i8(case in cases::<i8, i8>()) {
        case.accumulators_equal_reference();
    }

    #[test]
    fn i8_by_u8(case in cases::<i8, u8>()) {
        case.accumulators_equal_reference();
    }

    #[test]
    fn stages(
        case in cases::<u8, i8>(),
        // Above 1/2, a product is rounded in another way: once or never among the columns.
        exponents in prop_oneof![prop::collection::vec(-20.0_f64..2.0, 60), prop::collection::vec(-20.0_f64..-1.0, 60)],
        (zero_point, bounds) in (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(z, a, b)| (z.into(), (a.min(b), a.max(b)))),
        float_bias in any::<bool>(),
    ) {
        let n = case.n.min(60);
        prop_assume!(n == case.n && n > 0);
        let multipliers: Vec<f64> = exponents[..n].iter().map(|e| e.exp2()).collect();
        let shifts: Vec<u32> = exponents[..n].iter().map(|e| e.abs().floor() as u32).collect();
        let powers: Vec<f64> = shifts.iter().map(|&s| 0.5_f64.powi(s as i32)).collect();
        let weight_scales: Vec<f32> = multipliers.iter().map(|&m| m as f32).collect();
        let row_scales: Vec<f32> = (0..case.m).map(|i| 0.3 + i as f32 * 0.01).collect();
        let bias: Vec<f32> = weight_scales.iter().map(|s| s * 3.7 - 1.0).collect();
        let bias = float_bias.then_some(&bias[..]);
        let accumulators = case.accumulators();
        let each = |f: &dyn Fn(usize, usize, i32) -> u8| -> Vec<u8> {
            accumulators.iter().enumerate().map(|(i, &acc)| f(i / n, i % n, acc)).collect()
        };
        let float = each(&|_, j, acc| reference::saturate(reference::float_product(acc, multipliers[j]), zero_point, bounds));
        let fixed = each(&|_, j, acc| reference::saturate(reference::fixed_point_product(acc, multipliers[j]), zero_point, bounds));
        let half_away = each(&|_, j, acc| reference::saturate(reference::half_away_product(acc, multipliers[j]), zero_point, bounds));
        let gemmlowp = each(&|_, j, acc| reference::saturate(reference::gemmlowp_product(acc, multipliers[j]), zero_point, bounds));
        let shift = each(&|_, j, acc| reference::saturate(reference::shift_product(acc, shifts[j]), zero_point, bounds));
        let dequantized: Vec<u32> = accumulators.iter().enumerate().map(|(i, &acc)| {
            let (i, j) = (i / n, i % n);
            reference::dequantize_accumulator(acc, row_scales[i], weight_scales[j], bias.map(|bias| bias[j])).to_bits()
        }).collect();
        every_isa(|isa| {
            let [packed, _] = case.packed(isa);
            assert_eq!(run_requantized(isa, &case, &packed, (Rule::Float, &multipliers), zero_point, bounds), float, "float {isa}");
            assert_eq!(run_requantized(isa, &case, &packed, (Rule::FixedPoint, &multipliers), zero_point, bounds), fixed, "fixed {isa}");
            for unpacked in case.unpacked(isa, &case.transposed()) {
                assert_eq!(run_requantized(isa, &case, &unpacked, (Rule::FixedPoint, &multipliers), zero_point, bounds), fixed, "unpacked {isa}");
            }
            assert_eq!(run_requantized(isa, &case, &packed, (Rule::HalfAway, &multipliers), zero_point, bounds), half_away, "half away {isa}");
            assert_eq!(run_requantized(isa, &case, &packed, (Rule::Gemmlowp, &multipliers), zero_point, bounds), gemmlowp, "gemmlowp {isa}");
            assert_eq!(run_requantized(isa, &case, &packed, (Rule::Shift, &powers), zero_point, bounds), shift, "shift {isa}");
            let columns = raw::DequantizeColumns::new(&weight_scales, bias).unwrap();
            if case.m > 0 {
                let out = case.run(isa, &packed, &columns.rows(&row_scales).unwrap(), f32::INFINITY);
                assert_eq!(crate::common::bits(&out), dequantized, "dequantize {isa}");
            }
        });
    }
}

fn run_requantized(
    isa: Isa,
    case: &Case<u8, i8>,
    packed: &impl Rhs<u8>,
    (rule, multipliers): (Rule, &[f64]),
    zero_point: i32,
    (min, max): (u8, u8),
) -> Vec<u8> {
    case.run(isa, packed, &raw::requantize(rule, multipliers, zero_point, min..=max).unwrap(), 77)
}

/// Calls `check::<A, B>($arguments)` for all four sign pairs.
macro_rules! sign_pairs {
    ($check:ident($($argument:expr),*)) => {
        $check::<u8, i8>($($argument),*);
        $check::<u8, u8>($($argument),*);
        $check::<i8, i8>($($argument),*);
        $check::<i8, u8>($($argument),*);
    };
}

/// Operands without gaps, one zero point each, no bias.
fn plain<A: ByteCode, B: ByteCode>([m, n, k]: [usize; 3], a: Vec<A>, b: Vec<B>, zero_points: [i32; 2]) -> Case<A, B> {
    let [a_zero_points, b_zero_points] = zero_points.map(|zero_point| vec![zero_point]);
    Case { m, n, k, a_gap: 0, a, b, a_zero_points, b_zero_points, bias: vec![0; n] }
}

/// Every tile size of every kernel, at the extremes where 16-bit saturation would show.
#[test]
fn every_tile_size_at_the_extremes() {
    fn check<A: ByteCode, B: ByteCode>(m: usize, n: usize) {
        let k = 9 + m;
        for (a, b) in [(A::MIN, B::MIN), (A::MIN, B::MAX), (A::MAX, B::MIN), (A::MAX, B::MAX)] {
            let zero_points = [A::MAX.into(), B::MIN.into()];
            plain([m, n, k], vec![a; m * k], vec![b; k * n], zero_points).accumulators_equal_reference();
        }
    }
    for m in 1..=17 {
        for n in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 97] {
            sign_pairs!(check(m, n));
        }
    }
}

/// Shapes that are divided: rows in blocks for the cache, in place and copied, because of their distance or their end;
/// columns in panels; B in stripes.
#[test]
fn divided_shapes() {
    let shapes = [
        // Too many rows for a block, with a last one that ends the matrix within a step.
        ([150, 20, 9001], 0),
        // Rows whose distance is that of the sets of a cache.
        ([19, 260, 1024], 0),
        ([19, 260, 1000], 24),
        // A single tile, of many stripes and panels.
        ([5, 300, 1001], 3),
        // Rows of B whose distance is that of the sets of a cache.
        ([3, 1024, 101], 0),
        // Panels that are packed in groups.
        ([33, 300, 20_000], 0),
        // B beyond the level-2 cache, read in place in lower slices: of rows whose distance is that of the sets of a cache, for a
        // tile and for more rows.
        ([9, 4096, 530], 0),
        ([2, 4100, 531], 0),
        ([13, 4100, 531], 0),
    ];
    for ([m, n, k], a_gap) in part(shapes) {
        let a = (0..m * (k + a_gap)).map(|i| ((i * 2_654_435_761) >> 9) as u8).collect();
        let b = (0..k * n).map(|i| ((i * 2_246_822_519) >> 11) as i8).collect();
        let a_zero_points = (0..m as i32).map(|i| i % 256).collect();
        let b_zero_points = (0..n as i32).map(|j| j % 256 - 128).collect();
        Case::<u8, i8> { m, n, k, a_gap, a, b, a_zero_points, b_zero_points, bias: vec![7; n] }
            .accumulators_equal_reference();
    }
}

/// All 65 536 pairs of codes of all four sign pairs, in one product.
#[test]
fn every_pair_of_codes() {
    fn check<A: ByteCode, B: ByteCode>() {
        let a = (0..=255_i32).map(|code| A::try_from(code + A::MIN.into()).ok().unwrap()).collect();
        let b = (0..=255_i32).map(|code| B::try_from(code + B::MIN.into()).ok().unwrap()).collect();
        plain::<A, B>([256, 256, 1], a, b, [0, 0]).accumulators_equal_reference();
    }
    sign_pairs!(check());
}

/// The raw sums of codes leave i32 where the zero points bring the result back.
#[test]
fn raw_sums_that_wrap() {
    let depth = i32::MAX as usize / (128 * 128);
    for zero_point in [127, 128] {
        plain([1, 1, depth], vec![255_u8; depth], vec![-128_i8; depth], [zero_point, 0]).accumulators_equal_reference();
    }
}

/// An empty batch may be as deep as it likes.
#[test]
fn nothing_of_a_great_depth() {
    let depth = 200_000;
    let rows = Case { a_zero_points: vec![], ..plain([0, 3, depth], Vec::<u8>::new(), vec![1_i8; 3 * depth], [0, 0]) };
    let columns =
        Case { b_zero_points: vec![], ..plain([3, 0, depth], vec![1_u8; 3 * depth], Vec::<i8>::new(), [0, 0]) };
    for case in [rows, columns] {
        case.accumulators_equal_reference();
    }
}

/// Sums at the very limit of the depth are exact.
#[test]
fn the_deepest_sum() {
    let limit = i32::MAX as usize / (255 * 128);
    every_isa(|isa| {
        let (a, b) = (vec![255_u8; limit], vec![-128_i8; limit]);
        let packed = raw::pack(isa, Matrix::new(&b, limit, 1).unwrap(), 0.into()).unwrap();
        let mut c = [0];
        let a = Matrix::new(&a, 1, limit).unwrap();
        raw::matmul(isa, a, 0.into(), &packed, &Accumulators, MatrixMut::new(&mut c, 1, 1).unwrap()).unwrap();
        assert_eq!(c[0], -255 * 128 * limit as i32, "{isa}");
    });
}

/// Accumulators everywhere in i32, and around every boundary between codes, through the five requantizers: the bias brings
/// them there.
#[test]
fn requantizers_over_all_of_i32() {
    // With bounds of the type's, between them, on one side of the zero point, and away from it.
    for (zero_point, bounds) in [(0, (0, 255)), (200, (3, 250)), (77, (77, 255)), (0, (10, 20)), (0, (200, 250))] {
        requantizers_equal_reference::<u8>(zero_point, bounds);
    }
    for (zero_point, bounds) in [(0, (-128, 127)), (-128, (-128, 127)), (127, (-100, 120))] {
        requantizers_equal_reference::<i8>(zero_point, bounds);
    }
}

/// Of a stage that knew other bounds before.
#[test]
fn a_relu_is_a_bound() {
    fn check(isa: Isa, rule: Rule, multiplier: f64) {
        let a: Vec<u8> = (0..=255).collect();
        let packed = raw::pack(isa, Matrix::new(&[3_i8], 1, 1).unwrap(), 0.into()).unwrap();
        let run = |stage: &Requantize<i8>| {
            let mut out = [0; 256];
            let a = Matrix::new(&a, 256, 1).unwrap();
            raw::matmul(isa, a, 128.into(), &packed, stage, MatrixMut::new(&mut out, 256, 1).unwrap()).unwrap();
            out
        };
        let relu = run(&raw::requantize(rule, &[multiplier], -5, -100..=90).unwrap().relu());
        assert_eq!(relu, run(&raw::requantize(rule, &[multiplier], -5, -5..=90).unwrap()), "{isa}");
        let bounded = raw::requantize(rule, &[multiplier], -5, -128..=127).unwrap().bounds(-5..=90).unwrap();
        assert_eq!(relu, run(&bounded), "{isa}");
        assert_eq!([relu[0], relu[255]], [-5, 90], "{isa}");
    }
    every_isa(|isa| {
        check(isa, Rule::Float, 0.4);
        check(isa, Rule::FixedPoint, 0.4);
        check(isa, Rule::HalfAway, 0.4);
        check(isa, Rule::Gemmlowp, 0.4);
        check(isa, Rule::Shift, 0.5);
    });
}

fn requantizers_equal_reference<C: ByteCode>(zero_point: i32, bounds: (C, C)) {
    let everywhere: Vec<i32> = (0..31)
        .flat_map(|bit| (-3..=3).map(move |delta| (1_i32 << bit) + delta))
        .chain((0..1_000).map(|i: i32| i.wrapping_mul(214_013).wrapping_add(2_531_011).wrapping_mul(69_069)))
        .flat_map(|acc| [acc, acc.wrapping_neg()])
        .map(|acc| acc.max(-i32::MAX))
        .collect();
    let with_boundaries = |multiplier: f64| -> Vec<i32> {
        let boundaries = (-260..260).map(|k| (f64::from(k) + 0.5) / multiplier).filter(|acc| acc.abs() < 2e9);
        let around = boundaries.flat_map(|acc| (-1..=1).map(move |delta| acc.floor() as i32 + delta));
        everywhere.iter().copied().chain(around).collect()
    };
    let equal =
        |name: &str, isa: Isa, multiplier: f64, accumulators: &[i32], out: &[C], product: &dyn Fn(i32) -> i64| {
            for (&acc, &out) in accumulators.iter().zip(out) {
                let want: C = reference::saturate(product(acc), zero_point, bounds);
                assert_eq!(out, want, "{name} {isa}: {acc} · {multiplier}, zero point {zero_point}, {bounds:?}");
            }
        };
    let multipliers = [
        1.0,
        0.5,
        0.499_999,
        0.25,
        0.3,
        1.5,
        2.0,
        3.999,
        1000.0,
        536_870_912.5,
        1.0 - f64::EPSILON,
        // The largest that is accepted.
        2_f64.powi(30) - 0.26,
        0.007_247_427_341_846,
        // Where codes, or their accumulators, come to the ends of 32 bits.
        1.3 * 2_f64.powi(-22),
        1.9 * 2_f64.powi(-23),
        2_f64.powi(-23),
        1.2 * 2_f64.powi(-24),
        1.1 * 2_f64.powi(-25),
        2_f64.powi(-31),
        2_f64.powi(-32),
        1e-9,
        2_f64.powi(-40),
        0.0,
    ];
    for multiplier in multipliers {
        let one = &[multiplier];
        let accumulators = with_boundaries(multiplier);
        every_isa(|isa| {
            let out = requantized(isa, &accumulators, (Rule::Float, one), zero_point, bounds);
            equal("float", isa, multiplier, &accumulators, &out, &|acc| reference::float_product(acc, multiplier));
            let out = requantized(isa, &accumulators, (Rule::FixedPoint, one), zero_point, bounds);
            equal("fixed", isa, multiplier, &accumulators, &out, &|acc| {
                reference::fixed_point_product(acc, multiplier)
            });
            let out = requantized(isa, &accumulators, (Rule::HalfAway, one), zero_point, bounds);
            equal("half away", isa, multiplier, &accumulators, &out, &|acc| {
                reference::half_away_product(acc, multiplier)
            });
            let out = requantized(isa, &accumulators, (Rule::Gemmlowp, one), zero_point, bounds);
            equal("gemmlowp", isa, multiplier, &accumulators, &out, &|acc| {
                reference::gemmlowp_product(acc, multiplier)
            });
        });
    }
    for shift in 0..=31 {
        let multiplier = 0.5_f64.powi(shift);
        let accumulators = with_boundaries(multiplier);
        every_isa(|isa| {
            let out = requantized(isa, &accumulators, (Rule::Shift, &[multiplier]), zero_point, bounds);
            equal("shift", isa, multiplier, &accumulators, &out, &|acc| reference::shift_product(acc, shift as u32));
        });
    }
}
