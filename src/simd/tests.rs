//! Every operation of every ISA against the scalar expression that documents it, over all pairs of values that hurt.

use core::array::from_fn;

use super::memory::Memory;
use super::walk::{block, fold_blocks, map_blocks};
use super::{LANES, QUAD, quad};
use crate::Isa;
use crate::kernel::{Kernel, Vectors};

const F32S: [f32; 32] = [
    f32::NAN,
    -f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    0.5,
    -0.5,
    1.5,
    -1.5,
    2.5,
    -2.5,
    0.499_999_97,
    -0.499_999_97,
    126.5,
    127.5,
    -127.5,
    -128.5,
    255.5,
    1.0,
    -1.0,
    3.0,
    0.1,
    4_194_303.5,
    -4_194_303.5,
    5.0 / 255.0,
    1e30,
];
const I32S: [i32; 32] = [
    0,
    1,
    -1,
    2,
    -2,
    127,
    128,
    -127,
    -128,
    -129,
    255,
    256,
    32_767,
    32_768,
    -32_768,
    -32_769,
    65_535,
    16_777_216,
    16_777_217,
    -16_777_217,
    33_554_431,
    1 << 30,
    -(1 << 30),
    i32::MAX,
    i32::MIN,
    i32::MAX - 1,
    i32::MIN + 1,
    7,
    1_000_003,
    -1_000_003,
    0x5555_5555,
    -0x5555_5556,
];

/// Runs a closure-like kernel: sixteen values of each input, sixteen of the output.
struct Each<'a, T, U, V, F> {
    pairs: &'a [(T, U)],
    f: F,
    out: core::marker::PhantomData<V>,
}

trait Operation<T, U, V> {
    fn apply<S: Vectors>(&self, simd: S, a: &[T; LANES], b: &[U; LANES], out: &mut [V; LANES]);
}

impl<T: Copy + Default, U: Copy + Default, V: Copy + Default, F: Operation<T, U, V>> Kernel for Each<'_, T, U, V, F> {
    type Output = Vec<V>;
    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) -> Vec<V> {
        let (a, b): (Vec<T>, Vec<U>) = self.pairs.iter().copied().unzip();
        let mut out = Vec::new();
        for start in (0..a.len()).step_by(LANES) {
            let mut lanes = [V::default(); LANES];
            self.f.apply(simd, &block(&a, start), &block(&b, start), &mut lanes);
            out.extend_from_slice(&lanes[..LANES.min(a.len() - start)]);
        }
        out
    }
}

/// `operation!(pairs, (a: f32 = load_f32, b: f32 = load_f32) -> f32 = store_f32, vector expression, scalar expression)`
macro_rules! operation {
    ($pairs:expr, |$simd:ident, $a:ident: $T:ty = $load_a:ident, $b:ident: $U:ty = $load_b:ident| -> $V:ty = $store:ident,
     $vector:expr, $scalar:expr) => {{
        struct Op;
        impl Operation<$T, $U, $V> for Op {
            #[inline(always)]
            #[allow(unused_variables, reason = "some operations take one operand")]
            fn apply<S: Vectors>(&self, $simd: S, a: &[$T; LANES], b: &[$U; LANES], out: &mut [$V; LANES]) {
                let ($a, $b) = ($simd.$load_a(a), $simd.$load_b(b));
                $simd.$store($vector, out);
            }
        }
        let pairs: Vec<($T, $U)> = $pairs;
        for isa in Isa::supported() {
            let out = isa.run(Each { pairs: &pairs, f: Op, out: core::marker::PhantomData });
            for (&(a, b), out) in pairs.iter().zip(out) {
                #[allow(unused_variables, clippy::redundant_closure_call, reason = "as above")]
                let want: $V = (|$a: $T, $b: $U| $scalar)(a, b);
                // Bits, so that −0 is not 0; any NaN equals any other.
                let same = want.to_ne_bytes() == out.to_ne_bytes() || (want != want && out != out);
                assert!(same, "{isa}: {} of {a:?}, {b:?} is {out:?}, not {want:?}", stringify!($vector));
            }
        }
    }};
}

fn pairs<T: Copy, U: Copy>(a: &[T], b: &[U]) -> Vec<(T, U)> {
    a.iter().flat_map(|&a| b.iter().map(move |&b| (a, b))).collect()
}

