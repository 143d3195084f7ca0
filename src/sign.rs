//! Whether 8-bit codes are signed.

/// Whether 8-bit codes are u8 or i8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// u8
    Unsigned,
    /// i8
    Signed,
}
