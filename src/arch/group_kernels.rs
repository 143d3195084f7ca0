//! From dot-product instructions to the micro-kernels of weights in groups.

/// `group_kernels! { Token, "features", [vectors …] x [rows …], Dot = dot, [a w] }`: the micro-kernels of a token whose
/// instruction multiplies codes of all bits; those of two and four bits are unpacked to bytes for tall products.
/// `[…], two Dot = dot, four …, e2m1 …, six …, [a w], eight …, [a w]` where there are instructions for up to two, four, five,
/// six and eight bits.
///
/// Floats of four bits, E2M1, are looked up in registers for a single row only; for more rows, they are unpacked.
///
/// `a w` are the operand types that the instruction multiplies; A is `i8`, or `i16` where it is widened.
macro_rules! group_kernels {
    ($Token:ident, $($features:literal,)? [$($widths:tt)+] x $rows:tt, $Dot:ty = $dot:expr, $types:tt) => {
        group_kernels! {
            @kernels $Token, [$($features)?], [$($widths)+], SIX = EIGHT,
            TWO: $rows, $Dot = $dot, $types, Bits(2), Some(EIGHT);
            FOUR: $rows, $Dot = $dot, $types, Bits(4), Some(EIGHT);
            FLOATS: [1], $Dot = $dot, $types, E2m1, Some(EIGHT);
            EIGHT: $rows, $Dot = $dot, $types, Bits(8), None;
        }
    };
    (
        $Token:ident, $($features:literal,)? [$($widths:tt)+] x $rows:tt,
        two $Two:ty = $two:expr, four $Four:ty = $four:expr, e2m1 $E2m1:ty = $e2m1:expr, six $Six:ty = $six:expr, $few:tt,
        eight $Eight:ty = $eight:expr, $types:tt
    ) => {
        group_kernels! {
            @kernels $Token, [$($features)?], [$($widths)+], SIX = SIX,
            TWO: $rows, $Two = $two, $few, Bits(2), None;
            FOUR: $rows, $Four = $four, $few, Bits(4), None;
            FLOATS: [1], $E2m1 = $e2m1, $few, E2m1, Some(SIX);
            SIX: $rows, $Six = $six, $few, Bits(8), None;
            EIGHT: $rows, $Eight = $eight, $types, Bits(8), None;
        }
    };
    (
        @kernels $Token:ident, $features:tt, $widths:tt, SIX = $six:ident,
        $( $KERNEL:ident: $rows:tt, $Dot:ty = $dot:expr, $types:tt, $codes:expr, $unpacked:expr; )+
    ) => {
        const _: () = {
            use $crate::groups::dot::{Totals, group_tile};
            use $crate::groups::tile::PanelCodes::{self, Bits, E2m1};
            use $crate::groups::tile::{GroupKernel, GroupOperands, GroupTile};
            use $crate::matmul::dot::{Dot, lanes};
            use $crate::sign::Sign;

            $( group_kernels! { @kernel $KERNEL, $features, $widths $rows, $Dot, $dot, $types, $codes, $unpacked } )+

            impl $Token {
                /// The micro-kernel for weights of E2M1, or of this many bits.
                pub fn group_kernel(self, codes: PanelCodes) -> &'static GroupKernel {
                    match codes {
                        Bits(..=2) => TWO,
                        Bits(3 | 4) => FOUR,
                        Bits(5 | 6) => $six,
                        Bits(7..) => EIGHT,
                        E2m1 => FLOATS,
                    }
                }
            }
        };
    };
    (
        @kernel $KERNEL:ident, [$($features:literal)?], [$narrowest:literal $($wider:literal)*] $rows:tt,
        $Dot:ty, $dot:expr, [$a:ident $w:ident], $codes:expr, $unpacked:expr
    ) => {
        // (A constant, since the tiles of a static are compiled even where nothing refers to it.)
        const $KERNEL: &GroupKernel = {
            /// # Safety
            /// The requirements of [`GroupTile`].
            $( #[target_feature(enable = $features)] )?
            unsafe fn tile<const ROWS: usize, const VECTORS: usize>(operands: GroupOperands<'_>) {
                // SAFETY: the requirements are those of a tile of this size; the features are enabled.
                unsafe { group_tile($dot, [ROWS, VECTORS], $codes, operands) }
            }
            const TILES: &[&[GroupTile]] = group_kernels!(@widths [$narrowest $($wider)*] $rows);
            &GroupKernel {
                codes: $codes,
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
