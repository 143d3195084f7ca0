//! The operations of [`Simd`](super::Simd).

use super::*;

#[test]
fn floats() {
    let all = || pairs(&F32S, &F32S);
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.add_f32(a, b) }, a + b);
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.sub_f32(a, b) }, a - b);
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.mul_f32(a, b) }, a * b);
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.mul_add_f32(a, b, a) }, a.mul_add(b, a));
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.div_f32(a, b) }, a / b);
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.max_f32(a, b) }, if a > b { a } else { b });
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.min_f32(a, b) }, if a < b { a } else { b });
    operation!(all(), |s, a: f32, b: f32| -> i32 { s.to_bits(a) }, a.to_bits() as i32);
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.of_bits(s.to_bits(a)) }, a);
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.splat_f32(-0.0) }, -0.0);
}

#[test]
#[allow(clippy::float_cmp, reason = "that is the operation")]
fn masks() {
    let all = || pairs(&F32S, &F32S);
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.select_f32(s.is_nan(a), b, a) }, if a.is_nan() { b } else { a });
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.select_f32(s.less_f32(a, b), b, a) }, if a < b { b } else { a });
    operation!(
        all(),
        |s, a: f32, b: f32| -> f32 { s.select_f32(s.equal_f32(a, b), a, s.splat_f32(7.0)) },
        if a == b { a } else { 7.0 }
    );
    operation!(all(), |s, a: f32, b: f32| -> f32 { s.keep_f32(s.less_f32(a, b), b) }, if a < b { b } else { 0.0 });
    operation!(
        all(),
        |s, a: f32, b: f32| -> i32 { s.select_i32(s.less_f32(a, b), s.to_bits(a), s.splat_i32(-9)) },
        if a < b { a.to_bits() as i32 } else { -9 }
    );
    let all = pairs(&I32S, &I32S);
    operation!(
        all,
        |s, a: i32, b: i32| -> i32 { s.select_i32(s.less_i32(a, b), a, s.add_i32(b, b)) },
        if a < b { a } else { b.wrapping_add(b) }
    );
}

/// One lane, wherever it is, or none.
#[test]
fn any() {
    struct Op;
    impl Operation<i32, i32, i32> for Op {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
            for (i, out) in out.iter_mut().enumerate() {
                let (mut x, mut y) = ([5; LANES], [3; LANES]);
                (x[i], y[i]) = (a[i], b[i]);
                let integers = s.any(s.less_i32(s.load_i32(&x), s.load_i32(&y)));
                let [x, y] = [x, y].map(|lanes| s.to_f32(s.load_i32(&lanes)));
                *out = i32::from(integers) | i32::from(s.any(s.less_f32(x, y))) << 1;
            }
        }
    }
    let pairs = pairs(&[-7, 2, 3, 4, 100], &[-8, 2, 3, 4, 99, 101]);
    on_each_isa(
        || Each::new(&pairs, Op),
        |isa, all| {
            for (&(a, b), out) in pairs.iter().zip(all) {
                assert_eq!(out, 3 * i32::from(a < b), "{isa}: {a} < {b}");
            }
        },
    );
}

#[test]
fn clamps() {
    for bounds in [(-128.0, 127.0), (0.0, 255.0), (-255.0, 0.0)] {
        struct Op((f32, f32));
        impl Operation<f32, f32, f32> for Op {
            #[inline(always)]
            fn apply<S: Vectors>(&self, s: S, a: &[f32; LANES], _: &[f32; LANES], out: &mut [f32; LANES]) {
                let Op((min, max)) = *self;
                s.store_f32(s.clamp_f32(s.load_f32(a), s.splat_f32(min), s.splat_f32(max)), out);
            }
        }
        let ((min, max), values) = (bounds, pairs(&F32S, &[0.0]));
        on_each_isa(
            || Each::new(&values, Op(bounds)),
            |isa, all| {
                for (&a, out) in F32S.iter().zip(all) {
                    let above = if a > min { a } else { min };
                    let want = if above < max { above } else { max };
                    let want = if a.is_nan() { 0.0 } else { want };
                    assert_eq!(out.to_bits(), want.to_bits(), "{isa}: {a} in {min}…{max}");
                }
            },
        );
    }
}

#[test]
fn roundings() {
    // A zero that is added makes the sign of zeros the same.
    let small = || pairs(&small_f32s(), &[0.0]);
    operation!(small(), |s, a: f32, b: f32| -> i32 { s.round_to_i32(a) }, a.round_ties_even() as i32);
    operation!(small(), |s, a: f32, b: f32| -> f32 { s.add_f32(s.round_f32(a), b) }, a.round_ties_even() + b);
    operation!(small(), |s, a: f32, b: f32| -> f32 { s.add_f32(s.floor_f32(a), b) }, a.floor() + b);
    operation!(small(), |s, a: f32, b: f32| -> i32 { s.floor_to_i32(a) }, a.floor() as i32);
    operation!(small(), |s, a: f32, b: f32| -> i32 { s.trunc_to_i32(a) }, a as i32);
}

