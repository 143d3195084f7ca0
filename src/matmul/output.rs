//! The result of a multiplication, whose type only its stage knows, handed out to several threads at once.

use core::marker::PhantomData;
use core::ops::Range;

use crate::matrix::MatrixMut;

/// A matrix to be written, whose elements are i32, f32, u8 or i8.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    data: *mut u8,
    rows: usize,
    columns: usize,
    /// From a row to the next, in bytes.
    stride: usize,
    /// Bytes of an element.
    size: usize,
    owner: PhantomData<&'a mut [u8]>,
}

// SAFETY: it stands for a `&mut [T]` of plain numbers, which may be sent; it has no safe method that writes, and whoever
// writes through the pointers of `place` vouches that no other thread has the same elements.
unsafe impl Send for Output<'_> {}
// SAFETY: shared copies are as good as sent ones: the same argument.
unsafe impl Sync for Output<'_> {}

/// Where some rows and columns of a result are in memory.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The first element.
    pub data: *mut u8,
    /// From a row to the next, in bytes.
    pub stride: usize,
}

impl<'a> Output<'a> {
    /// The matrix, exclusively borrowed for as long as this value lives.
    pub fn new<T>(matrix: &'a mut MatrixMut<'_, T>) -> Self {
        let (rows, columns, stride) = (matrix.rows(), matrix.columns(), matrix.stride());
        let size = size_of::<T>();
        // A stride beyond `usize` bytes occurs with a single row only, where it is not used.
        let stride = stride.wrapping_mul(size);
        Output { data: matrix.as_mut_ptr().cast(), rows, columns, stride, size, owner: PhantomData }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Some rows and columns.
    ///
    /// # Panics
    /// When the matrix does not have them.
    pub fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Self {
        let Place { data, .. } = self.place(rows.start, columns.start, rows.len(), columns.len());
        Output { data, rows: rows.len(), columns: columns.len(), ..*self }
    }

    /// Bytes of an element.
    pub fn element_size(&self) -> usize {
        self.size
    }

    /// The place of `height` rows of `width` columns.
    ///
    /// # Panics
    /// When the matrix does not have them.
    #[inline(always)]
    pub(crate) fn place(&self, row: usize, column: usize, height: usize, width: usize) -> Place {
        assert!(row + height <= self.rows && column + width <= self.columns);
        Place { data: self.data.wrapping_add(row * self.stride + column * self.size), stride: self.stride }
    }
}
