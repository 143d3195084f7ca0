//! The operations of the elementwise fast path: four vectors at a time, and the sticky mask.

use super::*;
use crate::simd::{QUAD, quad};

type Quad<T> = [[T; LANES]; QUAD];

#[inline(always)]
fn load<S: Vectors>(simd: S, x: &[f32]) -> [S::F32; QUAD] {
    quad(
        #[inline(always)]
        |j| simd.load_f32(&block(x, j * LANES)),
    )
}

/// Zero points that are read as codes are added to the lanes that they belong to.
#[test]
fn reordered() {
    struct Reorder<'a>(&'a [u8; 64], &'a [i8; 64]);
    impl Kernel for Reorder<'_> {
        /// Codes of 0 with zero points that were read as bytes, then as vectors.
        type Output = ([Quad<u8>; 2], [Quad<i8>; 2]);
        #[inline(always)]
        fn run<S: Vectors>(self, simd: S) -> Self::Output {
            let a = [simd.splat_f32(0.0); QUAD];
            let (mut unsigned, mut signed) = ([[[0; LANES]; QUAD]; 2], [[[0; LANES]; QUAD]; 2]);
            let of_unsigned = simd.reorder(quad(
                #[inline(always)]
                |j| simd.load_u8(&block(self.0, j * LANES)),
            ));
            let of_signed = simd.reorder(quad(
                #[inline(always)]
                |j| simd.load_i8(&block(self.1, j * LANES)),
            ));
            let mut invalid = simd.splat_i32(0);
            for (b, out) in [simd.reorder_u8(self.0), of_unsigned].into_iter().zip(&mut unsigned) {
                invalid = simd.narrow_quad_u8(a, b, [0, 255], out, invalid);
            }
            for (b, out) in [simd.reorder_i8(self.1), of_signed].into_iter().zip(&mut signed) {
                invalid = simd.narrow_quad_i8(a, b, [-128, 127], out, invalid);
            }
            assert!(!simd.any_invalid(invalid));
            (unsigned, signed)
        }
    }
    for first in 0..=255_u8 {
        let unsigned: [u8; 64] = from_fn(|i| first.wrapping_add(37 * (i as u8 % 4) + i as u8));
        let signed = unsigned.map(u8::cast_signed);
        on_each_isa(
            || Reorder(&unsigned, &signed),
            |isa, (of_unsigned, of_signed)| {
                assert!(of_unsigned.iter().all(|codes| *codes.as_flattened() == unsigned), "{isa}");
                assert!(of_signed.iter().all(|codes| *codes.as_flattened() == signed), "{isa}");
            },
        );
    }
}

