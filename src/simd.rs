//! Sixteen lanes on every ISA: the vector operations that the elementwise kernels are written in.
//!
//! A kernel is a struct of its arguments with one generic body ([`Kernel::run`]); [`Isa::run`](crate::Isa) compiles
//! that body once per ISA. The unit is a block of [`LANES`] elements everywhere (one zmm, two ymm, four q registers,
//! an array), so that every ISA walks the data, its tail and its reductions in the same order. Each operation below
//! *is* the scalar expression in its comment, lane by lane, NaN included: that, not the instruction behind it, is what
//! makes results equal bit for bit. (Which NaN an operation makes is the CPU's: kernels replace it before they store.)
//!
//! A generic body has no target features of its own: it gets them by being inlined into the ISA's `enter`. So every
//! function here and in the kernels is `#[inline(always)]`; one that is not would turn each of these
//! operations into a call.

use core::array::from_fn;

use bytemuck::Pod;

use crate::arch::prefetch_ahead;

/// The elements of a block, on every ISA.
pub const LANES: usize = 16;

/// The blocks that are stored together where that is faster: 64 codes are one vector, or two.
pub const FOUR: usize = 4;

/// `[f(0), f(1), f(2), f(3)]`, inlined as kernels have to be; what the standard library has for it may be left a call.
#[inline(always)]
pub fn four<T>(f: impl Fn(usize) -> T) -> [T; FOUR] {
    [f(0), f(1), f(2), f(3)]
}

/// What is written to memory at once, past the caches.
#[repr(C, align(64))]
pub struct Line([u8; 64]);

/// A piece of work that can be compiled for any ISA: its fields are its arguments.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The body. Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Sixteen-lane operations. `a[i]` stands for lane i; integers wrap.
pub trait Simd: Copy {
    /// Sixteen f32.
    type F32: Copy;
    /// Sixteen i32.
    type I32: Copy;
    /// Sixteen f64.
    type F64: Copy;
    /// Lanes of four vectors on the way to the largest of each.
    type Maxima: Copy;

    /// Whether a product with a reciprocal in two parts takes less time here than a division: `mul_add_f32` is an
    /// instruction, and the operations on four blocks are more than a doubt.
    const RECIPROCALS: bool = false;

    /// How many results of three vectors, none waiting for another, the registers have room for: up to [`FOUR`].
    const CHAINS: usize = 1;

    /// Whether maxima and minima of integers, signed and unsigned, are instructions.
    const ORDERS_BITS: bool = false;

