//! Parameters, operations on elements, random words, ranges and error reports.

use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};

use arbitrary::Arbitrary;
use zeropoint_capi::*;
use zeropoint_fuzz::c::{Count, ViewInput};

use crate::arguments::{Array, Codes, Granularity, HandleInput, Out, Rounding, Shape, scheme};
use crate::caller::Caller;

#[derive(Arbitrary, Debug)]
pub enum Call {
    ParamsFit(ViewInput, Codes, [u8; 3], Granularity),
    ParamsNew(Codes, Granularity, Array, Array),
    ParamsFromRanges(Codes, [u8; 3], Granularity, Array, bool),
    ParamsWithGranularity(HandleInput, Granularity),
    ParamsGet(HandleInput),
    Quantize(ViewInput, HandleInput, Rounding, Out),
    Dequantize(ViewInput, HandleInput, Out),
    FakeQuantize(ViewInput, HandleInput, Rounding, Out, Out),
    StraightThrough(ViewInput, ViewInput, HandleInput, Out),
    PackCodes(ViewInput, i32, Out),
    UnpackCodes(ViewInput, Out),
    Random(u64, u64, Array, bool),
    Errors(ViewInput, HandleInput, Option<ViewInput>),
    Ranges(ViewInput, Granularity, Array),
    MakeGranularity(Shape, u8, u8, Count, bool),
}

pub fn call(caller: &mut Caller, call: &Call) {
    let (d, exec) = (caller.dimensions, caller.exec);
    let exec = &raw const exec;
    match *call {
        Call::ParamsFit(x, codes, s, granularity) => {
            let x = x.view(&d);
            make!(caller, params, zp_params_fit(exec, x.read(), codes.c(), scheme(s), granularity.c(&d)));
        }
        Call::ParamsNew(codes, granularity, scales, points) => {
            let (scales, points) = (scales.floats(&d), points.integers(&d));
            let count = scales.count;
            // The function takes one count of both arrays: with fewer zero points, the caller would break its contract.
            if points.count >= count || points.pointer.is_null() || count > 1 << 40 {
                let (scales, points) = (scales.pointer.cast(), points.pointer.cast());
                make!(caller, params, zp_params_new(codes.c(), granularity.c(&d), scales, points, count));
            }
        }
        Call::ParamsFromRanges(codes, s, granularity, ranges, onnx) => {
            let ranges = ranges.of(&d, |word| {
                let (min, max) = ((word % 100) as f32 * -0.1, (word >> 8 & 127) as f32 * 0.1);
                let mut bytes = [0; 8];
                bytes[..4].copy_from_slice(&min.to_ne_bytes());
                bytes[4..].copy_from_slice(&max.to_ne_bytes());
                if word >> 60 == 0 { word.to_ne_bytes() } else { bytes }
            });
            let (pointer, count) = (ranges.pointer.cast(), ranges.count);
            let (codes, granularity) = (codes.c(), granularity.c(&d));
            if onnx {
                make!(caller, params, zp_params_as_onnx(codes, granularity, pointer, count));
            } else {
                make!(caller, params, zp_params_from_ranges(codes, scheme(s), granularity, pointer, count));
            }
            drop(ranges.memory);
        }
        Call::ParamsWithGranularity(which, granularity) => {
            make!(caller, params, zp_params_with_granularity(caller.params(which), granularity.c(&d)));
        }
        Call::ParamsGet(which) => {
            let (mut scales, mut points, mut count) = (null(), null(), 0);
            let wanted = which.0 % 2 == 0;
            let points_out = if wanted { &raw mut points } else { null_mut() };
            let params = caller.params(which);
            if call!(caller, zp_params_get(params, null_mut(), null_mut(), &raw mut scales, points_out, &raw mut count))
            {
                // SAFETY: as many scales are borrowed from the handle.
                let sum: f32 = unsafe { core::slice::from_raw_parts(scales, count) }.iter().sum();
                assert!(sum > 0.0 || count == 0);
            }
        }
        Call::Quantize(x, which, rounding, out) => {
            let x = x.view(&d);
            let (to, out) = caller.out(out, &x);
            call!(caller, zp_quantize(exec, x.read(), caller.params(which), rounding.c(), to), x, out);
        }
        Call::Dequantize(x, which, out) => {
            let x = x.view(&d);
            let (to, out) = caller.out(out, &x);
            call!(caller, zp_dequantize(exec, x.read(), caller.params(which), to), x, out);
        }
        Call::FakeQuantize(x, which, rounding, out, mask) => {
            let x = x.view(&d);
            let ((to, out), (to_mask, mask)) = (caller.out(out, &x), caller.out(mask, &x));
            call!(
                caller,
                zp_fake_quantize(exec, x.read(), caller.params(which), rounding.c(), to, to_mask),
                x,
                out,
                mask
            );
        }
        Call::StraightThrough(x, gradient, which, out) => {
            let (x, gradient) = (x.view(&d), gradient.view(&d));
            let (to, out) = caller.out(out, &x);
            call!(
                caller,
                zp_straight_through(exec, x.read(), gradient.read(), caller.params(which), to),
                x,
                gradient,
                out
            );
        }
        Call::PackCodes(codes, pad, out) => {
            let codes = codes.view(&d);
            let (to, out) = caller.out(out, &codes);
            call!(caller, zp_pack_codes(exec, codes.read(), pad, to), codes, out);
        }
        Call::UnpackCodes(codes, out) => {
            let codes = codes.view(&d);
            let (to, out) = caller.out(out, &codes);
            call!(caller, zp_unpack_codes(exec, codes.read(), to), codes, out);
        }
        Call::Random(seed, offset, array, uniform) => {
            let array = array.integers(&d);
            if uniform {
                call!(caller, zp_random_uniform(exec, seed, offset, array.pointer.cast(), array.count));
            } else {
                call!(caller, zp_random_words(exec, seed, offset, array.pointer.cast(), array.count));
            }
            drop(array.memory);
        }
        Call::Errors(x, which, other) => {
            let x = x.view(&d);
            let mut report = MaybeUninit::uninit();
            match other {
                None => call!(caller, zp_quantization_error(exec, x.read(), caller.params(which), report.as_mut_ptr())),
                Some(other) => {
                    let other = other.view(&d);
                    call!(caller, zp_reconstruction_error(exec, x.read(), other.read(), report.as_mut_ptr()))
                }
            };
        }
        Call::Ranges(x, granularity, ranges) => {
            let (x, ranges) = (x.view(&d), ranges.of(&d, u64::to_ne_bytes));
            call!(caller, zp_ranges(exec, x.read(), granularity.c(&d), ranges.pointer.cast(), ranges.count));
            drop(ranges.memory);
        }
        Call::MakeGranularity(shape, axes, axis, length, block) => {
            let shape = shape.c(&d).axes;
            let (axes, mut granularity) = (usize::from(axes % 5), MaybeUninit::uninit());
            let (shape, out) = (if axes == 4 { null() } else { shape.as_ptr() }, granularity.as_mut_ptr());
            if block {
                call!(caller, zp_granularity_block(shape, axes, axis.into(), length.of(&d), out));
            } else {
                call!(caller, zp_granularity_channel(shape, axes, axis.into(), out));
            }
        }
    }
}
