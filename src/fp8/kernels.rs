//! Encoding and decoding as elementwise operations: their formulas for a vector, and their operands.

use super::format::Layout;
use super::params::Fp8Params;
use crate::error::Error;
use crate::kernel::Vectors;
use crate::memory::Scratch;
use crate::quantize::kernels::past_caches;
use crate::quantize::operands::{At, Context, Divide, Operands, RoundingMode, Rows, RowsMut, Shape};
use crate::quantize::ops::{Operation, Quad, Round, ToNearest};
use crate::quantize::rows::{RealRows, RealRowsMut};
use crate::quantize::vec_params::{QuadParams, VecParams};
use crate::simd::QUAD;
use crate::simd::walk::Block;
use crate::views::{View, ViewMut, Width};

/// Bits of the mantissa of an f32, and what is added to its exponent.
const F32: (i32, i32) = (23, 127);

/// From reals to codes.
#[derive(Clone, Copy)]
struct Encode {
    layout: Layout,
    /// Larger magnitudes become this one.
    limit: f32,
}

impl Encode {
    fn new(params: &Fp8Params) -> Self {
        let layout = params.format().layout();
        Encode { layout, limit: if params.saturates() { params.format().max() } else { layout.beyond } }
    }

    /// The codes of quotients within the limits.
    #[inline(always)]
    fn code<V: Vectors>(self, v: V, clamped: V::F32, round: impl Round<V>) -> V::I32 {
        let Layout { mantissa_bits, bias, .. } = self.layout;
        let (f32_mantissa, f32_bias) = F32;
        let bits = v.to_bits(clamped);
        // The exponent of the code where an f32 has it, biased as there: at least the smallest of normal codes.
        let smallest = (f32_bias + 1 - bias) << f32_mantissa;
        let exponent = v.max_i32(v.and_i32(bits, v.splat_i32(0x7f80_0000)), v.splat_i32(smallest));
        // 2^(m − e): exact, and so is the product with it.
        let per_unit = v.sub_i32(v.splat_i32((2 * f32_bias + mantissa_bits) << f32_mantissa), exponent);
        let q = round.round(v, v.mul_f32(clamped, v.of_bits(per_unit)));
        // The leading bit of a normal mantissa adds 1 to the exponent field, which is that of subnormal codes without it; a
        // mantissa that was rounded up to the next power of two carries into the field, too.
        let shift = f32_mantissa - mantissa_bits;
        let field = v.sub_i32(v.shift_right(exponent, v.splat_i32(shift)), v.splat_i32(smallest >> shift));
        // −q is !q + 1, and the sign bit is 0x80.
        let negative = v.shift_right(bits, v.splat_i32(31));
        let rest = v.add_i32(field, v.and_i32(negative, v.splat_i32(0x81)));
        v.add_i32(v.xor_i32(q, negative), rest)
    }

    /// The least and the largest quotient.
    #[inline(always)]
    fn limits<V: Vectors>(self, v: V) -> (V::F32, V::F32) {
        (v.splat_f32(-self.limit), v.splat_f32(self.limit))
    }
}

impl Operation for Encode {
    type In = f32;
    type Out = u8;
    const HAS_QUAD: bool = true;
    const FEW_KERNELS: bool = true;

    #[inline(always)]
    fn vector<V: Vectors>(self, v: V, params: &VecParams<V>, round: impl Round<V>, block: Block<'_, f32, u8>) {
        let quotients = params.quotient(v, v.load_f32(block.x));
        let (min, max) = self.limits(v);
        let code = self.code(v, v.clamp_f32(quotients, min, max), round);
        v.store_u8(v.select_i32(v.is_nan(quotients), v.splat_i32(self.layout.nan), code), block.out);
    }

    /// With reciprocals in two parts: their products round to the same integers as quotients do, and so to the same codes,
    /// which are integers of at most five bits at a scale that is S times a power of two. (Below the smallest code a
    /// product may be subnormal: its code is 0 with the sign of x, as it is.)
    #[inline(always)]
    fn quad<V: Vectors>(self, v: V, params: &QuadParams<V>, quad: Quad<'_, f32, u8>, invalid: V::I32) -> V::I32 {
        let quotients = params.quotients(v, quad.x);
        let (min, max) = self.limits(v);
        for j in 0..QUAD {
            let clamped = v.min_f32(v.max_f32(quotients[j], min), max);
            v.store_u8(self.code(v, clamped, ToNearest), &mut quad.out[j]);
        }
        v.mark_nan(quotients, invalid)
    }
}

/// From codes to reals.
#[derive(Clone, Copy)]
struct Decode {
    layout: Layout,
}

impl Operation for Decode {
    type In = u8;
    type Out = f32;
    const FEW_KERNELS: bool = true;