    /// `x`
    fn splat_f32(self, x: f32) -> Self::F32;
    /// `x[i]`
    fn load_f32(self, x: &[f32; LANES]) -> Self::F32;
    /// `out[i] = a[i]`
    fn store_f32(self, a: Self::F32, out: &mut [f32; LANES]);
    /// `a[i] + b[i]`
    fn add_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a[i] - b[i]`
    fn sub_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a[i] * b[i]`
    fn mul_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a[i].mul_add(b[i], c[i])`, rounded once
    #[inline(always)]
    fn mul_add_f32(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        let mut lanes = [[0.0; LANES]; 3];
        for (x, lanes) in [a, b, c].into_iter().zip(&mut lanes) {
            self.store_f32(x, lanes);
        }
        let sums: [f32; LANES] = from_fn(
            #[inline(always)]
            |i| lanes[0][i].mul_add(lanes[1][i], lanes[2][i]),
        );
        self.load_f32(&sums)
    }
    /// `a[i] / b[i]`, correctly rounded
    fn div_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a[i] > b[i] { a[i] } else { b[i] }`, so NaN in `a` gives `b`
    fn max_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a[i] < b[i] { a[i] } else { b[i] }`, so NaN in `a` gives `b`
    fn min_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a[i] is NaN { b[i] } else { a[i] }`
    fn replace_nan(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a[i] is NaN { 0.0 } else { min_f32(max_f32(a[i], min[i]), max[i]) }`, for `min[i] ≤ 0 ≤ max[i]`
    #[inline(always)]
    fn clamp_f32(self, a: Self::F32, min: Self::F32, max: Self::F32) -> Self::F32 {
        let a = self.replace_nan(a, self.splat_f32(0.0));
        self.min_f32(self.max_f32(a, min), max)
    }
    /// `a[i].round_ties_even() as i32`, for `|a[i]| < 2²²`
    fn round_to_i32(self, a: Self::F32) -> Self::I32;
    /// `a[i].round_ties_even()`, for `|a[i]| < 2²²`; 0 of any sign
    #[inline(always)]
    fn round_f32(self, a: Self::F32) -> Self::F32 {
        self.to_f32(self.round_to_i32(a))
    }
    /// `a[i].floor()`, for `|a[i]| < 2²²`; 0 of any sign
    fn floor_f32(self, a: Self::F32) -> Self::F32;
    /// `a[i].floor() as i32`, for `|a[i]| < 2²²`
    fn floor_to_i32(self, a: Self::F32) -> Self::I32;
    /// `a[i] as i32`, towards zero, for `|a[i]| < 2²²`
    fn trunc_to_i32(self, a: Self::F32) -> Self::I32;
    /// `a[i] as f32`, ties to even
    fn to_f32(self, a: Self::I32) -> Self::F32;
    /// `a[i].to_bits() as i32`
    fn to_bits(self, a: Self::F32) -> Self::I32;
    /// `f32::from_bits(a[i] as u32)`
    fn of_bits(self, a: Self::I32) -> Self::F32;

    /// `x`
    fn splat_f64(self, x: f64) -> Self::F64;
    /// `out[i] = a[i]`
    fn store_f64(self, a: Self::F64, out: &mut [f64; LANES]);
    /// `a[i] + f64::from(x[i]) * f64::from(x[i])`: the product is exact, so fused or not
    fn add_square(self, a: Self::F64, x: Self::F32) -> Self::F64;

    /// `x`
    fn splat_i32(self, x: i32) -> Self::I32;
    /// `x[i]`
    fn load_i32(self, x: &[i32; LANES]) -> Self::I32;
    /// `out[i] = a[i]`
    fn store_i32(self, a: Self::I32, out: &mut [i32; LANES]);
    /// `x[i] as i32`
    fn load_u8(self, x: &[u8; LANES]) -> Self::I32;
    /// `x[i] as i32`
    fn load_i8(self, x: &[i8; LANES]) -> Self::I32;
    /// `i32::from_le_bytes([x[0][i], x[1][i], x[2][i], x[3][i]])`
    #[inline(always)]
    fn load_quads(self, x: [&[u8; LANES]; 4]) -> Self::I32 {
        let [a, b, c, d] = x;
        let first = self.xor_i32(self.load_u8(a), self.shift_left::<8>(self.load_u8(b)));
        let second = self.xor_i32(self.shift_left::<16>(self.load_u8(c)), self.shift_left::<24>(self.load_u8(d)));
        self.xor_i32(first, second)
    }
    /// `out[i] = [x[0][i], x[1][i]]`
    #[inline(always)]
    fn store_pairs(self, x: [&[u8; LANES]; 2], out: &mut [[u8; 2]; LANES]) {
        for ((out, &first), &second) in out.iter_mut().zip(x[0]).zip(x[1]) {
            *out = [first, second];
        }
    }
    /// `out[i] = (x[2i] & 15) | x[2i + 1] << 4`
    #[inline(always)]
    fn pack_nibbles(self, x: &[u8; 2 * LANES], out: &mut [u8; LANES]) {
        // (Stored at once, so that the compiler need not ask whether `out` is a part of `x`.)
        *out = from_fn(
            #[inline(always)]
            |i| (x[2 * i] & 15) | x[2 * i + 1] << 4,
        );
    }
    /// `out[2i] = ((x[i] & 15) ^ flip) - flip; out[2i + 1] = ((x[i] >> 4) ^ flip) - flip`, which wraps: with a `flip` of 8, the
    /// bytes of signed nibbles
    #[inline(always)]
    fn unpack_nibbles(self, x: &[u8; LANES], flip: u8, out: &mut [u8; 2 * LANES]) {
        for (pair, &x) in out.as_chunks_mut::<2>().0.iter_mut().zip(x) {
            *pair = [((x & 15) ^ flip).wrapping_sub(flip), ((x >> 4) ^ flip).wrapping_sub(flip)];
        }
    }
    /// `out[i] = a[i] as u8`, for `a[i]` in 0…255
    fn store_u8(self, a: Self::I32, out: &mut [u8; LANES]);
    /// `out[i] = a[i] as i8`, for `a[i]` in −128…127
    fn store_i8(self, a: Self::I32, out: &mut [i8; LANES]);
    /// `b` as [`narrow_four_u8`](Simd::narrow_four_u8) takes it: 64 numbers of sixteen bits, in an order of the ISA's own
    #[inline(always)]
    fn words_of(self, b: [Self::I32; FOUR]) -> [Self::I32; 2] {
        [b[0], b[1]]
    }
    /// The same of `b[j][i] = x[16j + i]`
    #[inline(always)]
    fn words_of_u8(self, _x: &[u8; FOUR * LANES]) -> [Self::I32; 2] {
        [self.splat_i32(0); 2]
    }
    /// The same of `b[j][i] = x[16j + i]`
    #[inline(always)]
    fn words_of_i8(self, _x: &[i8; FOUR * LANES]) -> [Self::I32; 2] {
        [self.splat_i32(0); 2]
    }
    /// `out[j][i] = (a[j][i].round_ties_even() + b[j][i] as f32).clamp(min, max) as u8` as if exact, for `|b[j][i]| ≤ 255`, given
    /// as [`words_of`](Simd::words_of) has them. Where an `a[j][i]` is NaN, 2³¹ or more, or rounds to less than −32767, the codes
    /// are anything and the doubt becomes one.
    #[inline(always)]
    fn narrow_four_u8(
        self,
        _a: [Self::F32; FOUR],
        _b: [Self::I32; 2],
        _bounds: [u8; 2],
        _out: &mut [[u8; LANES]; FOUR],
        _doubt: Self::I32,
    ) -> Self::I32 {
        self.splat_i32(i32::MIN)
    }
    /// `out[j][i] = (a[j][i].round_ties_even() + b[j][i] as f32).clamp(min, max) as i8`, in the same way
    #[inline(always)]
    fn narrow_four_i8(
        self,
        _a: [Self::F32; FOUR],
        _b: [Self::I32; 2],
        _bounds: [i8; 2],
        _out: &mut [[i8; LANES]; FOUR],
        _doubt: Self::I32,
    ) -> Self::I32 {
        self.splat_i32(i32::MIN)
    }
    /// The doubt, which becomes one if an `a[j][i]` is NaN
    #[inline(always)]
    fn doubt_nan(self, _a: [Self::F32; FOUR], _doubt: Self::I32) -> Self::I32 {
        self.splat_i32(i32::MIN)
    }
    /// Whether one half of a lane, of sixteen bits, is the smallest number of them: what a doubt is
    #[inline(always)]
    fn is_doubt(self, _a: Self::I32) -> bool {
        true
    }
    /// `out[j][i] = (a[j][i] == b[j][i]) as u8`
    #[inline(always)]
    fn store_equal_four(self, a: [Self::F32; FOUR], b: [Self::F32; FOUR], out: &mut [[u8; LANES]; FOUR]) {
        for (j, out) in out.iter_mut().enumerate() {
            let mut lanes = [[0.0; LANES]; 2];
            self.store_f32(a[j], &mut lanes[0]);
            self.store_f32(b[j], &mut lanes[1]);
            *out = from_fn(
                #[inline(always)]
                |i| u8::from(lanes[0][i] == lanes[1][i]),
            );
        }
    }
    /// `out = x`, past the caches where there are instructions for that; a [`fence`](Simd::fence) has to follow
    #[inline(always)]
    fn stream(self, x: &Line, out: &mut Line) {
        out.0 = x.0;
    }
    /// Whatever was streamed before is written before what comes after
    #[inline(always)]
    fn fence(self) {}
    /// `out[j][16k + i] = a[j][k][i].clamp(-127, 127) as i8`, for `|a[j][k][i]| < 2¹⁵`
    #[inline(always)]
    fn store_symmetric_i8(self, a: [[Self::I32; 2]; 2], out: [&mut [i8; 2 * LANES]; 2]) {
        let (min, max) = (self.splat_i32(-127), self.splat_i32(127));
        for (a, out) in a.into_iter().zip(out) {
            for (a, out) in a.into_iter().zip(out.as_chunks_mut().0) {
                self.store_i8(self.max_i32(self.min_i32(a, max), min), out);
            }
        }
    }
    /// `out[j][16k + i] = (a[j][k][i] as f32 / 2.0).round() as i8`, halves away from zero, for `|a[j][k][i]| ≤ 254`
    #[inline(always)]
    fn store_halved_i8(self, a: [[Self::I32; 2]; 2], out: [&mut [i8; 2 * LANES]; 2]) {
        let (one, sign) = (self.splat_i32(1), self.splat_i32(31));
        for (a, out) in a.into_iter().zip(out) {
            for (a, out) in a.into_iter().zip(out.as_chunks_mut().0) {
                let up = self.add_i32(one, self.shift_right(a, sign));
                self.store_i8(self.shift_right(self.add_i32(a, up), one), out);
            }
        }
    }
    /// `a[i] + Σ x[4i … 4i + 3] as i32`
    #[inline(always)]
    fn add_quads_u8(self, a: Self::I32, x: &[u8; 4 * LANES]) -> Self::I32 {
        let quads: [i32; LANES] = from_fn(
            #[inline(always)]
            |i| x[4 * i..4 * i + 4].iter().map(|&x| i32::from(x)).sum(),
        );
        self.add_i32(a, self.load_i32(&quads))
    }
    /// The same for up to 64 codes, with zeros behind them
    #[inline(always)]
    fn add_some_quads_u8(self, a: Self::I32, x: &[u8]) -> Self::I32 {
        let mut padded = [0; 4 * LANES];
        padded[..x.len()].copy_from_slice(x);
        self.add_quads_u8(a, &padded)
    }
    /// `a[i] + Σ x[4i … 4i + 3] as i32`
    #[inline(always)]
    fn add_quads_i8(self, a: Self::I32, x: &[i8; 4 * LANES]) -> Self::I32 {
        let quads: [i32; LANES] = from_fn(
            #[inline(always)]
            |i| x[4 * i..4 * i + 4].iter().map(|&x| i32::from(x)).sum(),
        );
        self.add_i32(a, self.load_i32(&quads))
    }
    /// The same for up to 64 codes, with zeros behind them
    #[inline(always)]
    fn add_some_quads_i8(self, a: Self::I32, x: &[i8]) -> Self::I32 {
        let mut padded = [0; 4 * LANES];
        padded[..x.len()].copy_from_slice(x);
        self.add_quads_i8(a, &padded)
    }
    /// `Σ a[i]`
    #[inline(always)]
    fn sum_i32(self, a: Self::I32) -> i32 {
        let mut lanes = [0; LANES];
        self.store_i32(a, &mut lanes);
        lanes.into_iter().fold(0, i32::wrapping_add)
    }
    /// The largest `a[i]`
    #[inline(always)]
    fn max_of_i32(self, a: Self::I32) -> i32 {
        let mut lanes = [0; LANES];
        self.store_i32(a, &mut lanes);
        lanes.into_iter().fold(i32::MIN, i32::max)
    }
    /// Whether an `a[i]` is below 0
    #[inline(always)]
    fn any_negative(self, a: Self::I32) -> bool {
        self.max_of_i32(self.xor_i32(a, self.splat_i32(-1))) >= 0
    }
    /// What [`max_of_fours`](Simd::max_of_fours) needs of four vectors
    fn max_of_four(self, a: [Self::I32; FOUR]) -> Self::Maxima;
    /// Lane 4k + i is the largest lane of the i-th vector of the k-th four
    fn max_of_fours(self, a: [Self::Maxima; FOUR]) -> Self::I32;
    /// Lane i of `[n]` is the largest lane of `of(i)[n]`. (Four after four: what `of` finds need not leave the registers.)
    #[inline(always)]
    fn max_of_each<const N: usize>(self, of: impl Fn(usize) -> [Self::I32; N]) -> [Self::I32; N] {
        let maxima = four(
            #[inline(always)]
            |k| {
                let four = four(
                    #[inline(always)]
                    |i| of(FOUR * k + i),
                );
                let mut maxima = [self.max_of_four([self.splat_i32(0); FOUR]); N];
                for n in 0..N {
                    maxima[n] = self.max_of_four([four[0][n], four[1][n], four[2][n], four[3][n]]);
                }
                maxima
            },
        );
        let mut each = [self.splat_i32(0); N];
        for n in 0..N {
            each[n] = self.max_of_fours([maxima[0][n], maxima[1][n], maxima[2][n], maxima[3][n]]);
        }
        each
    }
    /// `a[i] + b[i]`
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] - b[i]`
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] * b[i]`, the low 32 bits
    fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i].max(b[i])`
    fn max_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i].min(b[i])`
    fn min_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `(a[i] as u32).max(b[i] as u32) as i32`
    fn max_u32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `(a[i] as u32).min(b[i] as u32) as i32`
    fn min_u32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] & b[i]`
    fn and_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] ^ b[i]`
    fn xor_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] ^ b[i] ^ c[i]`
    #[inline(always)]
    fn xor3_i32(self, a: Self::I32, b: Self::I32, c: Self::I32) -> Self::I32 {
        self.xor_i32(self.xor_i32(a, b), c)
    }
    /// `a[i] + (x[i] < y[i]) as i32`
    fn add_if_less(self, a: Self::I32, x: Self::F32, y: Self::F32) -> Self::I32;
    /// Stochastic rounding, up with the probability of the fraction: with `f = a[i].floor()`, `|a[i]| < 2²²`,
    /// `f as i32 + (((words[i] as u32 >> 8) as f32) < (a[i] - f) * 2²⁴) as i32`
    #[inline(always)]
    fn round_stochastically(self, a: Self::F32, words: Self::I32) -> Self::I32 {
        let fraction = self.mul_f32(self.sub_f32(a, self.floor_f32(a)), self.splat_f32((1 << 24) as f32));
        self.add_if_less(self.floor_to_i32(a), self.upper_bits(words), fraction)
    }
    /// `(a[i] as u32 >> 8) as f32`: as many bits as an f32 can hold
    #[inline(always)]
    fn upper_bits(self, a: Self::I32) -> Self::F32 {
        self.to_f32(self.shift_right_logical(a, self.splat_i32(8)))
    }
    /// `a[i] << N`, for N in 1…31
    fn shift_left<const N: i32>(self, a: Self::I32) -> Self::I32;
    /// `a[i].rotate_left(N)`, for N in 1…31
    fn rotate_left<const N: i32>(self, a: Self::I32) -> Self::I32;
    /// `a[i] >> shift[i]`, arithmetic, for shifts 0…31
    fn shift_right(self, a: Self::I32, shift: Self::I32) -> Self::I32;
    /// `(a[i] as u32 >> shift[i]) as i32`, logical, for shifts 0…31
    fn shift_right_logical(self, a: Self::I32, shift: Self::I32) -> Self::I32;
    /// `((a[i] as i64 * b[i] as i64 + (1 << (shift[i] - 1))) >> shift[i]) as i32`, for `b[i] ≥ 0` and shifts 1…62
    fn mul_shift_round(self, a: Self::I32, b: Self::I32, shift: Self::I32) -> Self::I32;
    /// The same plus `c[i]`, for shifts 32…54, `|c[i]| < 2⁶³⁻ˢʰⁱᶠᵗ` and a sum of at least 0
    #[inline(always)]
    fn mul_shift_round_add(self, a: Self::I32, b: Self::I32, shift: Self::I32, c: Self::I32) -> Self::I32 {
        self.add_i32(self.mul_shift_round(a, b, shift), c)
    }
}

