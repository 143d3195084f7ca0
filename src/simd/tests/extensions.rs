//! The operations of the extension traits, but those on quads.

use super::*;
use crate::reduce::vectors::largest_lanes;

#[test]
fn random() {
    let all = || pairs(&I32S, &I32S);
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.xor3_i32(a, b, s.splat_i32(0x1234_5678)) }, a ^ b ^ 0x1234_5678);
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.rotate_left::<1>(a) }, a.rotate_left(1));
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.rotate_left::<7>(a) }, a.rotate_left(7));
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.rotate_left::<31>(a) }, a.rotate_left(31));
    operation!(all(), |s, a: i32, b: i32| -> f32 { s.upper_bits(a) }, (a as u32 >> 8) as f32);
    operation!(
        pairs(&F32S, &F32S),
        |s, a: f32, b: f32| -> i32 { s.add_if_less(s.to_bits(a), a, b) },
        (a.to_bits() as i32).wrapping_add(i32::from(a < b))
    );
}

/// Fractions of every size beside words at, and one step around, the fraction that they are compared with.
#[test]
fn stochastic_rounding() {
    let small = small_f32s();
    let mut rounded = pairs(&small, &I32S);
    for &a in &small {
        for a in [a, a * 1e-7, a * 1e-3, 1.0 / a].into_iter().filter(|a| a.abs() < 4_194_304.0) {
            let fraction = ((a - a.floor()) * 16_777_216.0) as i64;
            rounded.extend((-2..=2).flat_map(|k| [0, 255].map(|low| (a, (((fraction + k) << 8) + low) as i32))));
        }
    }
    operation!(
        rounded,
        |s, a: f32, b: i32| -> i32 { s.round_stochastically(a, b) },
        a.floor() as i32 + i32::from(((b as u32 >> 8) as f32) < (a - a.floor()) * 16_777_216.0)
    );
}

#[test]
fn unsigned_order() {
    let all = || pairs(&I32S, &I32S);
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.max_u32(a, b) }, (a as u32).max(b as u32) as i32);
    operation!(all(), |s, a: i32, b: i32| -> i32 { s.min_u32(a, b) }, (a as u32).min(b as u32) as i32);
}

/// The largest of sixteen lanes, wherever it is.
#[test]
fn largest_lane() {
    struct Op;
    impl Operation<i32, i32, i32> for Op {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
            *out = from_fn(|lane| {
                let mut a = *a;
                a.rotate_left(lane);
                s.max_of_i32(s.load_i32(&a))
            });
        }
    }
    let all = many_i32s();
    let values = pairs(&all, &[0]);
    on_each_isa(
        || Each::new(&values, Op),
        |isa, out| {
            for (a, out) in all.chunks_exact(LANES).zip(out.chunks(LANES)) {
                assert!(out.iter().all(|out| Some(out) == a.iter().max()), "{isa}: {a:?} {out:?}");
            }
        },
    );
}

/// A negative lane, wherever it is.
#[test]
fn negative_lane() {
    struct Op;
    impl Operation<i32, i32, i32> for Op {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                let mut lanes = [i32::MAX; LANES];
                (lanes[i], lanes[(i + 7) % LANES]) = (*a, b & i32::MAX);
                out[i] = i32::from(s.any_negative(s.load_i32(&lanes)));
            }
        }
    }
    let all = many_i32s();
    let pairs = pairs(&all, &all);
    on_each_isa(
        || Each::new(&pairs, Op),
        |isa, all| {
            for (&(a, _), out) in pairs.iter().zip(all) {
                assert_eq!(out, i32::from(a < 0), "{isa}: {a}");
            }
        },
    );
}

/// The largest lane of every vector of sixteen, wherever it is, of two results at once.
#[test]
fn largest_of_each() {
    struct Op;
    impl Operation<i32, i32, i32> for Op {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
            let mut rows = [[0; LANES]; LANES];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = rotated(a, i);
            }
            let largest = largest_lanes(s, &rows);
            rows.reverse();
            let other = largest_lanes(s, &rows);
            let mut reversed = [0; LANES];
            s.store_i32(other, &mut reversed);
            s.store_i32(largest, out);
            assert!(out.iter().eq(reversed.iter().rev()));
        }
    }
    fn rotated(a: &[i32; LANES], i: usize) -> [i32; LANES] {
        let mut lanes = *a;
        lanes.rotate_left(7 * i % LANES);
        lanes[i] = lanes[i].wrapping_add(i as i32);
        lanes
    }
    let all = many_i32s();
    let values = pairs(&all, &[0]);
    on_each_isa(
        || Each::new(&values, Op),
        |isa, out| {
            for (a, out) in all.as_chunks::<LANES>().0.iter().zip(out.chunks(LANES)) {
                for (i, &out) in out.iter().enumerate() {
                    assert_eq!(Some(out), rotated(a, i).into_iter().max(), "{isa} {i}: {a:?}");
                }
            }
        },
    );
}

