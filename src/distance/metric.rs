//! The metrics as types of the public interface.

use core::fmt;

use super::codes::Operand;
use super::measure::{Cosine, Dot, SquaredEuclidean};
use super::search::Neighbor;
use crate::error::Error;
use crate::exec::Exec;
use crate::matrix::MatrixMut;

/// What is computed of two vectors: [`Dot`], [`SquaredEuclidean`] or [`Cosine`].
pub trait Metric: sealed::Sealed<Element = <Self as Metric>::Value> {
    /// Its values: i32 or f32.
    type Value: Copy + PartialOrd + fmt::Debug;
}

#[cfg(feature = "distance")]
impl Metric for Dot {
    type Value = i32;
}

#[cfg(feature = "distance")]
impl Metric for SquaredEuclidean {
    type Value = i32;
}

#[cfg(feature = "distance")]
impl Metric for Cosine {
    type Value = f32;
}

mod sealed {
    use super::{Error, Exec, MatrixMut, Neighbor, Operand};

    /// The operations of a metric, which are compiled here and not in the crate that calls them.
    pub trait Sealed {
        type Element;
        fn between(self, exec: Exec<'_>, a: &Operand<'_>, b: &Operand<'_>) -> Result<Self::Element, Error>;
        fn pairwise(
            self,
            exec: Exec<'_>,
            queries: Operand<'_>,
            rows: Operand<'_>,
            out: MatrixMut<'_, Self::Element>,
        ) -> Result<(), Error>;
        fn nearest(
            self,
            exec: Exec<'_>,
            queries: Operand<'_>,
            rows: Operand<'_>,
            k: usize,
        ) -> Result<Vec<Neighbor<Self::Element>>, Error>;
    }
}

// Without the feature there are no implementations: their methods would be compiled even where nothing calls them.
#[cfg(feature = "distance")]
macro_rules! sealed {
    ($($Metric:ident: $Value:ty),+) => { $(
        impl sealed::Sealed for $Metric {
            type Element = $Value;
            fn between(self, exec: Exec<'_>, a: &Operand<'_>, b: &Operand<'_>) -> Result<$Value, Error> {
                super::table::value_between::<$Metric>(exec, a, b)
            }
            fn pairwise(
                self,
                exec: Exec<'_>,
                queries: Operand<'_>,
                rows: Operand<'_>,
                out: MatrixMut<'_, $Value>,
            ) -> Result<(), Error> {
                super::table::fill::<$Metric>(exec, queries, rows, out)
            }
            fn nearest(
                self,
                exec: Exec<'_>,
                queries: Operand<'_>,
                rows: Operand<'_>,
                k: usize,
            ) -> Result<Vec<Neighbor<$Value>>, Error> {
                super::search::find::<$Metric>(exec, queries, rows, k)
            }
        }
    )+ };
}
#[cfg(feature = "distance")]
sealed! { Dot: i32, SquaredEuclidean: i32, Cosine: f32 }
