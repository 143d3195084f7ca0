//! Weights with a scale for every block of them, and activations to multiply them by.

use core::marker::PhantomData;

use super::blocks_job::{BlockLhs, BlockWeights, BlocksJob, room};
use super::lhs::{Lhs, RowSource};
use super::output::Output;
use super::packed::Packed;
use super::rhs::check_isa;
use super::tile::MAX_COLUMNS;
use crate::codes::ByteCode;
use crate::error::{Error, check_length, elements_of};
use crate::exec::Exec;
use crate::formats::decode::split_blocks;
use crate::formats::format::BlockFormat;
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut, ZeroPoints};
use crate::quantized::Quantized;
use crate::sign::Sign;

/// Weights with a scale for every block of them along the depth, prepared for one ISA and for activations of type `A`.
///
/// They remember the ISA they were packed for: with another one, operations return [`Error::PackedIsa`].
#[derive(Debug)]
pub struct PackedBlocks<A> {
    weights: BlockWeights,
    activations: PhantomData<fn(A)>,
}

/// `Ok` when products have blocks of this length, and the depth is whole ones: their number.
///
/// Sixteen is a multiple of what every micro-kernel takes in a step, and 255 · 128 · 2¹⁶ is less than 2³¹.
fn check_blocks(depth: usize, length: usize) -> Result<usize, Error> {
    if length == 0 || !length.is_multiple_of(16) || length > 1 << 16 {
        return Err(Error::Shape { why: "the length of a block is not a multiple of 16, up to 65536", found: length });
    }
    if depth.is_multiple_of(length) {
        Ok(depth / length)
    } else {
        Err(Error::Multiple { what: "the depth", unit: length, found: depth })
    }
}

/// The length of a block, and the scale of every block along a row, of codes whose zero points are 0.
fn block_scales<'a, C: ByteCode>(x: &Quantized<'a, C>) -> Result<(usize, &'a [f32]), Error> {
    let length = x.group_length()?;
    check_blocks(x.codes().columns(), length)?;
    Ok((length, scales_around_zero(x)?))
}

/// The scales of codes whose zero points are 0.
fn scales_around_zero<'a, C: ByteCode>(x: &Quantized<'a, C>) -> Result<&'a [f32], Error> {
    let zero_points = x.params().zero_points();
    match zero_points.iter().position(|&zero_point| zero_point != 0) {
        Some(index) => Err(Error::ZeroPoint { index, zero_point: zero_points[index], min: 0, max: 0 }),
        None => Ok(x.params().scales()),
    }
}

/// Packs i8 codes `[N, K]` for left operands of this sign.
fn pack_rows(isa: Isa, a: Sign, codes: Matrix<'_, i8>, length: usize, scales: &[f32]) -> Result<BlockWeights, Error> {
    let blocks = check_blocks(codes.columns(), length)?;
    check_length("the scales", elements_of(&[codes.rows(), blocks]), scales.len())?;
    let packed = Packed::rows(isa, [a, Sign::Signed], codes.bytes(), 0.into())?;
    let scale = |output: usize, block: usize| scales[output * blocks + block];
    let sum = |output: usize, block: usize| {
        codes.row(output)[block * length..][..length].iter().map(|&code| i32::from(code)).sum()
    };
    Ok(pack(packed, length, blocks, scale, sum))
}

/// Packs i8 codes `[K, N]` for left operands of this sign, with scales `[K / length, N]`.
fn pack_columns(
    isa: Isa,
    a: Sign,
    codes: Matrix<'_, i8>,
    length: usize,
    scales: &[f32],
) -> Result<BlockWeights, Error> {
    let (blocks, outputs) = (check_blocks(codes.rows(), length)?, codes.columns());
    let packed = Packed::columns(isa, [a, Sign::Signed], codes.bytes(), 0.into())?;
    let scale = |output: usize, block: usize| scales[block * outputs + output];
    let sum = |output: usize, block: usize| {
        (block * length..(block + 1) * length).map(|k| i32::from(codes.row(k)[output])).sum()
    };
    Ok(pack(packed, length, blocks, scale, sum))
}

/// Packed codes with the scale, and the sum of the codes, of every output and block.
fn pack(
    packed: Packed,
    length: usize,
    blocks: usize,
    scale: impl Fn(usize, usize) -> f32,
    sum: impl Fn(usize, usize) -> i32,
) -> BlockWeights {
    let shape = packed.panels().shape;
    // Without depth there may be any number of outputs, and nothing of them is kept.
    let panels = if blocks == 0 { 0 } else { shape.panels() };
    let all = room(&shape, 0..panels) * blocks;
    let (mut packed_scales, mut negative_sums) = (Vec::with_capacity(all), Vec::with_capacity(all + MAX_COLUMNS));
    for panel in 0..panels {
        for block in 0..blocks {
            let end = packed_scales.len() + room(&shape, panel..panel + 1);
            for output in shape.columns_of(panel..panel + 1) {
                packed_scales.push(scale(output, block));
                negative_sums.push(-sum(output, block));
            }
            packed_scales.resize(end, 0.0);
            negative_sums.resize(end, 0);
        }
    }
    negative_sums.resize(packed_scales.len() + MAX_COLUMNS, 0);
    BlockWeights { packed, length, scales: packed_scales, negative_sums }
}

