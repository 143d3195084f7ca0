//! Distances between vectors of 8-bit codes, for vector search: of two vectors, of all queries to all rows, and the nearest rows.
//!
//! ```text
//! Dot                 Σₖ a[k] · b[k]            i32; the largest is the nearest
//! SquaredEuclidean    Σₖ (a[k] − b[k])²         i32; the smallest is the nearest
//! Cosine              Σ a·b / √(Σ a² · Σ b²)    f32; the largest is the nearest; 0 where a or b is 0
//! where a[k] = code − zero point, and so is b[k]
//! ```
//!
//! All sums are exact integers, for u8 and i8 on either side and for every zero point. The cosine is computed from them in f64: the
//! product of the squares is exact, its square root and the quotient are each rounded once, and the quotient is then rounded to f32.
//! So results are the same on every ISA, and [`nearest`] finds the same rows in the same order: of equally near rows, the first.
//!
//! Where all codes have one scale, real dot products and squared distances are these times its square, and cosines are equal: the
//! nearest rows are the same.
//!
//! ```
//! use zeropoint::distance::{Cosine, Dot, SquaredEuclidean, between, nearest};
//! use zeropoint::{Exec, Matrix};
//! let exec = Exec::best()?;
//! let (query, rows) = ([3_i8, 4, 0], [0_i8, 0, 5, 6, 8, 0, 3, 4, 1]);
//! assert_eq!(between(exec, Dot, &query, &rows[3..6])?, 50);
//! assert_eq!(between(exec, SquaredEuclidean, &query, &rows[3..6])?, 25);
//! assert_eq!(between(exec, Cosine, &query, &rows[3..6])?, 1.0);
//!
//! let found = nearest(exec, SquaredEuclidean, &query, Matrix::new(&rows, 3, 3)?, 2)?;
//! assert_eq!((found[0].row, found[0].value), (2, 1));
//! assert_eq!((found[1].row, found[1].value), (1, 25));
//! # Ok::<(), zeropoint::Error>(())
//! ```
//!
//! Rows are read where they lie, in blocks that stay in the level 1 cache for all queries. For one query that costs what reading the
//! rows costs. For dot products of many queries, [`matmul`](crate::matmul()) with packed rows is several times as fast.

mod calls;
pub(crate) mod codes;
pub(crate) mod kernel;
mod measure;
mod metric;
mod pairs;
mod search;
mod table;
pub(crate) mod vectors;

pub use calls::{between, nearest, pairwise};
pub use codes::Codes;
pub use measure::{Cosine, Dot, SquaredEuclidean};
pub use metric::Metric;
pub use search::Neighbor;