#[test]
#[allow(clippy::eq_op, clippy::float_cmp, reason = "NaN")]
fn floats() {
    let all = || pairs(&F32S, &F32S);
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.add_f32(a, b), a + b);
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.sub_f32(a, b), a - b);
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.mul_f32(a, b), a * b);
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.mul_add_f32(a, b, a),
               a.mul_add(b, a));
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.div_f32(a, b), a / b);
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.max_f32(a, b),
               if a > b { a } else { b });
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.min_f32(a, b),
               if a < b { a } else { b });
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.select_f32(s.is_nan(a), b, a), if a.is_nan() { b } else { a });
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> i32 = store_i32, s.to_bits(a), a.to_bits() as i32);
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.of_bits(s.to_bits(a)), a);
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.splat_f32(-0.0), -0.0);
    for (min, max) in [(-128.0, 127.0), (0.0, 255.0), (-255.0, 0.0)] {
        struct Op(f32, f32);
        impl Operation<f32, f32, f32> for Op {
            #[inline(always)]
            fn apply<S: Vectors>(&self, s: S, a: &[f32; LANES], _: &[f32; LANES], out: &mut [f32; LANES]) {
                s.store_f32(s.clamp_f32(s.load_f32(a), s.splat_f32(self.0), s.splat_f32(self.1)), out);
            }
        }
        for isa in Isa::supported() {
            let out = isa.run(Each { pairs: &pairs(&F32S, &[0.0]), f: Op(min, max), out: core::marker::PhantomData });
            for (&a, out) in F32S.iter().zip(out) {
                let above = if a > min { a } else { min };
                let want = if a.is_nan() {
                    0.0
                } else if above < max {
                    above
                } else {
                    max
                };
                assert_eq!(out.to_bits(), want.to_bits(), "{isa}: {a} in {min}…{max}");
            }
        }
    }
    let small: Vec<f32> = F32S.into_iter().filter(|x| x.abs() < 4_194_304.0).collect();
    operation!(pairs(&small, &[0.0]), |s, a: f32 = load_f32, b: f32 = load_f32| -> i32 = store_i32, s.round_to_i32(a),
               a.round_ties_even() as i32);
    let plus_zero = 0.0;
    operation!(pairs(&small, &[plus_zero]), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32,
               s.add_f32(s.round_f32(a), b), a.round_ties_even() + b);
    operation!(pairs(&small, &[plus_zero]), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32,
               s.add_f32(s.floor_f32(a), b), a.floor() + b);
    operation!(pairs(&small, &[0.0]), |s, a: f32 = load_f32, b: f32 = load_f32| -> i32 = store_i32, s.floor_to_i32(a),
               a.floor() as i32);
    operation!(pairs(&small, &[0.0]), |s, a: f32 = load_f32, b: f32 = load_f32| -> i32 = store_i32, s.trunc_to_i32(a),
               a as i32);
    // Fractions of every size beside words at, and one step around, what they are compared with.
    let mut rounded = pairs(&small, &I32S);
    for &a in &small {
        for a in [a, a * 1e-7, a * 1e-3, 1.0 / a].into_iter().filter(|a| a.abs() < 4_194_304.0) {
            let fraction = ((a - a.floor()) * 16_777_216.0) as i64;
            rounded.extend((-2..=2).flat_map(|k| [0, 255].map(|low| (a, (((fraction + k) << 8) + low) as i32))));
        }
    }
    operation!(rounded, |s, a: f32 = load_f32, b: i32 = load_i32| -> i32 = store_i32, s.round_stochastically(a, b),
               a.floor() as i32 + i32::from(((b as u32 >> 8) as f32) < (a - a.floor()) * 16_777_216.0));
    operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> i32 = store_i32,
               s.add_if_less(s.to_bits(a), a, b), (a.to_bits() as i32).wrapping_add(i32::from(a < b)));
}

#[test]
fn squares() {
    struct Op(f64);
    impl Operation<f32, f32, f64> for Op {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[f32; LANES], b: &[f32; LANES], out: &mut [f64; LANES]) {
            let sums = s.add_square(s.splat_f64(self.0), s.load_f32(a));
            s.store_f64(s.add_square(sums, s.load_f32(b)), out);
        }
    }
    for (isa, first) in Isa::supported().into_iter().flat_map(|isa| [0.0, 0.1, 1e60].map(|first| (isa, first))) {
        let pairs = pairs(&F32S, &F32S);
        let out = isa.run(Each { pairs: &pairs, f: Op(first), out: core::marker::PhantomData });
        for (&(a, b), out) in pairs.iter().zip(out) {
            let [x, y] = [a, b].map(f64::from);
            let want = first + x * x + y * y;
            let same = want.to_bits() == out.to_bits() || (want.is_nan() && out.is_nan());
            assert!(same, "{isa}: {first} + {a}² + {b}² is {out}, not {want}");
        }
    }
}

