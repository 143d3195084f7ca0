//! From dot-product instructions to the micro-kernels of weights in groups.

/// `group_kernels! { Token, "features", [vectors …] x [rows …], Dot = dot, [a w] }`: the micro-kernels of a token whose
/// instruction multiplies codes of all bits; those of two and four bits are unpacked to bytes for tall products.
/// `[…], two Dot = dot, four …, six …, [a w], eight …, [a w]` where there are instructions for up to two, four, six and eight
/// bits.
///
/// `a w` are the operand types that the instruction multiplies; A is `i8`, or `i16` where it is widened.
macro_rules! group_kernels {
    ($Token:ident, $($features:literal,)? [$($widths:tt)+] x $rows:tt, $Dot:ty = $dot:expr, $types:tt) => {
        group_kernels! {
            @kernels $Token, [$($features)?], [$($widths)+] $rows, SIX = EIGHT,
            TWO: $Dot = $dot, $types, 2, Some(&EIGHT);
            FOUR: $Dot = $dot, $types, 4, Some(&EIGHT);
            EIGHT: $Dot = $dot, $types, 8, None;
        }
    };
    (
        $Token:ident, $($features:literal,)? [$($widths:tt)+] x $rows:tt,
        two $Two:ty = $two:expr, four $Four:ty = $four:expr, six $Six:ty = $six:expr, $few:tt,
        eight $Eight:ty = $eight:expr, $types:tt
    ) => {
        group_kernels! {
            @kernels $Token, [$($features)?], [$($widths)+] $rows, SIX = SIX,
            TWO: $Two = $two, $few, 2, None;
            FOUR: $Four = $four, $few, 4, None;
            SIX: $Six = $six, $few, 8, None;
            EIGHT: $Eight = $eight, $types, 8, None;
        }
    };
    (
        @kernels $Token:ident, $features:tt, $widths:tt $rows:tt, SIX = $six:ident,
        $( $KERNEL:ident: $Dot:ty = $dot:expr, $types:tt, $bits:literal, $unpacked:expr; )+
    ) => {
        const _: () = {
            use $crate::groups::dot::{Totals, group_tile};
            use $crate::groups::tile::{GroupKernel, GroupOperands, GroupTile};
            use $crate::matmul::dot::{Dot, lanes};
            use $crate::sign::Sign;

            $( group_kernels! { @kernel $KERNEL, $features, $widths $rows, $Dot, $dot, $types, $bits, $unpacked } )+

            impl $Token {
                /// The micro-kernel for weights of this many bits.
                pub fn group_kernel(self, bits: u32) -> &'static GroupKernel {
                    match bits {
                        ..=2 => &TWO,
                        3 | 4 => &FOUR,
                        5 | 6 => &$six,
                        7.. => &EIGHT,
                    }
                }
            }
        };
    };
    (
        @kernel $KERNEL:ident, [$($features:literal)?], [$narrowest:literal $($wider:literal)*] $rows:tt,
        $Dot:ty, $dot:expr, [$a:ident $w:ident], $bits:literal, $unpacked:expr
    ) => {
        static $KERNEL: GroupKernel = {
            /// # Safety
            /// The requirements of [`GroupTile`].
            $( #[target_feature(enable = $features)] )?
            unsafe fn tile<const ROWS: usize, const VECTORS: usize>(operands: GroupOperands<'_>) {
                // SAFETY: the requirements are those of a tile of this size; the features are enabled.
                unsafe { group_tile($dot, [ROWS, VECTORS], $bits, operands) }
            }
            const TILES: &[&[GroupTile]] = group_kernels!(@widths [$narrowest $($wider)*] $rows);
            GroupKernel {
                bits: $bits,
                depth: <$Dot as Dot>::DEPTH,
                lanes: lanes::<$Dot>(),
                w_sign: group_kernels!(@sign $w),
                widen_a: group_kernels!(@widened $a),
                widens_halves: <<$Dot as Dot>::Vectors as Totals>::WIDENS_HALVES,
                tiles: TILES,
                narrowest: $narrowest,
                unpacked: $unpacked,
            }
        };
    };
    (@sign u8) => { Sign::Unsigned };
    (@sign i8) => { Sign::Signed };
    (@widened i16) => { true };
    (@widened i8) => { false };
    (@widths [$($v:literal)+] $rows:tt) => { &[$( group_kernels!(@heights $v $rows) ),+] };
    (@heights $v:literal [$($r:literal)+]) => { &[$( tile::<$r, $v> ),+] };
}
