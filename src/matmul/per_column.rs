//! Values that go with the columns of a matrix.

use crate::error::{Error, check_length};
use crate::simd::LANES;

/// A value for every column, or one for all columns; a vector of values can be read from any column on.
#[derive(Clone, Debug)]
pub struct PerColumn<T> {
    /// Behind the last column, its value is repeated [`LANES`] times.
    values: Vec<T>,
    /// The number of columns; `None` when one value serves any.
    count: Option<usize>,
}

impl<T: Copy + Default> PerColumn<T> {
    /// One for every column.
    pub fn each(mut values: Vec<T>) -> Self {
        let count = values.len();
        values.resize(count + LANES, values.last().copied().unwrap_or_default());
        PerColumn { values, count: Some(count) }
    }

    /// One for every column, or a single one for all.
    pub fn broadcast(values: Vec<T>) -> Self {
        match values[..] {
            [one] => PerColumn::uniform(one, 0),
            _ => PerColumn::each(values),
        }
    }

    /// A single value for all columns, of which `length` and a vector more are read at a time.
    pub fn uniform(value: T, length: usize) -> Self {
        PerColumn { values: vec![value; length + LANES], count: None }
    }

    /// The values from a column on, with the repetitions behind the last; of a single value, the length that it was made for.
    #[inline]
    pub fn from(&self, column: usize) -> &[T] {
        &self.values[self.place(column)..]
    }

    /// Where the values from a column on begin.
    #[inline(always)]
    fn place(&self, column: usize) -> usize {
        if self.count.is_some() { column } else { 0 }
    }

    /// The value of every column, or the one that serves all.
    pub fn values(&self) -> &[T] {
        &self.values[..self.count.unwrap_or(1)]
    }

    pub fn check(&self, what: &'static str, columns: usize) -> Result<(), Error> {
        self.count.map_or(Ok(()), |count| check_length(what, columns, count))
    }

    /// The values of a vector of columns.
    #[inline(always)]
    pub fn at(&self, column: usize) -> &[T; LANES] {
        self.values[self.place(column)..].first_chunk().expect("a vector more than there are columns")
    }
}
