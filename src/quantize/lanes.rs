//! Parameters as vectors: of one group in every lane, or of sixteen groups.

use crate::codes::{Code, CodeRange};
use crate::kernel::Vectors;
use crate::params::{Parameters, QuantParams};
use crate::simd::{LANES, QUAD, quad};

/// Sixteen lanes of parameters: `S`, both parts of its reciprocal or NaN, `Z`, and the code range relative to it.
#[derive(Clone, Copy)]
pub struct Lanes<S: Vectors> {
    scale: S::F32,
    reciprocal: [S::F32; 2],
    pub zero_point: S::I32,
    pub min: S::F32,
    pub max: S::F32,
}

impl<S: Vectors> Lanes<S> {
    #[inline(always)]
    pub fn new<C: Code>(simd: S, codes: CodeRange<C>, scale: S::F32, zero_point: S::I32) -> Self {
        let min = simd.to_f32(simd.sub_i32(simd.splat_i32(codes.min().into()), zero_point));
        let max = simd.to_f32(simd.sub_i32(simd.splat_i32(codes.max().into()), zero_point));
        Lanes { scale, reciprocal: [simd.splat_f32(f32::NAN); 2], zero_point, min, max }
    }

    /// `clamp(x / S)`: what is rounded to the code without its zero point.
    #[inline(always)]
    pub fn clamped(&self, simd: S, x: S::F32) -> S::F32 {
        simd.clamp_f32(simd.div_f32(x, self.scale), self.min, self.max)
    }

    /// The code of x without its zero point, and what clamping changed it by: one step of room beyond the range tells. NaN is
    /// below it.
    #[inline(always)]
    pub fn code_and_excess(&self, simd: S, x: S::F32) -> (S::I32, S::I32) {
        let v = simd.max_f32(simd.div_f32(x, self.scale), simd.add_f32(self.min, simd.splat_f32(-1.0)));
        let beyond = simd.round_to_i32(simd.min_f32(v, simd.add_f32(self.max, simd.splat_f32(1.0))));
        let (min, max) = (simd.round_to_i32(self.min), simd.round_to_i32(self.max));
        let q = simd.min_i32(simd.max_i32(beyond, min), max);
        (q, simd.sub_i32(beyond, q))
    }

    /// `S · q` for a code without its zero point.
    #[inline(always)]
    pub fn real(&self, simd: S, q: S::I32) -> S::F32 {
        simd.mul_f32(simd.to_f32(q), self.scale)
    }

    /// The same for a code that is a float, of which −0 becomes 0.
    #[inline(always)]
    pub fn real_of_f32(&self, simd: S, q: S::F32) -> S::F32 {
        simd.mul_add_f32(q, self.scale, simd.splat_f32(0.0))
    }
}

/// The parameters of four vectors.
#[derive(Clone, Copy)]
pub struct QuadParams<S: Vectors> {
    pub each: [Lanes<S>; QUAD],
    /// Their zero points, as [`Simd::reorder`] has them.
    pub zero_points: [S::I32; 2],
}

impl<S: Vectors> QuadParams<S> {
    #[inline(always)]
    pub fn new(simd: S, each: [Lanes<S>; QUAD]) -> Self {
        let zero_points = quad(
            #[inline(always)]
            |j| each[j].zero_point,
        );
        QuadParams { each, zero_points: simd.reorder(zero_points) }
    }

    /// What rounds to the same integers up to ±255 as `x / S` of four blocks does; NaN for a scale that has no such reciprocal.
    #[inline(always)]
    pub fn quotients(&self, simd: S, x: &[[f32; LANES]; QUAD]) -> [S::F32; QUAD] {
        quad(
            #[inline(always)]
            |j| {
                let (x, [high, low]) = (simd.load_f32(&x[j]), self.each[j].reciprocal);
                simd.mul_add_f32(x, high, simd.mul_f32(x, low))
            },
        )
    }
}

/// The parameters of a tensor, as lanes. If all groups have the same zero point, ONE_ZERO_POINT says it once.
#[derive(Clone, Copy)]
pub struct LanesOf<'a, S: Vectors, C, const ONE_ZERO_POINT: bool> {
    simd: S,
    codes: CodeRange<C>,
    parameters: Parameters<'a>,
    zero_codes: &'a [C],
    /// Lanes of the first zero point, but for the scale.
    first: QuadParams<S>,
}

