//! From blocks to real values, or to integers and scales.

use core::marker::PhantomData;

use super::block::Format;
use super::format::BlockFormat;
use super::mxint8::MxInt8;
use super::q4_0::Q4_0;
use super::q8_0::Q8_0;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::kernel::{Kernel, Vectors};
use crate::simd::LANES;

/// Values that a core decodes in a nanosecond at most: an upper bound, so that work is shared only if every core gains by it.
const DECODED: usize = 32;

/// Blocks of a piece that a thread takes.
const PIECE: usize = 512;

/// The values that `bytes` stand for, into `out`; none of no blocks. Any NaN is `f32::NAN`.
///
/// # Errors
/// [`Error::Multiple`] when `out` is not whole blocks, [`Error::Length`] of `bytes`.
pub fn decode_blocks<'t>(
    exec: impl Into<Exec<'t>>,
    format: BlockFormat,
    bytes: &[u8],
    out: &mut [f32],
) -> Result<(), Error> {
    decode(exec.into(), format, bytes, out)
}

fn decode(exec: Exec<'_>, format: BlockFormat, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    check_length("the blocks", format.bytes(out.len())?, bytes.len())?;
    match format {
        BlockFormat::MxInt8 => decode_as::<MxInt8, _, _>(exec, bytes, out),
        BlockFormat::Q8_0 => decode_as::<Q8_0, _, _>(exec, bytes, out),
        BlockFormat::Q4_0 => decode_as::<Q4_0, _, _>(exec, bytes, out),
    }
    Ok(())
}

fn decode_as<F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    exec: Exec<'_>,
    bytes: &[u8],
    out: &mut [f32],
) {
    let (blocks, out) = (bytes.as_chunks().0, out.as_chunks_mut::<LANES>().0.as_chunks_mut().0);
    let (isa, team) = (exec.isa(), exec.team(blocks.len() * VECTORS * LANES / DECODED));
    if team.alone() {
        return isa.run(Decode::<F, BYTES, VECTORS> { blocks, out, format: PhantomData });
    }
    team.share(blocks.chunks(PIECE).zip(out.chunks_mut(PIECE)), |(blocks, out)| {
        isa.run(Decode::<F, BYTES, VECTORS> { blocks, out, format: PhantomData });
    });
}

struct Decode<'a, F, const BYTES: usize, const VECTORS: usize> {
    blocks: &'a [[u8; BYTES]],
    out: &'a mut [[[f32; LANES]; VECTORS]],
    format: PhantomData<F>,
}

impl<F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize> Kernel for Decode<'_, F, BYTES, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let nan = v.splat_f32(f32::NAN);
        for (block, out) in self.blocks.iter().zip(self.out) {
            let (scale, codes) = (F::scale(block), F::codes(v, block));
            for i in 0..VECTORS {
                let product = v.mul_f32(v.to_f32(codes[i]), v.splat_f32(scale));
                v.store_f32(product, &mut out[i]);
                if !scale.is_finite() {
                    // ∞ · 0 is NaN of another sign on every architecture.
                    v.store_f32(v.select_f32(v.is_nan(product), nan, product), &mut out[i]);
                }
            }
        }
    }
}

/// The codes of blocks as integers, −8…7 of Q4_0, and the scale of every block, NaN where MXINT8 holds no values: the factors
/// of [`decode_blocks`]. Of no blocks nothing is written.
///
/// # Errors
/// [`Error::Multiple`] when `codes` is not whole blocks, [`Error::Length`] of `bytes` and `scales`.
pub fn split_blocks<'t>(
    exec: impl Into<Exec<'t>>,
    format: BlockFormat,
    bytes: &[u8],
    codes: &mut [i8],
    scales: &mut [f32],
) -> Result<(), Error> {
    split(exec.into(), format, bytes, codes, scales)
}

pub(crate) fn split(
    exec: Exec<'_>,
    format: BlockFormat,
    bytes: &[u8],
    codes: &mut [i8],
    scales: &mut [f32],
) -> Result<(), Error> {
    check_length("the blocks", format.bytes(codes.len())?, bytes.len())?;
    check_length("the scales", codes.len() / format.block_length(), scales.len())?;
    match format {
        BlockFormat::MxInt8 => split_as::<MxInt8, _, _>(exec, bytes, codes, scales),
        BlockFormat::Q8_0 => split_as::<Q8_0, _, _>(exec, bytes, codes, scales),
        BlockFormat::Q4_0 => split_as::<Q4_0, _, _>(exec, bytes, codes, scales),
    }
    Ok(())
}

/// (Bytes are copied or nibbles taken apart, which compilers make vectors of on any ISA: no kernel is faster.)
fn split_as<F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    exec: Exec<'_>,
    bytes: &[u8],
    codes: &mut [i8],
    scales: &mut [f32],
) {
    let (blocks, codes) = (bytes.as_chunks().0, codes.as_chunks_mut::<LANES>().0.as_chunks_mut().0);
    let team = exec.team(blocks.len() * VECTORS * LANES / DECODED);
    if team.alone() {
        return split_piece::<F, BYTES, VECTORS>(blocks, codes, scales);
    }
    let pieces = blocks.chunks(PIECE).zip(codes.chunks_mut(PIECE)).zip(scales.chunks_mut(PIECE));
    team.share(pieces, |((blocks, codes), scales)| split_piece::<F, BYTES, VECTORS>(blocks, codes, scales));
}

fn split_piece<F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    blocks: &[[u8; BYTES]],
    codes: &mut [[[i8; LANES]; VECTORS]],
    scales: &mut [f32],
) {
    for ((block, codes), scale) in blocks.iter().zip(codes).zip(scales) {
        (*codes, *scale) = (F::split(block), F::scale(block));
    }
}
