//! Values that go with the columns of a matrix.

use crate::error::{Error, check_length};
use crate::simd::LANES;

/// A value for every column, readable sixteen at a time from any column on (behind the last one it repeats); or one for
/// all columns.
#[derive(Clone, Debug)]
pub(crate) struct Columns<T> {
    values: Vec<T>,
    /// The number of columns; `None` when one value serves any.
    count: Option<usize>,
}

impl<T: Copy + Default> Columns<T> {
    /// One for every column.
    pub fn each(values: impl IntoIterator<Item = T>) -> Self {
        let mut values: Vec<T> = values.into_iter().collect();
        let count = values.len();
        values.resize(count + LANES, values.last().copied().unwrap_or_default());
        Columns { values, count: Some(count) }
    }

    /// One for every column, or a single one for all.
    pub fn broadcast(values: impl IntoIterator<Item = T>) -> Self {
        let columns = Columns::each(values);
        match columns.count {
            Some(1) => Columns { values: vec![columns.values[0]; LANES], count: None },
            _ => columns,
        }
    }

    /// The values from a column on, with those that are repeated behind the last.
    pub fn from(&self, column: usize) -> &[T] {
        &self.values[column..]
    }

    /// Every column's value, or the one that serves all.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.values[..self.count.unwrap_or(1)].iter().copied()
    }

    pub fn check(&self, what: &'static str, columns: usize) -> Result<(), Error> {
        self.count.map_or(Ok(()), |count| check_length(what, columns, count))
    }

    /// The values of sixteen columns.
    #[inline(always)]
    pub fn at(&self, column: usize) -> &[T; LANES] {
        let start = if self.count.is_some() { column } else { 0 };
        self.values[start..].first_chunk().expect("padded by sixteen")
    }
}