impl<'a, S: Vectors, C: Code, const ONE_ZERO_POINT: bool> LanesOf<'a, S, C, ONE_ZERO_POINT> {
    #[inline(always)]
    pub fn new(simd: S, params: &'a QuantParams<C>) -> Self {
        let (codes, parameters, zero_codes) = (params.codes(), params.parameters(), params.zero_codes());
        let zero_point = simd.splat_i32(parameters.zero_points[0]);
        let first = QuadParams::new(simd, [Lanes::new(simd, codes, simd.splat_f32(1.0), zero_point); QUAD]);
        LanesOf { simd, codes, parameters, zero_codes, first }
    }

    /// Those of a zero point, but for the scale.
    #[inline(always)]
    fn of_zero_point(&self, zero_point: impl Fn() -> S::I32) -> Lanes<S> {
        if ONE_ZERO_POINT {
            self.first.each[0]
        } else {
            Lanes::new(self.simd, self.codes, self.simd.splat_f32(1.0), zero_point())
        }
    }

    /// Those of one group in every lane.
    #[inline(always)]
    pub fn splat(&self, group: usize) -> Lanes<S> {
        let LanesOf { simd, parameters, .. } = *self;
        let Parameters { scales, reciprocals: [high, low], zero_points } = parameters.of_one_length();
        let lanes = self.of_zero_point(
            #[inline(always)]
            || simd.splat_i32(zero_points[group]),
        );
        let reciprocal = [simd.splat_f32(high[group]), simd.splat_f32(low[group])];
        Lanes { scale: simd.splat_f32(scales[group]), reciprocal, ..lanes }
    }

    /// Those of four vectors from an element on, which belong to so many groups, of 2ˢʰⁱᶠᵗ elements.
    #[inline(always)]
    pub fn splat_of_blocks<const GROUPS: usize>(&self, element: usize, shift: u32) -> QuadParams<S> {
        let vectors = QUAD / GROUPS;
        let mut each = [self.splat(element >> shift); QUAD];
        for j in 1..QUAD {
            each[j] = if j % vectors == 0 { self.splat((element + j * LANES) >> shift) } else { each[j - 1] };
        }
        QuadParams::new(self.simd, each)
    }

    /// Those of sixteen channels of neighbouring elements, some of which may follow the last one.
    #[inline(always)]
    pub fn load(&self, group: usize) -> Lanes<S> {
        self.load_from(&self.parameters.slice(group, LANES), 0)
    }

    /// The same of 64 groups.
    #[inline(always)]
    pub fn load_quad(&self, group: usize) -> QuadParams<S> {
        // One check of an index.
        let (parameters, zero_codes) = (self.parameters.slice(group, QUAD * LANES), self.zero_codes);
        let zero_codes = &zero_codes[..self.parameters.scales.len()][group..group + QUAD * LANES];
        let each = quad(
            #[inline(always)]
            |j| self.load_from(&parameters, j * LANES),
        );
        let zero_points = if ONE_ZERO_POINT {
            self.first.zero_points
        } else {
            C::words(self.simd, zero_codes.first_chunk().expect("so many"))
        };
        QuadParams { each, zero_points }
    }

    #[inline(always)]
    fn load_from(&self, parameters: &Parameters<'_>, group: usize) -> Lanes<S> {
        let (simd, Parameters { scales, reciprocals: [high, low], zero_points }) = (self.simd, *parameters);
        let lanes = self.of_zero_point(
            #[inline(always)]
            || simd.load_i32(sixteen(zero_points, group)),
        );
        let reciprocal = [simd.load_f32(sixteen(high, group)), simd.load_f32(sixteen(low, group))];
        Lanes { scale: simd.load_f32(sixteen(scales, group)), reciprocal, ..lanes }
    }
}

/// Sixteen groups' parameters, which are there as [`Parameters`] are padded.
#[inline(always)]
fn sixteen<T>(parameters: &[T], group: usize) -> &[T; LANES] {
    parameters[group..].first_chunk().expect("as many follow the last group")
}