#[test]
fn sums_of_products() {
    struct Op(f64);
    impl Operation<f32, f32, f64> for Op {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[f32; LANES], b: &[f32; LANES], out: &mut [f64; LANES]) {
            let (a, b) = (s.load_f32(a), s.load_f32(b));
            s.store_f64(s.add_product_f64(s.splat_f64(self.0), a, a), out);
            s.store_f64(s.add_product_f64(s.load_f64(out), a, b), out);
        }
    }
    let pairs = pairs(&F32S, &F32S);
    for first in [0.0, 0.1, 1e60] {
        on_each_isa(
            || Each::new(&pairs, Op(first)),
            |isa, all| {
                for (&(a, b), out) in pairs.iter().zip(all) {
                    let [x, y] = [a, b].map(f64::from);
                    let want = first + x * x + x * y;
                    let same = want.to_bits() == out.to_bits() || (want.is_nan() && out.is_nan());
                    assert!(same, "{isa}: {first} + {a}² + {a} · {b} is {out}, not {want}");
                }
            },
        );
    }
}

#[test]
fn sums_by_halves() {
    /// Lane 0 of the results is the sum of the lanes of a.
    struct Op;
    impl Operation<f32, f32, f64> for Op {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[f32; LANES], _: &[f32; LANES], out: &mut [f64; LANES]) {
            let lanes = s.add_product_f64(s.splat_f64(0.0), s.load_f32(a), s.splat_f32(0.1));
            *out = [s.sum_f64(lanes); LANES];
        }
    }
    let values: Vec<f32> = (0..LANES).map(|i| (i as f32 * 1.7).exp() * if i % 3 == 0 { -1.0 } else { 1.0 }).collect();
    let pairs: Vec<(f32, f32)> = values.iter().map(|&x| (x, 0.0)).collect();
    let lane = |i: usize| f64::from(values[i]) * f64::from(0.1_f32);
    let eighth = |i: usize| lane(i) + lane(i + 8);
    let quarter = |i: usize| eighth(i) + eighth(i + 4);
    let want = (quarter(0) + quarter(2)) + (quarter(1) + quarter(3));
    let in_order: f64 = (0..LANES).map(lane).sum();
    assert_ne!(want.to_bits(), in_order.to_bits(), "the order shows");
    on_each_isa(
        || Each::new(&pairs, Op),
        |isa, all| assert!(all.iter().all(|sum| sum.to_bits() == want.to_bits()), "{isa}: {all:?}, not {want}"),
    );
}

#[test]
fn integers() {
    let all = || pairs(&I32S, &I32S);
    let shifts: Vec<i32> = (0..32).collect();
    let shifted = || pairs(&I32S, &shifts);
    operation!(all(), |s, a: i32, b: i32| -> f32 { s.to_f32(a) }, a as f32);
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.add_i32(a, b) }, a.wrapping_add(b));
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.sub_i32(a, b) }, a.wrapping_sub(b));
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.mul_i32(a, b) }, a.wrapping_mul(b));
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.max_i32(a, b) }, a.max(b));
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.min_i32(a, b) }, a.min(b));
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.and_i32(a, b) }, a & b);
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.xor_i32(a, b) }, a ^ b);
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.splat_i32(-7) }, -7);
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.shift_left::<1>(a) }, a << 1);
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.shift_left::<9>(a) }, a << 9);
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.shift_left::<31>(a) }, a << 31);
    operation!(shifted(), |s, a: i32, b: i32| -> i32 { s.shift_right(a, b) }, a >> b);
    operation!(shifted(), |s, a: i32, b: i32| -> i32 { s.shift_right_logical(a, b) }, (a as u32 >> b) as i32);
}

#[test]
fn sums() {
    struct Op;
    impl Operation<i32, i32, i32> for Op {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
            *out = [s.sum_i32(s.load_i32(a)); LANES];
        }
    }
    let all = many_i32s();
    let values = pairs(&all, &[0]);
    on_each_isa(
        || Each::new(&values, Op),
        |isa, out| {
            for (a, out) in all.chunks_exact(LANES).zip(out.chunks(LANES)) {
                assert_eq!(out[0], a.iter().fold(0, |sum: i32, a| sum.wrapping_add(*a)), "{isa}: {a:?}");
            }
        },
    );
}

#[test]
fn codes() {
    let unsigned: Vec<u8> = (0..=255).collect();
    let signed: Vec<i8> = (-128..=127).collect();
    let from_unsigned: Vec<i32> = (0..=255).collect();
    let from_signed: Vec<i32> = (-128..=127).collect();
    operation!(pairs(&unsigned, &[0]), |s, a: u8, b: i32| -> i32 { a }, i32::from(a));
    operation!(pairs(&signed, &[0]), |s, a: i8, b: i32| -> i32 { a }, i32::from(a));
    operation!(pairs(&from_unsigned, &[0]), |s, a: i32, b: i32| -> u8 { a }, a as u8);
    operation!(pairs(&from_signed, &[0]), |s, a: i32, b: i32| -> i8 { a }, a as i8);
}