/// Sixteen elements from `start` on: those that exist, then zeros.
#[inline(always)]
pub fn block<T: Copy + Default>(x: &[T], start: usize) -> [T; LANES] {
    let rest = &x[start..];
    match rest.first_chunk() {
        Some(full) => *full,
        None => {
            let mut padded = [T::default(); LANES];
            padded[..rest.len()].copy_from_slice(rest);
            padded
        }
    }
}

/// Calls `f(start, input, output)` for blocks that cover both slices, whose lengths are equal.
///
/// The last, incomplete block overlaps its predecessor (`f` must depend on its arguments only); fewer than sixteen
/// elements are padded with zeros.
#[inline(always)]
pub fn map_blocks<T: Copy + Default, U: Copy + Default>(
    x: &[T],
    out: &mut [U],
    mut f: impl FnMut(usize, &[T; LANES], &mut [U; LANES]),
) {
    debug_assert_eq!(x.len(), out.len());
    let (blocks, tail) = x.as_chunks();
    let (out_blocks, _) = out.as_chunks_mut();
    for (i, (block, out_block)) in blocks.iter().zip(out_blocks).enumerate() {
        f(i * LANES, block, out_block);
    }
    if tail.is_empty() {
        return;
    }
    if let (Some(last), Some(out_last)) = (x.last_chunk(), out.last_chunk_mut()) {
        f(x.len() - LANES, last, out_last);
    } else {
        let mut padded_out = [U::default(); LANES];
        f(0, &block(x, 0), &mut padded_out);
        out.copy_from_slice(&padded_out[..x.len()]);
    }
}

