//! Blocks of a [`BlockFormat`](crate::formats::BlockFormat), taken apart as [`split_blocks`](crate::formats::split_blocks)
//! does it. Codes lose their sign, but for E2M1, which is kept.

use super::{Stored, StoredWeights};
use crate::codes::CodeRange;
use crate::error::{Error, check_length, elements_of};
use crate::exec::Exec;
use crate::formats::decode::{block_offsets, split_blocks};
use crate::formats::doubled;
use crate::formats::format::BlockFormat;
use crate::formats::tensor_format::TensorFormat;
use crate::groups::weights::Coding;
use crate::half::{HalvesMut, narrow};

impl StoredWeights {
    /// Blocks, row after row of `depth` values, as [`encode_blocks`](crate::formats::encode_blocks) writes them and files
    /// of ggml have a matrix of `outputs` rows.
    ///
    /// # Errors
    /// [`Error::Multiple`] when the depth is not whole blocks; [`Error::Length`] of the bytes.
    pub fn from_format<'e>(
        exec: impl Into<Exec<'e>>,
        format: impl Into<TensorFormat>,
        bytes: &[u8],
        outputs: usize,
        depth: usize,
    ) -> Result<Self, Error> {
        take_apart(exec.into(), format.into(), bytes, outputs, depth)
    }
}

fn take_apart(
    exec: Exec<'_>,
    tensor_format: TensorFormat,
    bytes: &[u8],
    outputs: usize,
    depth: usize,
) -> Result<StoredWeights, Error> {
    let format = tensor_format.block_format();
    if !depth.is_multiple_of(format.block_length()) {
        return Err(Error::Multiple { what: "the depth", unit: format.block_length(), found: depth });
    }
    let blocks = elements_of(&[outputs, depth / format.block_length()]);
    check_length("the blocks", elements_of(&[blocks, format.block_bytes()]), bytes.len())?;
    let (mut codes, length) = (vec![0; blocks * format.block_length()], format.group_length());
    let groups = codes.len() / length;
    let (mut scales, mut offsets) = (vec![0.0; groups], vec![0.0; groups]);
    split_blocks(exec, tensor_format, bytes, &mut codes, &mut scales)?;
    block_offsets(exec, format, bytes, &mut offsets)?;
    let (min, max) = (i32::from(format.codes().min()), i32::from(format.codes().max()));
    let (codes, coding, zero_point) = if matches!(format, BlockFormat::MxFp4 | BlockFormat::NvFp4) {
        (codes.into_iter().map(doubled::code).collect(), Coding::E2m1, 0)
    } else {
        let codes = codes.into_iter().map(|code| (i32::from(code) - min) as u8);
        (codes.collect(), Coding::of(CodeRange::new(0, (max - min) as u8)?), -min)
    };
    let kept = |values| if has_halves(format) { in_halves(exec, values) } else { Ok(Stored::F32(values)) };
    let exponents = || bytes.iter().copied().step_by(format.block_bytes()).collect();
    let scales = match format {
        BlockFormat::MxFp4 => Stored::E8m0 { exponents: exponents(), point: 1 },
        BlockFormat::MxInt8 => Stored::E8m0 { exponents: exponents(), point: 6 },
        BlockFormat::NvFp4 => Stored::E4m3 {
            patterns: bytes.as_chunks::<36>().0.iter().flat_map(|[a, b, c, d, ..]| [*a, *b, *c, *d]).collect(),
            tensor_scale: tensor_format.tensor_scale(),
        },
        _ => kept(scales)?,
    };
    Ok(StoredWeights {
        outputs,
        depth,
        codes,
        coding,
        length,
        scales,
        zero_points: if format.has_offsets() { Vec::new() } else { vec![zero_point; groups] },
        offsets: if format.has_offsets() { Some(kept(offsets)?) } else { None },
        order: None,
    })
}

/// Whether scales and offsets are f16 as they are stored, not products of them.
fn has_halves(format: BlockFormat) -> bool {
    use BlockFormat::{MxFp4, MxInt8, NvFp4, Q2_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
    match format {
        Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 => true,
        Q2_K | Q4_K | Q5_K | Q6_K | MxInt8 | MxFp4 | NvFp4 => false,
    }
}

/// Values that are f16, exactly.
fn in_halves(exec: Exec<'_>, values: Vec<f32>) -> Result<Stored, Error> {
    let mut bits = vec![0; values.len()];
    narrow(exec, &values, HalvesMut::f16(&mut bits))?;
    Ok(Stored::F16(bits))
}