impl<A: ByteCode> PackedBlocks<A> {
    /// Packs i8 weights `[N, K]`, a row for every output, with a scale for every group of them along a row, zero
    /// points 0. Groups have a length that is a multiple of 16, up to 65536.
    ///
    /// # Errors
    /// [`Error::Multiple`] when K is not whole blocks; [`Error::Shape`] for parameters of another granularity;
    /// [`Error::ZeroPoint`]; [`Error::Memory`].
    pub fn pack<'e>(exec: impl Into<Exec<'e>>, weights: Quantized<'_, i8>) -> Result<Self, Error> {
        let (length, scales) = block_scales(&weights)?;
        Self::with_scales(exec, weights.codes(), length, scales)
    }

    /// Packs i8 weights `[K, N]`, a column for every output, with a scale for every group of them along a column, zero points 0:
    /// of [`Granularity::block_along`](crate::Granularity::block_along) axis 0, whose scales are `[K / length, N]`, as GPTQ and AWQ
    /// lay out weights. Groups have a length that is a multiple of 16, up to 65536.
    ///
    /// # Errors
    /// [`Error::Multiple`] when K is not whole blocks; [`Error::Shape`] for parameters of another granularity;
    /// [`Error::ZeroPoint`]; [`Error::Memory`].
    pub fn pack_columns<'e>(exec: impl Into<Exec<'e>>, weights: Quantized<'_, i8>) -> Result<Self, Error> {
        let (length, scales) = (weights.column_group_length()?, scales_around_zero(&weights)?);
        let weights = pack_columns(exec.into().isa(), A::SIGN, weights.codes(), length, scales)?;
        Ok(PackedBlocks { weights, activations: PhantomData })
    }

    /// Packs i8 codes `[N, K]` with a scale for every `length` of a row: `[N, K / length]`.
    pub(crate) fn with_scales<'e>(
        exec: impl Into<Exec<'e>>,
        codes: Matrix<'_, i8>,
        length: usize,
        scales: &[f32],
    ) -> Result<Self, Error> {
        let weights = pack_rows(exec.into().isa(), A::SIGN, codes, length, scales)?;
        Ok(PackedBlocks { weights, activations: PhantomData })
    }

    /// Packs encoded weights `[outputs, depth]`, as [`encode_blocks`](crate::formats::encode_blocks) writes them.
    ///
    /// ```
    /// use zeropoint::formats::{BlockFormat, PackedBlocks, encode_blocks, matmul_blocks};
    /// use zeropoint::{CodeRange, Exec, Matrix, MatrixMut, QuantParams, Quantized};
    /// let exec = Exec::best()?;
    /// let weights: Vec<f32> = (0..2 * 32).map(|i| i as f32 / 64.0).collect(); // 2 outputs of depth 32
    /// let mut bytes = [0; 2 * 34];
    /// encode_blocks(exec, BlockFormat::Q8_0, &weights, &mut bytes)?;
    /// let packed = PackedBlocks::<u8>::from_format(exec, BlockFormat::Q8_0, &bytes, 2, 32)?;
    ///
    /// let codes = [130_u8; 32]; // 0.5 · (130 − 128) = 1 each
    /// let params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 128)?;
    /// let x = Quantized::new(Matrix::new(&codes, 1, 32)?, &params)?;
    /// let mut out = [0.0; 2];
    /// matmul_blocks(exec, x, &packed, MatrixMut::new(&mut out, 1, 2)?)?;
    /// assert!((out[0] - 7.75).abs() < 0.05 && (out[1] - 23.75).abs() < 0.1);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Multiple`] when the depth is not whole blocks; [`Error::Length`] of the bytes; [`Error::Memory`].
    pub fn from_format<'e>(
        exec: impl Into<Exec<'e>>,
        format: BlockFormat,
        bytes: &[u8],
        outputs: usize,
        depth: usize,
    ) -> Result<Self, Error> {
        let exec = exec.into();
        let length = format.block_length();
        let blocks = elements_of(&[outputs, check_blocks(depth, length)?]);
        check_length("the blocks", elements_of(&[blocks, format.block_bytes()]), bytes.len())?;
        let (mut codes, mut scales) = (vec![0; blocks * length], vec![0.0; blocks]);
        split_blocks(exec, format, bytes, &mut codes, &mut scales)?;
        Self::with_scales(exec, Matrix::new(&codes, outputs, depth)?, length, &scales)
    }

    /// The ISA they are packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.weights.packed.panels().shape.isa
    }

    /// K.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.weights.packed.panels().shape.depth
    }

    /// N.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.weights.packed.panels().shape.columns
    }
}

