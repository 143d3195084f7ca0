//! From real values to blocks.
//!
//! Values in the caches are read twice: once for the largest magnitudes of all blocks, which are kept, and once for the
//! codes. Of a tensor from memory the first reading finds the largest magnitude of all only, and the magnitudes of the
//! blocks are found again with the codes: that takes no longer than to read them. A format that can store every scale needs
//! one reading.

use core::marker::PhantomData;
use std::sync::Mutex;

use super::block::{Format, Scales, Sixteen};
use super::format::BlockFormat;
use super::mxfp4::MxFp4;
use super::mxint8::MxInt8;
use super::q2_k::Q2_K;
use super::q4_0_q5_0::{Q4_0, Q5_0};
use super::q4_1_q5_1::{Q4_1, Q5_1};
use super::q4_k::Q4_K;
use super::q5_k::Q5_K;
use super::q6_k::Q6_K;
use super::q8_0::Q8_0;
use super::tensor_format::TensorFormat;
use super::units::{beyond, encode_units};
use crate::error::{Error, check_length};
use crate::exec::{Exec, Team};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::memory::Scratch;
use crate::reduce::extremes::{finite, memory_of};
use crate::reduce::tensor::magnitude;
use crate::reduce::vectors::magnitude_bits;
use crate::rounding::Rounding;
use crate::simd::LANES;
use crate::simd::memory::Memory;

/// Values that a core encodes in a nanosecond at most: an upper bound, so that work is shared only if every core gains by
/// it.
const ENCODED: usize = 16;

/// Blocks of a piece that a thread takes: a multiple of sixteen.
const PIECE: usize = 512;

/// Encodes `x`, block after block, into `bytes`: `BlockFormat::bytes(x.len())` of them, none of an empty tensor. Rounded as
/// the format is defined.
///
/// # Errors
/// [`Error::Multiple`] when `x` is not whole blocks, [`Error::Length`] of `bytes`. But for OCP's formats, which store
/// anything, [`Error::NonFinite`], and [`Error::Range`] with the first block whose scale or offset would be infinite, of
/// NVFP4 above 448. (Q8_0: of magnitudes above 127 · 65519; Q4_0: above 8 · 65519.)
pub fn encode_blocks<'t>(
    exec: impl Into<Exec<'t>>,
    format: impl Into<TensorFormat>,
    x: &[f32],
    bytes: &mut [u8],
) -> Result<(), Error> {
    encode(exec.into(), format.into(), Rounding::Nearest, x, bytes)
}

/// [`encode_blocks`], with MXFP4 and NVFP4 rounded stochastically if asked for: element i of `x` takes the word `offset +
/// i` of the stream. (Scales are rounded as ever.)
///
/// An element goes to the E2M1 above its magnitude with the probability of its distance to the one below over the gap
/// between both, so means are not biased, but for what saturates: a scale of MXFP4 leaves magnitudes above 6 where the
/// largest is above ¾ of a power of two, a scale of NVFP4 where it was rounded down.
///
/// ```
/// use zeropoint::formats::{BlockFormat, decode_blocks, encode_blocks_with};
/// use zeropoint::{Exec, Stream};
/// let exec = Exec::best()?;
/// let mut x = [2.75; 3200]; // between 2 and 3
/// x.iter_mut().step_by(32).for_each(|x| *x = 4.0);
/// let mut bytes = vec![0; BlockFormat::MxFp4.bytes(x.len())?];
/// encode_blocks_with(exec, BlockFormat::MxFp4, Stream::new(42), &x, &mut bytes)?;
/// let mut back = [0.0; 3200];
/// decode_blocks(exec, BlockFormat::MxFp4, &bytes, &mut back)?;
/// assert!(back.iter().all(|back| [2.0, 3.0, 4.0].contains(back)));
/// assert!((back.iter().sum::<f32>() - x.iter().sum::<f32>()).abs() < 0.02 * 3200.0);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Rounding`] when another format is to be rounded stochastically; [`Error::Stream`]; for lengths and values, the
/// errors of [`encode_blocks`].
pub fn encode_blocks_with<'t>(
    exec: impl Into<Exec<'t>>,
    format: impl Into<TensorFormat>,
    rounding: impl Into<Rounding>,
    x: &[f32],
    bytes: &mut [u8],
) -> Result<(), Error> {
    encode(exec.into(), format.into(), rounding.into(), x, bytes)
}

