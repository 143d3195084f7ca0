//! The kernel of distances as functions of a token.

/// `distance_kernel! { Token, "features", |query| products, widened, differences }`: the kernel of a token, with its
/// [`Kernels`](crate::distance::kernel::Kernels) for a query of some sign.
macro_rules! distance_kernel {
    ($Token:ident, $($features:literal,)? |$query:pat_param| $products:expr, $widened:expr, $differences:expr) => {
        impl $Token {
            /// The sums of a query and one row.
            pub fn pair_sums(self, query: &$crate::distance::kernel::Query<'_>, row: &[u8]) -> $crate::distance::kernel::Sums {
                /// # Safety
                /// The CPU has the features.
                $( #[target_feature(enable = $features)] )?
                unsafe fn run(query: &$crate::distance::kernel::Query<'_>, row: &[u8]) -> $crate::distance::kernel::Sums {
                    let $query = query.encodings[0].sign;
                    query.pair_sums(row, $crate::distance::kernel::Kernels {
                        products: $products, widened: $widened, differences: $differences,
                    })
                }
                // SAFETY: `self` exists only where the CPU has the features.
                unsafe { run(query, row) }
            }

            /// The sums of a query and every row.
            pub fn row_sums(
                self,
                query: &$crate::distance::kernel::Query<'_>,
                rows: $crate::matrix::Matrix<'_, u8>,
                out: $crate::distance::kernel::RowSums<'_>,
            ) {
                /// # Safety
                /// The CPU has the features.
                $( #[target_feature(enable = $features)] )?
                unsafe fn run(
                    query: &$crate::distance::kernel::Query<'_>,
                    rows: $crate::matrix::Matrix<'_, u8>,
                    out: $crate::distance::kernel::RowSums<'_>,
                ) {
                    let $query = query.encodings[0].sign;
                    query.row_sums(rows, out, $crate::distance::kernel::Kernels {
                        products: $products, widened: $widened, differences: $differences,
                    });
                }
                // SAFETY: `self` exists only where the CPU has the features.
                unsafe { run(query, rows, out) }
            }
        }
    };
}
