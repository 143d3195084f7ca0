//! Whether codes are signed.

/// Whether codes are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// u8, or u16
    Unsigned,
    /// i8, or i16
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
