//! Sixteen lanes on every ISA: the vector operations that the elementwise kernels are written in.
//!
//! A kernel is a struct of its arguments with one generic body ([`Kernel::run`]); [`Isa::run`](crate::Isa) compiles
//! that body once per ISA. The unit is a block of [`LANES`] elements everywhere (one zmm, two ymm, four q registers,
//! an array), so that every ISA walks the data, its tail and its reductions in the same order. Each operation below
//! *is* the scalar expression in its comment, lane by lane, NaN included: that, not the instruction behind it, is what
//! makes results equal bit for bit.
//!
//! A generic body has no target features of its own: it gets them by being inlined into the ISA's `enter`. So every
//! function here and in the kernels is `#[inline(always)]`; one that is not would turn each intrinsic into a call.

/// The elements of a block, on every ISA.
pub const LANES: usize = 16;

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

    /// `x`
    fn splat_f32(self, x: f32) -> Self::F32;
    /// `x[i]`
    fn load_f32(self, x: &[f32; LANES]) -> Self::F32;
    /// `out[i] = a[i]`
    fn store_f32(self, a: Self::F32, out: &mut [f32; LANES]);
    /// `a[i] + b[i]`
    fn add_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a[i] * b[i]`
    fn mul_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a[i] / b[i]`, correctly rounded
    fn div_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a[i] > b[i] { a[i] } else { b[i] }`, so NaN in `a` gives `b`
    fn max_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a[i] < b[i] { a[i] } else { b[i] }`, so NaN in `a` gives `b`
    fn min_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a[i] is NaN { 0.0 } else { a[i] }`
    fn nan_to_zero(self, a: Self::F32) -> Self::F32;
    /// `a[i].round_ties_even() as i32`, for `|a[i]| < 2²²`
    fn round_to_i32(self, a: Self::F32) -> Self::I32;
    /// `a[i] as f32`, ties to even
    fn to_f32(self, a: Self::I32) -> Self::F32;
    /// `a[i].to_bits() as i32`
    fn to_bits(self, a: Self::F32) -> Self::I32;

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
    /// `out[i] = a[i] as u8`, for `a[i]` in 0…255
    fn store_u8(self, a: Self::I32, out: &mut [u8; LANES]);
    /// `out[i] = a[i] as i8`, for `a[i]` in −128…127
    fn store_i8(self, a: Self::I32, out: &mut [i8; LANES]);
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
    /// `a[i] & b[i]`
    fn and_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a[i] >> shift[i]`, arithmetic, for shifts 0…31
    fn shift_right(self, a: Self::I32, shift: Self::I32) -> Self::I32;
    /// `(a[i] as u32 >> shift[i]) as i32`, logical, for shifts 0…31
    fn shift_right_logical(self, a: Self::I32, shift: Self::I32) -> Self::I32;
    /// `((a[i] as i64 * b[i] as i64 + (1 << (shift[i] - 1))) >> shift[i]) as i32`, for `b[i] ≥ 0` and shifts 1…62
    fn mul_shift_round(self, a: Self::I32, b: Self::I32, shift: Self::I32) -> Self::I32;
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

/// Calls `f(block)` for blocks that cover `x`, which is not empty. The last one overlaps its predecessor, and fewer
/// than sixteen elements are filled up with the first one: for reductions that do not count.
#[inline(always)]
pub fn fold_blocks<T: Copy>(x: &[T], mut f: impl FnMut(&[T; LANES])) {
    let (blocks, tail) = x.as_chunks();
    for block in blocks {
        f(block);
    }
    if tail.is_empty() {
        return;
    }
    if let Some(last) = x.last_chunk() {
        f(last);
    } else {
        let mut padded = [x[0]; LANES];
        padded[..x.len()].copy_from_slice(x);
        f(&padded);
    }
}
