//! From real values to blocks of the formats that are encoded in one reading, some blocks together.

use super::block::{Blocks, half_at};
use super::e2m1;
use crate::error::Error;
use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::quantize::ops::{ByWords, ToNearest};
use crate::random::cursor::{Cursor, LONG_RUN};
use crate::random::stream::Stream;
use crate::reduce::extremes::finite;
use crate::reduce::tensor::magnitude;
use crate::rounding::Rounding;
use crate::simd::LANES;

/// A magnitude beyond which a scale or an offset in f16 is infinite, in every format that has them; squares of smaller values
/// are far from overflow.
const MOST: f32 = (1_u32 << 30) as f32;

/// A format of which UNIT blocks are encoded together.
pub(super) trait Units<const BYTES: usize, const VECTORS: usize, const UNIT: usize>:
    Blocks<BYTES, VECTORS> + Copy + Sync
{
    /// Nanoseconds that a core takes for a block at least: a lower bound, so that work is shared only if every core gains
    /// by it.
    const BLOCK_TIME: usize;
    /// Blocks of a piece that a thread takes: a multiple of UNIT.
    const PIECE: usize;
    /// Whether elements are rounded stochastically on request.
    const STOCHASTIC: bool = false;
    /// Where the f16 of a block are: its first bytes, for each scale or offset.
    const HALVES: &'static [usize] = &[];
    /// The magnitude up to which all blocks can be stored; none if that are all.
    fn safe(self) -> Option<f32>;
    /// Whether a block of finite values cannot be stored: one of its f16 would be infinite.
    fn refuses(self, isa: Isa, x: &[[f32; LANES]; VECTORS]) -> bool {
        if x.as_flattened().iter().any(|x| x.abs() > MOST) {
            return true;
        }
        let block = encoded_alone(isa, self, x);
        Self::HALVES.iter().any(|&at| !half_at(&block, at).is_finite())
    }
    /// Encodes a unit.
    fn encode<V: Vectors>(
        self,
        v: V,
        x: &[[[f32; LANES]; VECTORS]; UNIT],
        rounder: &Rounder<'_>,
        blocks: &mut [[u8; BYTES]; UNIT],
    );
}

/// How the elements of a unit are rounded.
pub(super) enum Rounder<'a> {
    Nearest,
    /// By words of the cursor, from this one on.
    Stochastic(&'a Cursor, usize),
}

impl Rounder<'_> {
    /// The E2M1 of vector `i` of the unit, given its doubled magnitudes in units of the scale.
    #[cfg_attr(not(unoptimized), inline(always))]
    pub fn e2m1<V: Vectors>(&self, v: V, x: V::F32, doubled: V::F32, i: usize) -> V::I32 {
        match self {
            Rounder::Nearest => e2m1::codes(v, x, doubled, ToNearest),
            Rounder::Stochastic(cursor, first) => {
                e2m1::codes(v, x, doubled, ByWords::<V>(cursor.load(v, first + i * LANES)))
            }
        }
    }
}

/// Encodes a tensor.
pub(super) fn encode_units<
    F: Units<BYTES, VECTORS, UNIT>,
    const BYTES: usize,
    const VECTORS: usize,
    const UNIT: usize,
>(
    exec: Exec<'_>,
    format: F,
    rounding: Rounding,
    x: &[f32],
    bytes: &mut [u8],
) -> Result<(), Error> {
    let stream = match rounding {
        Rounding::Nearest => None,
        Rounding::Stochastic(stream) => {
            stream.check(x.len())?;
            Some(stream)
        }
    };
    check_stored(exec, format, x)?;
    let (x, blocks): (&[[[f32; LANES]; VECTORS]], _) = (x.as_chunks().0.as_chunks().0, bytes.as_chunks_mut().0);
    let (isa, team) = (exec.isa(), exec.team(x.len() * F::BLOCK_TIME));
    if team.alone() {
        encode_piece(isa, format, stream, x, blocks);
        return Ok(());
    }
    team.share(x.chunks(F::PIECE).zip(blocks.chunks_mut(F::PIECE)).enumerate(), |(i, (x, blocks))| {
        encode_piece(isa, format, stream.map(|stream| stream.at(i * F::PIECE * VECTORS * LANES)), x, blocks);
    });
    Ok(())
}