#[test]
fn integers() {
    let all = || pairs(&I32S, &I32S);
    let shifts: Vec<i32> = (0..32).collect();
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> f32 = store_f32, s.to_f32(a), a as f32);
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.add_i32(a, b), a.wrapping_add(b));
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.sub_i32(a, b), a.wrapping_sub(b));
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.mul_i32(a, b), a.wrapping_mul(b));
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.max_i32(a, b), a.max(b));
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.min_i32(a, b), a.min(b));
    operation!(
        all(),
        |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32,
        s.max_u32(a, b),
        (a as u32).max(b as u32) as i32
    );
    operation!(
        all(),
        |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32,
        s.min_u32(a, b),
        (a as u32).min(b as u32) as i32
    );
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.and_i32(a, b), a & b);
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.xor_i32(a, b), a ^ b);
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32,
               s.xor3_i32(a, b, s.splat_i32(0x1234_5678)), a ^ b ^ 0x1234_5678);
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.splat_i32(-7), -7);
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.shift_left::<9>(a), a << 9);
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.rotate_left::<7>(a),
               a.rotate_left(7));
    operation!(all(), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.rotate_left::<31>(a),
               a.rotate_left(31));
    operation!(pairs(&I32S, &shifts), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32, s.shift_right(a, b),
               a >> b);
    operation!(pairs(&I32S, &shifts), |s, a: i32 = load_i32, b: i32 = load_i32| -> i32 = store_i32,
               s.shift_right_logical(a, b), (a as u32 >> b) as i32);
    for shift in 1..=62 {
        // The second factor and the shift come packed in one i32, to cover every shift.
        for factor in [0, 1, 3, 1 << 30, (1 << 30) + 12_345, i32::MAX] {
            let pairs: Vec<(i32, i32)> = I32S.iter().map(|&a| (a, shift)).collect();
            // Neighbouring lanes differ in shift, as columns do.
            fn shift_of(lane: usize, shift: i32) -> i32 {
                if lane % 2 == 1 { (shift + 20) % 62 + 1 } else { shift.max(1) }
            }
            struct Op(i32);
            impl Operation<i32, i32, i32> for Op {
                #[inline(always)]
                fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
                    let shifts: [i32; LANES] = from_fn(|i| shift_of(i, b[i]));
                    s.store_i32(s.mul_shift_round(s.load_i32(a), s.splat_i32(self.0), s.load_i32(&shifts)), out);
                }
            }
            /// With something added that lifts the sum to 0, or little above, where shifts allow it; else 7.
            struct OpAdd(i32);
            fn sum_of(a: i32, factor: i32, shift: i32) -> Option<(i32, i32)> {
                let product = (i64::from(a) * i64::from(factor) + (1 << (shift - 1))) >> shift;
                let c = i32::try_from((-product).max(-200) + i64::from(a & 3)).ok()?;
                let fits = (32..=54).contains(&shift) && i64::from(c).abs() < 1 << (63 - shift);
                fits.then(|| (c, (product + i64::from(c)) as i32))
            }
            impl Operation<i32, i32, i32> for OpAdd {
                #[inline(always)]
                fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
                    let sums: [_; LANES] = from_fn(|i| sum_of(a[i], self.0, shift_of(i, b[i])));
                    let shifts: [i32; LANES] = from_fn(|i| sums[i].map_or(40, |_| shift_of(i, b[i])));
                    let a: [i32; LANES] = from_fn(|i| sums[i].map_or(0, |_| a[i]));
                    let c = s.load_i32(&from_fn(|i| sums[i].map_or(7, |(c, _)| c)));
                    let sums = s.mul_shift_round_add(s.load_i32(&a), s.splat_i32(self.0), s.load_i32(&shifts), c);
                    s.store_i32(sums, out);
                }
            }
            for isa in Isa::supported() {
                let out = isa.run(Each { pairs: &pairs, f: Op(factor), out: core::marker::PhantomData });
                let sums = isa.run(Each { pairs: &pairs, f: OpAdd(factor), out: core::marker::PhantomData });
                for (i, ((&(a, shift), out), sum)) in pairs.iter().zip(out).zip(sums).enumerate() {
                    let shift = shift_of(i, shift);
                    let want = ((i64::from(a) * i64::from(factor) + (1 << (shift - 1))) >> shift) as i32;
                    assert_eq!(out, want, "{isa}: {a} · {factor} >> {shift}");
                    let want = sum_of(a, factor, shift).map_or(7, |(_, sum)| sum);
                    assert_eq!(sum, want, "{isa}: {a} · {factor} >> {shift}, and a number");
                }
            }
        }
    }
}

