//! Every operation of every ISA, and every default, against the scalar expression that documents it, over all pairs of
//! values that hurt.

use core::array::from_fn;
use core::fmt::Debug;
use core::marker::PhantomData;

use self::minimal::Minimal;
use super::walk::block;
use super::{LANES, Simd};
use crate::Isa;
use crate::kernel::{Kernel, Vectors};

mod core_operations;
mod extensions;
pub(crate) mod minimal;
mod quads;
mod walks;

/// NaN and infinities of both signs, zeros, subnormal and extreme values, ties, and values on both sides of code ranges.
const F32S: [f32; 32] = [
    f32::NAN,
    -f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    0.5,
    -0.5,
    1.5,
    -1.5,
    2.5,
    -2.5,
    0.499_999_97,
    -0.499_999_97,
    126.5,
    127.5,
    -127.5,
    -128.5,
    255.5,
    1.0,
    -1.0,
    3.0,
    0.1,
    4_194_303.5,
    -4_194_303.5,
    5.0 / 255.0,
    1e30,
];

/// Both ends of every width of integer, values that an f32 rounds, and patterns of bits.
const I32S: [i32; 32] = [
    0,
    1,
    -1,
    2,
    -2,
    127,
    128,
    -127,
    -128,
    -129,
    255,
    256,
    32_767,
    32_768,
    -32_768,
    -32_769,
    65_535,
    16_777_216,
    16_777_217,
    -16_777_217,
    33_554_431,
    1 << 30,
    -(1 << 30),
    i32::MAX,
    i32::MIN,
    i32::MAX - 1,
    i32::MIN + 1,
    7,
    1_000_003,
    -1_000_003,
    0x5555_5555,
    -0x5555_5556,
];

/// The integers of [`I32S`], and 192 others.
fn many_i32s() -> Vec<i32> {
    I32S.into_iter().chain((-100..92).map(|i: i32| i.wrapping_mul(77_777_777))).collect()
}

/// Finite values below 2²² in magnitude, as roundings take them.
fn small_f32s() -> Vec<f32> {
    F32S.into_iter().filter(|x| x.abs() < 4_194_304.0).collect()
}

/// Runs a kernel on every ISA of this CPU, and on [`Minimal`] vectors: with every default.
fn on_each_isa<K: Kernel>(kernel: impl Fn() -> K, mut check: impl FnMut(&str, K::Output)) {
    for isa in Isa::supported() {
        check(isa.name(), isa.run(kernel()));
    }
    check("minimal", kernel().run(Minimal::new()));
}

fn pairs<T: Copy, U: Copy>(a: &[T], b: &[U]) -> Vec<(T, U)> {
    a.iter().flat_map(|&a| b.iter().map(move |&b| (a, b))).collect()
}

/// What a lane holds, and how it gets there.
trait Lane: Copy + Default + Debug + PartialEq {
    type Vector<S: Simd>: Copy;
    fn load<S: Simd>(simd: S, x: &[Self; LANES]) -> Self::Vector<S>;
    fn store<S: Simd>(simd: S, a: Self::Vector<S>, out: &mut [Self; LANES]);
    /// The bits, so that −0 is not 0.
    fn bits(self) -> i64;
}

macro_rules! lane {
    ($T:ty, $Vector:ident, $load:ident, $store:ident, $bits:expr) => {
        impl Lane for $T {
            type Vector<S: Simd> = S::$Vector;
            #[inline(always)]
            fn load<S: Simd>(simd: S, x: &[Self; LANES]) -> S::$Vector {
                simd.$load(x)
            }
            #[inline(always)]
            fn store<S: Simd>(simd: S, a: S::$Vector, out: &mut [Self; LANES]) {
                simd.$store(a, out);
            }
            fn bits(self) -> i64 {
                $bits(self).into()
            }
        }
    };
}
lane!(f32, F32, load_f32, store_f32, f32::to_bits);
lane!(i32, I32, load_i32, store_i32, i32::from);
lane!(u8, I32, load_u8, store_u8, i32::from);
lane!(i8, I32, load_i8, store_i8, i32::from);

/// An operation on sixteen values of two inputs.
trait Operation<T, U, V> {
    fn apply<S: Vectors>(&self, simd: S, a: &[T; LANES], b: &[U; LANES], out: &mut [V; LANES]);
}

/// The kernel that applies an operation to all pairs of values.
struct Each<'a, T, U, V, F> {
    pairs: &'a [(T, U)],
    operation: F,
    out: PhantomData<V>,
}

impl<'a, T, U, V, F> Each<'a, T, U, V, F> {
    fn new(pairs: &'a [(T, U)], operation: F) -> Self {
        Each { pairs, operation, out: PhantomData }
    }
}

impl<T: Copy + Default, U: Copy + Default, V: Copy + Default, F: Operation<T, U, V>> Kernel for Each<'_, T, U, V, F> {
    type Output = Vec<V>;
    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) -> Vec<V> {
        let (a, b): (Vec<T>, Vec<U>) = self.pairs.iter().copied().unzip();
        let mut out = Vec::new();
        for start in (0..a.len()).step_by(LANES) {
            let mut lanes = [V::default(); LANES];
            self.operation.apply(simd, &block(&a, start), &block(&b, start), &mut lanes);
            out.extend_from_slice(&lanes[..LANES.min(a.len() - start)]);
        }
        out
    }
}

/// `operation!(pairs, |simd, a: f32, b: f32| -> f32 { vector expression }, scalar expression)`: any NaN equals any other.
macro_rules! operation {
    ($pairs:expr, |$simd:ident, $a:ident: $T:ty, $b:ident: $U:ty| -> $V:ty $vector:block, $scalar:expr) => {{
        struct Op;
        impl Operation<$T, $U, $V> for Op {
            #[inline(always)]
            #[allow(unused_variables, reason = "some operations take one operand")]
            fn apply<S: Vectors>(&self, $simd: S, a: &[$T; LANES], b: &[$U; LANES], out: &mut [$V; LANES]) {
                let ($a, $b) = (<$T>::load($simd, a), <$U>::load($simd, b));
                <$V>::store($simd, $vector, out);
            }
        }
        #[allow(unused_variables, reason = "some operations take one operand")]
        fn scalar($a: $T, $b: $U) -> $V {
            $scalar
        }
        let pairs: Vec<($T, $U)> = $pairs;
        on_each_isa(
            || Each::new(&pairs, Op),
            |isa, all| {
                for (&(a, b), out) in pairs.iter().zip(all) {
                    let want = scalar(a, b);
                    #[allow(clippy::eq_op, clippy::float_cmp, reason = "NaN")]
                    let same = want.bits() == out.bits() || (want != want && out != out);
                    assert!(same, "{isa}: {} of {a:?}, {b:?} is {out:?}, not {want:?}", stringify!($vector));
                }
            },
        );
    }};
}
use operation;
