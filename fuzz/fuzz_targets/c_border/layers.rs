//! Packed weights, output stages, products, convolutions and pools.

use core::ptr::null;

use arbitrary::Arbitrary;
use zeropoint_capi::*;
use zeropoint_fuzz::c::{Count, ViewInput, number};

use crate::arguments::{Array, Codes, HandleInput, Out, Shape, Window, small, truth};
use crate::caller::{Caller, pick};

#[derive(Arbitrary, Debug)]
pub enum Call {
    WeightsPack(u8, ViewInput, HandleInput, u8, Option<(Array, HandleInput)>),
    WeightsGet(HandleInput),
    Stage(HandleInput, HandleInput, HandleInput, u8, [u8; 3], bool),
    StageMultipliers(u8, Array, i32, Codes),
    StageDequantize(Array),
    StageStochastic(HandleInput, u64, u64),
    Matmul(ViewInput, HandleInput, HandleInput, HandleInput, Out),
    ConvNew(u8, ViewInput, Shape, HandleInput, Window, Count, Option<(Array, HandleInput)>),
    ConvForward(HandleInput, ViewInput, Shape, HandleInput, HandleInput, Out),
    MaxPool(Window, ViewInput, Shape, Out),
    AveragePool(Option<Window>, u8, ViewInput, Shape, HandleInput, Out),
}

pub fn call(caller: &mut Caller, call: &Call) {
    let (d, exec) = (caller.dimensions, caller.exec);
    let exec = &raw const exec;
    match *call {
        Call::WeightsPack(activations, codes, which, order, bias) => {
            let codes = codes.view(&d);
            let (activations, order) = (number(small(activations, 1) + 1), number(small(order, 1)));
            let params = caller.params(which);
            let bias = bias.map(|(bias, x)| (bias.floats(&d), caller.params(x)));
            let of_bias =
                bias.as_ref().map(|(bias, x)| zp_bias { values: bias.pointer.cast(), count: bias.count, x: *x });
            let of_bias = of_bias.as_ref().map_or(null(), |bias| &raw const *bias);
            make!(caller, weights, zp_weights_pack(exec, activations, codes.read(), params, order, of_bias));
        }
        Call::WeightsGet(which) => {
            let (mut depth, mut outputs) = (0, 0);
            let weights = pick(&caller.made.weights, which, caller.other());
            call!(caller, zp_weights_get(weights, &raw mut depth, &raw mut outputs));
        }
        Call::Stage(weights, x, y, rule, [kind, min, max], conv) => {
            let activation =
                zp_activation { kind: number(small(kind, 2)), min: i32::from(min) - 20, max: i32::from(max) };
            let (x, y, rule) = (caller.params(x), caller.params(y), number(small(rule, 5)));
            if conv {
                let conv = pick(&caller.made.convs, weights, caller.other());
                make!(caller, stages, zp_stage_requantize_conv2d_new(conv, x, y, rule, activation));
            } else {
                let weights = pick(&caller.made.weights, weights, caller.other());
                make!(caller, stages, zp_stage_requantize_new(weights, x, y, rule, activation));
            }
        }
        Call::StageMultipliers(rule, multipliers, zero_point, codes) => {
            let (multipliers, rule) = (multipliers.doubles(&d), number(small(rule, 5)));
            let (pointer, count) = (multipliers.pointer.cast(), multipliers.count);
            make!(caller, stages, zp_stage_multipliers_new(rule, pointer, count, zero_point, codes.c()));
            drop(multipliers.memory);
        }
        Call::StageDequantize(bias) => {
            let bias = bias.floats(&d);
            make!(caller, stages, zp_stage_dequantize_new(bias.pointer.cast(), bias.count));
            drop(bias.memory);
        }
        Call::StageStochastic(which, seed, offset) => {
            make!(caller, stages, zp_stage_stochastic_new(caller.stage(which), seed, offset));
        }
        Call::Matmul(x, params, weights, stage, out) => {
            let x = x.view(&d);
            let (to, out) = caller.out(out, &x);
            let weights = pick(&caller.made.weights, weights, caller.other());
            call!(caller, zp_matmul(exec, x.read(), caller.params(params), weights, caller.stage(stage), to), x, out);
        }
        Call::ConvNew(images, weights, shape, params, window, groups, bias) => {
            let weights = weights.view(&d);
            let (images, params) = (number(small(images, 1) + 1), caller.params(params));
            let bias = bias.map(|(bias, x)| (bias.floats(&d), caller.params(x)));
            let of_bias =
                bias.as_ref().map(|(bias, x)| zp_bias { values: bias.pointer.cast(), count: bias.count, x: *x });
            let of_bias = of_bias.as_ref().map_or(null(), |bias| &raw const *bias);
            let (shape, window, groups) = (shape.c(&d), window.c(), groups.of(&d));
            make!(caller, convs, zp_conv2d_new(exec, images, weights.read(), shape, params, window, groups, of_bias));
        }
        Call::ConvForward(conv, images, shape, params, stage, out) => {
            let conv = pick(&caller.made.convs, conv, caller.other());
            let (images, mut output) = (images.view(&d), zp_shape { axes: [0; 4] });
            let shape = shape.c(&d);
            call!(caller, zp_conv2d_output_shape(conv, shape, &raw mut output));
            let (to, out) = caller.out(out, &images);
            let (params, stage) = (caller.params(params), caller.stage(stage));
            call!(caller, zp_conv2d_forward(exec, conv, images.read(), shape, params, stage, to), images, out);
        }
        Call::MaxPool(window, images, shape, out) => {
            let (images, mut output) = (images.view(&d), zp_shape { axes: [0; 4] });
            let (window, shape) = (window.c(), shape.c(&d));
            call!(caller, zp_max_pool2d_output_shape(window, shape, &raw mut output));
            let (to, out) = caller.out(out, &images);
            call!(caller, zp_max_pool2d(exec, window, images.read(), shape, to), images, out);
        }
        Call::AveragePool(window, counts, images, shape, params, out) => {
            let (images, mut output) = (images.view(&d), zp_shape { axes: [0; 4] });
            let (window, shape, counts) = (window.map(Window::c), shape.c(&d), truth(counts));
            let window = window.as_ref().map_or(null(), |window| &raw const *window);
            call!(caller, zp_average_pool2d_output_shape(window, counts, shape, &raw mut output));
            let (to, out) = caller.out(out, &images);
            let params = caller.params(params);
            call!(caller, zp_average_pool2d(exec, window, counts, images.read(), shape, params, to), images, out);
        }
    }
}