/// How a walk goes through memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// The caches hold what is read and written.
    Cached,
    /// They do not: lines are asked for ahead.
    Beyond,
    /// Nor would they hold anything until it is needed again: besides, four blocks are written past them.
    Streamed,
}

/// The most four blocks of which one doubt is kept: all of them are done again for it.
const DOUBTED: usize = 32;

/// As [`map_blocks`], but where `together`, four blocks at a time go to `doubt = four(about, start, input, output, doubt)`. What
/// leaves a [doubt](Simd::is_doubt) goes to `f` too, block by block, and so does what four blocks leave.
///
/// `(about, elements) = stretch(start)` is what all blocks that begin among so many elements, at least one, are given. Starts
/// ascend.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "those of a walk, and what is done to one block and to four")]
pub fn map_fours<S: Simd, T: Copy + Default, U: Pod + Default, A: Copy>(
    simd: S,
    memory: Memory,
    together: bool,
    x: &[T],
    out: &mut [U],
    mut stretch: impl FnMut(usize) -> (A, usize),
    mut four: impl FnMut(A, usize, &[[T; LANES]; FOUR], &mut [[U; LANES]; FOUR], S::I32) -> S::I32,
    mut f: impl FnMut(A, usize, &[T; LANES], &mut [U; LANES]),
) {
    debug_assert_eq!(x.len(), out.len());
    // Lines begin where they do; blocks before the first one are not streamed.
    let head = if memory == Memory::Streamed { out.as_ptr().align_offset(align_of::<Line>()).min(x.len()) } else { 0 };
    if head > 0 {
        let (about, _) = stretch(0);
        map_blocks(
            &x[..head],
            &mut out[..head],
            #[inline(always)]
            |i, x, out| f(about, i, x, out),
        );
    }
    let mut start = head;
    let (mut fours, _) = x[head..].as_chunks::<LANES>().0.as_chunks::<FOUR>();
    let (mut out_fours, _) = out[head..].as_chunks_mut::<LANES>().0.as_chunks_mut::<FOUR>();
    let most = if together { DOUBTED } else { usize::MAX };
    while !fours.is_empty() {
        let (about, elements) = stretch(start);
        let length = elements.div_ceil(FOUR * LANES).min(most).min(fours.len());
        let now = fours.split_off(..length).expect("no more than there are");
        let now_out = out_fours.split_off_mut(..length).expect("as many");
        let mut doubt = simd.splat_i32(0);
        if together {
            map_each_four(
                simd,
                memory,
                now,
                now_out,
                #[inline(always)]
                |i, x, out| doubt = four(about, start + i, x, out, doubt),
            );
        }
        if !together || simd.is_doubt(doubt) {
            if together {
                seldom();
            }
            map_each_four(
                simd,
                memory,
                now,
                now_out,
                #[inline(always)]
                |i, x, out| {
                    for (j, (x, out)) in x.iter().zip(out).enumerate() {
                        f(about, start + i + j * LANES, x, out);
                    }
                },
            );
        }
        start += length * FOUR * LANES;
    }
    // What is left overlaps what was done, if it is less than a block.
    if start < x.len() {
        let start = if x.len() - start < LANES { x.len().saturating_sub(LANES) } else { start };
        let (about, _) = stretch(start);
        map_blocks(
            &x[start..],
            &mut out[start..],
            #[inline(always)]
            |i, x, out| f(about, start + i, x, out),
        );
    }
}

