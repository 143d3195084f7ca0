//! Tensors as candle stores them, in the order of their elements.

use std::borrow::Cow;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Error, Layout, Result};
use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;
use zeropoint::{Halves, HalvesMut};

/// The elements of a tensor of floats, row-major.
pub enum Input<'a> {
    F32(Cow<'a, [f32]>),
    /// Bits of floats of 16 bits.
    Halves(Cow<'a, [u16]>, Half),
}

/// A type of floats of 16 bits.
#[derive(Clone, Copy)]
pub enum Half {
    F16,
    Bf16,
}

impl<'a> Input<'a> {
    /// What a layout selects of a storage.
    ///
    /// # Errors
    /// A type that is not one of f32, f16 and bf16; a layout that goes beyond the storage.
    pub fn new(op: &'static str, storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        match storage {
            CpuStorage::F32(data) => Ok(Input::F32(elements(op, data, layout)?)),
            CpuStorage::F16(data) => Ok(Input::Halves(elements(op, data.reinterpret_cast(), layout)?, Half::F16)),
            CpuStorage::BF16(data) => Ok(Input::Halves(elements(op, data.reinterpret_cast(), layout)?, Half::Bf16)),
            _ => Err(Error::UnsupportedDTypeForOp(storage.dtype(), op).bt()),
        }
    }
}

/// The elements of a tensor of f32, row-major.
///
/// # Errors
/// Another type; a layout that goes beyond the storage.
pub fn only_f32<'a>(op: &'static str, storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [f32]>> {
    match storage {
        CpuStorage::F32(data) => elements(op, data, layout),
        _ => Err(Error::UnsupportedDTypeForOp(storage.dtype(), op).bt()),
    }
}

impl Half {
    /// Bits to be read.
    pub fn view(self, bits: &[u16]) -> Halves<'_> {
        match self {
            Half::F16 => Halves::f16(bits),
            Half::Bf16 => Halves::bf16(bits),
        }
    }

    /// Bits to be written.
    pub fn view_mut(self, bits: &mut [u16]) -> HalvesMut<'_> {
        match self {
            Half::F16 => HalvesMut::f16(bits),
            Half::Bf16 => HalvesMut::bf16(bits),
        }
    }

    /// Bits as candle's storage, without a copy.
    pub fn storage(self, bits: Vec<u16>) -> CpuStorage {
        match self {
            Half::F16 => CpuStorage::F16(bits.reinterpret_into()),
            Half::Bf16 => CpuStorage::BF16(bits.reinterpret_into()),
        }
    }
}

/// The elements that a layout selects, in order: where they lie together, without a copy.
fn elements<'a, T: Copy>(op: &'static str, data: &'a [T], layout: &Layout) -> Result<Cow<'a, [T]>> {
    let beyond = || Error::msg(format!("{op}: {layout:?} goes beyond its storage of {} elements", data.len())).bt();
    let (dims, strides, start) = (layout.dims(), layout.stride(), layout.start_offset());
    if dims.contains(&0) {
        return Ok(Cow::Borrowed(&[]));
    }
    let count = dims.iter().try_fold(1_usize, |count, &dim| count.checked_mul(dim)).ok_or_else(beyond)?;
    if layout.is_contiguous() {
        let end = start.checked_add(count).ok_or_else(beyond)?;
        return data.get(start..end).map(Cow::Borrowed).ok_or_else(beyond);
    }
    let mut last = start;
    for (&dim, &stride) in dims.iter().zip(strides) {
        last = (dim - 1).checked_mul(stride).and_then(|far| last.checked_add(far)).ok_or_else(beyond)?;
    }
    if last >= data.len() {
        return Err(beyond());
    }
    let mut all = Vec::with_capacity(count);
    gather(data, dims, strides, start, &mut all);
    Ok(Cow::Owned(all))
}

/// Appends the elements of some axes, from `start` on.
fn gather<T: Copy>(data: &[T], dims: &[usize], strides: &[usize], start: usize, out: &mut Vec<T>) {
    match (dims, strides) {
        ([dim], [1]) => out.extend_from_slice(&data[start..start + dim]),
        ([dim], [stride]) => out.extend((0..*dim).map(|i| data[start + i * stride])),
        ([dim, dims @ ..], [stride, strides @ ..]) => {
            for i in 0..*dim {
                gather(data, dims, strides, start + i * stride, out);
            }
        }
        _ => out.push(data[start]),
    }
}
