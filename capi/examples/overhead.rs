//! What a call through C costs: `zp_matmul` beside `matmul` of the crate, on the same operands, in turns. With a path, that of the
//! shared library; without one, that which is linked into this program, and runs the same kernels as the crate's.
//!
//! `cargo build --release -p zeropoint-capi && cargo run --release -p zeropoint-capi --example overhead -- target/release/libzeropoint_capi.so`

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::{MaybeUninit, transmute_copy};
use core::ptr::{null, null_mut};
use std::ffi::CString;
use std::hint::black_box;
use std::time::{Duration, Instant};

use zeropoint::{CodeRange, Dequantize, Exec, Matrix, MatrixMut, PackedMatrix, QuantParams, Quantized, matmul};
use zeropoint_capi::*;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The shared library, or this program.
struct Library(Option<*mut c_void>);

impl Library {
    fn open(path: Option<String>) -> Self {
        let Some(path) = path else { return Library(None) };
        let path = CString::new(path).expect("a path");
        // SAFETY: a text that ends with zero; 2 is RTLD_NOW.
        let library = unsafe { dlopen(path.as_ptr(), 2) };
        assert!(!library.is_null(), "{path:?} cannot be opened");
        Library(Some(library))
    }

    /// A function of the library, of the type that the crate declares it with.
    fn function<F: Copy>(&self, declared: F, name: &CStr) -> F {
        let Some(library) = self.0 else { return black_box(declared) };
        // SAFETY: an open library, a text that ends with zero.
        let address = unsafe { dlsym(library, name.as_ptr()) };
        assert!(!address.is_null() && size_of::<F>() == size_of_val(&address), "{name:?}");
        // SAFETY: an address of the function of this name, whose type is the declared one in the same version of the sources.
        unsafe { transmute_copy(&address) }
    }
}

macro_rules! function {
    ($library:expr, $name:ident($($Argument:ty),* $(,)?) -> $Result:ty) => {
        $library.function::<unsafe extern "C" fn($($Argument),*) -> $Result>(
            $name,
            CString::new(stringify!($name)).expect("a name").as_c_str(),
        )
    };
}

const TURNS: usize = 61;
const TURN: Duration = Duration::from_millis(3);

/// Nanoseconds of a call, in turns of about 3 ms: the fastest turn, and the one in the middle.
fn measure(mut calls: [&mut dyn FnMut(); 2]) -> [[f64; 2]; 2] {
    let mut count = 1;
    let time = |call: &mut dyn FnMut(), count: u32| {
        let start = Instant::now();
        (0..count).for_each(|_| call());
        start.elapsed()
    };
    while time(calls[0], count) < TURN {
        count *= 2;
    }
    let mut turns = [[0.0; TURNS]; 2];
    for turn in 0..TURNS {
        for (call, turns) in calls.iter_mut().zip(&mut turns) {
            turns[turn] = time(call, count).as_secs_f64() * 1e9 / f64::from(count);
        }
    }
    turns.map(|mut turns| {
        turns.sort_by(f64::total_cmp);
        [turns[0], turns[TURNS / 2]]
    })
}

