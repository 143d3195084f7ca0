//! Calls whose memory and threads are the caller's: the bytes of any other call, and no allocation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytemuck::{Pod, cast_slice_mut};
use zeropoint::exec::{SharedCall, Workspace};
use zeropoint::formats::{BlockFormat, decode_blocks, encode_blocks, split_blocks};
use zeropoint::fp8::{self, Fp8, Fp8Params};
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, Weights};
use zeropoint::layers::{Convolve, MaxPool2d, Window};
use zeropoint::raw::AccumulatorBias;
use zeropoint::report::quantization_error;
use zeropoint::training::{ClipBounds, ClipGradients, Gradients, clip_gradients, fake_quantize_gradients};
use zeropoint::*;

use crate::allocation::allocations;
use crate::common::{emulated, every_isa};

/// Writes the bytes of a result.
type Run = dyn Fn(Exec<'_>, &mut [u8]) + Send + Sync;

/// An operation with operands of its own, which writes a result of some bytes.
struct Operation {
    name: String,
    bytes: usize,
    run: Box<Run>,
}

impl Operation {
    /// Memory for the result.
    fn memory(&self) -> Vec<u64> {
        vec![0; self.bytes.div_ceil(8)]
    }

    /// Runs into this memory, where no earlier result is left.
    fn write(&self, exec: Exec<'_>, memory: &mut [u64]) {
        memory.fill(0xa5a5_a5a5_a5a5_a5a5);
        (self.run)(exec, &mut cast_slice_mut(memory)[..self.bytes]);
    }
}

/// Enough elements for several threads, in rows.
const SHAPE: [usize; 2] = [801, 1001];
const ELEMENTS: usize = SHAPE[0] * SHAPE[1];

static X: LazyLock<Vec<f32>> = LazyLock::new(|| reals(ELEMENTS));
static CODES: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(ELEMENTS));
static HALVES: [u16; ELEMENTS] = [0x3c01; ELEMENTS];

fn reals(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0).collect()
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 37 + i / 256) as u8).collect()
}

/// What a list of operations is made by.
struct List(Vec<Operation>);

impl List {
    /// An operation that writes `count` elements.
    fn add<T: Pod>(
        &mut self,
        name: impl Into<String>,
        count: usize,
        run: impl Fn(Exec<'_>, &mut [T]) -> Result<(), Error> + Send + Sync + 'static,
    ) {
        let name = name.into();
        let panics = name.clone();
        let run = move |exec: Exec<'_>, bytes: &mut [u8]| run(exec, cast_slice_mut(bytes)).expect(&panics);
        self.0.push(Operation { name, bytes: count * size_of::<T>(), run: Box::new(run) });
    }
}

/// Threads that count how often they are called.
struct Counted<'a> {
    threads: &'a dyn Threads,
    calls: &'a AtomicUsize,
}

impl Threads for Counted<'_> {
    fn count(&self) -> usize {
        self.threads.count()
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.threads.run(tasks, task);
    }
}

/// The operations to be tested: in an emulator a few, since memory and threads are no matter of an ISA.
fn tested(isa: Isa) -> impl Iterator<Item = Operation> {
    operations(isa).into_iter().step_by(if emulated() { 11 } else { 1 })
}

/// Every family of operations.
fn operations(isa: Isa) -> Vec<Operation> {
    let mut list = List(Vec::new());
    elementwise(&mut list);
    reductions(&mut list);
    products(&mut list, isa);
    few_bits(&mut list, isa);
    layers(&mut list, isa);
    gradients(&mut list);
    list.0
}