fn encode(exec: Exec<'_>, format: TensorFormat, rounding: Rounding, x: &[f32], bytes: &mut [u8]) -> Result<(), Error> {
    let TensorFormat { format, nvfp4 } = format;
    check_length("the blocks", format.bytes(x.len())?, bytes.len())?;
    match format {
        BlockFormat::MxFp4 => encode_units(exec, MxFp4, rounding, x, bytes),
        BlockFormat::NvFp4 => encode_units(exec, nvfp4, rounding, x, bytes),
        _ if rounding != Rounding::Nearest => {
            Err(Error::Rounding { why: "of the block formats, those of E2M1 alone are rounded stochastically" })
        }
        BlockFormat::MxInt8 => encode_as::<MxInt8, _, _>(exec, x, bytes),
        BlockFormat::Q8_0 => encode_as::<Q8_0, _, _>(exec, x, bytes),
        BlockFormat::Q4_0 => encode_as::<Q4_0, _, _>(exec, x, bytes),
        BlockFormat::Q5_0 => encode_as::<Q5_0, _, _>(exec, x, bytes),
        BlockFormat::Q4_1 => encode_units(exec, Q4_1 {}, rounding, x, bytes),
        BlockFormat::Q5_1 => encode_units(exec, Q5_1 {}, rounding, x, bytes),
        BlockFormat::Q2_K => encode_units(exec, Q2_K, rounding, x, bytes),
        BlockFormat::Q4_K => encode_units(exec, Q4_K, rounding, x, bytes),
        BlockFormat::Q5_K => encode_units(exec, Q5_K, rounding, x, bytes),
        BlockFormat::Q6_K => encode_units(exec, Q6_K, rounding, x, bytes),
    }
}

fn encode_as<F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    exec: Exec<'_>,
    x: &[f32],
    bytes: &mut [u8],
) -> Result<(), Error> {
    const { assert!(F::GROUP == VECTORS, "a block that one value encodes is one group") };
    let x: &[[[f32; LANES]; VECTORS]] = x.as_chunks::<LANES>().0.as_chunks().0;
    let (isa, team, blocks) = (exec.isa(), exec.team(x.len() * VECTORS * LANES / ENCODED), bytes.as_chunks_mut().0);
    let mut workspace = Scratch::default();
    let mut kept: &mut [[i32; LANES]] = &mut [];
    if let Some(limit) = F::LARGEST {
        let values = x.as_flattened().as_flattened();
        let magnitude = if memory_of(values) == Memory::Cached {
            kept = workspace.elements(x.len().next_multiple_of(LANES)).as_chunks_mut().0;
            largest_on::<F, BYTES, VECTORS>(isa, &team, x, kept)
        } else {
            magnitude(exec, values)
        };
        // (Infinity and NaN are above every limit.)
        if magnitude > limit.to_bits() as i32 {
            finite(magnitude, values)?;
            let at = values.iter().position(|value| value.abs() > limit).expect("the largest magnitude is");
            let index = at / (VECTORS * LANES);
            return Err(beyond(index, x[index].as_flattened()));
        }
    }
    if team.alone() {
        encode_piece::<F, BYTES, VECTORS>(isa, x, kept, blocks);
        return Ok(());
    }
    let kept = &*kept;
    team.share(x.chunks(PIECE).zip(blocks.chunks_mut(PIECE)).enumerate(), |(i, (x, blocks))| {
        let kept = if kept.is_empty() { kept } else { &kept[i * (PIECE / LANES)..] };
        encode_piece::<F, BYTES, VECTORS>(isa, x, kept, blocks);
    });
    Ok(())
}

