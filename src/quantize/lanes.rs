//! Parameters as vectors: of one group in every lane, or of sixteen groups.

use crate::codes::{Code, CodeRange};
use crate::params::{Parameters, QuantParams};
use crate::simd::{FOUR, LANES, Simd, four};

/// Sixteen lanes of parameters: `S`, both parts of its reciprocal or NaN, `Z`, and the code range relative to it.
#[derive(Clone, Copy)]
pub struct Lanes<S: Simd> {
    scale: S::F32,
    reciprocal: [S::F32; 2],
    pub zero_point: S::I32,
    pub min: S::F32,
    pub max: S::F32,
}

impl<S: Simd> Lanes<S> {
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

    /// What rounds to the same integers up to ±255 as `x / S` of four blocks does; NaN for a scale that has no such reciprocal.
    #[inline(always)]
    pub fn quotients(lanes: &[Self; FOUR], simd: S, x: &[[f32; LANES]; FOUR]) -> [S::F32; FOUR] {
        four(
            #[inline(always)]
            |j| {
                let (x, [high, low]) = (simd.load_f32(&x[j]), lanes[j].reciprocal);
                simd.mul_add_f32(x, high, simd.mul_f32(x, low))
            },
        )
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

/// The parameters of a tensor, as lanes.
#[derive(Clone, Copy)]
pub struct LanesOf<'a, S: Simd, C> {
    simd: S,
    codes: CodeRange<C>,
    parameters: Parameters<'a>,
    /// Lanes of the zero point of all groups, if they have the same: but for the scale.
    zero_point: Option<Lanes<S>>,
}

impl<'a, S: Simd, C: Code> LanesOf<'a, S, C> {
    #[inline(always)]
    pub fn new(simd: S, params: &'a QuantParams<C>) -> Self {
        let (codes, parameters) = (params.codes(), params.parameters());
        let lanes = LanesOf { simd, codes, parameters, zero_point: None };
        let zero_point = parameters.zero_point.map(
            #[inline(always)]
            |zero_point| lanes.of_zero_point(simd.splat_i32(zero_point)),
        );
        LanesOf { zero_point, ..lanes }
    }

    #[inline(always)]
    fn of_zero_point(&self, zero_point: S::I32) -> Lanes<S> {
        Lanes::new(self.simd, self.codes, self.simd.splat_f32(1.0), zero_point)
    }

    /// Those of one group in every lane.
    #[inline(always)]
    pub fn splat(&self, group: usize) -> Lanes<S> {
        let LanesOf { simd, parameters, .. } = *self;
        let Parameters { scales, reciprocals: [high, low], zero_points, .. } = parameters.of_one_length();
        let lanes = match self.zero_point {
            Some(lanes) => lanes,
            None => self.of_zero_point(simd.splat_i32(zero_points[group])),
        };
        let reciprocal = [simd.splat_f32(high[group]), simd.splat_f32(low[group])];
        Lanes { scale: simd.splat_f32(scales[group]), reciprocal, ..lanes }
    }

    /// Those of four vectors from an element on, which belong to so many groups, of 2ˢʰⁱᶠᵗ elements.
    #[inline(always)]
    pub fn splat_of_blocks<const GROUPS: usize>(&self, element: usize, shift: u32) -> [Lanes<S>; FOUR] {
        let vectors = FOUR / GROUPS;
        let mut lanes = [self.splat(element >> shift); FOUR];
        for j in 1..FOUR {
            lanes[j] = if j % vectors == 0 { self.splat((element + j * LANES) >> shift) } else { lanes[j - 1] };
        }
        lanes
    }

    /// Those of sixteen groups, some of which may follow the last one.
    #[inline(always)]
    pub fn load(&self, group: usize) -> Lanes<S> {
        let lanes = match self.zero_point {
            Some(lanes) => lanes,
            None => self.of_zero_point(self.simd.load_i32(sixteen(self.parameters.zero_points, group))),
        };
        self.load_scales(lanes, &self.parameters.of_one_length(), group)
    }

    /// Those of 64 groups, which are there.
    #[inline(always)]
    pub fn load_four(&self, group: usize) -> [Lanes<S>; FOUR] {
        // One check of an index.
        let parameters = self.parameters.of_one_length().slice(group, FOUR * LANES);
        let lanes = match self.zero_point {
            Some(lanes) => [lanes; FOUR],
            None => four(
                #[inline(always)]
                |j| self.of_zero_point(self.simd.load_i32(sixteen(parameters.zero_points, j * LANES))),
            ),
        };
        four(
            #[inline(always)]
            |j| self.load_scales(lanes[j], &parameters, j * LANES),
        )
    }

    #[inline(always)]
    fn load_scales(&self, lanes: Lanes<S>, parameters: &Parameters<'_>, group: usize) -> Lanes<S> {
        let Parameters { scales, reciprocals: [high, low], .. } = *parameters;
        let [scale, high, low] = [
            self.simd.load_f32(sixteen(scales, group)),
            self.simd.load_f32(sixteen(high, group)),
            self.simd.load_f32(sixteen(low, group)),
        ];
        Lanes { scale, reciprocal: [high, low], ..lanes }
    }
}

/// Sixteen groups' parameters, which are there as [`Parameters`] are padded.
#[inline(always)]
fn sixteen<T>(parameters: &[T], group: usize) -> &[T; LANES] {
    parameters[group..].first_chunk().expect("as many follow the last group")
}