fn elementwise(list: &mut List) {
    let [rows, row] = SHAPE;
    let channel = |shape: &[usize], axis| Granularity::channel(shape, axis).unwrap();
    let granularities = [
        Granularity::Tensor,
        channel(&SHAPE, 0),
        channel(&SHAPE, 1),
        channel(&[rows * row / 3, 3], 1),
        Granularity::block(&SHAPE, 32).unwrap(),
        Granularity::block_along(&SHAPE, 0, 32).unwrap(),
    ];
    for granularity in granularities {
        let groups = granularity.groups(ELEMENTS).unwrap();
        let scales = (0..groups).map(|group| 0.0129 + (group % 100) as f32 * 1e-5).collect::<Vec<_>>();
        let params = move || {
            let codes = CodeRange::unsigned(8).unwrap();
            QuantParams::new(codes, granularity, scales.clone(), vec![117; groups]).unwrap()
        };
        let name = |operation: &str| format!("{operation} {granularity:?}");
        for rounding in [Rounding::Nearest, Stream::new(7).skip(13).unwrap().into()] {
            let p = params();
            list.add(name("quantize"), ELEMENTS, move |exec, out: &mut [u8]| quantize(exec, &X[..], &p, rounding, out));
            let p = params();
            list.add(name("fake-quantize"), ELEMENTS, move |exec, out: &mut [f32]| {
                fake_quantize(exec, &X[..], &p, rounding, out)
            });
            let p = params();
            list.add(name("quantize f16"), ELEMENTS, move |exec, out: &mut [u8]| {
                quantize(exec, Halves::f16(&HALVES), &p, rounding, out)
            });
        }
        let p = params();
        list.add(name("dequantize"), ELEMENTS, move |exec, out: &mut [f32]| dequantize(exec, &CODES[..], &p, out));
        let p = params();
        list.add(name("dequantize to bf16"), ELEMENTS, move |exec, out: &mut [u16]| {
            dequantize(exec, &CODES[..], &p, HalvesMut::bf16(out))
        });
        let p = params();
        list.add(name("straight-through"), ELEMENTS, move |exec, out: &mut [f32]| {
            straight_through(exec, &X[..], &X[..], &p, out)
        });
        let p = params();
        list.add(name("error"), 1, move |exec, out: &mut [f64]| {
            out[0] = quantization_error(exec, &X, &p)?.sse();
            Ok(())
        });
        let scales = vec![0.01; groups];
        let p = Fp8Params::new(Fp8::E4M3, granularity, &scales).unwrap();
        list.add(name("FP8"), ELEMENTS, move |exec, out: &mut [u8]| {
            fp8::encode(exec, &X[..], &p, Rounding::Nearest, out)
        });
    }
    for format in [BlockFormat::Q8_0, BlockFormat::Q4_K, BlockFormat::Q6_K, BlockFormat::MxFp4, BlockFormat::NvFp4] {
        let count = ELEMENTS / 256 * 256;
        let length = format.bytes(count).unwrap();
        let mut encoded = vec![0; length];
        encode_blocks(Isa::best().unwrap(), format, &X[..count], &mut encoded).unwrap();
        list.add(format!("encode {format:?}"), length, move |exec, out: &mut [u8]| {
            encode_blocks(exec, format, &X[..count], out)
        });
        let blocks = encoded.clone();
        list.add(format!("decode {format:?}"), count, move |exec, out: &mut [f32]| {
            decode_blocks(exec, format, &blocks, out)
        });
        let groups = count / format.group_length();
        list.add(format!("split {format:?}"), count + 4 * groups, move |exec, out: &mut [u8]| {
            let (scales, codes) = out.split_at_mut(4 * groups);
            split_blocks(exec, format, &encoded, cast_slice_mut(codes), cast_slice_mut(scales))
        });
    }
}

fn reductions(list: &mut List) {
    list.add("minimum and maximum", 1, move |exec, out: &mut [Range]| {
        out[0] = min_max(exec, &X)?;
        Ok(())
    });
    list.add("words", ELEMENTS, |exec, out: &mut [u32]| random::fill_words(exec, Stream::new(7).skip(5)?, out));
    list.add("uniform values", ELEMENTS, |exec, out: &mut [f32]| random::fill_uniform(exec, Stream::new(7), out));
}

