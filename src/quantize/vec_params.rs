//! Parameters as vectors: where a kernel gets the scales and zero points of its next vector or quad from.

use super::fast::QuantizeVectors;
use crate::codes::CodeBounds;
use crate::kernel::Vectors;
use crate::params::{GroupParams, Params, RowParams, Stretch};
use crate::simd::{LANES, QUAD, Simd};

/// The parameters of one vector: lane i holds those of element i.
#[derive(Clone, Copy)]
pub(crate) struct VecParams<V: Simd> {
    scale: V::F32,
    /// Both parts of the reciprocal of the scale; NaN where it has none, and in parameters made for the exact path only.
    reciprocal: [V::F32; 2],
    pub zero_point: V::I32,
    /// The smallest code less the zero point.
    pub min: V::F32,
    /// The largest code less the zero point.
    pub max: V::F32,
}

impl<V: Simd> VecParams<V> {
    /// Parameters for the exact path: without reciprocals.
    #[inline(always)]
    pub fn new(v: V, codes: CodeBounds, scale: V::F32, zero_point: V::I32) -> Self {
        let min = v.to_f32(v.sub_i32(v.splat_i32(codes.min), zero_point));
        let max = v.to_f32(v.sub_i32(v.splat_i32(codes.max), zero_point));
        VecParams { scale, reciprocal: [v.splat_f32(f32::NAN); 2], zero_point, min, max }
    }

    /// `clamp(x / S)`: rounded, it is the code less its zero point.
    #[inline(always)]
    pub fn clamped(&self, v: V, x: V::F32) -> V::F32 {
        v.clamp_f32(self.quotient(v, x), self.min, self.max)
    }

    /// `x / S`
    #[inline(always)]
    pub fn quotient(&self, v: V, x: V::F32) -> V::F32 {
        v.div_f32(x, self.scale)
    }

    /// S
    #[inline(always)]
    pub fn scale(&self) -> V::F32 {
        self.scale
    }

    /// A value that rounds to the same integer, up to ±255, as `x / S` does; NaN where the scale has no reciprocal.
    #[inline(always)]
    pub fn fast_quotient(&self, v: V, x: V::F32) -> V::F32 {
        let [high, low] = self.reciprocal;
        v.mul_add_f32(x, high, v.mul_f32(x, low))
    }

    /// `S · x`
    #[inline(always)]
    pub fn scaled(&self, v: V, x: V::F32) -> V::F32 {
        v.mul_f32(x, self.scale)
    }

    /// Where clamping does not change the rounded quotient. NaN counts as below the range.
    #[inline(always)]
    pub fn is_within(&self, v: V, x: V::F32) -> V::Mask {
        // One step beyond the range is enough to tell.
        let quotient = v.max_f32(v.div_f32(x, self.scale), v.add_f32(self.min, v.splat_f32(-1.0)));
        let rounded = v.to_f32(v.round_to_i32(v.min_f32(quotient, v.add_f32(self.max, v.splat_f32(1.0)))));
        v.equal_f32(rounded, v.min_f32(v.max_f32(rounded, self.min), self.max))
    }

    /// The code of x less its zero point, and the change by clamping: 0, or ±1 for any larger change, since one step beyond
    /// the range is enough to tell. NaN counts as below the range.
    #[inline(always)]
    pub fn code_and_excess(&self, v: V, x: V::F32) -> (V::I32, V::I32) {
        let quotient = v.max_f32(v.div_f32(x, self.scale), v.add_f32(self.min, v.splat_f32(-1.0)));
        let beyond = v.round_to_i32(v.min_f32(quotient, v.add_f32(self.max, v.splat_f32(1.0))));
        let (min, max) = (v.round_to_i32(self.min), v.round_to_i32(self.max));
        let q = v.min_i32(v.max_i32(beyond, min), max);
        (q, v.sub_i32(beyond, q))
    }

