//! Whether 8-bit codes are signed.

/// Whether 8-bit codes are u8 or i8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// u8
    Unsigned,
    /// i8
    Signed,
}

impl Sign {
    /// The value of a code's byte.
    pub fn value(self, byte: u8) -> i32 {
        match self {
            Sign::Unsigned => byte.into(),
            Sign::Signed => byte.cast_signed().into(),
        }
    }
}
