//! Scales and offsets of groups, in the type that they are given in: weights of a few bits are small, and their scales should
//! be as small.

use core::ops::Range;

use crate::cache::prefetch_line;
use crate::formats::nvfp4::half_scales;
use crate::formats::powers::powers;
use crate::half::{HalfKind, Halves, widen_piece};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::memory::{AlignedBuffer, CACHE_LINE, Scratch};
use crate::shared::SharedBytes;
use crate::simd::LANES;

/// A value for every group of weights, `[N, groups]`: their scales, or their real offsets.
///
/// ```
/// use zeropoint::{Halves, groups::Reals};
/// let scales: Reals<'_> = [0.5, 0.25][..].into();
/// let half_as_large = Reals::from(Halves::f16(&[0x3800, 0x3400]));
/// let powers_of_two = Reals::e8m0(&[126, 125]);
/// assert_eq!([scales.len(), half_as_large.len(), powers_of_two.len()], [2; 3]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Reals<'a>(pub(super) Values<'a>);

/// The types that [`Reals`] may have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Values<'a> {
    F32(&'a [f32]),
    Halves(Halves<'a>),
    /// `2^(E − 127 − point)`, and 255 is NaN.
    E8m0 {
        exponents: &'a [u8],
        point: i32,
    },
    /// Half of an E4M3, by the scale of its tensor.
    E4m3 {
        patterns: &'a [u8],
        tensor_scale: f32,
    },
}

impl<'a> From<&'a [f32]> for Reals<'a> {
    fn from(values: &'a [f32]) -> Self {
        Reals(Values::F32(values))
    }
}

impl<'a> From<&'a Vec<f32>> for Reals<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Reals(Values::F32(values))
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Reals<'a> {
    fn from(values: &'a [f32; N]) -> Self {
        Reals(Values::F32(values))
    }
}

impl<'a> From<Halves<'a>> for Reals<'a> {
    fn from(values: Halves<'a>) -> Self {
        Reals(Values::Halves(values))
    }
}

impl<'a> Reals<'a> {
    /// Exponents of the OCP Microscaling formats: E is `2^(E − 127)`, and 255 is NaN.
    #[must_use]
    pub fn e8m0(exponents: &'a [u8]) -> Self {
        Reals(Values::E8m0 { exponents, point: 0 })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Values::F32(values) => values.len(),
            Values::Halves(values) => values.bits.len(),
            Values::E8m0 { exponents: bytes, .. } | Values::E4m3 { patterns: bytes, .. } => bytes.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Values in the order of panels, in the type that they were given in.
#[derive(Clone, Debug)]
pub(super) struct PackedReals {
    pub kind: Kind,
    pub values: SharedBytes,
    pub length: usize,
}

/// The types that packed values may have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    F32,
    Half(HalfKind),
    E8m0 { point: i32 },
    E4m3 { tensor_scale: f32 },
}

impl PackedReals {
    /// The values of these places in a new order: 0 (of E8M0, the smallest) where there is none.
    pub fn new(values: Reals<'_>, places: impl ExactSizeIterator<Item = Option<usize>>) -> Self {
        /// Values in a new order.
        fn reorder<T: bytemuck::Pod>(
            values: &[T],
            places: impl ExactSizeIterator<Item = Option<usize>>,
        ) -> (AlignedBuffer, usize) {
            let (mut buffer, length) = (AlignedBuffer::default(), places.len());
            for (value, place) in buffer.elements(length).iter_mut().zip(places) {
                *value = place.map_or_else(T::zeroed, |place| values[place]);
            }
            (buffer, length)
        }
        let (kind, (values, length)) = match values.0 {
            Values::F32(values) => (Kind::F32, reorder(values, places)),
            Values::Halves(Halves { bits, kind }) => (Kind::Half(kind), reorder(bits, places)),
            Values::E8m0 { exponents, point } => (Kind::E8m0 { point }, reorder(exponents, places)),
            Values::E4m3 { patterns, tensor_scale } => (Kind::E4m3 { tensor_scale }, reorder(patterns, places)),
        };
        PackedReals { kind, values: values.into(), length }
    }