fn products(list: &mut List, isa: Isa) {
    for [m, n, k] in [[1, 2001, 1003], [150, 250, 523]] {
        let (a, b) = (bytes(m * k), bytes(k * n));
        let zero_points: Vec<i32> = (0..n as i32).map(|j| j % 100).collect();
        let b = Matrix::new(&b, k, n).unwrap();
        let packed = raw::pack::<u8, u8>(isa, b, zero_points[..].into()).unwrap();
        let packed = packed.with_accumulator_bias(&vec![3; n]).unwrap();
        let stage = raw::requantize(Rule::Float, &vec![1e-4; n], 3, 0..=255_u8).unwrap();
        let stochastic = stage.stochastic(Stream::new(1)).unwrap();
        let name = |name: &str| format!("{name} of {m} × {n} × {k}");
        let codes = a.clone();
        let weights = packed.clone();
        list.add(name("sums"), m * n, move |exec, out: &mut [i32]| {
            let a = Matrix::new(&codes, m, k)?;
            raw::matmul(exec, a, 9.into(), &weights, &Accumulators, MatrixMut::new(out, m, n)?)
        });
        for stage in [stage, stochastic] {
            let (codes, weights) = (a.clone(), packed.clone());
            list.add(name("codes"), m * n, move |exec, out: &mut [u8]| {
                let (a, rows) = (Matrix::new(&codes, m, k)?, [9; 150]);
                raw::matmul(exec, a, rows[..m].into(), &weights, &stage, MatrixMut::new(out, m, n)?)
            });
        }
        let (codes, whole) = (a.clone(), bytes(k * n));
        list.add(name("transposed sums"), m * n, move |exec, out: &mut [i32]| {
            let b = raw::unpacked_transposed(exec.isa(), Matrix::new(&whole, n, k)?, 7.into())?;
            raw::matmul(exec, Matrix::new(&codes, m, k)?, 9.into(), &b, &Accumulators, MatrixMut::new(out, m, n)?)
        });
        let codes = a.clone();
        let whole = bytes(k * n);
        list.add(name("unpacked sums"), m * n, move |exec, out: &mut [i32]| {
            let b = raw::unpacked(exec.isa(), Matrix::new(&whole, k, n)?, 7.into())?;
            raw::matmul(exec, Matrix::new(&codes, m, k)?, 9.into(), &b, &Accumulators, MatrixMut::new(out, m, n)?)
        });
    }
    let [m, n, k] = [40, 300, 1024];
    let params = |codes| QuantParams::per_tensor(codes, 1e-4, 0).unwrap();
    let (x_params, a) = (params(CodeRange::signed16(16).unwrap()), vec![-200_i16; m * k]);
    let w_params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.01, 0).unwrap();
    let w = vec![-3_i8; k * n];
    let weights = Quantized::new(Matrix::new(&w, n, k).unwrap(), &w_params).unwrap();
    let weights = int16x8::PackedMatrix::pack(isa, weights).unwrap();
    let stage = int16x8::Requantize::new(&weights, &x_params, &x_params, int16x8::Rule::Float).unwrap();
    list.add("int16x8", m * n, move |exec, out: &mut [i16]| {
        let x = Quantized::new(Matrix::new(&a, m, k)?, &x_params)?;
        int16x8::matmul(exec, x, &weights, &stage, MatrixMut::new(out, m, n)?)
    });
}

fn few_bits(list: &mut List, isa: Isa) {
    let [m, n, k] = [67, 200, 1024];
    let codes: Vec<u8> = bytes(n * k).iter().map(|code| code % 4).collect();
    let (scales, offsets) = (vec![0x3c00; n * k / 32], vec![0.5; n * k / 32]);
    let zero_points: Vec<i32> = (0..scales.len() as i32).map(|group| group % 4).collect();
    for bits in [2, 4, 8] {
        let weights = || {
            let codes = Matrix::new(&codes, n, k).unwrap();
            Weights::new(codes, CodeRange::unsigned(bits).unwrap(), 32, Halves::f16(&scales)).unwrap()
        };
        for weights in [weights().with_zero_points(&zero_points).unwrap(), weights().with_offsets(&offsets).unwrap()] {
            let packed = PackedWeights::pack(isa, &weights).unwrap();
            for scheme in [Scheme::SYMMETRIC, Scheme::ASYMMETRIC] {
                let (packed, x) = (packed.clone(), reals(m * k));
                let stage = RealStage::new().with_bias(&vec![1.0; n]).unwrap();
                list.add(format!("groups of {bits} bits"), m * n, move |exec, out: &mut [f32]| {
                    let x = Matrix::new(&x, m, k)?;
                    groups::matmul(exec, &Activations::reals(x, scheme), &packed, &stage, out)
                });
            }
        }
    }
}