    /// `S · q` for a code less its zero point.
    #[inline(always)]
    pub fn real(&self, v: V, q: V::I32) -> V::F32 {
        self.scaled(v, v.to_f32(q))
    }

    /// `S · q` for a code less its zero point that is an f32; −0 becomes 0.
    #[inline(always)]
    pub fn real_of_f32(&self, v: V, q: V::F32) -> V::F32 {
        v.mul_add_f32(q, self.scale, v.splat_f32(0.0))
    }
}

impl<V: Vectors> VecParams<V> {
    /// The scale of one group in every lane, with the zero points as they are.
    #[inline(always)]
    fn with_scale(self, v: V, params: &GroupParams<'_>, group: usize) -> Self {
        let GroupParams { scales, reciprocals: [high, low], .. } = params;
        let reciprocal = [v.splat_f32(high[group]), v.splat_f32(low[group])];
        VecParams { scale: v.splat_f32(scales[group]), reciprocal, ..self }
    }
}

/// The parameters of a quad.
#[derive(Clone, Copy)]
pub(crate) struct QuadParams<V: Simd> {
    pub vectors: [VecParams<V>; QUAD],
    /// The zero points, [reordered](QuantizeVectors::reorder).
    pub zero_points: [V::I32; 2],
}

impl<V: QuantizeVectors> QuadParams<V> {
    /// The parameters of these vectors.
    #[inline(always)]
    pub fn new(v: V, vectors: [VecParams<V>; QUAD]) -> Self {
        let [a, b, c, d] = &vectors;
        QuadParams { vectors, zero_points: v.reorder([a.zero_point, b.zero_point, c.zero_point, d.zero_point]) }
    }

    /// For each x a value that rounds to the same integer, up to ±255, as `x / S` does; NaN where the scale has no
    /// reciprocal.
    #[inline(always)]
    pub fn quotients(&self, v: V, x: &[[f32; LANES]; QUAD]) -> [V::F32; QUAD] {
        let mut quotients = [v.splat_f32(0.0); QUAD];
        for j in 0..QUAD {
            quotients[j] = self.vectors[j].fast_quotient(v, v.load_f32(&x[j]));
        }
        quotients
    }
}

/// Where a walk over elements gets its parameters from. Elements are counted from the first of the walk.
pub(crate) trait ParamSource<V: Vectors>: Copy {
    /// The state of a segment of the walk.
    type Segment: Copy;
    /// The segment that element `start` begins, and its length, at least 1. Starts ascend.
    fn segment(&mut self, start: usize) -> (Self::Segment, usize);
    /// The parameters of the vector that begins at element `i`.
    fn vector(&self, segment: Self::Segment, i: usize) -> VecParams<V>;
    /// The parameters of the quad that begins at element `i`.
    fn quad(&self, segment: Self::Segment, i: usize) -> QuadParams<V>;
}

/// One group: its parameters stay in registers.
#[derive(Clone, Copy)]
pub(crate) struct OneGroup<V: Simd> {
    v: V,
    params: VecParams<V>,
}

impl<V: Vectors> ParamSource<V> for OneGroup<V> {
    type Segment = ();

    #[inline(always)]
    fn segment(&mut self, _: usize) -> ((), usize) {
        ((), usize::MAX)
    }

    #[inline(always)]
    fn vector(&self, (): (), _: usize) -> VecParams<V> {
        self.params
    }

    #[inline(always)]
    fn quad(&self, (): (), _: usize) -> QuadParams<V> {
        QuadParams::new(self.v, [self.params; QUAD])
    }
}

/// The parameters of all groups as vectors.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'a, V: Simd> {
    v: V,
    /// Whether all groups have the zero point of group 0: vectors that follow from it stay in registers.
    one_zero_point: bool,
    codes: CodeBounds,
    all: GroupParams<'a>,
    zero_codes: &'a [u8],
    /// The parameters of group 0, except for the scale.
    first: QuadParams<V>,
}

