//! The backward pass of fake-quantization and clipping equals its formulas on every ISA, bit for bit, for any threads and any
//! layout of its operands; and these formulas are the derivatives of what they say.

#[cfg(feature = "rayon")]
use crate::common::slowest_and_fastest;
use crate::common::{Ranges, bits, every_isa, granularities, guarded, reals, reals_within, streams, tensors};
use proptest::prelude::*;
use zeropoint::training::{
    ClipBounds, ClipGradients, Gradients, clip_gradients, clip_gradients_in_place, fake_quantize_gradients,
    fake_quantize_gradients_in_place,
};
use zeropoint::{Code, CodeRange, Exec, Granularity, QuantParams, Rounding, Stream, reference, straight_through};

/// The bits, so that NaN equals itself and −0 differs from 0.
fn bits64(x: &[f64]) -> Vec<u64> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// The gradients of x, scales and zero points, which operations without zero points agree with, and the one in place.
fn all_gradients<'t, C: Code>(
    exec: impl Into<Exec<'t>>,
    x: &[f32],
    gradient: &[f32],
    params: &QuantParams<C>,
    rounding: Rounding,
) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
    let exec = exec.into();
    let groups = params.scales().len();
    let (mut scales, mut zero_points) = (vec![7.0; groups], vec![7.0; groups]);
    let of_x = guarded(x.len(), 3, 7.5, |out| {
        let gradients = Gradients { x: out, scales: &mut scales, zero_points: Some(&mut zero_points) };
        fake_quantize_gradients(exec, x, gradient, params, rounding, gradients).unwrap();
    });
    let (mut place, mut in_place) = (gradient.to_vec(), vec![7.0; groups]);
    let gradients = Gradients { x: &mut place, scales: &mut in_place, zero_points: None };
    fake_quantize_gradients_in_place(exec, x, params, rounding, gradients).unwrap();
    assert_eq!((bits(&place), bits64(&in_place)), (bits(&of_x), bits64(&scales)), "{exec:?}");
    (of_x, scales, zero_points)
}

fn equal((x, scales, zero_points): &(Vec<f32>, Vec<f64>, Vec<f64>), want: &(Vec<f32>, Vec<f64>, Vec<f64>), what: &str) {
    assert_eq!(bits(x), bits(&want.0), "{what}");
    assert_eq!(bits64(scales), bits64(&want.1), "scales {what}: {scales:?}, not {:?}", want.1);
    assert_eq!(bits64(zero_points), bits64(&want.2), "zero points {what}");
}

fn everything_equals_reference<C: Ranges>(x: &[f32], gradient: &[f32], params: &QuantParams<C>, stream: Stream) {
    for rounding in [Rounding::Nearest, stream.into()] {
        let want = reference::fake_quantize_gradients(x, gradient, params, rounding);
        every_isa(|isa| {
            equal(&all_gradients(isa, x, gradient, params, rounding), &want, &format!("{isa} {rounding:?}"))
        });
    }
}

/// A tensor with parameters and an incoming gradient, finite for the most part.
fn passes<C: Ranges>() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, QuantParams<C>, Stream)> {
    tensors::<C>().prop_flat_map(|(x, params)| {
        let (length, finite) = (x.len(), prop::collection::vec(-10_f32..10.0, x.len()));
        let gradient = prop_oneof![3 => finite, 1 => prop::collection::vec(reals(0.01), length)];
        (Just(x), gradient, Just(params), streams(length))
    })
}

/// A tensor with clipping bounds and an incoming gradient.
fn clips() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, ClipBounds)> {
    (granularities(), any::<bool>()).prop_flat_map(|((granularity, length), symmetric)| {
        let groups = granularity.groups(length).unwrap();
        // Values that are bounds, and their neighbours.
        let bound = prop_oneof![1 => prop::sample::select(vec![2.5_f32, 0.5, f32::MAX]), 1 => 0.1_f32..300.0];
        let clip = prop::collection::vec(bound, groups).prop_map(move |bounds| {
            let clip = if symmetric { ClipBounds::symmetric } else { ClipBounds::one_sided };
            clip(granularity, &bounds).unwrap()
        });
        let finite = prop::collection::vec(-10_f32..10.0, length);
        let gradient = prop_oneof![3 => finite, 1 => prop::collection::vec(reals(0.01), length)];
        (prop::collection::vec(reals_within(1.0, 4), length), gradient, clip)
    })
}