const SHAPE_OF_IMAGES: [usize; 4] = [2, 29, 28, 24];

/// A convolution of either kind, of the same images, with `count` results.
fn convolution(
    list: &mut List,
    name: String,
    layer: impl Convolve<u8> + Send + Sync + 'static,
    zero_points: raw::ImageZeroPoints<'static>,
    count: usize,
    stage: &Requantize<u8>,
) {
    let (codes, stage) = (bytes(SHAPE_OF_IMAGES.iter().product()), stage.clone());
    list.add(name, count, move |exec, out: &mut [u8]| {
        let images = raw::Images { codes: &codes, shape: SHAPE_OF_IMAGES, zero_points };
        raw::convolve(exec, &layer, images, &stage, out)
    });
}

fn layers(list: &mut List, isa: Isa) {
    let images = bytes(SHAPE_OF_IMAGES.iter().product());
    let window = Window { stride: [1, 2], padding: [1; 4], ..Window::new([3, 3]) };
    for (outputs, groups) in [(40, 1), (9, 3), (24, 24)] {
        let weights: Vec<i8> = bytes(outputs * 24 / groups * 9).into_iter().map(|code| code as i8).collect();
        let stage = raw::requantize(Rule::Float, &[0.001], 3, 0_u8..=255).unwrap();
        for zero_points in [raw::ImageZeroPoints::PerImage(&[3, 9]), raw::ImageZeroPoints::PerChannel(&[7; 24])] {
            let name = format!("of {groups} groups, {zero_points:?}");
            let shape = [outputs, 24 / groups, 3, 3];
            let layer = raw::conv2d::<u8, i8>(isa, &weights, shape, 0.into(), window, groups).unwrap();
            let layer = layer.with_accumulator_bias(&vec![5; outputs]).unwrap();
            let count = layer.output_shape(SHAPE_OF_IMAGES).unwrap().iter().product();
            convolution(list, format!("convolution {name}"), layer, zero_points, count, &stage);
            let shape = [24, outputs / groups, 3, 3];
            let layer = raw::conv_transpose2d::<u8, i8>(isa, &weights, shape, 0.into(), window, groups).unwrap();
            let layer = layer.with_accumulator_bias(&vec![5; outputs]).unwrap();
            let count = layer.output_shape(SHAPE_OF_IMAGES).unwrap().iter().product();
            convolution(list, format!("transposed convolution {name}"), layer, zero_points, count, &stage);
        }
    }
    let pool = MaxPool2d::new(Window { stride: [2, 2], ..Window::new([2, 2]) });
    let count = pool.output_shape(SHAPE_OF_IMAGES).unwrap().iter().product();
    list.add("max-pooling", count, move |exec, out: &mut [u8]| pool.forward(exec, &images, SHAPE_OF_IMAGES, out));
}

/// Gradients with respect to x, and behind them those of scales.
fn gradients(list: &mut List) {
    let [rows, row] = SHAPE;
    for granularity in [Granularity::Tensor, Granularity::channel(&[rows, row], 1).unwrap()] {
        let groups = granularity.groups(ELEMENTS).unwrap();
        let codes = CodeRange::signed(4).unwrap();
        let params = QuantParams::new(codes, granularity, vec![0.2; groups], vec![1; groups]).unwrap();
        for rounding in [Rounding::Nearest, Stream::new(7).into()] {
            let params = params.clone();
            list.add(format!("gradients {granularity:?}"), ELEMENTS + 2 * groups, move |exec, out: &mut [f32]| {
                let (scales, x) = out.split_at_mut(2 * groups);
                let gradients = Gradients { x, scales: cast_slice_mut(scales), zero_points: None };
                fake_quantize_gradients(exec, &X[..], &X[..], &params, rounding, gradients)
            });
        }
        let clip = ClipBounds::symmetric(granularity, &vec![1.5; groups]).unwrap();
        list.add(format!("clipping {granularity:?}"), ELEMENTS + 2 * groups, move |exec, out: &mut [f32]| {
            let (bounds, x) = out.split_at_mut(2 * groups);
            clip_gradients(exec, &X[..], &X[..], &clip, ClipGradients { x, bounds: cast_slice_mut(bounds) })
        });
    }
}