/// What calls it, the compiler takes for rare: registers are for the rest.
#[cold]
fn seldom() {}

/// Calls `f(start, input, output)` for four blocks at a time.
#[inline(always)]
fn map_each_four<S: Simd, T, U: Pod + Default>(
    simd: S,
    memory: Memory,
    x: &[[[T; LANES]; FOUR]],
    out: &mut [[[U; LANES]; FOUR]],
    mut f: impl FnMut(usize, &[[T; LANES]; FOUR], &mut [[U; LANES]; FOUR]),
) {
    if memory == Memory::Cached {
        for (i, (x, out)) in x.iter().zip(out).enumerate() {
            f(i * LANES * FOUR, x, out);
        }
        return;
    }
    let mut lines = Four([[U::default(); LANES]; FOUR]);
    for (i, (x, out)) in x.iter().zip(out).enumerate() {
        prefetch_ahead(x);
        f(i * LANES * FOUR, x, &mut lines.0);
        if memory == Memory::Streamed {
            for (line, out) in lines.lines().iter().zip(lines_mut(out)) {
                simd.stream(line, out);
            }
        } else {
            *out = lines.0;
        }
    }
}

/// Four blocks that begin where a line does.
#[repr(C, align(64))]
struct Four<U>([[U; LANES]; FOUR]);

