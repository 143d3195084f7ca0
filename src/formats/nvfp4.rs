//! NVFP4: E2M1 in groups of sixteen, with scales of E4M3 and one scale of the tensor. A block is four groups, as ggml has
//! them: four scales, then eight bytes for each group, with value j low and j + 8 high in byte j.

use super::block::{BlockVectors, Blocks};
use super::e2m1;
use super::extremes::largest_magnitudes;
use super::units::{Rounder, Units};
use crate::error::Error;
use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::Vectors;
use crate::reduce::extremes::finite;
use crate::reduce::tensor::magnitude;
use crate::simd::LANES;

/// The largest value of E2M1.
const LARGEST: f32 = 6.0;

/// The largest E4M3, and its pattern. (The one behind it is NaN.)
const LARGEST_SCALE: f32 = 448.0;
const LARGEST_PATTERN: i32 = 0x7e;

/// The largest quotient that is rounded to [`LARGEST_SCALE`]: the tie with what would be the next E4M3.
const HIGHEST_QUOTIENT: f32 = 464.0;

/// The pattern of 2⁻⁶, from which on an E4M3 is normal, and what the exponent of an f32 is larger by, as a pattern.
const NORMAL: i32 = 8;
const BIAS: i32 = (127 - 7) << 3;

/// NVFP4 of a tensor that has a scale of its own, which files keep apart. A block format where one is asked for.
///
/// ```
/// use zeropoint::Exec;
/// use zeropoint::formats::{BlockFormat, NvFp4, decode_blocks, encode_blocks};
/// let exec = Exec::best()?;
/// let x: Vec<f32> = (0..64).map(|i| (i as f32 * 0.37).sin() * 1e-3).collect();
/// let format = NvFp4::fit(exec, &x)?; // the largest group has the largest scale
/// let mut bytes = vec![0; BlockFormat::NvFp4.bytes(x.len())?];
/// encode_blocks(exec, format, &x, &mut bytes)?;
/// let mut back = [0.0; 64];
/// decode_blocks(exec, format, &bytes, &mut back)?;
/// assert!(x.iter().zip(back).all(|(x, back)| (x - back).abs() < 2e-4));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NvFp4 {
    tensor_scale: f32,
}

impl Default for NvFp4 {
    fn default() -> Self {
        NvFp4 { tensor_scale: 1.0 }
    }
}

impl NvFp4 {
    /// With this scale of the tensor.
    ///
    /// # Errors
    /// [`Error::Scale`] when it is not finite or below `f32::MIN_POSITIVE`.
    pub fn new(tensor_scale: f32) -> Result<Self, Error> {
        if tensor_scale.is_finite() && tensor_scale >= f32::MIN_POSITIVE {
            Ok(NvFp4 { tensor_scale })
        } else {
            Err(Error::Scale { index: 0, scale: tensor_scale })
        }
    }

    /// With the scale by which the largest magnitude is the largest value, `amax / (6 · 448)`, but `f32::MIN_POSITIVE` at
    /// least; 1 for zeros and for an empty tensor.
    ///
    /// # Errors
    /// [`Error::NonFinite`].
    pub fn fit<'t>(exec: impl Into<Exec<'t>>, x: &[f32]) -> Result<Self, Error> {
        fit(exec.into(), x)
    }

    /// The scale of the tensor.
    #[must_use]
    pub const fn tensor_scale(self) -> f32 {
        self.tensor_scale
    }
}

fn fit(exec: Exec<'_>, x: &[f32]) -> Result<NvFp4, Error> {
    let bits = magnitude(exec, x);
    finite(bits, x)?;
    let scale = f32::from_bits(bits.cast_unsigned()) / (LARGEST * LARGEST_SCALE);
    Ok(NvFp4 { tensor_scale: if bits == 0 { 1.0 } else { scale.max(f32::MIN_POSITIVE) } })
}

/// The pattern of the nearest E4M3, ties to even, of quotients up to [`HIGHEST_QUOTIENT`].
#[inline(always)]
fn to_e4m3<V: BlockVectors>(v: V, quotients: V::F32) -> V::I32 {
    let (bits, twenty) = (v.to_bits(quotients), v.splat_i32(20));
    // Half a unit of what falls off, less a bit when that leaves an even number; a carry moves the exponent.
    let odd = v.and_i32(v.shift_right(bits, twenty), v.splat_i32(1));
    let rounded = v.shift_right(v.add_i32(v.add_i32(bits, odd), v.splat_i32(0x7_ffff)), twenty);
    let normal = v.min_i32(v.sub_i32(rounded, v.splat_i32(BIAS)), v.splat_i32(LARGEST_PATTERN));
    let subnormal = v.round_to_i32(v.mul_f32(quotients, v.splat_f32(512.0)));
    v.select_i32(v.less_f32(quotients, v.splat_f32(1.0 / 64.0)), subnormal, normal)
}

/// The values of patterns of E4M3 without a sign.
#[inline(always)]
fn from_e4m3_lanes<V: BlockVectors>(v: V, patterns: V::I32) -> V::F32 {
    let normal = v.of_bits(v.shift_left::<20>(v.add_i32(patterns, v.splat_i32(BIAS))));
    let subnormal = v.mul_f32(v.to_f32(patterns), v.splat_f32(1.0 / 512.0));
    v.select_f32(v.less_i32(patterns, v.splat_i32(NORMAL)), subnormal, normal)
}