fn main() {
    let library = Library::open(std::env::args().nth(1));
    let params_new = function!(
        library,
        zp_params_new(
            zp_codes,
            zp_granularity,
            *const f32,
            *const i32,
            usize,
            *mut *mut zp_params,
            *mut zp_message,
        ) -> zp_error
    );
    let pack = function!(
        library,
        zp_weights_pack(
            *const zp_exec,
            MaybeUninit<zp_type>,
            zp_view,
            *const zp_params,
            MaybeUninit<zp_order>,
            *const zp_bias,
            *mut *mut zp_weights,
            *mut zp_message,
        ) -> zp_error
    );
    let multiply = function!(
        library,
        zp_matmul(
            *const zp_exec,
            zp_view,
            *const zp_params,
            *const zp_weights,
            *const zp_stage,
            zp_view_mut,
            *mut zp_message,
        ) -> zp_error
    );
    // SAFETY: it takes nothing.
    let stage = unsafe { function!(library, zp_stage_dequantize() -> *const zp_stage)() };

    println!("    M     N     K   Rust: fastest, middle    C: fastest, middle   ns more: fastest, middle");
    for [m, n, k] in [[16, 16, 16], [64, 64, 64], [1, 4096, 4096]] {
        let x: Vec<u8> = (0..m * k).map(|i| (i * 7 % 256) as u8).collect();
        let w: Vec<i8> = (0..n * k).map(|i| (i * 11 % 255) as u8 as i8).collect();
        // One result for both: where it lies counts for some nanoseconds.
        let mut y = vec![0.0_f32; m * n];
        let data = y.as_mut_ptr();
        let exec = Exec::best().expect("an ISA");
        let x_params = QuantParams::per_tensor(CodeRange::unsigned(8).expect("8"), 0.5, 3).expect("parameters");
        let w_params = QuantParams::per_tensor(CodeRange::signed(8).expect("8"), 0.25, 0).expect("parameters");
        let weights = Quantized::new(Matrix::new(&w, n, k).expect("a matrix"), &w_params).expect("weights");
        let packed = PackedMatrix::<u8, i8>::pack(exec, weights).expect("memory");

        let c_exec = zp_exec { isa: MaybeUninit::new(zp_isa::Best), threads: null() };
        let view = |element, data, rows, columns| zp_view {
            r#type: MaybeUninit::new(element),
            data,
            rows,
            columns,
            stride: 0,
        };
        let params = |element, min, max, scale: f32, zero_point: i32| {
            let codes = zp_codes { r#type: MaybeUninit::new(element), min, max };
            let tensor =
                zp_granularity { kind: MaybeUninit::new(zp_granularity_kind::Tensor), axis: 0, inner: 0, block: 0 };
            let mut params = null_mut();
            // SAFETY: one scale, one zero point, and room for a handle.
            let error = unsafe {
                params_new(codes, tensor, &raw const scale, &raw const zero_point, 1, &raw mut params, null_mut())
            };
            assert_eq!(error, zp_error::None);
            params
        };
        let (c_x, c_w) = (params(zp_type::U8, 0, 255, 0.5, 3), params(zp_type::I8, -128, 127, 0.25, 0));
        let (x_view, w_view) = (view(zp_type::U8, x.as_ptr().cast(), m, k), view(zp_type::I8, w.as_ptr().cast(), n, k));
        let mut c_packed = null_mut();
        let order = MaybeUninit::new(zp_order::Rows);
        let activations = MaybeUninit::new(zp_type::U8);
        // SAFETY: handles, views of live vectors, and room for a handle.
        let error =
            unsafe { pack(&raw const c_exec, activations, w_view, c_w, order, null(), &raw mut c_packed, null_mut()) };
        assert_eq!(error, zp_error::None);

        let out =
            zp_view_mut { r#type: MaybeUninit::new(zp_type::F32), data: data.cast(), rows: m, columns: n, stride: 0 };
        let mut message = zp_message { text: [0; 256] };
        let dequantize = Dequantize::new();
        let mut call_rust = || {
            // As a caller has it: slices and parameters, of which views are made for the call.
            let x =
                Quantized::new(Matrix::new(black_box(&x), m, k).expect("a matrix"), &x_params).expect("activations");
            // SAFETY: all of `y`, which nobody else uses meanwhile.
            let out = unsafe { core::slice::from_raw_parts_mut(data, m * n) };
            matmul(exec, x, &packed, &dequantize, MatrixMut::new(out, m, n).expect("a matrix")).expect("a product");
        };
        let mut call_c = || {
            // SAFETY: handles, and views of live vectors that nobody else uses meanwhile.
            let error =
                unsafe { multiply(&raw const c_exec, black_box(x_view), c_x, c_packed, stage, out, &raw mut message) };
            assert_eq!(error, zp_error::None);
        };
        call_rust();
        let by_rust = y.clone();
        call_c();
        assert_eq!(y, by_rust);
        let [[a, a_middle], [b, b_middle]] = measure([&mut call_rust, &mut call_c]);
        println!(
            "{m:5} {n:5} {k:5}   {a:12.1} {a_middle:9.1}   {b:10.1} {b_middle:9.1}   {:14.1} {:9.1}",
            b - a,
            b_middle - a_middle
        );
    }
}
