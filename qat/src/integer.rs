//! Training in integers: the products of the forward pass, of ∂x and of ∂W are sums of products of 8-bit codes in i32.
//!
//! ```text
//! forward   y = S_x·S_w · Σ qx·qw + b
//! ∂x        S_g·S_w · Σ qg·qw           g: the gradient of y, quantized to 8 bits
//! ∂W        S_g·S_x · Σ qg·qx
//! ```
//!
//! Operands are symmetric with one scale each, taken in flight; gradients are rounded stochastically, or to nearest to see what that
//! does. Sums are exact, so that their order does not matter. In float are: scales, the bias and its gradient, pooling, the cross
//! entropy, and the optimizer with its weights. A convolution is a product of its windows; the gradients of windows are added up in
//! float, in order.

use serde::{Deserialize, Serialize};

/// One run of training in integers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IntegerRun {
    /// How gradients are rounded.
    pub rounding: String,
    /// The seed.
    pub seed: u64,
    /// Test images whose class is right.
    pub correct: usize,
    /// Those of the float network with the same seed and images.
    pub float: usize,
    /// The digest of the network.
    pub digest: String,
}