impl<U: Pod> Four<U> {
    #[inline(always)]
    fn lines(&self) -> &[Line] {
        let lines = const { size_of::<Self>() / size_of::<Line>() };
        // SAFETY: aligned as lines are, and as many bytes, all initialized.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), lines) }
    }
}

/// The lines of four blocks, which begin where a line does.
#[inline(always)]
fn lines_mut<U: Pod>(four: &mut [[U; LANES]; FOUR]) -> &mut [Line] {
    let lines = size_of_val(four) / size_of::<Line>();
    let four: *mut Line = core::ptr::from_mut(four).cast();
    assert!(four.is_aligned());
    // SAFETY: aligned, as many bytes, and any bytes are a `U`.
    unsafe { core::slice::from_raw_parts_mut(four, lines) }
}

/// Calls `f(j, block)` for blocks that cover `x`, which is not empty, with j from 0 to 3 in turn. The last one overlaps its
/// predecessor, and fewer than sixteen elements are filled up with the first one: for reductions that do not count.
#[inline(always)]
pub fn fold_blocks<T: Copy>(x: &[T], memory: Memory, mut f: impl FnMut(usize, &[T; LANES])) {
    let (blocks, tail) = x.as_chunks();
    let (fours, rest) = blocks.as_chunks::<FOUR>();
    for four in fours {
        if memory != Memory::Cached {
            prefetch_ahead(four);
        }
        for (j, block) in four.iter().enumerate() {
            f(j, block);
        }
    }
    // The compiler knows every j, and keeps what belongs to it in registers.
    for j in 0..FOUR - 1 {
        if let Some(block) = rest.get(j) {
            f(j, block);
        }
    }
    if tail.is_empty() {
        return;
    }
    if let Some(last) = x.last_chunk() {
        f(0, last);
    } else {
        let mut padded = [x[0]; LANES];
        padded[..x.len()].copy_from_slice(x);
        f(0, &padded);
    }
}

#[cfg(test)]
mod tests {
    //! Every operation of every ISA against the scalar expression that documents it, over all pairs of values that hurt.