#[test]
fn codes() {
    let bytes: Vec<u8> = (0..=255).collect();
    let signed: Vec<i8> = (-128..=127).collect();
    let from_u8: Vec<i32> = (0..=255).collect();
    let from_i8: Vec<i32> = (-128..=127).collect();
    operation!(pairs(&bytes, &[0]), |s, a: u8 = load_u8, b: i32 = load_i32| -> i32 = store_i32, a, i32::from(a));
    operation!(pairs(&signed, &[0]), |s, a: i8 = load_i8, b: i32 = load_i32| -> i32 = store_i32, a, i32::from(a));
    operation!(pairs(&from_u8, &[0]), |s, a: i32 = load_i32, b: i32 = load_i32| -> u8 = store_u8, a, a as u8);
    operation!(pairs(&from_i8, &[0]), |s, a: i32 = load_i32, b: i32 = load_i32| -> i8 = store_i8, a, a as i8);
}

/// The bytes of sixteen i32, loaded from four rows, are these i32; those of two rows are stored in pairs.
#[test]
fn rows() {
    struct Quads;
    impl Operation<i32, i32, i32> for Quads {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
            let mut rows = [[0; LANES]; 4];
            for (i, a) in a.iter().enumerate() {
                for (row, byte) in rows.iter_mut().zip(a.to_le_bytes()) {
                    row[i] = byte;
                }
            }
            s.store_i32(s.load_interleaved([&rows[0], &rows[1], &rows[2], &rows[3]]), out);
            let mut pairs = [[0; 2]; LANES];
            s.store_interleaved([&rows[0], &rows[1]], &mut pairs);
            for ((out, a), pair) in out.iter_mut().zip(a).zip(pairs) {
                let [first, second, ..] = a.to_le_bytes();
                *out ^= i32::from(pair != [first, second]);
            }
        }
    }
    let all: Vec<i32> = (0..4096_u32).map(|i| i.wrapping_mul(2_654_435_761) as i32).collect();
    for isa in Isa::supported() {
        let out = isa.run(Each { pairs: &pairs(&all, &[0]), f: Quads, out: core::marker::PhantomData });
        assert_eq!(out, all, "{isa}");
    }
}

/// Every byte, as two nibbles and back.
#[test]
fn nibbles() {
    struct Nibbles;
    impl Operation<i32, i32, i32> for Nibbles {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
            let (mut pairs, mut back) = ([0; 2 * LANES], [0; LANES]);
            s.unpack_nibbles(&a.map(|a| a as u8), b[0] as u8, &mut pairs);
            s.pack_nibbles(&pairs, &mut back);
            *out = from_fn(|i| i32::from_le_bytes([pairs[2 * i], pairs[2 * i + 1], back[i], 0]));
        }
    }
    let all: Vec<i32> = (0..256).collect();
    for (isa, flip) in Isa::supported().into_iter().flat_map(|isa| [(isa, 0), (isa, 8)]) {
        let out = isa.run(Each { pairs: &pairs(&all, &[flip]), f: Nibbles, out: core::marker::PhantomData });
        for (a, out) in all.iter().zip(out) {
            let code = |nibble: i32| if flip == 8 && nibble > 7 { nibble - 16 } else { nibble } as u8;
            assert_eq!(out.to_le_bytes(), [code(a & 15), code(a >> 4), *a as u8, 0], "{isa} {a}");
        }
    }
}

