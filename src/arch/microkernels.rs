//! From a dot-product instruction to the micro-kernels of an ISA.

/// `microkernels! { Token = "isa", Dot: |a_signed| dot, "features", [a b, …], tiles {…}, unpacked {…} }`: the micro-kernels
/// of a token, whose tiles run the dot-product instruction `dot` on left operands that are signed or not.
///
/// `a b` are the operand types that the instruction multiplies: `u8 b, i8 b` for a micro-kernel for each sign of A, or
/// `i16 b` for one that serves both, whose A is widened, and left operands of i16 too; `only i16 b` for one that serves these
/// beside others. Sizes of tiles are given as `[vectors …] x [rows …]`.
macro_rules! microkernels {
    (
        $Token:ident = $isa:literal, $Dot:ty: |$a_signed:ident| $dot:expr, $($features:literal,)? [$($kernels:tt)+],
        tiles $tiles:tt, unpacked $unpacked:tt
    ) => {
        const _: () = {
            use $crate::matmul::dot::{Dot, dot_tile, dot_tile_unpacked, lanes};
            use $crate::matmul::tile::{Microkernel, Name, Operands, Tile, UnpackedOperands, UnpackedTile};
            use $crate::sign::Sign;

            /// # Safety
            /// The requirements of [`Tile`].
            $( #[target_feature(enable = $features)] )?
            unsafe fn tile<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: Operands<'_>) {
                let $a_signed = A_SIGNED;
                // SAFETY: the requirements are those of a tile of this size; the features are enabled.
                unsafe { dot_tile($dot, [ROWS, VECTORS], operands) }
            }

            /// # Safety
            /// The requirements of [`UnpackedTile`].
            $( #[target_feature(enable = $features)] )?
            unsafe fn unpacked<const A_SIGNED: bool, const ROWS: usize, const VECTORS: usize>(operands: UnpackedOperands) {
                let $a_signed = A_SIGNED;
                // SAFETY: the requirements are those of a tile of this size; the features are enabled.
                unsafe { dot_tile_unpacked($dot, [ROWS, VECTORS], operands) }
            }

            microkernels! { @kernels $Token, $isa, $Dot, [$($kernels)+], $tiles, $unpacked }
        };
    };
    (@kernels $Token:ident, $isa:literal, $Dot:ty, [i16 $b:ident], $tiles:tt, $unpacked:tt) => {
        microkernels! { @kernel KERNEL, $isa, $Dot, i16 $b, $tiles, $unpacked }

        impl $Token {
            /// The micro-kernel, which serves left operands of both signs.
            pub fn microkernel(self, _: Sign) -> &'static Microkernel {
                KERNEL
            }

            /// The micro-kernel for left operands of i16.
            pub fn microkernel_i16(self) -> &'static Microkernel {
                KERNEL
            }
        }
    };
    (@kernels $Token:ident, $isa:literal, $Dot:ty, [only i16 $b:ident], $tiles:tt, $unpacked:tt) => {
        microkernels! { @kernel KERNEL, $isa, $Dot, i16 $b, $tiles, $unpacked }

        impl $Token {
            /// The micro-kernel for left operands of i16.
            pub fn microkernel_i16(self) -> &'static Microkernel {
                KERNEL
            }
        }
    };
    (@kernels $Token:ident, $isa:literal, $Dot:ty, [u8 $b:ident, i8 $also_b:ident], $tiles:tt, $unpacked:tt) => {
        microkernels! { @kernel KERNEL_U8, $isa, $Dot, u8 $b, $tiles, $unpacked }
        microkernels! { @kernel KERNEL_I8, $isa, $Dot, i8 $also_b, $tiles, $unpacked }

        impl $Token {
            /// The micro-kernel for left operands of a sign.
            pub fn microkernel(self, a: Sign) -> &'static Microkernel {
                match a {
                    Sign::Unsigned => KERNEL_U8,
                    Sign::Signed => KERNEL_I8,
                }
            }
        }
    };
    (@kernel $KERNEL:ident, $isa:literal, $Dot:ty, $a:ident $b:ident, $tiles:tt, $unpacked:tt) => {
        // (A constant, since the tiles of a static are compiled even where nothing refers to it.)
        const $KERNEL: &Microkernel = {
            const TILES: &[&[Tile]] = microkernels!(@table tile, $a, $tiles);
            const UNPACKED: &[&[UnpackedTile]] = microkernels!(@table unpacked, $a, $unpacked);
            const SIZE: [usize; 2] = [TILES[0].len(), UNPACKED.len() * lanes::<$Dot>()];
            static NAME: Name =
                Name::new(concat!(stringify!($a), stringify!($b)), SIZE, <$Dot as Dot>::DEPTH, $isa);
            &Microkernel {
                name: NAME.as_str(),
                depth: <$Dot as Dot>::DEPTH,
                lanes: lanes::<$Dot>(),
                b_sign: microkernels!(@sign $b),
                widen_a: microkernels!(@widened $a),
                tiles: TILES,
                unpacked_tiles: UNPACKED,
            }
        };
    };
    (@sign u8) => { Sign::Unsigned };
    (@sign i8) => { Sign::Signed };
    (@widened i16) => { true };
    (@widened $eight_bits:ident) => { false };
    (@signed u8) => { false };
    (@signed $other:ident) => { true };
    (@table $tile:ident, $a:ident, { $([$($v:literal)+] x $rows:tt),+ }) => {
        microkernels!(@widths $tile, $a, $($($v $rows)+)+)
    };
    (@widths $tile:ident, $a:ident, $($v:literal $rows:tt)+) => { &[$( microkernels!(@heights $tile, $a, $v $rows) ),+] };
    (@heights $tile:ident, $a:ident, $v:literal [$($r:literal)+]) => { &[$( microkernels!(@size $tile, $a, $v $r) ),+] };
    (@size $tile:ident, $a:ident, $v:literal $r:literal) => { $tile::<{ microkernels!(@signed $a) }, $r, $v> };
}

/// `scalar_kernels! { Token = "isa", "features" }`: all micro-kernels of a token, with the products of the scalar ISA: those of
/// 8 bits, of i16 by i8, and of weights in groups; and the kernel of distances.
macro_rules! scalar_kernels {
    ($Token:ident = $isa:literal $(, $features:literal)?) => {
        microkernels! {
            $Token = $isa, $crate::arch::scalar::Product: |a_signed| $crate::arch::scalar::Product { a_signed },
            $($features,)? [u8 i8, i8 i8], tiles { [1] x [1 2 3 4] }, unpacked { [1] x [1 2 3 4] }
        }

        microkernels! {
            $Token = $isa, $crate::arch::scalar::WideProduct: |_signed| $crate::arch::scalar::WideProduct,
            $($features,)? [only i16 i8], tiles { [1] x [1] }, unpacked { [1] x [1] }
        }

        group_kernels! {
            $Token, $($features,)? [1] x [1 2 3 4],
            $crate::arch::scalar::Product = $crate::arch::scalar::Product { a_signed: true }, [i8 i8]
        }

        distance_kernel! {
            $Token, $($features,)? |_| $crate::arch::scalar::Scalar::witness(), $crate::arch::scalar::Scalar::witness(),
            $crate::arch::scalar::Scalar::witness()
        }
    };
}