proptest! {
    #![proptest_config(crate::common::cases(300))]

    #[test]
    fn unsigned((x, gradient, params, stream) in passes::<u8>()) {
        everything_equals_reference(&x, &gradient, &params, stream);
    }

    #[test]
    fn signed((x, gradient, params, stream) in passes::<i8>()) {
        everything_equals_reference(&x, &gradient, &params, stream);
    }

    #[test]
    fn wide((x, gradient, params, stream) in passes::<u16>(), (y, of_y, signed, of_signed) in passes::<i16>()) {
        everything_equals_reference(&x, &gradient, &params, stream);
        everything_equals_reference(&y, &of_y, &signed, of_signed);
    }

    /// x has the bytes of the straight-through gradient, which is given where its scale is learned and where it is not.
    #[test]
    fn gradients_of_x_are_straight_through((x, gradient, params, stream) in passes::<i8>()) {
        every_isa(|isa| {
            let mut want = vec![0.0; x.len()];
            straight_through(isa, &x, &gradient, &params, &mut want).unwrap();
            for rounding in [Rounding::Nearest, stream.into()] {
                assert_eq!(bits(&all_gradients(isa, &x, &gradient, &params, rounding).0), bits(&want), "{isa}");
            }
        });
    }

    #[test]
    fn clipping((x, gradient, clip) in clips()) {
        let want = reference::clip_gradients(&x, &gradient, &clip);
        every_isa(|isa| {
            let mut bounds = vec![7.0; clip.bounds().len()];
            let of_x = guarded(x.len(), 1, 7.5, |out| {
                clip_gradients(isa, &x, &gradient, &clip, ClipGradients { x: out, bounds: &mut bounds }).unwrap();
            });
            assert_eq!((bits(&of_x), bits64(&bounds)), (bits(&want.0), bits64(&want.1)), "{isa}");
            let mut place = gradient.clone();
            bounds.fill(7.0);
            clip_gradients_in_place(isa, &x, &clip, ClipGradients { x: &mut place, bounds: &mut bounds }).unwrap();
            assert_eq!((bits(&place), bits64(&bounds)), (bits(&want.0), bits64(&want.1)), "in place {isa}");
        });
    }
}

/// Tensors of several chunks, whose groups are cut by them in every way: by tensor, channels of one element and of many, more
/// channels than a chunk has elements, blocks with and without a shorter last one, and blocks along an outer axis, of few long
/// rows and many short ones.
fn large() -> Vec<(Granularity, usize)> {
    let shapes: [(&[usize], usize, usize); 11] = [
        (&[40_000], usize::MAX, 0),
        (&[9_000, 5], 1, 0),
        (&[500, 100], 1, 0),
        (&[3, 17_001], 1, 0),
        (&[5, 3, 2_777], 1, 0),
        (&[3_001, 7, 2], 1, 0),
        (&[7, 6_001], 1, 32),
        (&[2, 20_000], 1, 17_000),
        (&[70, 640], 0, 32),
        (&[20_000, 2], 0, 3),
        (&[2, 9, 2_500], 1, 4),
    ];
    let granularity = |(shape, axis, length): (&[usize], usize, usize)| match (axis, length) {
        (usize::MAX, _) => Granularity::Tensor,
        (axis, 0) => Granularity::channel(shape, axis).unwrap(),
        (axis, length) => Granularity::block_along(shape, axis, length).unwrap(),
    };
    let longer_than_a_chunk = (Granularity::block_along(&[3, 16_500], 0, 2).unwrap(), 3 * 16_500);
    shapes
        .map(|shape| (granularity(shape), shape.0.iter().product()))
        .into_iter()
        .chain([longer_than_a_chunk])
        .collect()
}

/// Values, a gradient, and parameters that clamp some of them.
fn large_pass(granularity: Granularity, length: usize) -> (Vec<f32>, Vec<f32>, QuantParams<i8>) {
    let mut words = vec![0.0; 2 * length];
    zeropoint::random::fill_uniform(Exec::best().unwrap(), Stream::new(length as u64), &mut words).unwrap();
    words.iter_mut().for_each(|x| *x = *x * 2.0 - 1.0);
    let gradient = words.split_off(length);
    let groups = granularity.groups(length).unwrap();
    let scales = (0..groups).map(|group| 0.005 + (group % 7) as f32 * 0.001).collect();
    let zero_points = (0..groups).map(|group| (group % 19) as i32 - 9).collect();
    (words, gradient, QuantParams::new(CodeRange::signed(8).unwrap(), granularity, scales, zero_points).unwrap())
}

#[test]
fn chunks() {
    for (granularity, length) in large() {
        let (x, gradient, params) = large_pass(granularity, length);
        for rounding in [Rounding::Nearest, Stream { seed: 1, offset: 77 }.into()] {
            let want = reference::fake_quantize_gradients(&x, &gradient, &params, rounding);
            every_isa(|isa| {
                let what = format!("{isa} {granularity:?} {rounding:?}");
                equal(&all_gradients(isa, &x, &gradient, &params, rounding), &want, &what);
            });
        }
    }
}

/// Any number of threads, each with other chunks.
#[cfg(feature = "rayon")]
#[test]
fn threads() {
    for threads in [2, 3, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for (granularity, length) in large() {
            // (Enough for helpers to be woken.)
            let length = length * 25;
            let (x, gradient, params) = large_pass(granularity, length);
            for rounding in [Rounding::Nearest, Stream::new(3).into()] {
                slowest_and_fastest(|isa| {
                    let exec = Exec::from(isa);
                    let want = all_gradients(exec, &x, &gradient, &params, rounding);
                    let all = pool.install(|| all_gradients(exec.rayon(), &x, &gradient, &params, rounding));
                    equal(&all, &want, &format!("{isa} {granularity:?} {threads} threads"));
                });
            }
        }
    }
}
