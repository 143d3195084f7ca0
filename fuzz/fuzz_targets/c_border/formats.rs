//! Block formats and FP8.

use core::ptr::null;

use arbitrary::Arbitrary;
use zeropoint_capi::*;
use zeropoint_fuzz::c::{ViewInput, number};

use crate::arguments::{Array, Granularity, HandleInput, Out, Rounding, small, tensor_format, truth};
use crate::caller::{Caller, pick};

#[derive(Arbitrary, Debug)]
pub enum Call {
    EncodeBlocks(u8, u32, ViewInput, Rounding, Out),
    DecodeBlocks(u8, u32, ViewInput, Out),
    NvFp4(ViewInput),
    Fp8New(u8, u8, Granularity, Array),
    Fp8Fit(u8, u8, Granularity, ViewInput),
    Fp8Encode(ViewInput, HandleInput, Rounding, Out),
    Fp8Decode(ViewInput, HandleInput, Out),
}

pub fn call(caller: &mut Caller, call: &Call) {
    let (d, exec) = (caller.dimensions, caller.exec);
    let exec = &raw const exec;
    match *call {
        Call::EncodeBlocks(format, scale, x, rounding, out) => {
            let x = x.view(&d);
            let (to, out) = caller.out(out, &x);
            call!(caller, zp_encode_blocks(exec, tensor_format(format, scale), x.read(), rounding.c(), to), x, out);
            let (mut elements, mut bytes) = (0, 0);
            let format = tensor_format(format, scale).format;
            call!(caller, zp_format_block(format, &raw mut elements, &raw mut bytes));
        }
        Call::DecodeBlocks(format, scale, bytes, out) => {
            let bytes = bytes.view(&d);
            let (to, out) = caller.out(out, &bytes);
            call!(caller, zp_decode_blocks(exec, tensor_format(format, scale), bytes.read(), to), bytes, out);
        }
        Call::NvFp4(x) => {
            let (x, mut scale) = (x.view(&d), 0.0);
            call!(caller, zp_nvfp4_fit(exec, x.read(), &raw mut scale));
        }
        Call::Fp8New(format, saturates, granularity, scales) => {
            let scales = scales.floats(&d);
            let (format, pointer) = (number(small(format, 1) + 1), scales.pointer.cast());
            let (saturates, granularity) = (truth(saturates), granularity.c(&d));
            make!(caller, fp8, zp_fp8_params_new(format, saturates, granularity, pointer, scales.count));
            drop(scales.memory);
        }
        Call::Fp8Fit(format, saturates, granularity, x) => {
            let (x, format) = (x.view(&d), number(small(format, 1) + 1));
            let (saturates, granularity) = (truth(saturates), granularity.c(&d));
            make!(caller, fp8, zp_fp8_params_fit(exec, x.read(), format, saturates, granularity));
        }
        Call::Fp8Encode(x, params, rounding, out) => {
            let x = x.view(&d);
            let (to, out) = caller.out(out, &x);
            let params = pick(&caller.made.fp8, params, caller.other());
            call!(caller, zp_fp8_encode(exec, x.read(), params, rounding.c(), to), x, out);
        }
        Call::Fp8Decode(codes, params, out) => {
            let codes = codes.view(&d);
            let (to, out) = caller.out(out, &codes);
            let params = pick(&caller.made.fp8, params, caller.other());
            call!(caller, zp_fp8_decode(exec, codes.read(), params, to), codes, out);
            let (mut scales, mut count) = (null(), 0);
            call!(caller, zp_fp8_params_scales(params, &raw mut scales, &raw mut count));
        }
    }
}