impl<'a, V: Vectors> Groups<'a, V> {
    /// `one_zero_point` is a constant of the caller, which the compiler propagates into the loops.
    #[inline(always)]
    pub fn new(v: V, params: &'a Params, one_zero_point: bool) -> Self {
        let all = RowParams { groups: params.all(), zero_codes: params.zero_codes() };
        Groups::of(v, params.bounds(), all, one_zero_point)
    }

    /// The parameters of some groups.
    #[inline(always)]
    pub fn of(v: V, codes: CodeBounds, params: RowParams<'a>, one_zero_point: bool) -> Self {
        let RowParams { groups: all, zero_codes } = params;
        let first = VecParams::new(v, codes, v.splat_f32(1.0), v.splat_i32(all.zero_points[0]));
        Groups { v, one_zero_point, codes, all, zero_codes, first: QuadParams::new(v, [first; QUAD]) }
    }

    /// The source for elements of one group.
    #[inline(always)]
    pub fn one(&self, group: usize) -> OneGroup<V> {
        OneGroup { v: self.v, params: self.splat(group) }
    }

    /// The parameters of sixteen groups that follow each other, from `group` on.
    #[inline(always)]
    pub fn neighbours(&self, group: usize) -> VecParams<V> {
        self.load(&self.all.slice(group, LANES), 0)
    }

    /// The scales of sixteen groups that follow each other, from `group` on, with the zero points that `rest` has.
    #[inline(always)]
    pub fn with_scales(&self, group: usize, rest: VecParams<V>) -> VecParams<V> {
        let (v, params) = (self.v, self.all.slice(group, LANES));
        let GroupParams { scales, reciprocals: [high, low], .. } = params;
        let reciprocal = [v.load_f32(sixteen(high, 0)), v.load_f32(sixteen(low, 0))];
        VecParams { scale: v.load_f32(sixteen(scales, 0)), reciprocal, ..rest }
    }

    /// The parameters of one group in every lane.
    #[inline(always)]
    fn splat(&self, group: usize) -> VecParams<V> {
        let (v, params) = (self.v, self.all.of_one_length());
        let rest = if self.one_zero_point {
            self.first.vectors[0]
        } else {
            VecParams::new(v, self.codes, v.splat_f32(1.0), v.splat_i32(params.zero_points[group]))
        };
        rest.with_scale(v, &params, group)
    }

    /// The zero point of a group.
    #[inline(always)]
    pub fn zero_point(&self, group: usize) -> i32 {
        self.all.zero_points[group]
    }

    /// The scale of one group in every lane, with the zero point that `rest` has.
    #[inline(always)]
    pub fn with_scale(&self, group: usize, rest: VecParams<V>) -> VecParams<V> {
        rest.with_scale(self.v, &self.all.of_one_length(), group)
    }

    /// The parameters of sixteen neighbouring groups, `offset` behind the first of `params`.
    #[inline(always)]
    fn load(&self, params: &GroupParams<'_>, offset: usize) -> VecParams<V> {
        let (v, GroupParams { scales, reciprocals: [high, low], zero_points }) = (self.v, *params);
        let rest = if self.one_zero_point {
            self.first.vectors[0]
        } else {
            VecParams::new(v, self.codes, v.splat_f32(1.0), v.load_i32(sixteen(zero_points, offset)))
        };
        let reciprocal = [v.load_f32(sixteen(high, offset)), v.load_f32(sixteen(low, offset))];
        VecParams { scale: v.load_f32(sixteen(scales, offset)), reciprocal, ..rest }
    }
}

/// Sixteen values from `offset` on.
#[inline(always)]
fn sixteen<T>(values: &[T], offset: usize) -> &[T; LANES] {
    values[offset..].first_chunk().expect("arrays of parameters are padded")
}