/// A first call in a workspace of as many bytes as it needs, whatever these contain, allocates nothing.
#[test]
fn memory_of_the_caller() {
    every_isa(|isa| {
        let exec = Exec::from(isa);
        let mut all = 0;
        for operation in tested(isa) {
            let name = format!("{} on {isa}", operation.name);
            let (mut expected, mut memory) = (operation.memory(), operation.memory());
            operation.write(exec, &mut expected);
            let mut unknown = Workspace::new(0).unwrap();
            unknown.scope(|| operation.write(exec, &mut memory));
            assert!(memory == expected, "{name}");
            let needed = unknown.needed();
            all += needed;

            let mut lent = vec![0xff; needed + 63];
            let mut workspace = Workspace::borrowed(&mut lent);
            let before = allocations();
            workspace.scope(|| operation.write(exec, &mut memory));
            assert_eq!(allocations() - before, 0, "{name}");
            assert!(memory == expected, "{name}");
            assert_eq!(workspace.needed(), needed, "{name}");
            assert!(workspace.bytes() >= needed, "{name}");

            // Too little of it costs allocations, and nothing else.
            let mut workspace = Workspace::borrowed(&mut lent[..needed / 2]);
            workspace.scope(|| operation.write(exec, &mut memory));
            assert!(memory == expected, "{name}");
            assert_eq!(workspace.needed(), needed, "{name}");
        }
        assert!(all > 0, "no operation needs memory on {isa}");
    });
}

/// An operation shared by tasks on one thread, one after the other, and on a thread for each.
#[test]
fn tasks_of_a_call() {
    every_isa(|isa| {
        let (mut serial, mut all) = (Vec::new(), 0);
        for operation in tested(isa) {
            let name = format!("{} on {isa}", operation.name);
            let (mut expected, mut memory) = (operation.memory(), operation.memory());
            operation.write(isa.into(), &mut expected);
            for tasks in [0, 1, 3] {
                let mut run = |workspace: &mut Workspace<'_>| {
                    let before = allocations();
                    workspace.scope(|| {
                        let call =
                            SharedCall::new(tasks, |threads| operation.write(Exec::from(isa).on(threads), &mut memory));
                        (0..tasks).for_each(|_| call.run());
                        call.into_result();
                    });
                    assert!(memory == expected, "{name}, {tasks} tasks");
                    allocations() - before
                };
                let mut unknown = Workspace::new(0).unwrap();
                run(&mut unknown);
                let mut workspace = Workspace::new(unknown.needed()).unwrap();
                assert_eq!(run(&mut workspace), 0, "{name}, {tasks} tasks");
            }
            let calls = AtomicUsize::new(0);
            let call = SharedCall::new(3, |threads| {
                let threads = Counted { threads, calls: &calls };
                operation.write(Exec::from(isa).on(&threads), &mut memory);
            });
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| call.run());
                }
            });
            drop(call);
            assert!(memory == expected, "{name}");
            if calls.into_inner() == 0 {
                serial.push(operation.name);
            }
            all += 1;
        }
        assert!(5 * serial.len() < all, "{} of {all} operations on {isa} are too small: {serial:?}", serial.len());
    });
}

/// Whoever comes while a call lasts takes a share of it: there, tasks of their own workspaces need memory.
#[test]
fn tasks_share_the_work() {
    let isa = Isa::best().unwrap();
    let all = operations(isa);
    let operation = all.iter().find(|operation| operation.name.starts_with("sums of 150")).unwrap();
    let mut memory = operation.memory();
    for _ in 0..10_000 {
        let call = SharedCall::new(2, |threads| operation.write(Exec::from(isa).on(threads), &mut memory));
        let both = Barrier::new(2);
        let task = || {
            let mut workspace = Workspace::new(0).unwrap();
            both.wait();
            workspace.scope(|| call.run());
            workspace.needed()
        };
        let needed = thread::scope(|scope| {
            let other = scope.spawn(task);
            [task(), other.join().unwrap()]
        });
        if needed.iter().all(|&bytes| bytes > 0) {
            return;
        }
    }
    panic!("one thread did all the work, every time");
}