    #[inline(always)]
    fn vector<V: Vectors>(self, v: V, params: &VecParams<V>, _: impl Round<V>, block: Block<'_, u8, f32>) {
        let Layout { mantissa_bits, bias, largest, infinity, .. } = self.layout;
        let (f32_mantissa, f32_bias) = F32;
        let shift = f32_mantissa - mantissa_bits;
        // Exponent and mantissa where an f32 has them, the exponent biased as in the code.
        let bits = v.shift_left::<24>(v.load_u8(block.x));
        let sign = v.and_i32(bits, v.splat_i32(i32::MIN));
        let magnitude = v.shift_right_logical(v.xor_i32(bits, sign), v.splat_i32(24 - shift));
        let normal = v.of_bits(v.add_i32(magnitude, v.splat_i32((f32_bias - bias) << f32_mantissa)));
        // A subnormal: its mantissa behind a leading 1, which is taken away.
        let leading = v.splat_i32((f32_bias + 1 - bias) << f32_mantissa);
        let subnormal = v.sub_f32(v.of_bits(v.add_i32(magnitude, leading)), v.of_bits(leading));
        let is_subnormal = v.less_i32(magnitude, v.splat_i32(1 << f32_mantissa));
        let finite = v.select_f32(is_subnormal, subnormal, normal);
        let above = |code: i32| v.less_i32(v.splat_i32(code << shift), magnitude);
        let value = v.select_f32(above(largest), v.splat_f32(f32::INFINITY), finite);
        let real = params.scaled(v, v.of_bits(v.xor_i32(v.to_bits(value), sign)));
        v.store_f32(v.select_f32(above(infinity), v.splat_f32(f32::NAN), real), block.out);
    }
}

/// The operands of [`encode`](super::encode).
pub(super) struct EncodeRows<'a> {
    op: Encode,
    x: RealRows<'a>,
    codes: RowsMut<'a, u8>,
}

impl<'a> EncodeRows<'a> {
    pub fn new(shape: Shape, x: View<'a, f32>, params: &Fp8Params, codes: ViewMut<'a, u8>) -> Result<Self, Error> {
        if let ViewMut::Packed(packed) = &codes {
            return Err(too_narrow(packed.packing.width));
        }
        Ok(EncodeRows { op: Encode::new(params), x: shape.reals(x), codes: shape.rows_mut(codes) })
    }
}

/// The error of codes that have fewer than eight bits.
fn too_narrow(width: Width) -> Error {
    Error::Codes { min: 0, max: 255, why: width.why() }
}

impl Divide for EncodeRows<'_> {
    fn divide(self, at: At) -> (Self, Self) {
        let EncodeRows { op, x, codes } = self;
        let ((x, x_rest), (codes, codes_rest)) = (x.divide(at), codes.divide(at));
        (EncodeRows { op, x, codes }, EncodeRows { op, x: x_rest, codes: codes_rest })
    }
}

impl Operands for EncodeRows<'_> {
    fn halves(&self) -> bool {
        self.x.are_halves()
    }

    fn run_halves<R: RoundingMode>(self, context: Context<'_, R>, first: usize, columns: usize) {
        let mut workspace = Scratch::default();
        let x = self.x.widened(context.isa, columns, &mut workspace);
        EncodeRows { x, ..self }.run(context, first, columns);
    }

    fn streams(&self, columns: usize) -> bool {
        past_caches(columns.saturating_mul(5))
    }

    fn run<R: RoundingMode>(&mut self, context: Context<'_, R>, first: usize, columns: usize) {
        let (x, codes) = (self.x.f32(columns), &mut self.codes.data[..columns]);
        context.rounding.run(context.isa, &mut context.piece(self.op, first, x, codes));
    }
}

/// The operands of [`decode`](super::decode).
pub(super) struct DecodeRows<'a> {
    op: Decode,
    codes: Rows<'a, u8>,
    out: RealRowsMut<'a>,
}

impl<'a> DecodeRows<'a> {
    pub fn new(shape: Shape, codes: View<'a, u8>, params: &Fp8Params, out: ViewMut<'a, f32>) -> Result<Self, Error> {
        if let View::Packed(packed) = &codes {
            return Err(too_narrow(packed.packing.width));
        }
        let op = Decode { layout: params.format().layout() };
        Ok(DecodeRows { op, codes: shape.rows(codes), out: shape.reals_mut(out) })
    }
}

impl Divide for DecodeRows<'_> {
    fn divide(self, at: At) -> (Self, Self) {
        let DecodeRows { op, codes, out } = self;
        let ((codes, codes_rest), (out, out_rest)) = (codes.divide(at), out.divide(at));
        (DecodeRows { op, codes, out }, DecodeRows { op, codes: codes_rest, out: out_rest })
    }
}

impl Operands for DecodeRows<'_> {
    fn halves(&self) -> bool {
        self.out.are_halves()
    }

    fn run_halves<R: RoundingMode>(self, context: Context<'_, R>, first: usize, columns: usize) {
        let DecodeRows { op, codes, out } = self;
        out.narrowed(context.isa, columns, |out| {
            DecodeRows { op, codes, out: RealRowsMut::row(out) }.run(context, first, columns);
        });
    }

    fn streams(&self, columns: usize) -> bool {
        past_caches(columns.saturating_mul(5))
    }

    fn run<R: RoundingMode>(&mut self, context: Context<'_, R>, first: usize, columns: usize) {
        let (codes, out) = (&self.codes.data[..columns], self.out.f32(columns));
        context.piece(self.op, first, codes, out).nearest(context.isa);
    }
}