    use super::*;
    use crate::Isa;

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
        fn apply<S: Simd>(&self, simd: S, a: &[T; LANES], b: &[U; LANES], out: &mut [V; LANES]);
    }

    impl<T: Copy + Default, U: Copy + Default, V: Copy + Default, F: Operation<T, U, V>> Kernel for Each<'_, T, U, V, F> {
        type Output = Vec<V>;
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Vec<V> {
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
                fn apply<S: Simd>(&self, $simd: S, a: &[$T; LANES], b: &[$U; LANES], out: &mut [$V; LANES]) {
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
        operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.replace_nan(a, b), if a.is_nan() { b } else { a });
        operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> i32 = store_i32, s.to_bits(a), a.to_bits() as i32);
        operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.of_bits(s.to_bits(a)), a);
        operation!(all(), |s, a: f32 = load_f32, b: f32 = load_f32| -> f32 = store_f32, s.splat_f32(-0.0), -0.0);
        for (min, max) in [(-128.0, 127.0), (0.0, 255.0), (-255.0, 0.0)] {
            struct Op(f32, f32);
            impl Operation<f32, f32, f32> for Op {
                #[inline(always)]
                fn apply<S: Simd>(&self, s: S, a: &[f32; LANES], _: &[f32; LANES], out: &mut [f32; LANES]) {
                    s.store_f32(s.clamp_f32(s.load_f32(a), s.splat_f32(self.0), s.splat_f32(self.1)), out);
                }
            }
            for isa in Isa::supported() {
                let out =
                    isa.run(Each { pairs: &pairs(&F32S, &[0.0]), f: Op(min, max), out: core::marker::PhantomData });
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
            fn apply<S: Simd>(&self, s: S, a: &[f32; LANES], b: &[f32; LANES], out: &mut [f64; LANES]) {
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
                    fn apply<S: Simd>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
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
                    fn apply<S: Simd>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
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
            fn apply<S: Simd>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
                let mut rows = [[0; LANES]; 4];
                for (i, a) in a.iter().enumerate() {
                    for (row, byte) in rows.iter_mut().zip(a.to_le_bytes()) {
                        row[i] = byte;
                    }
                }
                s.store_i32(s.load_quads([&rows[0], &rows[1], &rows[2], &rows[3]]), out);
                let mut pairs = [[0; 2]; LANES];
                s.store_pairs([&rows[0], &rows[1]], &mut pairs);
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
            fn apply<S: Simd>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
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
            fn apply<S: Simd>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
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
            /// Codes of 0 with zero points read as bytes, then as vectors; or doubts.
            type Output = Option<([[u8; 64]; 2], [[i8; 64]; 2])>;
            #[inline(always)]
            fn run<S: Simd>(self, simd: S) -> Self::Output {
                let (a, none) = ([simd.splat_f32(0.0); FOUR], simd.splat_i32(0));
                let (mut unsigned, mut signed) = ([[[0; LANES]; FOUR]; 2], [[[0; LANES]; FOUR]; 2]);
                let of_unsigned = simd.words_of(four(
                    #[inline(always)]
                    |j| simd.load_u8(&block(self.0, j * LANES)),
                ));
                let of_signed = simd.words_of(four(
                    #[inline(always)]
                    |j| simd.load_i8(&block(self.1, j * LANES)),
                ));
                let mut doubt = none;
                for (b, out) in [simd.words_of_u8(self.0), of_unsigned].into_iter().zip(&mut unsigned) {
                    doubt = simd.narrow_four_u8(a, b, [0, 255], out, doubt);
                }
                for (b, out) in [simd.words_of_i8(self.1), of_signed].into_iter().zip(&mut signed) {
                    doubt = simd.narrow_four_i8(a, b, [-128, 127], out, doubt);
                }
                let flat = |codes: [[u8; LANES]; FOUR]| *codes.as_flattened().first_chunk().expect("64");
                let flat_signed = |codes: [[i8; LANES]; FOUR]| *codes.as_flattened().first_chunk().expect("64");
                assert!(!S::RECIPROCALS || !simd.is_doubt(doubt));
                (!simd.is_doubt(doubt)).then(|| (unsigned.map(flat), signed.map(flat_signed)))
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

    /// Four blocks at once are what single ones are, or in doubt, for a reason where there are instructions for it.
    #[test]
    fn fours() {
        struct Fours<'a>(&'a [f32], i32);
        impl Kernel for Fours<'_> {
            /// Whether fours are worth it; the codes of both types, or a doubt; whether there is one about NaN.
            type Output = (bool, Option<Vec<u8>>, Option<Vec<i8>>, bool);
            #[inline(always)]
            fn run<S: Simd>(self, simd: S) -> Self::Output {
                let a = four(
                    #[inline(always)]
                    |j| simd.load_f32(&block(self.0, j * LANES)),
                );
                let b = simd.words_of([simd.splat_i32(self.1); FOUR]);
                let none = simd.splat_i32(0);
                let (mut unsigned, mut signed) = ([[0; LANES]; FOUR], [[0; LANES]; FOUR]);
                let of_unsigned = simd.narrow_four_u8(a, b, [3, 250], &mut unsigned, none);
                let of_signed = simd.narrow_four_i8(a, b, [-127, 126], &mut signed, none);
                let of_nan = simd.doubt_nan(a, none);
                assert!(!S::RECIPROCALS || !simd.is_doubt(none));
                // A doubt stays one, and the whole ranges need no clamp.
                let mut whole = ([[0; LANES]; FOUR], [[0; LANES]; FOUR]);
                assert!(
                    simd.is_doubt(simd.narrow_four_u8(
                        [simd.splat_f32(0.5); FOUR],
                        b,
                        [0, 255],
                        &mut whole.0,
                        of_unsigned
                    )) == simd.is_doubt(of_unsigned)
                );
                assert!(simd.is_doubt(simd.doubt_nan([simd.splat_f32(0.5); FOUR], of_nan)) == simd.is_doubt(of_nan));
                let again = simd.narrow_four_u8(a, b, [0, 255], &mut whole.0, none);
                simd.narrow_four_i8(a, b, [-128, 127], &mut whole.1, none);
                if !simd.is_doubt(again) {
                    let clamped = whole.0.as_flattened().iter().map(|code| (*code).clamp(3, 250));
                    assert!(clamped.eq(unsigned.as_flattened().iter().copied()));
                    let clamped = whole.1.as_flattened().iter().map(|code| (*code).clamp(-127, 126));
                    assert!(clamped.eq(signed.as_flattened().iter().copied()));
                }
                (
                    S::RECIPROCALS,
                    (!simd.is_doubt(of_unsigned)).then(|| unsigned.as_flattened().to_vec()),
                    (!simd.is_doubt(of_signed)).then(|| signed.as_flattened().to_vec()),
                    simd.is_doubt(of_nan),
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
                    let (able, unsigned, signed, nan) = isa.run(Fours(&a, b));
                    assert_eq!([unsigned.is_some(), signed.is_some()], [able && narrows; 2], "{isa}: {x}");
                    assert_eq!(nan, !able || x.is_nan(), "{isa}: {x}");
                    assert!(
                        unsigned.is_none_or(|out| out.iter().map(|&q| i64::from(q)).eq(code(3, 250))),
                        "{isa}: {x}"
                    );
                    assert!(
                        signed.is_none_or(|out| out.iter().map(|&q| i64::from(q)).eq(code(-127, 126))),
                        "{isa}: {x}"
                    );
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
            fn run<S: Simd>(self, simd: S) -> Vec<u8> {
                let (mut a, mut b) = ([simd.splat_f32(0.0); FOUR], [simd.splat_f32(0.0); FOUR]);
                for j in 0..FOUR {
                    (a[j], b[j]) = (simd.load_f32(&block(self.0, j * LANES)), simd.load_f32(&block(self.1, j * LANES)));
                }
                let mut out = [[0; LANES]; FOUR];
                simd.store_equal_four(a, b, &mut out);
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

    /// As [`walkers`], by four blocks, some of which are in doubt, wherever lines begin.
    #[test]
    fn walkers_by_four() {
        struct Walk<'a>(Memory, bool, i32, usize, &'a [i32], &'a mut [i32]);
        impl Kernel for Walk<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, simd: S) {
                let Walk(memory, together, doubtful, elements, x, out) = self;
                map_fours(
                    simd,
                    memory,
                    together,
                    x,
                    out,
                    #[inline(always)]
                    |start| (start as i32, elements),
                    #[inline(always)]
                    |about, start, x, out, doubt| {
                        assert_eq!(x[0][0], start as i32);
                        let fours = elements.next_multiple_of(FOUR * LANES) as i32;
                        assert!((0..fours).contains(&(start as i32 - about)));
                        let in_doubt = x.as_flattened().contains(&doubtful);
                        for (out, x) in out.as_flattened_mut().iter_mut().zip(x.as_flattened()) {
                            *out = if in_doubt { -7 } else { x * 3 };
                        }
                        if in_doubt { simd.splat_i32(i32::MIN) } else { doubt }
                    },
                    #[inline(always)]
                    |about, start, x, out| {
                        assert_eq!(x[0], start as i32);
                        let fours = elements.next_multiple_of(FOUR * LANES) as i32;
                        assert!((0..fours).contains(&(start as i32 - about)));
                        *out = x.map(|x| x * 3);
                    },
                );
                simd.fence();
            }
        }
        let lengths = (0..300).chain([1023, 1024, 1025, 2048, 3000]);
        for isa in Isa::supported() {
            for (length, offset) in lengths.clone().flat_map(|length| [0, 3, 7].map(|offset| (length, offset))) {
                for memory in [Memory::Cached, Memory::Beyond, Memory::Streamed] {
                    let doubts = [(false, -1), (true, -1), (true, length / 2), (true, length - 20)];
                    for ((together, doubtful), elements) in doubts.into_iter().zip([70, 1, 3000, 1000]) {
                        let x: Vec<i32> = (0..length).collect();
                        let mut out = vec![-1; x.len() + offset + 1];
                        isa.run(Walk(memory, together, doubtful, elements, &x, &mut out[offset..][..x.len()]));
                        let (before, behind) = (&out[..offset], out[offset + x.len()]);
                        assert!(before.iter().all(|&out| out == -1) && behind == -1, "{isa} {length} {memory:?}");
                        let same = out[offset..].iter().zip(&x).all(|(out, x)| *out == x * 3);
                        assert!(same, "{isa} {length} {offset} {memory:?} {together} {doubtful}");
                    }
                }
            }
        }
    }

    /// The largest of every vector of sixteen, wherever it is, a negative one, and the codes of two, or of their halves.
    #[test]
    fn largest_of_each() {
        struct Each16;
        impl Operation<i32, i32, i32> for Each16 {
            #[inline(always)]
            fn apply<S: Simd>(&self, s: S, a: &[i32; LANES], _: &[i32; LANES], out: &mut [i32; LANES]) {
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
            fn apply<S: Simd>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
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
            fn apply<S: Simd>(&self, s: S, a: &[i32; LANES], b: &[i32; LANES], out: &mut [i32; LANES]) {
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
            let out = isa.run(Each {
                pairs: &pairs(&small, &small),
                f: Codes { halved: false },
                out: core::marker::PhantomData,
            });
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
}