/// Codes are the scalar expression, or a lane is marked for one of the three reasons.
#[test]
fn narrowed() {
    struct Narrow<'a>(&'a [f32], i32);
    impl Kernel for Narrow<'_> {
        /// The codes of both types, or none if a lane is marked; and whether a lane is marked as NaN.
        type Output = (Option<Quad<u8>>, Option<Quad<i8>>, bool);
        #[inline(always)]
        fn run<S: Vectors>(self, simd: S) -> Self::Output {
            let (a, none) = (load(simd, self.0), simd.splat_i32(0));
            let b = simd.reorder([simd.splat_i32(self.1); QUAD]);
            let (mut unsigned, mut signed) = ([[0; LANES]; QUAD], [[0; LANES]; QUAD]);
            let of_unsigned = simd.narrow_quad_u8(a, b, [3, 250], &mut unsigned, none);
            let of_signed = simd.narrow_quad_i8(a, b, [-127, 126], &mut signed, none);
            let of_nan = simd.mark_nan(a, none);
            let [unsigned_marked, signed_marked, nan] =
                [of_unsigned, of_signed, of_nan].map(|invalid| simd.any_invalid(invalid));
            assert!(!simd.any_invalid(none));
            // The mask is sticky.
            let (half, mut out) = ([simd.splat_f32(0.5); QUAD], [[0; LANES]; QUAD]);
            let still = simd.narrow_quad_u8(half, b, [0, 255], &mut out, of_unsigned);
            assert_eq!(simd.any_invalid(still), unsigned_marked);
            assert_eq!(simd.any_invalid(simd.mark_nan(half, of_nan)), nan);
            assert_eq!(simd.any_invalid(simd.mark_nan(half, of_signed)), signed_marked);
            assert_eq!(simd.any_invalid(simd.mark_nan(a, still)), unsigned_marked);
            // Bounds that are those of the type are not clamped to.
            let mut whole = ([[0; LANES]; QUAD], [[0; LANES]; QUAD]);
            let again = simd.narrow_quad_u8(a, b, [0, 255], &mut whole.0, none);
            simd.narrow_quad_i8(a, b, [-128, 127], &mut whole.1, none);
            if !simd.any_invalid(again) {
                assert_eq!(whole.0.map(|codes| codes.map(|code| code.clamp(3, 250))), unsigned);
                assert_eq!(whole.1.map(|codes| codes.map(|code| code.clamp(-127, 126))), signed);
            }
            ((!unsigned_marked).then_some(unsigned), (!signed_marked).then_some(signed), nan)
        }
    }
    let special = [-32_767.4, -32_767.5, -32_768.0, 32_767.6, 2_147_483_500.0, 2_147_483_648.0, -1e9];
    for (i, x) in F32S.into_iter().chain(special).enumerate() {
        for b in [-255, -128, 0, 77, 255] {
            let mut a: Vec<f32> = (0..64).map(|i| (i * 37 % 64 - 32) as f32 * 8.5).collect();
            a[i * 11 % 64] = x;
            let narrows = x.round_ties_even() > -32_768.0 && x < 2_147_483_648.0;
            let code = |i: usize, min, max| (a[i].round_ties_even() as i64 + i64::from(b)).clamp(min, max);
            on_each_isa(
                || Narrow(&a, b),
                |isa, (unsigned, signed, nan)| {
                    assert_eq!([unsigned.is_some(), signed.is_some()], [narrows; 2], "{isa}: {x}");
                    assert_eq!(nan, x.is_nan(), "{isa}: {x}");
                    for (i, &q) in unsigned.iter().flat_map(|out| out.as_flattened()).enumerate() {
                        assert_eq!(i64::from(q), code(i, 3, 250), "{isa}: {x}");
                    }
                    for (i, &q) in signed.iter().flat_map(|out| out.as_flattened()).enumerate() {
                        assert_eq!(i64::from(q), code(i, -127, 126), "{isa}: {x}");
                    }
                },
            );
        }
    }
}

/// A lane of the sticky mask is marked by either half.
#[test]
fn marked_halves() {
    struct Op;
    impl Operation<i32, i32, i32> for Op {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
            for (i, (a, out)) in a.iter().zip(out).enumerate() {
                let mut lanes = [0x7fff_1234; LANES];
                lanes[i] = *a;
                *out = i32::from(s.any_invalid(s.load_i32(&lanes)));
            }
        }
    }
    let halves = [0, 1, -1, i16::MIN, i16::MIN + 1, i16::MAX];
    let all: Vec<i32> =
        pairs(&halves, &halves).iter().map(|&(a, b)| i32::from(a) << 16 | i32::from(b) & 0xffff).collect();
    let values = pairs(&all, &[0; 16]);
    on_each_isa(
        || Each::new(&values, Op),
        |isa, out| {
            for (&(a, _), out) in values.iter().zip(out) {
                let marked = a as i16 == i16::MIN || (a >> 16) as i16 == i16::MIN;
                assert_eq!(out, i32::from(marked), "{isa}: {a:x}");
            }
        },
    );
}

#[test]
fn equal() {
    struct Equal<'a>(&'a [f32], &'a [f32]);
    impl Kernel for Equal<'_> {
        type Output = Quad<u8>;
        #[inline(always)]
        fn run<S: Vectors>(self, simd: S) -> Quad<u8> {
            let mut out = [[0; LANES]; QUAD];
            simd.store_equal_quad(load(simd, self.0), load(simd, self.1), &mut out);
            out
        }
    }
    let a: Vec<f32> = F32S.iter().cycle().take(64).copied().collect();
    for shift in 0..64 {
        let b: Vec<f32> = (0..64).map(|i| if i % 3 == 0 { a[i] } else { a[(i + shift) % 64] }).collect();
        on_each_isa(
            || Equal(&a, &b),
            |isa, out| {
                let want = a.iter().zip(&b).map(|(a, b)| u8::from(a == b));
                assert!(out.as_flattened().iter().copied().eq(want), "{isa} {shift}");
            },
        );
    }
}