/// The largest of sixteen lanes, wherever it is.
#[test]
fn largest() {
    struct Largest;
    impl Operation<i32, i32, i32> for Largest {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
            *out = from_fn(|lane| {
                let mut a = *a;
                a.rotate_left(lane);
                s.max_of_i32(s.load_i32(&a))
            });
        }
    }
    let all: Vec<i32> = I32S.into_iter().chain((-100..92).map(|i: i32| i.wrapping_mul(77_777_777))).collect();
    for isa in Isa::supported() {
        let out = isa.run(Each { pairs: &pairs(&all, &[0]), f: Largest, out: core::marker::PhantomData });
        for (a, out) in all.chunks_exact(LANES).zip(out.chunks(LANES)) {
            assert!(out.iter().all(|out| Some(out) == a.iter().max()), "{isa}: {a:?} {out:?}");
        }
    }
}

/// Zero points that are read as codes are added where they belong.
#[test]
fn words() {
    struct Words<'a>(&'a [u8; 64], &'a [i8; 64]);
    impl Kernel for Words<'_> {
        /// Codes of 0 with zero points read as bytes, then as vectors; or none if a lane was marked.
        type Output = Option<([[u8; 64]; 2], [[i8; 64]; 2])>;
        #[inline(always)]
        fn run<S: Vectors>(self, simd: S) -> Self::Output {
            let (a, none) = ([simd.splat_f32(0.0); QUAD], simd.splat_i32(0));
            let (mut unsigned, mut signed) = ([[[0; LANES]; QUAD]; 2], [[[0; LANES]; QUAD]; 2]);
            let of_unsigned = simd.reorder(quad(
                #[inline(always)]
                |j| simd.load_u8(&block(self.0, j * LANES)),
            ));
            let of_signed = simd.reorder(quad(
                #[inline(always)]
                |j| simd.load_i8(&block(self.1, j * LANES)),
            ));
            let mut invalid = none;
            for (b, out) in [simd.reorder_u8(self.0), of_unsigned].into_iter().zip(&mut unsigned) {
                invalid = simd.narrow_quad_u8(a, b, [0, 255], out, invalid);
            }
            for (b, out) in [simd.reorder_i8(self.1), of_signed].into_iter().zip(&mut signed) {
                invalid = simd.narrow_quad_i8(a, b, [-128, 127], out, invalid);
            }
            let flat = |codes: [[u8; LANES]; QUAD]| *codes.as_flattened().first_chunk().expect("64");
            let flat_signed = |codes: [[i8; LANES]; QUAD]| *codes.as_flattened().first_chunk().expect("64");
            assert!(!simd.any_invalid(invalid));
            (!simd.any_invalid(invalid)).then(|| (unsigned.map(flat), signed.map(flat_signed)))
        }
    }
    for first in 0..=255_u8 {
        let unsigned = from_fn(|i| first.wrapping_add(37 * (i as u8 % 4) + i as u8));
        let signed = unsigned.map(u8::cast_signed);
        for isa in Isa::supported() {
            if let Some(codes) = isa.run(Words(&unsigned, &signed)) {
                assert_eq!(codes, ([unsigned; 2], [signed; 2]), "{isa}");
            }
        }
    }
}

