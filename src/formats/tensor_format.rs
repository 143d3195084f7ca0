//! A block format, and the scale of the tensor.

use super::format::BlockFormat;
use super::nvfp4::NvFp4;

/// The format of a tensor: a [`BlockFormat`], or an [`NvFp4`] with the scale of the tensor. Both convert into it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TensorFormat {
    pub(super) format: BlockFormat,
    /// For NVFP4.
    pub(super) nvfp4: NvFp4,
}

impl TensorFormat {
    /// The block format.
    #[must_use]
    pub const fn block_format(self) -> BlockFormat {
        self.format
    }

    /// The scale of the tensor: 1 of any format but NVFP4.
    #[must_use]
    pub const fn tensor_scale(self) -> f32 {
        self.nvfp4.tensor_scale()
    }
}

impl From<BlockFormat> for TensorFormat {
    fn from(format: BlockFormat) -> Self {
        TensorFormat { format, nvfp4: NvFp4::default() }
    }
}

impl From<NvFp4> for TensorFormat {
    fn from(nvfp4: NvFp4) -> Self {
        TensorFormat { format: BlockFormat::NvFp4, nvfp4 }
    }
}