/// [`largest_of`] on several threads.
fn largest_on<F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    isa: Isa,
    team: &Team<'_>,
    x: &[[[f32; LANES]; VECTORS]],
    kept: &mut [[i32; LANES]],
) -> i32 {
    if team.alone() {
        return largest_of::<F, BYTES, VECTORS>(isa, x, kept);
    }
    let largest = Mutex::new(0);
    team.share(x.chunks(PIECE).zip(kept.chunks_mut(PIECE / LANES)), |(x, kept)| {
        let magnitude = largest_of::<F, BYTES, VECTORS>(isa, x, kept);
        let mut largest = largest.lock().expect("integers are compared without panic");
        *largest = magnitude.max(*largest);
    });
    largest.into_inner().expect("integers are compared without panic")
}

/// Finds what the scales of all blocks are made of, in whole sixteens. Returns the bits of the largest magnitude.
fn largest_of<F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    isa: Isa,
    x: &[[[f32; LANES]; VECTORS]],
    kept: &mut [[i32; LANES]],
) -> i32 {
    let (sixteens, rest) = x.as_chunks();
    let (kept, kept_rest) = kept.split_at_mut(sixteens.len());
    let mut magnitude = 0;
    if !sixteens.is_empty() {
        magnitude = isa.run(Largest::<F, BYTES, VECTORS> { x: sixteens, kept, format: PhantomData });
    }
    if !rest.is_empty() {
        let rest = isa.run(Largest::<F, BYTES, VECTORS> { x: &[padded(rest)], kept: kept_rest, format: PhantomData });
        magnitude = magnitude.max(rest);
    }
    magnitude
}

/// Encodes blocks; what their scales are made of may be known.
fn encode_piece<F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    isa: Isa,
    x: &[[[f32; LANES]; VECTORS]],
    kept: &[[i32; LANES]],
    blocks: &mut [[u8; BYTES]],
) {
    let (sixteens, rest) = x.as_chunks();
    let (whole, blocks_rest) = blocks.as_chunks_mut();
    if !sixteens.is_empty() {
        isa.run(Encode::<F, BYTES, VECTORS> { x: sixteens, kept, blocks: whole, format: PhantomData });
    }
    if !rest.is_empty() {
        let mut padded_blocks = [[[0; BYTES]; LANES]];
        let kept = if kept.is_empty() { kept } else { &kept[sixteens.len()..] };
        isa.run(Encode::<F, BYTES, VECTORS> {
            x: &[padded(rest)],
            kept,
            blocks: &mut padded_blocks,
            format: PhantomData,
        });
        blocks_rest.copy_from_slice(&padded_blocks[0][..blocks_rest.len()]);
    }
}

/// Fewer than sixteen blocks, with zeros behind.
fn padded<const VECTORS: usize>(rest: &[[[f32; LANES]; VECTORS]]) -> Sixteen<VECTORS> {
    let mut padded = [[[0.0; LANES]; VECTORS]; LANES];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

/// [`Format::largest`] of blocks in the caches.
struct Largest<'a, F, const BYTES: usize, const VECTORS: usize> {
    x: &'a [Sixteen<VECTORS>],
    kept: &'a mut [[i32; LANES]],
    format: PhantomData<F>,
}

impl<F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize> Kernel for Largest<'_, F, BYTES, VECTORS> {
    /// The bits of the largest magnitude of all.
    type Output = i32;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> i32 {
        let kept = &mut self.kept[..self.x.len()];
        let mut magnitude = v.splat_i32(0);
        for i in 0..self.x.len() {
            let largest = F::largest(v, &self.x[i], F::PREFETCHES);
            v.store_i32(largest, &mut kept[i]);
            magnitude = v.max_i32(magnitude, magnitude_bits(v, v.of_bits(largest)));
        }
        v.max_of_i32(magnitude)
    }
}

