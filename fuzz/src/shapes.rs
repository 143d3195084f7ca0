//! Granularities with tensors that have them, and how a tensor lies in memory.

use arbitrary::Arbitrary;
use zeropoint::Granularity;

/// A tensor's shape with a granularity.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Shape {
    Tensor { length: u16 },
    Channel { outer: u8, channels: u8, inner: u8 },
    Block { rows: u8, row: u8, length: u8 },
    BlockAlong { outer: u8, axis: u8, inner: u8, length: u8 },
}

impl Shape {
    /// The granularity, and the elements of the tensor: no more than a thousand or two.
    pub fn granularity(self) -> (Granularity, usize) {
        let small = |byte: u8, most: usize| usize::from(byte) % (most + 1);
        let some = |byte: u8, most: usize| usize::from(byte) % most + 1;
        match self {
            Shape::Tensor { length } => (Granularity::Tensor, usize::from(length) % 1200),
            Shape::Channel { outer, channels, inner } => {
                let shape = [small(outer, 5), some(channels, 40), some(inner, 80)];
                let shape = [shape[0], shape[1], shape[2].min(1600 / (shape[0].max(1) * shape[1])).max(1)];
                (Granularity::channel(&shape, 1).expect("an axis"), shape.iter().product())
            }
            Shape::Block { rows, row, length } => {
                let shape = [small(rows, 6), some(row, 250)];
                (Granularity::block(&shape, some(length, 100)).expect("a length"), shape[0] * shape[1])
            }
            Shape::BlockAlong { outer, axis, inner, length } => {
                let [outer, axis, inner] = [small(outer, 3), some(axis, 60), some(inner, 90)];
                let axis = axis.min(1600 / (outer.max(1) * inner)).max(1);
                let shape = [outer, axis, inner];
                (Granularity::block_along(&shape, 1, some(length, 70)).expect("a length"), shape.iter().product())
            }
        }
    }
}

/// How the rows of a matrix lie.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Layout {
    columns: u16,
    gap: u8,
    /// Elements in front of the first one.
    pub offset: u8,
}

impl Layout {
    /// Rows, columns and the stride of a matrix of so many elements, which are at least 1.
    pub fn matrix(self, elements: usize) -> [usize; 3] {
        let divisors: Vec<usize> = (1..=elements).filter(|columns| elements.is_multiple_of(*columns)).collect();
        let columns = divisors[usize::from(self.columns) % divisors.len()];
        [elements / columns, columns, self.stride(columns)]
    }

    pub fn stride(self, columns: usize) -> usize {
        columns + usize::from(self.gap % 20)
    }

    /// The rows of a dense matrix, further apart: without a gap behind the last one.
    pub fn spread<T: Copy>(self, dense: &[T], columns: usize, between: T) -> Vec<T> {
        let mut rows = Vec::new();
        for row in dense.chunks(columns.max(1)) {
            if !rows.is_empty() {
                rows.resize(rows.len() + self.stride(columns) - columns, between);
            }
            rows.extend_from_slice(row);
        }
        rows.into_boxed_slice().into_vec()
    }
}