/// A shared call keeps the contract of [`Threads`]: every task once, whoever comes.
#[test]
fn every_task_once() {
    for helpers in 0..3 {
        let counts: Vec<AtomicUsize> = (0..10).map(|_| AtomicUsize::new(0)).collect();
        let call = SharedCall::new(3, |threads| {
            assert_eq!(threads.count(), 3);
            for tasks in [0, 1, 3, 10] {
                threads.run(tasks, &|i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        thread::scope(|scope| {
            (0..helpers).for_each(|_| drop(scope.spawn(|| call.run())));
            call.run();
        });
        call.into_result();
        let counts: Vec<usize> = counts.into_iter().map(AtomicUsize::into_inner).collect();
        assert_eq!(counts, [3, 2, 2, 1, 1, 1, 1, 1, 1, 1]);
    }
}

/// Tasks that share work of their own, on several threads at once: those who could help are in tasks already.
#[test]
fn tasks_in_tasks() {
    for _ in 0..20 {
        let counts: Vec<AtomicUsize> = (0..20).map(|_| AtomicUsize::new(0)).collect();
        let count = |i: usize| {
            counts[i].fetch_add(1, Ordering::Relaxed);
        };
        let inside = AtomicUsize::new(0);
        let call = SharedCall::new(2, |threads| {
            threads.run(4, &|i| {
                // Until another thread is in a task, too, or seems not to come.
                inside.fetch_add(1, Ordering::Relaxed);
                let began = Instant::now();
                while inside.load(Ordering::Relaxed) < 2 && began.elapsed() < Duration::from_millis(10) {
                    thread::yield_now();
                }
                threads.run(5, &|j| count(5 * i + j));
            });
            threads.run(20, &count);
        });
        thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(|| call.run()))));
        call.into_result();
        assert!(counts.into_iter().all(|count| count.into_inner() == 2));
    }
}

/// A panic belongs to the task that began the operation; the others return.
#[test]
fn panics_of_shared_calls() {
    let call = SharedCall::new(3, |_| -> () { panic!("of the operation") });
    let panics = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call.run())) {
                    assert_eq!(panic.downcast_ref(), Some(&"of the operation"));
                    *panics.lock().unwrap() += 1;
                }
            });
        }
    });
    assert_eq!(panics.into_inner().unwrap(), 1);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call.into_result())).is_err());
}

/// A panic inside a scope gives the thread its own memory back.
#[test]
fn panics_in_a_scope() {
    let x = reals(1000);
    let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.1, 3).unwrap();
    let stochastic = || {
        let mut codes = vec![0_u8; x.len()];
        quantize(Isa::best().unwrap(), &x, &params, Stream::new(3), &mut codes).unwrap();
        codes
    };
    let mut workspace = Workspace::new(1 << 16).unwrap();
    let expected = stochastic();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        workspace.scope(|| {
            let mut inner = Workspace::new(0).unwrap();
            inner.scope(|| assert_eq!(stochastic(), expected));
            assert_eq!(stochastic(), expected);
            panic!("inside")
        })
    }));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"inside"));
    drop(workspace);
    assert_eq!(stochastic(), expected);
}

/// Tasks of a rayon pool, each of which holds a lock during calls that share their work in that pool: whoever waited inside such a
/// call by running other tasks would meet its own lock.
#[cfg(feature = "rayon")]
#[test]
fn inside_a_lock_of_a_pool() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let isa = Isa::best().unwrap();
    let all = operations(isa);
    let (lock, mut expected) = (Mutex::new(()), all[0].memory());
    all[0].write(isa.into(), &mut expected);
    pool.scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|_| {
                let _held = lock.lock().unwrap();
                let mut memory = all[0].memory();
                all[0].write(Exec::from(isa).rayon(), &mut memory);
                assert!(memory == expected);
            });
        }
    });
    // And the tasks of a shared call in a pool.
    let mut memory = all[0].memory();
    let call = SharedCall::new(3, |threads| all[0].write(Exec::from(isa).on(threads), &mut memory));
    pool.scope(|scope| (0..3).for_each(|_| scope.spawn(|_| call.run())));
    drop(call);
    assert!(memory == expected);
}
