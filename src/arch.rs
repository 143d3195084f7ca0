//! One ISA, one file: a token that proves the CPU has it, its vectors ([`Simd`](crate::simd::Simd)), and its matmul
//! micro-kernel. Intrinsics and `asm!` appear here and nowhere else, but for prefetches.
//!
//! A tier that adds instructions to another (VNNI to AVX-512, `sdot` to NEON) holds that other's token, uses its
//! vectors and brings only a micro-kernel. What both tiers with VNNI share is in `vnni.rs`.
//!
//! A new ISA is right before it is fast:
//!
//! 1. A file here with its `mod` and `pub use` below: a `token!`, the required operations of [`Simd`](crate::simd::Simd),
//!    and empty implementations of the other traits of [`Vectors`](crate::kernel::Vectors). `simd/tests/minimal.rs` is the list
//!    of both; `neon.rs` shows how sixteen lanes in several registers are written, `avx512.rs` in one.
//! 2. The micro-kernels of the scalar ISA, compiled with its features and under its name:
//!    `scalar_kernels! { Sse41 = "sse41", "sse4.1" }`.
//! 3. A line in `isa.rs`, before [`Portable`] until it is measured to be faster: the last one that the CPU has is the best.
//! 4. Its name where tests expect it: with its CPU flags in `promised` of `tests/suite/isa.rs`, in `.ci/run` for the emulated
//!    CPUs that have it, and in the README's table; and a number of its own in `capi/src/exec.rs`.
//!
//! Then every operation works, and whatever a measurement asks for replaces its default.

/// `token!(Name, detect_macro, ["feature", …], "feature,…")`: a zero-sized proof that the CPU has these features.
/// `token!(Name: Base, …)` is a tier: the base's token inside, the base's vectors, and the right to more instructions.
///
/// `detect` is the only way to one; `covered` makes the compiler check that the detected list holds every feature that
/// `witness` and `enter` are compiled with, so that the two lists cannot drift apart.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! token {
    ($(#[$doc:meta])* $Name:ident, $detected:ident, [$($feature:tt),+], $features:literal) => {
        token! { @proof $(#[$doc])* $Name(()), (), $detected, [$($feature),+], $features }

        impl $Name {
            /// Runs a kernel compiled with the features.
            #[inline]
            pub fn enter<K: $crate::kernel::Kernel>(self, kernel: K) -> K::Output {
                #[target_feature(enable = $features)]
                fn enter<K: $crate::kernel::Kernel>(kernel: K) -> K::Output {
                    kernel.run($Name::witness())
                }
                // SAFETY: `self` exists only where the CPU has the features.
                unsafe { enter(kernel) }
            }
        }

        impl $crate::kernel::Outline for $Name {
            #[inline(always)]
            fn outlined<K: $crate::kernel::Kernel>(self, kernel: K) -> K::Output {
                self.enter(kernel)
            }
        }
    };
    ($(#[$doc:meta])* $Name:ident: $Base:ident, $detected:ident, [$($feature:tt),+], $features:literal) => {
        token! { @proof $(#[$doc])* $Name($Base), $Base::witness(), $detected, [$($feature),+], $features }

        impl $Name {
            /// Runs a kernel on the base's vectors.
            #[inline]
            pub fn enter<K: $crate::kernel::Kernel>(self, kernel: K) -> K::Output {
                self.0.enter(kernel)
            }
        }
    };
    (@proof $(#[$doc:meta])* $Name:ident($Inner:ty), $inner:expr, $detected:ident, [$($feature:tt),+], $features:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $Name($Inner);

        impl $Name {
            /// The token, for functions that are compiled with its features.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) const fn witness() -> Self {
                $Name($inner)
            }

            /// The token, if the CPU has the features.
            pub fn detect() -> Option<Self> {
                $( #[target_feature(enable = $feature)] )+
                fn covered() -> $Name {
                    $Name::witness()
                }
                let detected = true $( && std::arch::$detected!($feature) )+;
                // SAFETY: every feature that `covered` enables was just detected.
                detected.then(|| unsafe { covered() })
            }
        }
    };
}

/// Methods of a type that holds a token: safe bodies compiled with the token's features, each in an `inline(always)` method
/// for generic callers (one function cannot have both attributes). `name[N]` is generic over an immediate,
/// `const N: i32`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! ops {
    ($features:literal $( $vis:vis fn $name:ident $([$N:ident])? ($($arg:ident: $Arg:ty),*) $(-> $Out:ty)? $body:block )*) => { $(
        #[inline(always)]
        $vis fn $name $(<const $N: i32>)? (self, $($arg: $Arg),*) $(-> $Out)? {
            #[inline]
            #[target_feature(enable = $features)]
            fn op $(<const $N: i32>)? ($($arg: $Arg),*) $(-> $Out)? $body
            // SAFETY: `self` exists only where the CPU has the features.
            unsafe { op $(::<$N>)? ($($arg),*) }
        }
    )* };
}

/// [`ops!`] on every register of a block: `register_ops! { "feature,…", N fn name(a: Register) -> Register { … } }` declares
/// a method of `[Register; N]`, for N of 2 or 4.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! register_ops {
    (
        $features:literal, $N:tt
        $( fn $name:ident $([$I:ident])? ($($arg:ident: $Arg:ty),*) -> $Out:ty $body:block )*
    ) => { $(
        #[inline(always)]
        fn $name $(<const $I: i32>)? (self, $($arg: [$Arg; $N]),*) -> [$Out; $N] {
            #[inline]
            #[target_feature(enable = $features)]
            fn op $(<const $I: i32>)? ($($arg: $Arg),*) -> $Out $body
            // SAFETY: `self` exists only where the CPU has the features.
            unsafe { register_ops!(@each $N, op $(::<$I>)?, $($arg),*) }
        }
    )* };
    (@each 2, $op:expr, $($arg:ident),*) => { [$op($($arg[0]),*), $op($($arg[1]),*)] };
    (@each 4, $op:expr, $($arg:ident),*) => {
        [$op($($arg[0]),*), $op($($arg[1]),*), $op($($arg[2]),*), $op($($arg[3]),*)]
    };
}

#[macro_use]
mod distance_kernel;
#[macro_use]
mod group_kernels;
#[macro_use]
mod microkernels;

mod portable;
#[cfg_attr(not(feature = "scalar"), allow(dead_code, reason = "`portable` has some of it"))]
mod scalar;
pub use portable::Portable;
#[cfg(feature = "scalar")]
pub use scalar::Scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "x86_64")]
mod byte_products;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg(target_arch = "x86_64")]
pub use {avx2::Avx2, avx512::Avx512, avx512vnni::Avx512Vnni, avxvnni::AvxVnni};

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_dotprod;
#[cfg(target_arch = "aarch64")]
mod neon_i8mm;
#[cfg(target_arch = "aarch64")]
pub use {neon::Neon, neon_dotprod::NeonDotprod, neon_i8mm::NeonI8mm};