/// Four blocks at once give the codes of the scalar expression, or mark a lane for a reason.
#[test]
fn fours() {
    struct Fours<'a>(&'a [f32], i32);
    impl Kernel for Fours<'_> {
        /// The codes of both types, or none if a lane was marked; whether one was marked as NaN.
        type Output = (Option<Vec<u8>>, Option<Vec<i8>>, bool);
        #[inline(always)]
        fn run<S: Vectors>(self, simd: S) -> Self::Output {
            let a = quad(
                #[inline(always)]
                |j| simd.load_f32(&block(self.0, j * LANES)),
            );
            let b = simd.reorder([simd.splat_i32(self.1); QUAD]);
            let none = simd.splat_i32(0);
            let (mut unsigned, mut signed) = ([[0; LANES]; QUAD], [[0; LANES]; QUAD]);
            let of_unsigned = simd.narrow_quad_u8(a, b, [3, 250], &mut unsigned, none);
            let of_signed = simd.narrow_quad_i8(a, b, [-127, 126], &mut signed, none);
            let of_nan = simd.mark_nan(a, none);
            assert!(!simd.any_invalid(none));
            // A marked lane stays marked, and the whole ranges need no clamp.
            let mut whole = ([[0; LANES]; QUAD], [[0; LANES]; QUAD]);
            assert!(
                simd.any_invalid(simd.narrow_quad_u8(
                    [simd.splat_f32(0.5); QUAD],
                    b,
                    [0, 255],
                    &mut whole.0,
                    of_unsigned
                )) == simd.any_invalid(of_unsigned)
            );
            assert!(simd.any_invalid(simd.mark_nan([simd.splat_f32(0.5); QUAD], of_nan)) == simd.any_invalid(of_nan));
            let again = simd.narrow_quad_u8(a, b, [0, 255], &mut whole.0, none);
            simd.narrow_quad_i8(a, b, [-128, 127], &mut whole.1, none);
            if !simd.any_invalid(again) {
                let clamped = whole.0.as_flattened().iter().map(|code| (*code).clamp(3, 250));
                assert!(clamped.eq(unsigned.as_flattened().iter().copied()));
                let clamped = whole.1.as_flattened().iter().map(|code| (*code).clamp(-127, 126));
                assert!(clamped.eq(signed.as_flattened().iter().copied()));
            }
            (
                (!simd.any_invalid(of_unsigned)).then(|| unsigned.as_flattened().to_vec()),
                (!simd.any_invalid(of_signed)).then(|| signed.as_flattened().to_vec()),
                simd.any_invalid(of_nan),
            )
        }
    }
    let special = F32S.into_iter().chain([-32_767.4, -32_768.0, 32_767.6, 2_147_483_500.0, 2_147_483_648.0, -1e9]);
    for (i, x) in special.enumerate() {
        for b in [-255, -128, 0, 77, 255] {
            let mut a: Vec<f32> = (0..64).map(|i| (i * 37 % 64 - 32) as f32 * 8.5).collect();
            a[i * 11 % 64] = x;
            let narrows = x.round_ties_even() > -32_768.0 && x < 2_147_483_648.0;
            let want: Vec<i64> = a.iter().map(|a| a.round_ties_even() as i64).collect();
            let code = |min: i64, max: i64| want.iter().map(move |q| (q + i64::from(b)).clamp(min, max));
            for isa in Isa::supported() {
                let (unsigned, signed, nan) = isa.run(Fours(&a, b));
                assert_eq!([unsigned.is_some(), signed.is_some()], [narrows; 2], "{isa}: {x}");
                assert_eq!(nan, x.is_nan(), "{isa}: {x}");
                assert!(unsigned.is_none_or(|out| out.iter().map(|&q| i64::from(q)).eq(code(3, 250))), "{isa}: {x}");
                assert!(signed.is_none_or(|out| out.iter().map(|&q| i64::from(q)).eq(code(-127, 126))), "{isa}: {x}");
            }
        }
    }
}

/// Which of 64 are equal.
#[test]
fn equal_fours() {
    struct Equal<'a>(&'a [f32], &'a [f32]);
    impl Kernel for Equal<'_> {
        type Output = Vec<u8>;
        #[inline(always)]
        fn run<S: Vectors>(self, simd: S) -> Vec<u8> {
            let (mut a, mut b) = ([simd.splat_f32(0.0); QUAD], [simd.splat_f32(0.0); QUAD]);
            for j in 0..QUAD {
                (a[j], b[j]) = (simd.load_f32(&block(self.0, j * LANES)), simd.load_f32(&block(self.1, j * LANES)));
            }
            let mut out = [[0; LANES]; QUAD];
            simd.store_equal_quad(a, b, &mut out);
            out.as_flattened().to_vec()
        }
    }
    let a: Vec<f32> = F32S.iter().cycle().take(64).copied().collect();
    for shift in 0..64 {
        let b: Vec<f32> = (0..64).map(|i| if i % 3 == 0 { a[i] } else { a[(i + shift) % 64] }).collect();
        for isa in Isa::supported() {
            let want = a.iter().zip(&b).map(|(a, b)| u8::from(a == b));
            assert!(isa.run(Equal(&a, &b)).into_iter().eq(want), "{isa} {shift}");
        }
    }
}