/// The value of an E4M3, whatever its sign: scales have none. The largest pattern is no number, which ggml takes for 0.
#[inline(always)]
fn from_e4m3(pattern: u8) -> f32 {
    match i32::from(pattern & 0x7f) {
        0x7f => 0.0,
        pattern @ ..NORMAL => pattern as f32 / 512.0,
        pattern => f32::from_bits(((pattern + BIAS) << 20).cast_unsigned()),
    }
}

/// Half of the scale that an E4M3 is, for doubled values.
#[inline(always)]
pub(crate) fn half_scale(pattern: u8) -> f32 {
    from_e4m3(pattern) / 2.0
}

/// [`half_scale`] of every lane.
#[inline(always)]
pub(crate) fn half_scales<V: Vectors>(v: V, patterns: V::I32) -> V::F32 {
    let patterns = v.and_i32(patterns, v.splat_i32(0x7f));
    let halves = v.mul_f32(from_e4m3_lanes(v, patterns), v.splat_f32(0.5));
    v.select_f32(v.less_i32(v.splat_i32(LARGEST_PATTERN), patterns), v.splat_f32(0.0), halves)
}

impl Units<36, 4, 4> for NvFp4 {
    const BLOCK_TIME: usize = 8;

    const PIECE: usize = 256;

    const STOCHASTIC: bool = true;

    /// (The quotients of smaller magnitudes are no larger.)
    fn safe(self) -> Option<f32> {
        let limit = f64::from(LARGEST) * f64::from(LARGEST_SCALE) * f64::from(self.tensor_scale);
        Some(limit.min(f64::from(f32::MAX)) as f32)
    }

    fn refuses(self, _: Isa, x: &[[f32; LANES]; 4]) -> bool {
        let amax = x.as_flattened().iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        amax / LARGEST / self.tensor_scale > HIGHEST_QUOTIENT
    }

    #[cfg_attr(not(unoptimized), inline(always))]
    fn encode<V: Vectors>(self, v: V, x: &[[[f32; LANES]; 4]; 4], rounder: &Rounder<'_>, blocks: &mut [[u8; 36]; 4]) {
        let groups: &[[[f32; LANES]; 1]; LANES] = bytemuck::cast_ref(x);
        let (tensor_scale, zero) = (v.splat_f32(self.tensor_scale), v.splat_f32(0.0));
        let largest = v.of_bits(largest_magnitudes(v, groups, true));
        let patterns = to_e4m3(v, v.div_f32(v.div_f32(largest, v.splat_f32(LARGEST)), tensor_scale));
        let halved = v.mul_f32(from_e4m3_lanes(v, patterns), v.splat_f32(0.5));
        let scales = v.mul_f32(halved, tensor_scale);
        // The multiples of a scale of 0 are 0.
        let divisors = v.select_f32(v.equal_f32(scales, zero), v.splat_f32(f32::INFINITY), scales);
        let (mut stored, mut lanes) = ([0; LANES], [0.0; LANES]);
        v.store_i32(patterns, &mut stored);
        v.store_f32(divisors, &mut lanes);
        for i in 0..LANES {
            let values = v.load_f32(&groups[i][0]);
            let magnitudes = v.of_bits(v.and_i32(v.to_bits(values), v.splat_i32(i32::MAX)));
            let codes = rounder.e2m1(v, values, v.div_f32(magnitudes, v.splat_f32(lanes[i])), i);
            let mut bytes = [0; LANES];
            v.store_u8(codes, &mut bytes);
            let [low, high] = bytemuck::cast::<_, [[u8; 8]; 2]>(bytes).map(u64::from_le_bytes);
            let (block, group) = (&mut blocks[i / 4], i % 4);
            block[group] = stored[i] as u8;
            block[4 + 8 * group..][..8].copy_from_slice(&(low | high << 4).to_le_bytes());
        }
    }
}

impl Blocks<36, 4> for NvFp4 {
    const CODES: [i8; 2] = [-12, 12];

    const GROUP: usize = 1;

    const HAS_TENSOR_SCALE: bool = true;

    #[inline(always)]
    fn vector_scales(block: &[u8; 36]) -> [f32; 4] {
        let [a, b, c, d, ..] = *block;
        [half_scale(a), half_scale(b), half_scale(c), half_scale(d)]
    }

    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, [_, _, _, _, bytes @ ..]: &[u8; 36]) -> [V::I32; 4] {
        const SHIFTS: [i32; LANES] = [0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4];
        let (shifts, mut codes) = (v.load_i32(&SHIFTS), [v.splat_i32(0); 4]);
        for (code, &bytes) in codes.iter_mut().zip(bytes.as_chunks::<8>().0) {
            let twice: [u8; LANES] = bytemuck::cast([bytes; 2]);
            *code = e2m1::doubled(v, v.shift_right(v.load_u8(&twice), shifts));
        }
        codes
    }

    #[inline(always)]
    fn split([_, _, _, _, bytes @ ..]: &[u8; 36]) -> [[i8; LANES]; 4] {
        let mut codes = [[0; LANES]; 4];
        for (codes, bytes) in codes.iter_mut().zip(bytes.as_chunks::<8>().0) {
            e2m1::split(bytes, codes);
        }
        codes
    }
}
