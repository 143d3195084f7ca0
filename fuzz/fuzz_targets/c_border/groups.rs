//! Weights in groups, and those of other programs.

use core::ptr::null_mut;

use arbitrary::Arbitrary;
use zeropoint_capi::*;
use zeropoint_fuzz::c::{Count, ViewInput, number};

use crate::arguments::{Array, Codes, HandleInput, Out, small, tensor_format, truth};
use crate::caller::{Caller, pick};

#[derive(Arbitrary, Debug)]
pub enum Call {
    StoredQuantize(ViewInput, u8, Count, [u8; 3]),
    StoredFormat(u8, u32, ViewInput, [Count; 2]),
    StoredNBits(u8, Count, [ViewInput; 3], [Count; 2]),
    StoredGptq(Count, [ViewInput; 4], [Count; 2], bool),
    StoredValues(HandleInput, Out),
    GroupPack(HandleInput),
    GroupParts([ViewInput; 4], Codes, u8, Count),
    GroupGet(HandleInput),
    GroupStage(Array, f32, f32),
    GroupMatmul(ViewInput, HandleInput, u8, Count, HandleInput, HandleInput, HandleInput, Out),
}

pub fn call(caller: &mut Caller, call: &Call) {
    let (d, exec) = (caller.dimensions, caller.exec);
    let exec = &raw const exec;
    match *call {
        Call::StoredQuantize(weights, bits, length, [points, least, halves]) => {
            let weights = weights.view(&d);
            let scheme = zp_group_scheme {
                bits: small(bits, 9),
                length: length.of(&d),
                has_zero_points: truth(points),
                least_error: truth(least),
                f16_scales: truth(halves),
            };
            make!(caller, stored, zp_stored_weights_quantize(exec, weights.read(), scheme));
        }
        Call::StoredFormat(format, scale, bytes, [outputs, depth]) => {
            let (bytes, format) = (bytes.view(&d), tensor_format(format, scale));
            let [outputs, depth] = [outputs.of(&d), depth.of(&d)];
            make!(caller, stored, zp_stored_weights_from_format(exec, format, bytes.read(), outputs, depth));
        }
        Call::StoredNBits(bits, length, views, [outputs, depth]) => {
            let [codes, scales, points] = views.map(|view| view.view(&d));
            let (bits, length) = ([4, 2, 8, 5][usize::from(bits % 4)], length.of(&d));
            let (codes, scales, points) = (codes.read(), scales.read(), points.read());
            let [outputs, depth] = [outputs.of(&d), depth.of(&d)];
            make!(caller, stored, zp_stored_weights_matmul_nbits(bits, length, codes, scales, points, outputs, depth));
        }
        Call::StoredGptq(length, views, [outputs, depth], awq) => {
            let [codes, points, scales, order] = views.map(|view| view.view(&d));
            let (length, outputs, depth) = (length.of(&d), outputs.of(&d), depth.of(&d));
            let (codes, points, scales, order) = (codes.read(), points.read(), scales.read(), order.read());
            if awq {
                make!(caller, stored, zp_stored_weights_awq(length, codes, points, scales, outputs, depth));
            } else {
                make!(caller, stored, zp_stored_weights_gptq(length, codes, points, scales, order, outputs, depth));
            }
        }
        Call::StoredValues(stored, out) => {
            let out = out.view.view(&d);
            let stored = pick(&caller.made.stored, stored, caller.other());
            call!(caller, zp_stored_weights_values(stored, out.write()), out);
        }
        Call::GroupPack(stored) => {
            let stored = pick(&caller.made.stored, stored, caller.other());
            make!(caller, groups, zp_group_weights_pack(exec, stored));
        }
        Call::GroupParts(views, codes, order, length) => {
            let views = views.map(|view| view.view(&d));
            let [of_codes, scales, zero_points, offsets] = [0, 1, 2, 3].map(|i| views[i].read());
            let (order, length) = (number(small(order, 1)), length.of(&d));
            let parts =
                zp_group_parts { codes: of_codes, range: codes.c(), order, length, scales, zero_points, offsets };
            make!(caller, groups, zp_group_weights_pack_parts(exec, &raw const parts));
        }
        Call::GroupGet(which) => {
            let (mut depth, mut outputs) = (0, 0);
            let weights = pick(&caller.made.groups, which, caller.other());
            call!(caller, zp_group_weights_get(weights, &raw mut depth, &raw mut outputs, null_mut()));
        }
        Call::GroupStage(bias, min, max) => {
            let bias = bias.floats(&d);
            make!(caller, group_stages, zp_group_stage_new(bias.pointer.cast(), bias.count, min, max));
            drop(bias.memory);
        }
        Call::GroupMatmul(x, params, offset, length, weights, stage, y, out) => {
            let x = x.view(&d);
            let (to, out) = caller.out(out, &x);
            let activations = zp_group_activations {
                x: x.read(),
                params: caller.params(params),
                offset: number(small(offset, 2)),
                length: length.of(&d),
            };
            let weights = pick(&caller.made.groups, weights, caller.other());
            let (stage, y) = (pick(&caller.made.group_stages, stage, caller.other()), caller.params(y));
            call!(caller, zp_group_matmul(exec, &raw const activations, weights, stage, y, to), x, out);
        }
    }
}