/// Encodes whole sixteens of blocks.
struct Encode<'a, F, const BYTES: usize, const VECTORS: usize> {
    x: &'a [Sixteen<VECTORS>],
    /// [`Format::largest`] of every block, or nothing if it is not known yet.
    kept: &'a [[i32; LANES]],
    blocks: &'a mut [[[u8; BYTES]; LANES]],
    format: PhantomData<F>,
}

impl<F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize> Kernel for Encode<'_, F, BYTES, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Encode { x, kept, blocks, .. } = self;
        let blocks = &mut blocks[..x.len()];
        // Scales take long to be there: those of the next sixteen are on their way while these blocks are written.
        let mut scales = [ScaleLanes { stored: [0; LANES], factors: [[0.0; LANES]; 2], plain: true }; 2];
        for next in 0..x.len() + 1 {
            if next < x.len() {
                let largest = if F::LARGEST.is_some() && next < kept.len() {
                    v.load_i32(&kept[next])
                } else {
                    F::largest(v, &x[next], true)
                };
                scales[next % 2].store(v, F::scales(v, largest));
            }
            if next > 0 {
                write::<V, F, BYTES, VECTORS>(v, &x[next - 1], &scales[(next - 1) % 2], &mut blocks[next - 1]);
            }
        }
    }
}

/// [`Scales`], lane by lane.
#[derive(Clone, Copy)]
struct ScaleLanes {
    stored: [i32; LANES],
    factors: [[f32; LANES]; 2],
    plain: bool,
}

impl ScaleLanes {
    #[inline(always)]
    fn store<V: Vectors>(&mut self, v: V, scales: Scales<V>) {
        v.store_i32(scales.stored, &mut self.stored);
        v.store_f32(scales.factors[0], &mut self.factors[0]);
        v.store_f32(scales.factors[1], &mut self.factors[1]);
        self.plain = scales.plain;
    }
}

/// Writes sixteen blocks, two at a time.
#[inline(always)]
fn write<V: Vectors, F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    v: V,
    x: &Sixteen<VECTORS>,
    scales: &ScaleLanes,
    blocks: &mut [[u8; BYTES]; LANES],
) {
    let ScaleLanes { stored, factors, plain } = scales;
    let pairs: &mut [[[u8; BYTES]; 2]] = blocks.as_chunks_mut().0;
    for pair in 0..LANES / 2 {
        let (i, j) = (2 * pair, 2 * pair + 1);
        let multiples = [
            multiples_of::<V, F, BYTES, VECTORS>(v, &x[i], [factors[0][i], factors[1][i]], *plain),
            multiples_of::<V, F, BYTES, VECTORS>(v, &x[j], [factors[0][j], factors[1][j]], *plain),
        ];
        F::write(v, [stored[i], stored[j]], multiples, &mut pairs[pair]);
    }
}

/// A block divided by its scale.
#[inline(always)]
fn multiples_of<V: Vectors, F: Format<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>(
    v: V,
    x: &[[f32; LANES]; VECTORS],
    factors: [f32; 2],
    plain: bool,
) -> [V::F32; VECTORS] {
    let first = v.splat_f32(factors[0]);
    let mut multiples = [first; VECTORS];
    for k in 0..VECTORS {
        multiples[k] = v.mul_f32(v.load_f32(&x[k]), first);
    }
    if plain {
        return multiples;
    }
    let (second, min, max) = (v.splat_f32(factors[1]), v.splat_f32(-F::LIMIT), v.splat_f32(F::LIMIT));
    for k in 0..VECTORS {
        multiples[k] = v.clamp_f32(v.mul_f32(multiples[k], second), min, max);
    }
    multiples
}
