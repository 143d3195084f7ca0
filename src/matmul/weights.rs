//! What a requantizer needs to know of weights.

/// Weights for activations of type `A`: a [`PackedMatrix`](crate::PackedMatrix), an
/// [`UnpackedMatrix`](crate::UnpackedMatrix), or a layer.
pub trait Weights<A>: Sealed {
    /// The scale of all weights, or one for every output; none when the weights came with zero points alone
    /// ([`raw`](crate::raw)).
    fn scales(&self) -> &[f32];
}

mod sealed {
    pub trait Sealed {}
}
pub(crate) use sealed::Sealed;
