//! The C interface, called as a program may call it that keeps its contract and nothing more: any order of calls, handles of any
//! kind, NULL, misaligned and overlapping buffers, numbers that no enum has, sizes whose product overflows. No call reads or writes
//! outside of the buffers, panics, or writes and fails.
#![no_main]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint_capi::*;
use zeropoint_fuzz::c::{Count, Dimensions, Memory, View, ViewInput, number};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    isa: u8,
    threads: bool,
    dimensions: [u8; 4],
    calls: Vec<Call<'a>>,
}

/// A handle of a kind: one of those that were made, none, or one of another kind.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Which(u8);

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Codes {
    kind: u8,
    wild: [i32; 2],
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Granularity {
    kind: u8,
    axis: Count,
    inner: Count,
    block: Count,
    wild: Option<[usize; 3]>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Window {
    size: [u8; 2],
    stride: [u8; 2],
    padding: [u8; 4],
    dilation: [u8; 2],
    wild: Option<(u8, usize)>,
}

/// An array: its count, what it holds, and what is wrong with it.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Array {
    count: Count,
    seed: u16,
    flaw: u8,
    wild: usize,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Shape {
    axes: [Count; 4],
    wild: Option<(u8, usize)>,
}

/// Where results go: into a view of their own, or over one that is read.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Out {
    view: ViewInput,
    over: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Call<'a> {
    ParamsFit(ViewInput, Codes, [u8; 3], Granularity),
    ParamsNew(Codes, Granularity, Array, Array),
    ParamsFromRanges(Codes, [u8; 3], Granularity, Array, bool),
    ParamsWithGranularity(Which, Granularity),
    ParamsGet(Which),
    Quantize(ViewInput, Which, Rounding, Out),
    Dequantize(ViewInput, Which, Out),
    FakeQuantize(ViewInput, Which, Rounding, Out, Out),
    StraightThrough(ViewInput, ViewInput, Which, Out),
    PackCodes(ViewInput, i32, Out),
    UnpackCodes(ViewInput, Out),
    Random(u64, u64, Array, bool),
    Errors(ViewInput, Which, Option<ViewInput>),
    Ranges(ViewInput, Granularity, Array),
    MakeGranularity(Shape, u8, u8, Count, bool),
    WeightsPack(u8, ViewInput, Which, u8, Option<(Array, Which)>),
    WeightsGet(Which),
    Stage(Which, Which, Which, u8, [u8; 3], bool),
    StageMultipliers(u8, Array, i32, Codes),
    StageDequantize(Array),
    StageStochastic(Which, u64, u64),
    Matmul(ViewInput, Which, Which, Which, Out),
    ConvNew(u8, ViewInput, Shape, Which, Window, Count, Option<(Array, Which)>),
    ConvForward(Which, ViewInput, Shape, Which, Which, Out),
    MaxPool(Window, ViewInput, Shape, Out),
    AveragePool(Option<Window>, u8, ViewInput, Shape, Which, Out),
    EncodeBlocks(u8, u32, ViewInput, Rounding, Out),
    DecodeBlocks(u8, u32, ViewInput, Out),
    NvFp4(ViewInput),
    Fp8New(u8, u8, Granularity, Array),
    Fp8Fit(u8, u8, Granularity, ViewInput),
    Fp8Encode(ViewInput, Which, Rounding, Out),
    Fp8Decode(ViewInput, Which, Out),
    StoredQuantize(ViewInput, u8, Count, [u8; 3]),
    StoredFormat(u8, u32, ViewInput, [Count; 2]),
    StoredNBits(u8, Count, [ViewInput; 3], [Count; 2]),
    StoredGptq(Count, [ViewInput; 4], [Count; 2], bool),
    StoredValues(Which, Out),
    GroupPack(Which),
    GroupParts([ViewInput; 4], Codes, u8, Count),
    GroupGet(Which),
    GroupStage(Array, f32, f32),
    GroupMatmul(ViewInput, Which, u8, Count, Which, Which, Which, Out),
    Observer(&'a str, Codes, [u8; 3], Count, u8),
    Observe(Which, ViewInput),
    Merge(Which, Which),
    ObserverRange(Which),
    Archive(Which, Which, &'a str, u8),
    ArchiveBytes(&'a [u8], bool),
    ArchiveUse(Which, &'a str, [u8; 3]),
    Free(u8, Which),
    Share(u8, Which),
    Texts(&'a str, u32),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Rounding {
    kind: u8,
    seed: u64,
    offset: u64,
}

impl Rounding {
    fn c(self) -> zp_rounding {
        let kind = if self.kind < 250 { u32::from(self.kind % 2) } else { self.kind.into() };
        zp_rounding { kind: number(kind), seed: self.seed, offset: self.offset }
    }
}

/// A small number, or now and then one that an enum does not have.
fn small(byte: u8, most: u32) -> u32 {
    if byte < 250 { u32::from(byte) % (most + 1) } else { byte.into() }
}

fn truth(byte: u8) -> MaybeUninit<bool> {
    // SAFETY: of the same size, and MaybeUninit may hold any byte.
    unsafe { core::mem::transmute_copy(&byte) }
}

impl Codes {
    fn c(self) -> zp_codes {
        let [a, b] = self.wild;
        let (element, min, max) = match self.kind % 14 {
            0 | 1 => (1, 0, 255),
            2 => (2, -127, 127),
            3 => (2, -128, 127),
            4 => (1, 0, 15),
            5 => (2, -8, 7),
            6 => (1, 0, 3),
            7 => (2, -2, 1),
            8 => (3, 0, 65_535),
            9 => (4, -32_768, 32_767),
            10 => (2, a % 256, b % 256),
            11 => (1, a, b),
            12 => (4, a, b),
            _ => (a.cast_unsigned(), 0, b),
        };
        zp_codes { r#type: number(element), min, max }
    }
}

impl Granularity {
    fn c(self, dimensions: &Dimensions) -> zp_granularity {
        let [axis, inner, block] = match self.wild {
            None => [self.axis, self.inner, self.block].map(|count| count.of(dimensions)),
            Some(wild) => wild,
        };
        zp_granularity { kind: number(small(self.kind, 2)), axis, inner, block }
    }
}

impl Window {
    fn c(self) -> zp_window {
        let [size, stride, dilation] = [self.size, self.stride, self.dilation].map(|of| of.map(|n| usize::from(n % 5)));
        let mut window = zp_window { size, stride, padding: self.padding.map(|n| usize::from(n % 5)), dilation };
        if let Some((which, n)) = self.wild {
            let [_, left, bottom, _] = &mut window.padding;
            let numbers = [&mut window.size[0], &mut window.stride[1], left, bottom, &mut window.dilation[0]];
            for (i, number) in numbers.into_iter().enumerate() {
                if i == usize::from(which) % 5 {
                    *number = n;
                }
            }
        }
        window
    }
}

impl Shape {
    fn c(self, dimensions: &Dimensions) -> zp_shape {
        let mut axes = self.axes.map(|count| count.of(dimensions));
        if let Some((which, n)) = self.wild {
            axes[usize::from(which) % 4] = n;
        }
        zp_shape { axes }
    }
}

fn scheme([scale, offset, rounding]: [u8; 3]) -> zp_scheme {
    zp_scheme { scale: number(small(scale, 1)), offset: number(small(offset, 2)), rounding: number(small(rounding, 1)) }
}

fn tensor_format(format: u8, tensor_scale: u32) -> zp_tensor_format {
    const FORMATS: [u32; 13] = [1, 2, 3, 16, 17, 18, 19, 20, 24, 25, 26, 27, 99];
    let format = FORMATS[usize::from(format) % FORMATS.len()];
    zp_tensor_format { format: number(format), tensor_scale: f32::from_bits(tensor_scale) }
}

/// An array in memory of its own.
struct Elements {
    memory: Memory,
    pointer: *mut u8,
    count: usize,
}

impl Array {
    fn of<const SIZE: usize>(self, dimensions: &Dimensions, element: impl Fn(u64) -> [u8; SIZE]) -> Elements {
        let mut words = zeropoint_fuzz::Words(self.seed.into());
        let count = self.count.of(dimensions).min(4096);
        let bytes: Vec<u8> = (0..count).flat_map(|_| element(words.word())).chain([0; 1]).collect();
        let memory = Memory::new(&bytes[..count * SIZE + usize::from(self.flaw == 241)]);
        let start = memory.start();
        let (pointer, count) = match self.flaw {
            240 => (null_mut(), count),
            241 => (start.wrapping_add(1), count),
            // More than memory holds.
            242 => (start, self.wild | (isize::MAX.cast_unsigned() / SIZE + 1)),
            _ => (start, count),
        };
        Elements { memory, pointer, count }
    }

    fn floats(self, dimensions: &Dimensions) -> Elements {
        let seed = self.seed;
        self.of(dimensions, |word| {
            let bits =
                if !seed.is_multiple_of(8) { (((word % 100) as f32 + 1.0) * 0.01).to_bits() } else { word as u32 };
            bits.to_ne_bytes()
        })
    }

    fn integers(self, dimensions: &Dimensions) -> Elements {
        let seed = self.seed;
        self.of(dimensions, |word| (if !seed.is_multiple_of(8) { 0 } else { word as i32 >> (seed % 32) }).to_ne_bytes())
    }

    fn doubles(self, dimensions: &Dimensions) -> Elements {
        let seed = self.seed;
        self.of(dimensions, |word| {
            (if !seed.is_multiple_of(8) { ((word % 100) as f64 + 1.0) * 0.001 } else { f64::from_bits(word) })
                .to_ne_bytes()
        })
    }
}

/// Everything that was made, to be freed at the end.
#[derive(Default)]
struct Made {
    params: Vec<*mut zp_params>,
    weights: Vec<*mut zp_weights>,
    stages: Vec<*mut zp_stage>,
    convs: Vec<*mut zp_conv2d>,
    fp8: Vec<*mut zp_fp8_params>,
    stored: Vec<*mut zp_stored_weights>,
    groups: Vec<*mut zp_group_weights>,
    group_stages: Vec<*mut zp_group_stage>,
    observers: Vec<*mut zp_observer>,
    archives: Vec<*mut zp_archive>,
}

struct Machine {
    exec: zp_exec,
    dimensions: Dimensions,
    made: Made,
    message: zp_message,
}

/// One of some handles, none, or `other`, which is of another kind.
fn pick<H>(handles: &[*mut H], Which(which): Which, other: *const c_void) -> *const H {
    match (which, handles) {
        (254, _) => null(),
        (255, _) => other.cast(),
        (_, []) => null(),
        _ => handles[usize::from(which) % handles.len()],
    }
}

unsafe extern "C" fn run_backwards(
    _: *mut c_void,
    tasks: usize,
    task: unsafe extern "C" fn(data: *mut c_void, index: usize),
    data: *mut c_void,
) {
    // SAFETY: each task once.
    (0..tasks).rev().for_each(|i| unsafe { task(data, i) });
}

const THREADS: zp_threads = zp_threads { context: null_mut(), count: 3, run: Some(run_backwards) };
static BACKWARDS: zp_threads = THREADS;

fuzz_target!(|input: Input<'_>| {
    let isa = [0, 1, 2, 3, 4, 5, 6, 77];
    let isa = if input.isa < 128 { 0 } else { isa[usize::from(input.isa) % isa.len()] };
    let threads = if input.threads { &raw const BACKWARDS } else { null() };
    let mut machine = Machine {
        exec: zp_exec { isa: number(isa), threads },
        dimensions: input.dimensions.map(|n| [1, 2, 3, 4, 8, 16, 32, 33, 0, 5, 64, 7][usize::from(n) % 12]),
        made: Made::default(),
        message: zp_message { text: [0x55; 256] },
    };
    input.calls.iter().take(24).for_each(|call| machine.call(call));
    machine.free_all();
});

/// Calls a function with the message, and checks what it returns and writes.
macro_rules! call {
    ($machine:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        $machine.message.text.fill(0x55);
        // SAFETY: the memory of every view and array is as large as it says; handles were made and not freed, or are NULL.
        let error = unsafe { $function($($argument,)* &raw mut $machine.message) };
        $machine.check(error)
    }};
    // With the views that are written: nothing of them is, if it fails.
    ($machine:expr, $function:ident($($argument:expr),* $(,)?), $($written:expr),+) => {{
        let is_ok = call!($machine, $function($($argument),*));
        if !is_ok {
            $($written.assert_untouched();)+
        }
        is_ok
    }};
}

/// Keeps a new handle.
macro_rules! make {
    ($machine:expr, $kind:ident, $function:ident($($argument:expr),* $(,)?)) => {{
        let mut handle = core::ptr::dangling_mut();
        if call!($machine, $function($($argument,)* &raw mut handle)) {
            assert!(!handle.is_null());
            $machine.made.$kind.push(handle);
        } else {
            assert!(handle.is_null(), "a call that failed leaves NULL");
        }
    }};
}

impl Machine {
    /// Whether a call succeeded. Its message, if it did not, is text.
    fn check(&self, error: zp_error) -> bool {
        let untouched = self.message.text.iter().all(|&byte| byte == 0x55);
        if error == zp_error::None {
            assert!(untouched, "a message without an error");
            return true;
        }
        let bytes = self.message.text.map(c_char::cast_unsigned);
        let text = CStr::from_bytes_until_nul(&bytes).expect("a zero byte ends it").to_str().expect("UTF-8");
        assert!(error != zp_error::Panic && error != zp_error::Other, "{text}");
        assert!(!text.is_empty());
        false
    }

    fn stage(&self, which: Which) -> *const zp_stage {
        match which.0 {
            0..40 => zp_stage_accumulators(),
            40..80 => zp_stage_dequantize(),
            _ => pick(&self.made.stages, which, self.other()),
        }
    }

    /// A handle that is borrowed, of a kind that few functions take.
    fn other(&self) -> *const c_void {
        match self.made.params.first() {
            Some(params) => params.cast(),
            None => zp_stage_accumulators().cast(),
        }
    }

    fn params(&self, which: Which) -> *const zp_params {
        pick(&self.made.params, which, zp_stage_accumulators().cast())
    }

    /// Where results go: over `read`, or into memory of their own.
    fn out(&self, out: Out, read: &View) -> (zp_view_mut, View) {
        let view = out.view.view(&self.dimensions);
        (out.over.map_or_else(|| view.write(), |from| view.write_over(read, from)), view)
    }

    fn call(&mut self, call: &Call<'_>) {
        let d = self.dimensions;
        let exec = self.exec;
        let exec = &raw const exec;
        match *call {
            Call::ParamsFit(x, codes, s, granularity) => {
                let x = x.view(&d);
                make!(self, params, zp_params_fit(exec, x.read(), codes.c(), scheme(s), granularity.c(&d)));
            }
            Call::ParamsNew(codes, granularity, scales, points) => {
                let (scales, points) = (scales.floats(&d), points.integers(&d));
                let count = scales.count;
                if points.count >= count || points.pointer.is_null() || count > 1 << 40 {
                    let (scales, points) = (scales.pointer.cast(), points.pointer.cast());
                    make!(self, params, zp_params_new(codes.c(), granularity.c(&d), scales, points, count));
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
                    make!(self, params, zp_params_as_onnx(codes, granularity, pointer, count));
                } else {
                    make!(self, params, zp_params_from_ranges(codes, scheme(s), granularity, pointer, count));
                }
                drop(ranges.memory);
            }
            Call::ParamsWithGranularity(which, granularity) => {
                make!(self, params, zp_params_with_granularity(self.params(which), granularity.c(&d)));
            }
            Call::ParamsGet(which) => {
                let (mut scales, mut points, mut count) = (null(), null(), 0);
                let wanted = which.0 % 2 == 0;
                let points_out = if wanted { &raw mut points } else { null_mut() };
                let params = self.params(which);
                if call!(
                    self,
                    zp_params_get(params, null_mut(), null_mut(), &raw mut scales, points_out, &raw mut count)
                ) {
                    // SAFETY: as many scales are borrowed from the handle.
                    let sum: f32 = unsafe { core::slice::from_raw_parts(scales, count) }.iter().sum();
                    assert!(sum > 0.0 || count == 0);
                }
            }
            Call::Quantize(x, which, rounding, out) => {
                let x = x.view(&d);
                let (to, out) = self.out(out, &x);
                call!(self, zp_quantize(exec, x.read(), self.params(which), rounding.c(), to), x, out);
            }
            Call::Dequantize(x, which, out) => {
                let x = x.view(&d);
                let (to, out) = self.out(out, &x);
                call!(self, zp_dequantize(exec, x.read(), self.params(which), to), x, out);
            }
            Call::FakeQuantize(x, which, rounding, out, mask) => {
                let x = x.view(&d);
                let ((to, out), (to_mask, mask)) = (self.out(out, &x), self.out(mask, &x));
                call!(
                    self,
                    zp_fake_quantize(exec, x.read(), self.params(which), rounding.c(), to, to_mask),
                    x,
                    out,
                    mask
                );
            }
            Call::StraightThrough(x, gradient, which, out) => {
                let (x, gradient) = (x.view(&d), gradient.view(&d));
                let (to, out) = self.out(out, &x);
                call!(
                    self,
                    zp_straight_through(exec, x.read(), gradient.read(), self.params(which), to),
                    x,
                    gradient,
                    out
                );
            }
            Call::PackCodes(codes, pad, out) => {
                let codes = codes.view(&d);
                let (to, out) = self.out(out, &codes);
                call!(self, zp_pack_codes(exec, codes.read(), pad, to), codes, out);
            }
            Call::UnpackCodes(codes, out) => {
                let codes = codes.view(&d);
                let (to, out) = self.out(out, &codes);
                call!(self, zp_unpack_codes(exec, codes.read(), to), codes, out);
            }
            Call::Random(seed, offset, array, uniform) => {
                let array = array.integers(&d);
                if uniform {
                    call!(self, zp_random_uniform(exec, seed, offset, array.pointer.cast(), array.count));
                } else {
                    call!(self, zp_random_words(exec, seed, offset, array.pointer.cast(), array.count));
                }
                drop(array.memory);
            }
            Call::Errors(x, which, other) => {
                let x = x.view(&d);
                let mut report = MaybeUninit::uninit();
                match other {
                    None => call!(self, zp_quantization_error(exec, x.read(), self.params(which), report.as_mut_ptr())),
                    Some(other) => {
                        let other = other.view(&d);
                        call!(self, zp_reconstruction_error(exec, x.read(), other.read(), report.as_mut_ptr()))
                    }
                };
            }
            Call::Ranges(x, granularity, ranges) => {
                let (x, ranges) = (x.view(&d), ranges.of(&d, u64::to_ne_bytes));
                call!(self, zp_ranges(exec, x.read(), granularity.c(&d), ranges.pointer.cast(), ranges.count));
                drop(ranges.memory);
            }
            Call::MakeGranularity(shape, axes, axis, length, block) => {
                let shape = shape.c(&d).axes;
                let (axes, mut granularity) = (usize::from(axes % 5), MaybeUninit::uninit());
                let (shape, out) = (if axes == 4 { null() } else { shape.as_ptr() }, granularity.as_mut_ptr());
                if block {
                    call!(self, zp_granularity_block(shape, axes, axis.into(), length.of(&d), out));
                } else {
                    call!(self, zp_granularity_channel(shape, axes, axis.into(), out));
                }
            }
            Call::WeightsPack(activations, codes, which, order, bias) => {
                let codes = codes.view(&d);
                let (activations, order) = (number(small(activations, 1) + 1), number(small(order, 1)));
                let params = self.params(which);
                let bias = bias.map(|(bias, x)| (bias.floats(&d), self.params(x)));
                let of_bias =
                    bias.as_ref().map(|(bias, x)| zp_bias { values: bias.pointer.cast(), count: bias.count, x: *x });
                let of_bias = of_bias.as_ref().map_or(null(), |bias| &raw const *bias);
                make!(self, weights, zp_weights_pack(exec, activations, codes.read(), params, order, of_bias));
            }
            Call::WeightsGet(which) => {
                let (mut depth, mut outputs) = (0, 0);
                let weights = pick(&self.made.weights, which, self.other());
                call!(self, zp_weights_get(weights, &raw mut depth, &raw mut outputs));
            }
            Call::Stage(weights, x, y, rule, [kind, min, max], conv) => {
                let activation =
                    zp_activation { kind: number(small(kind, 2)), min: i32::from(min) - 20, max: i32::from(max) };
                let (x, y, rule) = (self.params(x), self.params(y), number(small(rule, 5)));
                if conv {
                    let conv = pick(&self.made.convs, weights, self.other());
                    make!(self, stages, zp_stage_requantize_conv2d_new(conv, x, y, rule, activation));
                } else {
                    let weights = pick(&self.made.weights, weights, self.other());
                    make!(self, stages, zp_stage_requantize_new(weights, x, y, rule, activation));
                }
            }
            Call::StageMultipliers(rule, multipliers, zero_point, codes) => {
                let (multipliers, rule) = (multipliers.doubles(&d), number(small(rule, 5)));
                let (pointer, count) = (multipliers.pointer.cast(), multipliers.count);
                make!(self, stages, zp_stage_multipliers_new(rule, pointer, count, zero_point, codes.c()));
                drop(multipliers.memory);
            }
            Call::StageDequantize(bias) => {
                let bias = bias.floats(&d);
                make!(self, stages, zp_stage_dequantize_new(bias.pointer.cast(), bias.count));
                drop(bias.memory);
            }
            Call::StageStochastic(which, seed, offset) => {
                make!(self, stages, zp_stage_stochastic_new(self.stage(which), seed, offset));
            }
            Call::Matmul(x, params, weights, stage, out) => {
                let x = x.view(&d);
                let (to, out) = self.out(out, &x);
                let weights = pick(&self.made.weights, weights, self.other());
                call!(self, zp_matmul(exec, x.read(), self.params(params), weights, self.stage(stage), to), x, out);
            }
            Call::ConvNew(images, weights, shape, params, window, groups, bias) => {
                let weights = weights.view(&d);
                let (images, params) = (number(small(images, 1) + 1), self.params(params));
                let bias = bias.map(|(bias, x)| (bias.floats(&d), self.params(x)));
                let of_bias =
                    bias.as_ref().map(|(bias, x)| zp_bias { values: bias.pointer.cast(), count: bias.count, x: *x });
                let of_bias = of_bias.as_ref().map_or(null(), |bias| &raw const *bias);
                let (shape, window, groups) = (shape.c(&d), window.c(), groups.of(&d));
                make!(self, convs, zp_conv2d_new(exec, images, weights.read(), shape, params, window, groups, of_bias));
            }
            Call::ConvForward(conv, images, shape, params, stage, out) => {
                let conv = pick(&self.made.convs, conv, self.other());
                let (images, mut output) = (images.view(&d), zp_shape { axes: [0; 4] });
                let shape = shape.c(&d);
                call!(self, zp_conv2d_output_shape(conv, shape, &raw mut output));
                let (to, out) = self.out(out, &images);
                let (params, stage) = (self.params(params), self.stage(stage));
                call!(self, zp_conv2d_forward(exec, conv, images.read(), shape, params, stage, to), images, out);
            }
            Call::MaxPool(window, images, shape, out) => {
                let (images, mut output) = (images.view(&d), zp_shape { axes: [0; 4] });
                let (window, shape) = (window.c(), shape.c(&d));
                call!(self, zp_max_pool2d_output_shape(window, shape, &raw mut output));
                let (to, out) = self.out(out, &images);
                call!(self, zp_max_pool2d(exec, window, images.read(), shape, to), images, out);
            }
            Call::AveragePool(window, counts, images, shape, params, out) => {
                let (images, mut output) = (images.view(&d), zp_shape { axes: [0; 4] });
                let (window, shape, counts) = (window.map(Window::c), shape.c(&d), truth(counts));
                let window = window.as_ref().map_or(null(), |window| &raw const *window);
                call!(self, zp_average_pool2d_output_shape(window, counts, shape, &raw mut output));
                let (to, out) = self.out(out, &images);
                let params = self.params(params);
                call!(self, zp_average_pool2d(exec, window, counts, images.read(), shape, params, to), images, out);
            }
            Call::EncodeBlocks(format, scale, x, rounding, out) => {
                let x = x.view(&d);
                let (to, out) = self.out(out, &x);
                call!(self, zp_encode_blocks(exec, tensor_format(format, scale), x.read(), rounding.c(), to), x, out);
                let (mut elements, mut bytes) = (0, 0);
                let format = tensor_format(format, scale).format;
                call!(self, zp_format_block(format, &raw mut elements, &raw mut bytes));
            }
            Call::DecodeBlocks(format, scale, bytes, out) => {
                let bytes = bytes.view(&d);
                let (to, out) = self.out(out, &bytes);
                call!(self, zp_decode_blocks(exec, tensor_format(format, scale), bytes.read(), to), bytes, out);
            }
            Call::NvFp4(x) => {
                let (x, mut scale) = (x.view(&d), 0.0);
                call!(self, zp_nvfp4_fit(exec, x.read(), &raw mut scale));
            }
            Call::Fp8New(format, saturates, granularity, scales) => {
                let scales = scales.floats(&d);
                let (format, pointer) = (number(small(format, 1) + 1), scales.pointer.cast());
                let (saturates, granularity) = (truth(saturates), granularity.c(&d));
                make!(self, fp8, zp_fp8_params_new(format, saturates, granularity, pointer, scales.count));
                drop(scales.memory);
            }
            Call::Fp8Fit(format, saturates, granularity, x) => {
                let (x, format) = (x.view(&d), number(small(format, 1) + 1));
                let (saturates, granularity) = (truth(saturates), granularity.c(&d));
                make!(self, fp8, zp_fp8_params_fit(exec, x.read(), format, saturates, granularity));
            }
            Call::Fp8Encode(x, params, rounding, out) => {
                let x = x.view(&d);
                let (to, out) = self.out(out, &x);
                let params = pick(&self.made.fp8, params, self.other());
                call!(self, zp_fp8_encode(exec, x.read(), params, rounding.c(), to), x, out);
            }
            Call::Fp8Decode(codes, params, out) => {
                let codes = codes.view(&d);
                let (to, out) = self.out(out, &codes);
                let params = pick(&self.made.fp8, params, self.other());
                call!(self, zp_fp8_decode(exec, codes.read(), params, to), codes, out);
                let (mut scales, mut count) = (null(), 0);
                call!(self, zp_fp8_params_scales(params, &raw mut scales, &raw mut count));
            }
            Call::StoredQuantize(weights, bits, length, [points, least, halves]) => {
                let weights = weights.view(&d);
                let scheme = zp_group_scheme {
                    bits: small(bits, 9),
                    length: length.of(&d),
                    has_zero_points: truth(points),
                    least_error: truth(least),
                    f16_scales: truth(halves),
                };
                make!(self, stored, zp_stored_weights_quantize(exec, weights.read(), scheme));
            }
            Call::StoredFormat(format, scale, bytes, [outputs, depth]) => {
                let (bytes, format) = (bytes.view(&d), tensor_format(format, scale));
                let [outputs, depth] = [outputs.of(&d), depth.of(&d)];
                make!(self, stored, zp_stored_weights_from_format(exec, format, bytes.read(), outputs, depth));
            }
            Call::StoredNBits(bits, length, views, [outputs, depth]) => {
                let [codes, scales, points] = views.map(|view| view.view(&d));
                let (bits, length) = ([4, 2, 8, 5][usize::from(bits % 4)], length.of(&d));
                let (codes, scales, points) = (codes.read(), scales.read(), points.read());
                let [outputs, depth] = [outputs.of(&d), depth.of(&d)];
                make!(
                    self,
                    stored,
                    zp_stored_weights_matmul_nbits(bits, length, codes, scales, points, outputs, depth)
                );
            }
            Call::StoredGptq(length, views, [outputs, depth], awq) => {
                let [codes, points, scales, order] = views.map(|view| view.view(&d));
                let (length, outputs, depth) = (length.of(&d), outputs.of(&d), depth.of(&d));
                let (codes, points, scales, order) = (codes.read(), points.read(), scales.read(), order.read());
                if awq {
                    make!(self, stored, zp_stored_weights_awq(length, codes, points, scales, outputs, depth));
                } else {
                    make!(self, stored, zp_stored_weights_gptq(length, codes, points, scales, order, outputs, depth));
                }
            }
            Call::StoredValues(stored, out) => {
                let out = out.view.view(&d);
                let stored = pick(&self.made.stored, stored, self.other());
                call!(self, zp_stored_weights_values(stored, out.write()), out);
            }
            Call::GroupPack(stored) => {
                let stored = pick(&self.made.stored, stored, self.other());
                make!(self, groups, zp_group_weights_pack(exec, stored));
            }
            Call::GroupParts(views, codes, order, length) => {
                let views = views.map(|view| view.view(&d));
                let [of_codes, scales, zero_points, offsets] = [0, 1, 2, 3].map(|i| views[i].read());
                let (order, length) = (number(small(order, 1)), length.of(&d));
                let parts =
                    zp_group_parts { codes: of_codes, range: codes.c(), order, length, scales, zero_points, offsets };
                make!(self, groups, zp_group_weights_pack_parts(exec, &raw const parts));
            }
            Call::GroupGet(which) => {
                let (mut depth, mut outputs) = (0, 0);
                let weights = pick(&self.made.groups, which, self.other());
                call!(self, zp_group_weights_get(weights, &raw mut depth, &raw mut outputs, null_mut()));
            }
            Call::GroupStage(bias, min, max) => {
                let bias = bias.floats(&d);
                make!(self, group_stages, zp_group_stage_new(bias.pointer.cast(), bias.count, min, max));
                drop(bias.memory);
            }
            Call::GroupMatmul(x, params, offset, length, weights, stage, y, out) => {
                let x = x.view(&d);
                let (to, out) = self.out(out, &x);
                let activations = zp_group_activations {
                    x: x.read(),
                    params: self.params(params),
                    offset: number(small(offset, 2)),
                    length: length.of(&d),
                };
                let weights = pick(&self.made.groups, weights, self.other());
                let (stage, y) = (pick(&self.made.group_stages, stage, self.other()), self.params(y));
                call!(self, zp_group_matmul(exec, &raw const activations, weights, stage, y, to), x, out);
            }
            Call::Observer(method, codes, s, sample, skips) => {
                const METHODS: [&str; 6] = ["minmax", "percentile:99", "mse", "entropy", "std:2", "average"];
                let method = if method.len() < 6 { METHODS[method.len()] } else { method };
                let method = text(method);
                let (codes, sample, skips) = (codes.c(), sample.of(&d), truth(skips));
                make!(self, observers, zp_observer_new(method.as_ptr().cast(), codes, scheme(s), sample, skips));
            }
            Call::Observe(observer, batch) => {
                let batch = batch.view(&d);
                let observer = pick(&self.made.observers, observer, self.other());
                call!(self, zp_observer_observe(exec, observer, batch.read()));
            }
            Call::Merge(a, b) => {
                let [a, b] = [a, b].map(|which| pick(&self.made.observers, which, self.other()));
                call!(self, zp_observer_merge(a, b));
            }
            Call::ObserverRange(observer) => {
                let (mut range, mut skipped) = (MaybeUninit::uninit(), 0);
                let observer = pick(&self.made.observers, observer, self.other());
                call!(self, zp_observer_range(observer, range.as_mut_ptr(), &raw mut skipped));
            }
            Call::Archive(weights, groups, name, failing) => self.archive(weights, groups, name, failing),
            Call::ArchiveBytes(bytes, copied) => self.open(bytes, copied),
            Call::ArchiveUse(archive, name, [a, b, repacks]) => {
                let archive = pick(&self.made.archives, archive, self.other());
                call!(self, zp_archive_verify(archive));
                let (mut first, name) = (null(), text(name));
                call!(self, zp_archive_name(archive, usize::from(a % 4), &raw mut first));
                let name = if b < 128 && !first.is_null() { first } else { name.as_ptr().cast() };
                let (types, repacks) = ([a, b].map(|n| number(small(n, 1) + 1)), truth(repacks));
                make!(self, weights, zp_archive_weights(exec, archive, name, types[0], types[1], repacks));
                make!(self, groups, zp_archive_group_weights(exec, archive, name, repacks));
            }
            Call::Free(kind, which) => self.free(kind, which),
            Call::Share(kind, which) => {
                let other = self.other();
                match kind % 3 {
                    0 => make!(self, weights, zp_weights_share(pick(&self.made.weights, which, other))),
                    1 => make!(self, convs, zp_conv2d_share(pick(&self.made.convs, which, other))),
                    _ => make!(self, groups, zp_group_weights_share(pick(&self.made.groups, which, other))),
                }
            }
            Call::Texts(name, n) => {
                let (name, mut isa) = (text(name), MaybeUninit::uninit());
                call!(self, zp_isa_named(name.as_ptr().cast(), isa.as_mut_ptr()));
                call!(self, zp_isa_named(null(), isa.as_mut_ptr()));
                for described in [zp_error_description(number(n)), zp_isa_name(number(n)), zp_version()] {
                    // SAFETY: a text of the library's, unless it is null.
                    assert!(described.is_null() || unsafe { CStr::from_ptr(described) }.to_str().is_ok());
                }
                let _ = zp_isa_is_supported(number(n));
            }
        }
    }

    /// Writes an archive into a buffer and through a function, and opens it.
    fn archive(&mut self, weights: Which, groups: Which, name: &str, failing: u8) {
        let (name, other) = (text(name), self.other());
        let mut writer = null_mut();
        assert!(call!(self, zp_archive_writer_new(&raw mut writer)));
        let weights = pick(&self.made.weights, weights, other);
        call!(self, zp_archive_writer_add(writer, name.as_ptr().cast(), weights));
        call!(self, zp_archive_writer_add_group(writer, name.as_ptr().cast(), pick(&self.made.groups, groups, other)));
        let mut taken = Taken { bytes: Vec::new(), room: if failing < 200 { usize::MAX } else { 100 } };
        let sink = zp_sink { context: (&raw mut taken).cast(), write: if failing == 255 { None } else { Some(take) } };
        if call!(self, zp_archive_writer_write(writer, sink)) {
            let mut size = 0;
            assert!(call!(self, zp_archive_writer_size(writer, &raw mut size)));
            assert_eq!(size, taken.bytes.len());
            let memory = Memory::new(&vec![0; size]);
            let data = memory.start().cast();
            let view = zp_view_mut { r#type: number(1), data, rows: 1, columns: size, stride: 0 };
            assert!(call!(self, zp_archive_writer_copy(writer, view)));
            self.open(&taken.bytes, failing.is_multiple_of(2));
        }
        assert!(call!(self, zp_archive_writer_free(writer)));
    }

    /// Opens an archive: a copy of bytes, or bytes that are kept until it is freed.
    fn open(&mut self, bytes: &[u8], copied: bool) {
        if copied {
            make!(self, archives, zp_archive_copied(bytes.as_ptr(), bytes.len()));
            return;
        }
        let kept = Box::into_raw(Box::new(Memory::new(bytes)));
        let release = zp_release { context: kept.cast(), run: Some(release) };
        // SAFETY: just made.
        let start = unsafe { (*kept).start() };
        let before = self.made.archives.len();
        make!(self, archives, zp_archive_open(start, bytes.len(), &raw const release));
        if self.made.archives.len() == before {
            // SAFETY: not taken, so still this function's.
            drop(unsafe { Box::from_raw(kept) });
        }
    }

    fn free(&mut self, kind: u8, Which(which): Which) {
        macro_rules! free {
            ($kind:ident, $function:ident) => {{
                let handles = &mut self.made.$kind;
                if !handles.is_empty() {
                    let handle = handles.swap_remove(usize::from(which) % handles.len());
                    assert!(call!(self, $function(handle)));
                }
                assert!(call!(self, $function(null_mut())));
            }};
        }
        match kind % 11 {
            0 => free!(params, zp_params_free),
            1 => free!(weights, zp_weights_free),
            2 => free!(stages, zp_stage_free),
            3 => free!(convs, zp_conv2d_free),
            4 => free!(fp8, zp_fp8_params_free),
            5 => free!(stored, zp_stored_weights_free),
            6 => free!(groups, zp_group_weights_free),
            7 => free!(group_stages, zp_group_stage_free),
            8 => free!(observers, zp_observer_free),
            9 => free!(archives, zp_archive_free),
            // One that is borrowed, and one of another kind.
            _ => {
                assert!(!call!(self, zp_stage_free(zp_stage_accumulators().cast_mut())));
                if let Some(&params) = self.made.params.first() {
                    assert!(!call!(self, zp_weights_free(params.cast())));
                }
            }
        }
    }

    fn free_all(&mut self) {
        for kind in 0..10 {
            for _ in 0..64 {
                self.free(kind, Which(0));
            }
        }
    }
}

/// A text that a zero byte ends, in memory of its own.
fn text(text: &str) -> Box<[u8]> {
    text.bytes().take_while(|&byte| byte != 0).chain([0]).collect()
}

/// What a sink took, and has room for.
struct Taken {
    bytes: Vec<u8>,
    room: usize,
}

unsafe extern "C" fn take(context: *mut c_void, bytes: *const c_void, length: usize) -> c_int {
    // SAFETY: the context is a `Taken` that nobody else uses during the call; so many bytes are lent.
    let (taken, bytes) =
        unsafe { (&mut *context.cast::<Taken>(), core::slice::from_raw_parts(bytes.cast::<u8>(), length)) };
    if taken.bytes.len() + length > taken.room {
        return 3;
    }
    taken.bytes.extend_from_slice(bytes);
    0
}

unsafe extern "C" fn release(context: *mut c_void) {
    // SAFETY: the memory that was lent, and that nobody needs any more.
    drop(unsafe { Box::from_raw(context.cast::<Memory>()) });
}