    /// The values as they were given, in the order that they have here.
    pub fn as_reals(&self) -> Reals<'_> {
        Reals(match self.kind {
            Kind::F32 => Values::F32(self.values.as_slice(self.length)),
            Kind::Half(kind) => Values::Halves(Halves { bits: self.values.as_slice(self.length), kind }),
            Kind::E8m0 { point } => Values::E8m0 { exponents: self.values.as_slice(self.length), point },
            Kind::E4m3 { tensor_scale } => Values::E4m3 { patterns: self.values.as_slice(self.length), tensor_scale },
        })
    }

    /// Some of the values as f32: in place, or widened in a workspace.
    pub fn read<'a>(&'a self, isa: Isa, range: Range<usize>, workspace: &'a mut Scratch) -> &'a [f32] {
        self.prefetch_behind(&range);
        match self.kind {
            Kind::F32 => &self.values.as_slice(self.length)[range],
            Kind::Half(kind) => {
                let widened = workspace.elements(range.len());
                widen_piece(isa, Halves { bits: &self.values.as_slice(self.length)[range], kind }, widened);
                widened
            }
            Kind::E8m0 { .. } | Kind::E4m3 { .. } => {
                let widened = workspace.elements(range.len());
                let bytes = &self.values.as_slice::<u8>(self.length)[range];
                isa.run(Widen { kind: self.kind, bytes, out: &mut *widened });
                widened
            }
        }
    }

    /// Some of the values in place, if they are f16.
    pub fn halves(&self, range: Range<usize>) -> Option<&[u16]> {
        match self.kind {
            Kind::Half(HalfKind::F16) => {
                self.prefetch_behind(&range);
                Some(&self.values.as_slice(self.length)[range])
            }
            _ => None,
        }
    }

    /// Prefetches as many values behind some, since they are read next.
    fn prefetch_behind(&self, range: &Range<usize>) {
        let next = self.values.as_slice::<u8>(self.length * self.size()).as_ptr().wrapping_add(range.end * self.size());
        for line in (0..range.len() * self.size()).step_by(CACHE_LINE) {
            prefetch_line(next.wrapping_add(line));
        }
    }

    /// The values as they are in memory.
    pub fn as_bytes(&self) -> &[u8] {
        self.values.as_slice(self.bytes())
    }

    /// The bytes that they take.
    pub fn bytes(&self) -> usize {
        self.length * self.size()
    }

    /// Bytes of a value.
    fn size(&self) -> usize {
        self.kind.size()
    }
}

impl Kind {
    /// Bytes of a value.
    pub fn size(self) -> usize {
        match self {
            Kind::F32 => 4,
            Kind::Half(_) => 2,
            Kind::E8m0 { .. } | Kind::E4m3 { .. } => 1,
        }
    }
}

/// Reals of a byte as f32.
struct Widen<'a> {
    kind: Kind,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Widen { kind, bytes, out } = self;
        let ((vectors, rest), (places, places_of_rest)) = (bytes.as_chunks(), out.as_chunks_mut());
        for (bytes, place) in vectors.iter().zip(places) {
            v.store_f32(widened(v, kind, bytes), place);
        }
        if !rest.is_empty() {
            let (mut bytes, mut reals) = ([0; LANES], [0.0; LANES]);
            bytes[..rest.len()].copy_from_slice(rest);
            v.store_f32(widened(v, kind, &bytes), &mut reals);
            places_of_rest.copy_from_slice(&reals[..rest.len()]);
        }
    }
}

/// Reals of a byte, of a kind that has no more.
#[inline(always)]
fn widened<V: Vectors>(v: V, kind: Kind, bytes: &[u8; LANES]) -> V::F32 {
    let lanes = v.load_u8(bytes);
    match kind {
        Kind::E8m0 { point } => powers(v, lanes, point),
        Kind::E4m3 { tensor_scale } => v.mul_f32(half_scales(v, lanes), v.splat_f32(tensor_scale)),
        Kind::F32 | Kind::Half(_) => unreachable!("they have more than a byte"),
    }
}