/// Every shift, in lanes whose neighbours are shifted by another amount, as columns are.
#[test]
fn fixed_point() {
    fn shift_of(lane: usize, shift: i32) -> i32 {
        if lane % 2 == 1 { (shift + 20) % 62 + 1 } else { shift.max(1) }
    }
    struct Round(i32);
    impl Operation<i32, i32, i32> for Round {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
            let shifts: [i32; LANES] = from_fn(|i| shift_of(i, b[i]));
            s.store_i32(s.mul_shift_round(s.load_i32(a), s.splat_i32(self.0), s.load_i32(&shifts)), out);
        }
    }
    /// An addend that lifts the sum to 0, or little above, and that sum, where the shift allows them.
    fn sum_of(a: i32, factor: i32, shift: i32) -> Option<(i32, i32)> {
        let product = (i64::from(a) * i64::from(factor) + (1 << (shift - 1))) >> shift;
        let c = i32::try_from((-product).max(-200) + i64::from(a & 3)).ok()?;
        let fits = (32..=54).contains(&shift) && i64::from(c).abs() < 1 << (63 - shift);
        fits.then(|| (c, (product + i64::from(c)) as i32))
    }
    /// 7 in lanes without such an addend.
    struct RoundAdd(i32);
    impl Operation<i32, i32, i32> for RoundAdd {
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
    for shift in 1..=62 {
        let pairs = pairs(&I32S, &[shift]);
        for factor in [0, 1, 3, 1 << 30, (1 << 30) + 12_345, i32::MAX] {
            on_each_isa(
                || Each::new(&pairs, Round(factor)),
                |isa, all| {
                    for (i, (&(a, shift), out)) in pairs.iter().zip(all).enumerate() {
                        let shift = shift_of(i, shift);
                        let want = ((i64::from(a) * i64::from(factor) + (1 << (shift - 1))) >> shift) as i32;
                        assert_eq!(out, want, "{isa}: {a} · {factor} >> {shift}");
                    }
                },
            );
            on_each_isa(
                || Each::new(&pairs, RoundAdd(factor)),
                |isa, all| {
                    for (i, (&(a, shift), out)) in pairs.iter().zip(all).enumerate() {
                        let shift = shift_of(i, shift);
                        let want = sum_of(a, factor, shift).map_or(7, |(_, sum)| sum);
                        assert_eq!(out, want, "{isa}: ({a} · {factor} >> {shift}) + c");
                    }
                },
            );
        }
    }
}

/// The bytes of sixteen i32, loaded from four rows, are these i32; those of two rows are stored in pairs.
#[test]
fn interleaved() {
    struct Op;
    impl Operation<i32, i32, i32> for Op {
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
    let values = pairs(&all, &[0]);
    on_each_isa(|| Each::new(&values, Op), |isa, out| assert_eq!(out, all, "{isa}"));
}

/// Sums of four neighbours.
#[test]
fn sums_of_four() {
    struct Sums<'a>(&'a [u8; 4 * LANES]);
    impl Kernel for Sums<'_> {
        type Output = [[i32; LANES]; 2];
        #[inline(always)]
        fn run<S: Vectors>(self, s: S) -> Self::Output {
            let (a, mut out) = (s.splat_i32(-5), [[0; LANES]; 2]);
            s.store_i32(s.add_four_u8(a, self.0), &mut out[0]);
            s.store_i32(s.add_four_i8(a, &self.0.map(u8::cast_signed)), &mut out[1]);
            out
        }
    }
    let patterns: [[u8; 64]; 4] = [[255; 64], [128; 64], [127; 64], from_fn(|i| (i as u8).wrapping_mul(37))];
    for codes in &patterns {
        let sums = |value: fn(u8) -> i32| -> [i32; LANES] {
            from_fn(|i| (4 * i..4 * i + 4).map(|k| value(codes[k])).sum::<i32>() - 5)
        };
        let want = [sums(i32::from), sums(|code| i32::from(code.cast_signed()))];
        on_each_isa(|| Sums(codes), |isa, out| assert_eq!(out, want, "{isa}"));
    }
}

