//! Enums that come from C, which may hold any number, and the types of elements.

use core::mem::MaybeUninit;

use crate::failure::{Failure, Reason};

/// An enum of C: `repr(u32)`.
pub(crate) trait CEnum: Copy {
    /// Its name in C.
    const NAME: &str;

    /// The value of this number.
    fn of(number: u32) -> Option<Self>;

    /// The value that C gave, if the enum has it. (In C an enum is an integer, so a `MaybeUninit` that may hold any comes here.)
    #[inline]
    fn from_c(given: MaybeUninit<Self>) -> Option<Self> {
        Self::of(number(given))
    }

    /// The value that C gave as `what`.
    #[inline]
    fn checked(given: MaybeUninit<Self>, what: &'static str) -> Result<Self, Failure> {
        Self::from_c(given).ok_or_else(|| Reason::Enum { what, name: Self::NAME, number: number(given) }.into())
    }
}

/// The number that C gave.
fn number<E: CEnum>(given: MaybeUninit<E>) -> u32 {
    const { assert!(size_of::<E>() == size_of::<u32>()) };
    // SAFETY: as large as a u32, and initialized: C passed it by value.
    unsafe { core::mem::transmute_copy(&given) }
}

/// The bool that C gave, where any byte may be in memory: all but 0 are true.
pub(crate) fn truth(given: MaybeUninit<bool>) -> bool {
    // SAFETY: as large as a byte, and initialized: C passed it by value.
    unsafe { core::mem::transmute_copy::<_, u8>(&given) != 0 }
}

/// Which numbers an enum has.
macro_rules! c_enum {
    ($($Enum:ident { $($variant:ident),+ $(,)? })+) => { $(
        impl $crate::element::CEnum for $Enum {
            const NAME: &str = stringify!($Enum);

            #[inline]
            fn of(number: u32) -> Option<Self> {
                match number {
                    $( n if n == $Enum::$variant as u32 => Some($Enum::$variant), )+
                    _ => None,
                }
            }
        }
    )+ };
}
pub(crate) use c_enum;

/// The type of the elements of a buffer.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_type {
    /// Codes of 8 bits without a sign.
    U8 = 1,
    /// Codes of 8 bits with a sign.
    I8 = 2,
    /// Codes of 16 bits without a sign.
    U16 = 3,
    /// Codes of 16 bits with a sign.
    I16 = 4,
    /// Accumulators of 32 bits.
    I32 = 5,
    /// float.
    F32 = 8,
    /// IEEE binary16, as its bits in uint16_t.
    F16 = 9,
    /// bfloat16, as its bits in uint16_t.
    Bf16 = 10,
    /// Codes of 4 bits without a sign, two in a byte, the first in the lower bits.
    U4 = 16,
    /// Codes of 4 bits with a sign, in two's complement, two in a byte, the first in the lower bits.
    I4 = 17,
    /// Codes of 2 bits without a sign, four in a byte, the first in the lowest bits.
    U2 = 18,
    /// Codes of 2 bits with a sign, in two's complement, four in a byte, the first in the lowest bits.
    I2 = 19,
}

c_enum! { zp_type { U8, I8, U16, I16, I32, F32, F16, Bf16, U4, I4, U2, I2 } }

/// A table of two bits for every type, which begin at twice its number: the value that stands before the type here, or 0.
const fn pairs_of_bits(values: &[(u64, &[zp_type])]) -> u64 {
    let (mut bits, mut i) = (0, 0);
    while i < values.len() {
        let (value, types) = values[i];
        let mut j = 0;
        while j < types.len() {
            bits |= value << (2 * types[j] as u32);
            j += 1;
        }
        i += 1;
    }
    bits
}

impl zp_type {
    /// The elements in a byte, and the bytes of an element, one of which is 1; as powers of two: divisions by them are shifts.
    /// (Looked up in two constants, since every call asks it of every view, and branches by the type cost more.)
    #[inline]
    pub(crate) fn unit(self) -> (u32, u32) {
        const PACKED: u64 = pairs_of_bits(&[(1, &[zp_type::U4, zp_type::I4]), (2, &[zp_type::U2, zp_type::I2])]);
        const SIZE: u64 = pairs_of_bits(&[
            (1, &[zp_type::U16, zp_type::I16, zp_type::F16, zp_type::Bf16]),
            (2, &[zp_type::I32, zp_type::F32]),
        ]);
        let of = |bits: u64| (bits >> (2 * self as u32)) as u32 & 0b11;
        (of(PACKED), of(SIZE))
    }

    /// Whether rows may lie further apart than they are long.
    #[inline]
    pub(crate) fn can_have_gaps(self) -> bool {
        self.unit().0 == 0 && !matches!(self, zp_type::F16 | zp_type::Bf16)
    }

    /// The bytes of an element, 1 of packed ones.
    #[inline]
    pub(crate) fn size(self) -> usize {
        1 << self.unit().1
    }

    /// Its constant in C.
    pub(crate) fn name(self) -> &'static str {
        match self {
            zp_type::U8 => "ZP_TYPE_U8",
            zp_type::I8 => "ZP_TYPE_I8",
            zp_type::U16 => "ZP_TYPE_U16",
            zp_type::I16 => "ZP_TYPE_I16",
            zp_type::I32 => "ZP_TYPE_I32",
            zp_type::F32 => "ZP_TYPE_F32",
            zp_type::F16 => "ZP_TYPE_F16",
            zp_type::Bf16 => "ZP_TYPE_BF16",
            zp_type::U4 => "ZP_TYPE_U4",
            zp_type::I4 => "ZP_TYPE_I4",
            zp_type::U2 => "ZP_TYPE_U2",
            zp_type::I2 => "ZP_TYPE_I2",
        }
    }
}

/// A type of Rust that elements of a `zp_type` have in memory: plain numbers, for which every bit pattern is valid.
pub(crate) trait Element: Copy + 'static {
    /// Its type in C.
    const TYPE: zp_type;
}

macro_rules! elements {
    ($($Type:ty: $tag:ident),+) => { $( impl Element for $Type { const TYPE: zp_type = zp_type::$tag; } )+ };
}
// (Random words are arrays of C, not views: their sign is in no tag.)
elements! { u8: U8, i8: I8, u16: U16, i16: I16, i32: I32, u32: I32, f32: F32 }