/// Groups that alternate: the parameters of neighbouring elements are neighbours, too. A segment ends with the row of
/// parameters, and its state is the difference between channel and element.
#[derive(Clone, Copy)]
pub(crate) struct Interleaved<'a, V: Simd> {
    groups: Groups<'a, V>,
    /// Whether zero points are i8 codes, for operations that use them reordered.
    signed: bool,
    period: usize,
    /// The start of the last segment, and the channel there.
    at: usize,
    channel: usize,
}

impl<'a, V: Vectors> Interleaved<'a, V> {
    /// For the elements of a stretch, whose parameters are `groups`.
    #[inline(always)]
    pub fn new(groups: Groups<'a, V>, signed: bool, stretch: &Stretch<'_>) -> Self {
        Interleaved { groups, signed, period: stretch.period, at: 0, channel: stretch.channel }
    }

    /// The zero points of a quad, reordered: loaded as codes, a quarter of the bytes.
    #[inline(always)]
    fn reordered_zero_points(&self, channel: usize) -> [V::I32; 2] {
        let Groups { v, one_zero_point, all, zero_codes, first, .. } = self.groups;
        if one_zero_point {
            return first.zero_points;
        }
        // The length is repeated so that the check of an index serves all arrays.
        let codes = &zero_codes[..all.scales.len()][channel..channel + QUAD * LANES];
        let codes: &[u8; QUAD * LANES] = codes.first_chunk().expect("the slice has this length");
        if self.signed { v.reorder_i8(bytemuck::cast_ref(codes)) } else { v.reorder_u8(codes) }
    }
}

impl<V: Vectors> ParamSource<V> for Interleaved<'_, V> {
    type Segment = usize;

    #[inline(always)]
    fn segment(&mut self, start: usize) -> (usize, usize) {
        self.channel += start - self.at;
        self.at = start;
        // Segments are no longer than a period.
        if self.channel >= self.period {
            self.channel -= self.period;
        }
        (self.channel.wrapping_sub(start), self.period - self.channel)
    }

    #[inline(always)]
    fn vector(&self, segment: usize, i: usize) -> VecParams<V> {
        self.groups.neighbours(segment.wrapping_add(i))
    }

    #[inline(always)]
    fn quad(&self, segment: usize, i: usize) -> QuadParams<V> {
        let channel = segment.wrapping_add(i);
        let params = self.groups.all.slice(channel, QUAD * LANES);
        let mut vectors = [self.groups.first.vectors[0]; QUAD];
        for j in 0..QUAD {
            vectors[j] = self.groups.load(&params, j * LANES);
        }
        QuadParams { vectors, zero_points: self.reordered_zero_points(channel) }
    }
}

/// Blocks of 2ˢʰⁱᶠᵗ elements, whole vectors none of which ends inside a vector.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'a, V: Simd> {
    pub groups: Groups<'a, V>,
    /// The groups that a quad belongs to, 1, 2 or 4: the fewer, the fewer parameters are read.
    pub groups_of_quad: usize,
    /// The index in the tensor of the first element.
    pub first: usize,
    pub shift: u32,
}

impl<V: Vectors> ParamSource<V> for Blocks<'_, V> {
    type Segment = ();

    #[inline(always)]
    fn segment(&mut self, _: usize) -> ((), usize) {
        ((), usize::MAX)
    }

    #[inline(always)]
    fn vector(&self, (): (), i: usize) -> VecParams<V> {
        self.groups.splat((self.first + i) >> self.shift)
    }

    #[inline(always)]
    fn quad(&self, (): (), i: usize) -> QuadParams<V> {
        let mut vectors = [self.vector((), i); QUAD];
        for j in 1..QUAD {
            let begins_group = (j * self.groups_of_quad).is_multiple_of(QUAD);
            vectors[j] = if begins_group { self.vector((), i + j * LANES) } else { vectors[j - 1] };
        }
        QuadParams::new(self.groups.v, vectors)
    }
}