/// Every integer of 16 bits, to lanes and back.
#[test]
fn sixteen_bits() {
    struct Op;
    impl Operation<i32, i32, i32> for Op {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
            let (mut lanes, mut back) = ([0; LANES], [0; LANES]);
            s.store_i32(s.load_u16(&a.map(|a| a as u16)), &mut lanes);
            s.store_u16(s.load_i32(&lanes), &mut back);
            // The lane itself, and what was stored if that is something else.
            *out = from_fn(|i| lanes[i] ^ i32::from(back[i]) << 16 ^ lanes[i] << 16);
        }
    }
    let all: Vec<i32> = (0..1 << 16).collect();
    let values = pairs(&all, &[0]);
    on_each_isa(|| Each::new(&values, Op), |isa, out| assert_eq!(out, all, "{isa}"));
}

/// Every byte, as two codes of two or four bits and back.
#[test]
fn packed_pairs() {
    pairs_of::<2>();
    pairs_of::<4>();
}

fn pairs_of<const BITS: i32>() {
    struct Op<const BITS: i32>;
    impl<const BITS: i32> Operation<i32, i32, i32> for Op<BITS> {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
            let (mut pairs, mut back) = ([0; 2 * LANES], [0; LANES]);
            s.unpack_pairs::<BITS>(&a.map(|a| a as u8), b[0] as u8, &mut pairs);
            s.pack_pairs::<BITS>(&pairs, &mut back);
            *out = from_fn(|i| i32::from_le_bytes([pairs[2 * i], pairs[2 * i + 1], back[i], 0]));
        }
    }
    let all: Vec<i32> = (0..256).collect();
    let codes = 1 << BITS;
    for flip in [0, codes / 2] {
        let values = pairs(&all, &[flip]);
        on_each_isa(
            || Each::new(&values, Op::<BITS>),
            |isa, out| {
                for (&a, out) in all.iter().zip(out) {
                    let (low, high) = (a % codes, a / codes % codes);
                    let code = |code: i32| if flip > 0 && code >= flip { code - codes } else { code } as u8;
                    let back = (low + high * codes) as u8;
                    assert_eq!(out.to_le_bytes(), [code(low), code(high), back, 0], "{isa} {a}");
                }
            },
        );
    }
}

/// Bytes in a table, four a lane.
#[test]
fn table() {
    const TABLE: [u8; 16] = [200, 3, 0, 255, 17, 128, 127, 64, 9, 250, 1, 33, 90, 91, 180, 77];
    let places: Vec<i32> =
        (0..1 << 16).map(|i| i & 0xf | i << 4 & 0xf00 | i << 8 & 0xf_0000 | i << 12 & 0xf00_0000).collect();
    operation!(
        pairs(&places, &[0]),
        |s, a: i32, b: i32| -> i32 { s.look_up(&TABLE, s.xor_i32(a, b)) },
        i32::from_le_bytes((a ^ b).to_le_bytes().map(|byte| TABLE[usize::from(byte)]))
    );
}

/// The codes of two blocks, as integers or as their halves.
#[test]
fn format_codes() {
    struct Codes {
        halved: bool,
    }
    impl Operation<i32, i32, i32> for Codes {
        #[inline(always)]
        fn apply<S: Vectors>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
            let (a, b) = (s.load_i32(a), s.load_i32(b));
            let (mut codes, mut other) = ([0; 2 * LANES], [0; 2 * LANES]);
            if self.halved {
                s.store_halved_i8([[a, b], [b, a]], [&mut codes, &mut other]);
            } else {
                s.store_symmetric_i8([[a, b], [b, a]], [&mut codes, &mut other]);
            }
            *out = from_fn(|i| i32::from(codes[i]) << 8 | i32::from(codes[i + LANES]) & 255);
            assert!(other[..LANES] == codes[LANES..] && other[LANES..] == codes[..LANES]);
        }
    }
    let small: Vec<i32> = I32S.into_iter().filter(|a| a.abs_diff(0) < 1 << 15).collect();
    let doubled: Vec<i32> = (-254..=254).collect();
    let symmetric: fn(i32) -> i32 = |a| a.clamp(-127, 127);
    for (halved, values, code) in [(false, small, symmetric), (true, doubled, |a| (a as f32 / 2.0).round() as i32)] {
        let pairs = pairs(&values, &values);
        on_each_isa(
            || Each::new(&pairs, Codes { halved }),
            |isa, all| {
                for (&(a, b), out) in pairs.iter().zip(all) {
                    assert_eq!(out, code(a) << 8 | code(b) & 255, "{isa}: {a} {b}");
                }
            },
        );
    }
}