/// `Ok` when all blocks can be stored.
fn check_stored<F: Units<BYTES, VECTORS, UNIT>, const BYTES: usize, const VECTORS: usize, const UNIT: usize>(
    exec: Exec<'_>,
    format: F,
    x: &[f32],
) -> Result<(), Error> {
    let Some(safe) = format.safe() else { return Ok(()) };
    let largest = magnitude(exec, x);
    if largest <= safe.to_bits().cast_signed() {
        return Ok(());
    }
    finite(largest, x)?;
    let blocks: &[[[f32; LANES]; VECTORS]] = x.as_chunks().0.as_chunks().0;
    match blocks.iter().position(|block| format.refuses(exec.isa(), block)) {
        Some(index) => Err(beyond(index, blocks[index].as_flattened())),
        None => Ok(()),
    }
}

/// The error of a block whose scale is above the largest.
pub(super) fn beyond(index: usize, block: &[f32]) -> Error {
    let amax = block.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    Error::Range { index, min: -amax, max: amax, why: "its scale or offset would be above the largest of the format" }
}

/// Encodes blocks whose first element takes the first word of a stream.
fn encode_piece<F: Units<BYTES, VECTORS, UNIT>, const BYTES: usize, const VECTORS: usize, const UNIT: usize>(
    isa: Isa,
    format: F,
    stream: Option<Stream>,
    x: &[[[f32; LANES]; VECTORS]],
    blocks: &mut [[u8; BYTES]],
) {
    let (units, rest) = x.as_chunks();
    let (whole, blocks_rest) = blocks.as_chunks_mut();
    if !units.is_empty() {
        isa.run(Encode::<F, BYTES, VECTORS, UNIT> { format, stream, x: units, blocks: whole });
    }
    if !rest.is_empty() {
        let stream = stream.map(|stream| stream.at(units.len() * UNIT * VECTORS * LANES));
        let (mut padded, mut padded_blocks) = ([[[[0.0; LANES]; VECTORS]; UNIT]], [[[0; BYTES]; UNIT]]);
        padded[0][..rest.len()].copy_from_slice(rest);
        isa.run(Encode::<F, BYTES, VECTORS, UNIT> { format, stream, x: &padded, blocks: &mut padded_blocks });
        blocks_rest.copy_from_slice(&padded_blocks[0][..blocks_rest.len()]);
    }
}

/// A block of finite values: what is stored of its scales tells whether they can be.
fn encoded_alone<F: Units<BYTES, VECTORS, UNIT>, const BYTES: usize, const VECTORS: usize, const UNIT: usize>(
    isa: Isa,
    format: F,
    x: &[[f32; LANES]; VECTORS],
) -> [u8; BYTES] {
    let mut block = [[0; BYTES]];
    encode_piece(isa, format, None, core::slice::from_ref(x), &mut block);
    block[0]
}

/// Encodes whole units.
struct Encode<'a, F, const BYTES: usize, const VECTORS: usize, const UNIT: usize> {
    format: F,
    stream: Option<Stream>,
    x: &'a [[[[f32; LANES]; VECTORS]; UNIT]],
    blocks: &'a mut [[[u8; BYTES]; UNIT]],
}

impl<F: Units<BYTES, VECTORS, UNIT>, const BYTES: usize, const VECTORS: usize, const UNIT: usize> Kernel
    for Encode<'_, F, BYTES, VECTORS, UNIT>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let elements = const {
            assert!(UNIT * VECTORS * LANES <= LONG_RUN, "the window has the words of a unit");
            UNIT * VECTORS * LANES
        };
        let units = self.x.iter().zip(self.blocks);
        match self.stream {
            Some(stream) if F::STOCHASTIC => {
                let mut cursor = Cursor::at(v, stream, self.x.len() * elements);
                for (x, blocks) in units {
                    let first = cursor.take_window(v, elements);
                    self.format.encode(v, x, &Rounder::Stochastic(&cursor, first), blocks);
                }
            }
            _ => {
                for (x, blocks) in units {
                    self.format.encode(v, x, &Rounder::Nearest, blocks);
                }
            }
        }
    }
}