/// The largest of every vector of sixteen, wherever it is, a negative one, and the codes of two, or of their halves.
#[test]
fn largest_of_each() {
    struct Each16;
    impl Operation<i32, i32, i32> for Each16 {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
            let mut rows = [s.splat_i32(0); LANES];
            for (i, row) in rows.iter_mut().enumerate() {
                let mut lanes = *a;
                lanes.rotate_left(7 * i % LANES);
                lanes[i] = lanes[i].wrapping_add(i as i32);
                *row = s.load_i32(&lanes);
            }
            let [largest, other] = s.max_of_each(
                #[inline(always)]
                |i| [rows[i], rows[LANES - 1 - i]],
            );
            let mut reversed = [0; LANES];
            s.store_i32(other, &mut reversed);
            s.store_i32(largest, out);
            assert!(out.iter().eq(reversed.iter().rev()));
        }
    }
    struct Codes {
        halved: bool,
    }
    impl Operation<i32, i32, i32> for Codes {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
            let (a, b) = (s.load_i32(a), s.load_i32(b));
            let (mut codes, mut other) = ([0; 2 * LANES], [0; 2 * LANES]);
            let out_codes = [&mut codes, &mut other];
            if self.halved {
                s.store_halved_i8([[a, b], [b, a]], out_codes);
            } else {
                s.store_symmetric_i8([[a, b], [b, a]], out_codes);
            }
            *out = from_fn(|i| i32::from(codes[i]) << 8 | i32::from(codes[i + LANES]) & 255);
            assert!(other[..LANES] == codes[LANES..] && other[LANES..] == codes[..LANES]);
        }
    }
    struct Negative;
    impl Operation<i32, i32, i32> for Negative {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
            // One of these among those that are not.
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                let mut lanes = [i32::MAX; LANES];
                (lanes[i], lanes[(i + 7) % LANES]) = (*a, b & i32::MAX);
                out[i] = i32::from(s.any_negative(s.load_i32(&lanes)));
            }
        }
    }
    let all: Vec<i32> = I32S.into_iter().chain((-100..92).map(|i: i32| i.wrapping_mul(77_777_777))).collect();
    let small: Vec<i32> = I32S.into_iter().filter(|a| a.abs_diff(0) < 1 << 15).collect();
    for isa in Isa::supported() {
        let out = isa.run(Each { pairs: &pairs(&all, &[0]), f: Each16, out: core::marker::PhantomData });
        for (a, out) in all.chunks_exact(LANES).zip(out.chunks(LANES)) {
            for (i, &out) in out.iter().enumerate() {
                let mut lanes = a.to_vec();
                lanes.rotate_left(7 * i % LANES);
                lanes[i] = lanes[i].wrapping_add(i as i32);
                assert_eq!(Some(out), lanes.into_iter().max(), "{isa} {i}: {a:?}");
            }
        }
        let out = isa.run(Each { pairs: &pairs(&all, &all), f: Negative, out: core::marker::PhantomData });
        for ((a, _), out) in pairs(&all, &all).into_iter().zip(out) {
            assert_eq!(out, i32::from(a < 0), "{isa}: {a}");
        }
        let out =
            isa.run(Each { pairs: &pairs(&small, &small), f: Codes { halved: false }, out: core::marker::PhantomData });
        for ((a, b), out) in pairs(&small, &small).into_iter().zip(out) {
            assert_eq!(out, a.clamp(-127, 127) << 8 | b.clamp(-127, 127) & 255, "{isa}: {a} {b}");
        }
        let doubled: Vec<i32> = (-254..=254).collect();
        let out = isa.run(Each {
            pairs: &pairs(&doubled, &doubled),
            f: Codes { halved: true },
            out: core::marker::PhantomData,
        });
        for ((a, b), out) in pairs(&doubled, &doubled).into_iter().zip(out) {
            let [a, b] = [a, b].map(|a| (a as f32 / 2.0).round() as i32);
            assert_eq!(out, a << 8 | b & 255, "{isa}: {a} {b}");
        }
    }
}

/// The walkers visit every element, in order, whatever the length.
#[test]
fn walkers() {
    for length in 0..70 {
        let x: Vec<i32> = (0..length).collect();
        let mut out = vec![-1; x.len()];
        map_blocks(&x, &mut out, |start, x, out| {
            assert_eq!(x[0], start as i32);
            *out = x.map(|x| x * 3);
        });
        assert!(out.iter().zip(&x).all(|(out, x)| *out == x * 3), "{length}");
        if length > 0 {
            let mut seen = vec![false; x.len()];
            fold_blocks(&x, Memory::Cached, |_, x| x.iter().for_each(|&x| seen[x as usize] = true));
            assert!(seen.into_iter().all(|seen| seen), "{length}");
        }
    }
}