/// Activations `[M, K]` in codes, with scales and zero points that are given by hand.
#[derive(Clone, Copy, Debug)]
pub struct BlockActivations<'a, A> {
    codes: Matrix<'a, A>,
    zero_points: ZeroPoints<'a>,
    scales: &'a [f32],
    /// From the scale of a row to that of the next, and from the scale of a block to that of the next.
    strides: [usize; 2],
    /// The length of the blocks, where each has a scale of its own.
    length: Option<usize>,
}

impl<'a, A: ByteCode> BlockActivations<'a, A> {
    /// With one scale for all, or one for every row.
    ///
    /// # Errors
    /// [`Error::ZeroPoint`]; [`Error::Length`] of zero points and scales.
    pub fn per_row(codes: Matrix<'a, A>, zero_points: ZeroPoints<'a>, scales: &'a [f32]) -> Result<Self, Error> {
        zero_points.check::<A>(codes.rows())?;
        if scales.len() != 1 {
            check_length("the scales", codes.rows(), scales.len())?;
        }
        Ok(BlockActivations { codes, zero_points, scales, strides: [usize::from(scales.len() != 1), 0], length: None })
    }

    /// With a scale for every `length` of a row, `[M, K / length]`, and the zero point 0: as
    /// [`split_blocks`](crate::formats::split_blocks) makes them of an encoded tensor.
    ///
    /// # Errors
    /// [`Error::Shape`] when `length` is not a multiple of 16, up to 65536; [`Error::Multiple`] when K is not whole blocks;
    /// [`Error::Length`] of the scales.
    pub fn per_block(codes: Matrix<'a, A>, length: usize, scales: &'a [f32]) -> Result<Self, Error> {
        let blocks = check_blocks(codes.columns(), length)?;
        check_length("the scales", elements_of(&[codes.rows(), blocks]), scales.len())?;
        Ok(BlockActivations { codes, zero_points: 0.into(), scales, strides: [blocks, 1], length: Some(length) })
    }
}

impl<'a, A: ByteCode> BlockActivations<'a, A> {
    fn of(x: &Quantized<'a, A>) -> Result<Self, Error> {
        match x.by_row() {
            Ok((zero_points, scales)) => Self::per_row(x.codes(), zero_points, scales),
            Err(_) => {
                let (length, scales) = block_scales(x)?;
                Self::per_block(x.codes(), length, scales)
            }
        }
    }

    fn erase(&self) -> BlockLhs<'a> {
        let BlockActivations { codes, zero_points, scales, strides, .. } = *self;
        BlockLhs {
            codes: codes.bytes(),
            lhs: Lhs { source: RowSource::Matrix(codes.bytes()), sign: A::SIGN, zero_points },
            scales,
            strides,
        }
    }
}

/// `out[i,j] = Σ_b (Σₖ (A[i,k] − za[i]) · W[j,k]) as f32 · (S_a[i,b] · S_w[j,b])`, `[M, N]`: the sums of a block are
/// exact; then from block 0 on each product and each sum is rounded once. A NaN is `f32::NAN`.
///
/// The activations are quantized per tensor, per row, or in groups along a row that are as long as the blocks of the weights,
/// with zero points 0. Of Q8_0 beside Q8_0, this is the dot product of ggml's scalar code, bit for bit. Beside Q4_0 weights it
/// is not: ggml computes `(acc · S_w) · S_a` there, with one rounding more, and a result may differ in its last bits.
///
/// # Errors
/// [`Error::PackedIsa`] when the weights are packed for another ISA; [`Error::Shape`] for activations of another granularity;
/// [`Error::Length`] when the shapes do not go together. Then `out` is untouched.
pub fn matmul_blocks<'e, A: ByteCode>(
    exec: impl Into<Exec<'e>>,
    x: Quantized<'_, A>,
    weights: &PackedBlocks<A>,
    out: MatrixMut<'_, f32>,
) -> Result<(), Error> {
    raw_matmul_blocks(exec, &BlockActivations::of(&x)?, weights, out)
}

/// [`matmul_blocks`] of activations whose scales and zero points are given by hand.
///
/// # Errors
/// [`Error::PackedIsa`] when the weights are packed for another ISA; [`Error::Shape`] for blocks of another length;
/// [`Error::Length`] when the shapes do not go together. Then `out` is untouched.
pub fn raw_matmul_blocks<'e, A: ByteCode>(
    exec: impl Into<Exec<'e>>,
    a: &BlockActivations<'_, A>,
    weights: &PackedBlocks<A>,
    mut out: MatrixMut<'_, f32>,
) -> Result<(), Error> {
    let exec = exec.into();
    check_isa(weights.isa(), exec.isa())?;
    if let Some(found) = a.length.filter(|&length| length != weights.weights.length) {
        return Err(Error::Shape { why: "the blocks of the activations are not those of the weights", found });
    }
    BlocksJob::new(a.erase(), &weights.weights, Output::new(&mut out))?.run(exec);
    Ok(())
}
