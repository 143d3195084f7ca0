//! The two formats, and their bits.

/// A format of FP8: a sign, an exponent and a mantissa in a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Fp8 {
    /// Four bits of exponent and three of mantissa, without infinity: up to 448, for weights and activations.
    E4M3,
    /// Five bits of exponent and two of mantissa, the upper byte of an f16: up to 57344, for gradients.
    E5M2,
}

impl Fp8 {
    /// Both formats.
    pub const ALL: [Fp8; 2] = [Fp8::E4M3, Fp8::E5M2];

    /// The largest value.
    #[must_use]
    pub const fn max(self) -> f32 {
        match self {
            Fp8::E4M3 => 448.0,
            Fp8::E5M2 => 57_344.0,
        }
    }

    /// Where the bits of the format are.
    pub(super) const fn layout(self) -> Layout {
        match self {
            Fp8::E4M3 => Layout { mantissa_bits: 3, bias: 7, largest: 0x7e, infinity: 0x7e, beyond: 480.0, nan: 0x7f },
            Fp8::E5M2 => {
                Layout { mantissa_bits: 2, bias: 15, largest: 0x7b, infinity: 0x7c, beyond: 65_536.0, nan: 0x7e }
            }
        }
    }
}

/// The bits of a format: numbers that the kernels read, so that both formats share them.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub mantissa_bits: i32,
    /// What is added to the exponent.
    pub bias: i32,
    /// The code of the largest value.
    pub largest: i32,
    /// The code of infinity, below which are no NaN; that of the largest value where there is none.
    pub infinity: i32,
    /// The value that would follow the largest. Its code is that of infinity, or NaN where there is none.
    pub beyond: f32,
    /// The code that NaN becomes.
    pub nan: i32,
}
