//! From blocks to real values, or to integers and scales.

use core::marker::PhantomData;

use super::block::Blocks;
use super::format::{BlockFormat, with_format};
use super::tensor_format::TensorFormat;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::kernel::{Kernel, Vectors};
use crate::simd::LANES;

/// Values that a core decodes in a nanosecond at most: an upper bound, so that work is shared only if every core gains by
/// it.
const DECODED: usize = 32;

/// Blocks of a piece that a thread takes.
const PIECE: usize = 512;

/// The values that `bytes` stand for, into `out`; none of no blocks. Any NaN is `f32::NAN`.
///
/// `q · S`, or `q · S + B` with an offset, where each product and each sum is rounded once.
///
/// # Errors
/// [`Error::Multiple`] when `out` is not whole blocks, [`Error::Length`] of `bytes`.
pub fn decode_blocks<'t>(
    exec: impl Into<Exec<'t>>,
    format: impl Into<TensorFormat>,
    bytes: &[u8],
    out: &mut [f32],
) -> Result<(), Error> {
    decode(exec.into(), format.into(), bytes, out)
}

fn decode(exec: Exec<'_>, format: TensorFormat, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    let TensorFormat { format, nvfp4 } = format;
    check_length("the blocks", format.bytes(out.len())?, bytes.len())?;
    with_format!(format, decode_as(exec, nvfp4.tensor_scale(), bytes, out));
    Ok(())
}

fn decode_as<F: Blocks<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    exec: Exec<'_>,
    tensor_scale: f32,
    bytes: &[u8],
    out: &mut [f32],
) {
    let (blocks, out) = (bytes.as_chunks().0, out.as_chunks_mut::<LANES>().0.as_chunks_mut().0);
    let (isa, team) = (exec.isa(), exec.team(blocks.len() * VECTORS * LANES / DECODED));
    if team.alone() {
        return isa.run(Decode::<F, BYTES, VECTORS> { tensor_scale, blocks, out, format: PhantomData });
    }
    team.share(blocks.chunks(PIECE).zip(out.chunks_mut(PIECE)), |(blocks, out)| {
        isa.run(Decode::<F, BYTES, VECTORS> { tensor_scale, blocks, out, format: PhantomData });
    });
}

struct Decode<'a, F, const BYTES: usize, const VECTORS: usize> {
    tensor_scale: f32,
    blocks: &'a [[u8; BYTES]],
    out: &'a mut [[[f32; LANES]; VECTORS]],
    format: PhantomData<F>,
}

impl<F: Blocks<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize> Kernel for Decode<'_, F, BYTES, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let nan = v.splat_f32(f32::NAN);
        for (block, out) in self.blocks.iter().zip(self.out) {
            let (scales, codes) = (F::vector_scales(block), F::codes(v, block));
            let offsets = if F::HAS_OFFSETS { F::vector_offsets(block) } else { [0.0; VECTORS] };
            for i in 0..VECTORS {
                let scale = if F::HAS_TENSOR_SCALE { scales[i] * self.tensor_scale } else { scales[i] };
                let mut value = v.mul_f32(v.to_f32(codes[i]), v.splat_f32(scale));
                if F::HAS_OFFSETS {
                    value = v.add_f32(value, v.splat_f32(offsets[i]));
                }
                v.store_f32(value, &mut out[i]);
                if !scale.is_finite() || F::HAS_OFFSETS && !offsets[i].is_finite() {
                    // ∞ · 0 is NaN of another sign on every architecture.
                    v.store_f32(v.select_f32(v.is_nan(value), nan, value), &mut out[i]);
                }
            }
        }
    }
}

/// The codes of blocks as integers, in [`BlockFormat::codes`], and the scale of every group of
/// [`BlockFormat::group_length`] values, NaN where OCP's formats hold none: the factors of [`decode_blocks`].
/// [`block_offsets`] has what is added to them. Of no blocks nothing is written.
///
/// # Errors
/// [`Error::Multiple`] when `codes` is not whole blocks, [`Error::Length`] of `bytes` and `scales`.
pub fn split_blocks<'t>(
    exec: impl Into<Exec<'t>>,
    format: impl Into<TensorFormat>,
    bytes: &[u8],
    codes: &mut [i8],
    scales: &mut [f32],
) -> Result<(), Error> {
    split(exec.into(), format.into(), bytes, codes, scales)
}

