//! After packing, no call allocates inside a workspace that is large enough: products of both kinds, and elementwise operations.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use zeropoint_capi::*;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROWS: usize = 20;
const OUTPUTS: usize = 50;
const DEPTH: usize = 64;

const EXEC: zp_exec = zp_exec { isa: MaybeUninit::new(zp_isa::Best), threads: null() };
const NONE: zp_view = zp_view { r#type: MaybeUninit::new(zp_type::F32), data: null(), rows: 0, columns: 0, stride: 0 };
const NEAREST: zp_rounding = zp_rounding { kind: MaybeUninit::new(zp_rounding_kind::Nearest), seed: 0, offset: 0 };

fn view<T>(kind: zp_type, data: &[T], rows: usize) -> zp_view {
    let columns = data.len() / rows;
    zp_view { r#type: MaybeUninit::new(kind), data: data.as_ptr().cast(), rows, columns, stride: 0 }
}

fn view_mut<T>(kind: zp_type, data: &mut [T], rows: usize) -> zp_view_mut {
    let columns = data.len() / rows;
    zp_view_mut { r#type: MaybeUninit::new(kind), data: data.as_mut_ptr().cast(), rows, columns, stride: 0 }
}

/// A call that may not fail.
fn ok(call: impl FnOnce(*mut zp_message) -> zp_error) {
    let mut message = zp_message { text: [0; 256] };
    let error = call(&raw mut message);
    assert!(error == zp_error::None, "{error:?}: {:?}", message.text.map(i8::cast_unsigned).escape_ascii().to_string());
}

/// Handles, and operands.
struct Model {
    params: *mut zp_params,
    weights: *mut zp_weights,
    groups: *mut zp_group_weights,
    stage: *mut zp_group_stage,
    x: Vec<f32>,
    codes: Vec<u8>,
    real: Vec<f32>,
    y: Vec<f32>,
    y_codes: Vec<u8>,
}

unsafe extern "C" fn operations(context: *mut c_void) {
    // SAFETY: the model that the scope was called with.
    let model = unsafe { &mut *context.cast::<Model>() };
    let Model { params, weights, groups, stage, x, codes, real, y, y_codes } = model;
    let (params, weights, groups, stage) = (params.cast_const(), weights.cast_const(), groups.cast_const(), *stage);
    let x = || view(zp_type::F32, x, ROWS);
    // SAFETY: views of vectors, handles that were made and not freed.
    unsafe {
        ok(|m| zp_quantize(&EXEC, x(), params, NEAREST, view_mut(zp_type::U8, codes, ROWS), m));
        ok(|m| zp_dequantize(&EXEC, view(zp_type::U8, codes, ROWS), params, view_mut(zp_type::F32, real, ROWS), m));
        let codes = view(zp_type::U8, codes, ROWS);
        ok(|m| zp_matmul(&EXEC, codes, params, weights, zp_stage_dequantize(), view_mut(zp_type::F32, y, ROWS), m));
        let offset = MaybeUninit::new(zp_offset::Integer);
        let activations = zp_group_activations { x: x(), params: null(), offset, length: 0 };
        ok(|m| zp_group_matmul(&EXEC, &activations, groups, stage, null(), view_mut(zp_type::F32, y, ROWS), m));
        ok(|m| zp_group_matmul(&EXEC, &activations, groups, stage, params, view_mut(zp_type::U8, y_codes, ROWS), m));
    }
}

#[test]
fn no_call_allocates() {
    let weights: Vec<i8> = (0..OUTPUTS * DEPTH).map(|i| (i * 37 % 15) as i8 - 7).collect();
    let (scales, bias) = (vec![0.01_f32; OUTPUTS * DEPTH / 32], vec![1.0_f32; OUTPUTS]);
    let mut model = Model {
        params: null_mut(),
        weights: null_mut(),
        groups: null_mut(),
        stage: null_mut(),
        x: (0..ROWS * DEPTH).map(|i| (i as f32 * 0.37).sin()).collect(),
        codes: vec![0; ROWS * DEPTH],
        real: vec![0.0; ROWS * DEPTH],
        y: vec![0.0; ROWS * OUTPUTS],
        y_codes: vec![0; ROWS * OUTPUTS],
    };
    let codes = |kind, min, max| zp_codes { r#type: MaybeUninit::new(kind), min, max };
    let tensor = zp_granularity { kind: MaybeUninit::new(zp_granularity_kind::Tensor), axis: 0, inner: 0, block: 0 };
    let rows = || view(zp_type::I8, &weights, OUTPUTS);
    let (scale, zero_points) = (0.01, [128, 0]);
    let parts = zp_group_parts {
        codes: rows(),
        range: codes(zp_type::I8, -8, 7),
        order: MaybeUninit::new(zp_order::Rows),
        length: 32,
        scales: view(zp_type::F32, &scales, OUTPUTS),
        zero_points: NONE,
        offsets: NONE,
    };
    let mut w_params = null_mut();
    let (mut unknown, mut workspace) = (null_mut(), null_mut());
    let mut needed = 0;
    // SAFETY: views of vectors, handles that were made and not freed, a function with the context that it casts.
    unsafe {
        ok(|m| zp_params_new(codes(zp_type::U8, 0, 255), tensor, &scale, &zero_points[0], 1, &mut model.params, m));
        ok(|m| zp_params_new(codes(zp_type::I8, -8, 7), tensor, &scale, &zero_points[1], 1, &mut w_params, m));
        let order = MaybeUninit::new(zp_order::Rows);
        let u8 = MaybeUninit::new(zp_type::U8);
        ok(|m| zp_weights_pack(&EXEC, u8, rows(), w_params, order, null(), &mut model.weights, m));
        ok(|m| zp_group_weights_pack_parts(&EXEC, &parts, &mut model.groups, m));
        ok(|m| zp_group_stage_new(bias.as_ptr(), OUTPUTS, 0.0, f32::INFINITY, &mut model.stage, m));

        let context = (&raw mut model).cast();
        ok(|m| zp_workspace_new(null_mut(), 0, &mut unknown, m));
        ok(|m| zp_workspace_scope(unknown, Some(operations), context, m));
        ok(|m| zp_workspace_needed(unknown, &mut needed, m));
        assert!(needed > 0);
        ok(|m| zp_workspace_new(null_mut(), needed, &mut workspace, m));
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        ok(|m| zp_workspace_scope(workspace, Some(operations), context, m));
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);

        ok(|m| zp_workspace_free(workspace, m));
        ok(|m| zp_workspace_free(unknown, m));
        ok(|m| zp_group_stage_free(model.stage, m));
        ok(|m| zp_group_weights_free(model.groups, m));
        ok(|m| zp_weights_free(model.weights, m));
        ok(|m| zp_params_free(w_params, m));
        ok(|m| zp_params_free(model.params, m));
    }
    assert!(model.y.iter().any(|&y| y != 0.0) && model.y_codes.iter().any(|&code| code != 0));
}