pub(crate) fn split(
    exec: Exec<'_>,
    format: TensorFormat,
    bytes: &[u8],
    codes: &mut [i8],
    scales: &mut [f32],
) -> Result<(), Error> {
    let TensorFormat { format, nvfp4 } = format;
    check_length("the blocks", format.bytes(codes.len())?, bytes.len())?;
    check_length("the scales", codes.len() / format.group_length(), scales.len())?;
    with_format!(format, split_as(exec, nvfp4.tensor_scale(), bytes, codes, scales));
    Ok(())
}

/// (Bytes are copied or nibbles taken apart, which compilers make vectors of on any ISA: no kernel is faster.)
fn split_as<F: Blocks<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    exec: Exec<'_>,
    tensor_scale: f32,
    bytes: &[u8],
    codes: &mut [i8],
    scales: &mut [f32],
) {
    let (blocks, codes) = (bytes.as_chunks().0, codes.as_chunks_mut::<LANES>().0.as_chunks_mut().0);
    let team = exec.team(blocks.len() * VECTORS * LANES / DECODED);
    if team.alone() {
        return split_piece::<F, BYTES, VECTORS>(tensor_scale, blocks, codes, scales);
    }
    let pieces = blocks.chunks(PIECE).zip(codes.chunks_mut(PIECE)).zip(scales.chunks_mut(PIECE * VECTORS / F::GROUP));
    team.share(pieces, |((blocks, codes), scales)| {
        split_piece::<F, BYTES, VECTORS>(tensor_scale, blocks, codes, scales);
    });
}

fn split_piece<F: Blocks<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    tensor_scale: f32,
    blocks: &[[u8; BYTES]],
    codes: &mut [[[i8; LANES]; VECTORS]],
    scales: &mut [f32],
) {
    for ((block, codes), scales) in blocks.iter().zip(codes).zip(scales.chunks_mut(VECTORS / F::GROUP)) {
        *codes = F::split(block);
        by_groups::<F, BYTES, VECTORS>(F::vector_scales(block), scales);
        if F::HAS_TENSOR_SCALE {
            scales.iter_mut().for_each(|scale| *scale *= tensor_scale);
        }
    }
}

/// One of the equal values that the vectors of a group have.
fn by_groups<F: Blocks<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    vectors: [f32; VECTORS],
    groups: &mut [f32],
) {
    for (g, group) in groups.iter_mut().enumerate() {
        *group = vectors[g * F::GROUP];
    }
}

/// The offset of every group of [`BlockFormat::group_length`] values, which [`decode_blocks`] adds to their products with
/// the scale; 0 where the format has none.
///
/// # Errors
/// [`Error::Multiple`] when `offsets` is not of whole blocks, [`Error::Length`] of `bytes`.
pub fn block_offsets<'t>(
    exec: impl Into<Exec<'t>>,
    format: BlockFormat,
    bytes: &[u8],
    offsets: &mut [f32],
) -> Result<(), Error> {
    let unit = format.block_length() / format.group_length();
    if !offsets.len().is_multiple_of(unit) {
        return Err(Error::Multiple { what: "the offsets", unit, found: offsets.len() });
    }
    let blocks = offsets.len() / unit;
    check_length("the blocks", blocks.saturating_mul(format.block_bytes()), bytes.len())?;
    with_format!(format, offsets_as(exec.into(), bytes, offsets));
    Ok(())
}

fn offsets_as<F: Blocks<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    exec: Exec<'_>,
    bytes: &[u8],
    offsets: &mut [f32],
) {
    let (blocks, groups): (&[[u8; BYTES]], _) = (bytes.as_chunks().0, VECTORS / F::GROUP);
    let team = exec.team(blocks.len() * VECTORS * LANES / DECODED);
    team.share(blocks.chunks(PIECE).zip(offsets.chunks_mut(PIECE * groups)), |(blocks, offsets)| {
        for (block, offsets) in blocks.iter().zip(offsets.chunks_mut(groups)) {
            by_groups::<F, BYTES, VECTORS>(F::vector_offsets(block), offsets);
        }
    });
}
