//! Code ranges, schemes and parameters.

use arbitrary::Arbitrary;
use zeropoint::{Code, CodeRange, QuantParams, Scheme};

use crate::data::{CodeTexture, Data, Words};
use crate::shapes::Shape;

/// The type of codes.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum CodeType {
    U8,
    I8,
    U16,
    I16,
}

/// Calls a function that is generic over codes, or over bytes.
#[macro_export]
macro_rules! of_code_type {
    ($type:expr, $run:ident($($argument:expr),*)) => {
        match $type {
            $crate::CodeType::U8 => $run::<u8>($($argument),*),
            $crate::CodeType::I8 => $run::<i8>($($argument),*),
            $crate::CodeType::U16 => $run::<u16>($($argument),*),
            $crate::CodeType::I16 => $run::<i16>($($argument),*),
        }
    };
}

/// Calls a function that is generic over two types of codes of eight bits.
#[macro_export]
macro_rules! of_signs {
    ($signs:expr, $run:ident($($argument:expr),*)) => {
        match $signs {
            [false, false] => $run::<u8, u8>($($argument),*),
            [false, true] => $run::<u8, i8>($($argument),*),
            [true, false] => $run::<i8, u8>($($argument),*),
            [true, true] => $run::<i8, i8>($($argument),*),
        }
    };
}

/// A code range.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct RangeInput {
    ends: [u16; 2],
}

impl RangeInput {
    /// A range of a quantizer: three codes at least, of which one is 0 and one is above it.
    pub fn range<C: Code>(self) -> CodeRange<C> {
        self.range_within(C::MIN, C::MAX)
    }

    /// A range of a quantizer within another one.
    pub fn range_within<C: Code>(self, min: C, max: C) -> CodeRange<C> {
        let (min, max): (i32, i32) = (min.into(), max.into());
        // Ends of 0, which are the most frequent ones, are those of the type.
        let [low, high] = self.ends.map(i32::from);
        let (low, high) = (min + low % (1 - min), max - high % max);
        let high = high.max(low + 2).min(max);
        let low = low.min(high - 2);
        let code = |code: i32| C::try_from(code).ok().expect("within the type");
        CodeRange::new(code(low), code(high)).expect("a range of a quantizer")
    }
}

/// The eight types, and those that are symmetric around the middle of the codes.
pub const SCHEMES: [Scheme; 12] = {
    let [a, b, c, d, e, f, g, h] = Scheme::ALL;
    let [i, j] = [Scheme::MIDDLE, Scheme::SHIFT_MIDDLE];
    [a, b, c, d, e, f, g, h, i, j, i.stochastic(), j.stochastic()]
};

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct SchemeInput(u8);

impl SchemeInput {
    pub fn scheme(self) -> Scheme {
        SCHEMES[usize::from(self.0) % SCHEMES.len()]
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum ScaleTexture {
    Ordinary,
    PowersOfTwo,
    Anything,
    Constant(u32),
}

/// Scales that parameters can have.
pub fn groups_scales(data: &(u32, ScaleTexture), groups: usize) -> Vec<f32> {
    let mut words = Words(data.0.into());
    let valid = |bits: u32| f32::from_bits(bits % (0x7f80_0000 - 0x0080_0000) + 0x0080_0000);
    let scale = |words: &mut Words| match data.1 {
        ScaleTexture::Ordinary => 1e-3 + (words.word() % 10_000) as f32 * 1e-3,
        ScaleTexture::PowersOfTwo => f32::from_bits((words.word() as u32 % 254 + 1) << 23),
        ScaleTexture::Anything => valid(words.word() as u32),
        ScaleTexture::Constant(bits) => valid(bits),
    };
    (0..groups).map(|_| scale(&mut words)).collect()
}

/// Zero points within a code range.
pub fn zero_points<C: Code>(data: &Data<CodeTexture>, groups: usize, codes: CodeRange<C>) -> Vec<i32> {
    data.codes_within(groups, codes.min(), codes.max()).into_iter().map(Into::into).collect()
}

/// Parameters, and the length of a tensor that has them.
#[derive(Arbitrary, Clone, Debug)]
pub struct ParamsInput {
    pub codes: RangeInput,
    pub shape: Shape,
    pub scales: (u32, ScaleTexture),
    pub zero_points: Data<CodeTexture>,
}

impl ParamsInput {
    pub fn params<C: Code>(&self) -> (QuantParams<C>, usize) {
        self.with_codes(self.codes.range())
    }

    pub fn with_codes<C: Code>(&self, codes: CodeRange<C>) -> (QuantParams<C>, usize) {
        let (granularity, length) = self.shape.granularity();
        let groups = granularity.groups(length).expect("the tensor has this granularity");
        let scales = groups_scales(&self.scales, groups);
        let zero_points = zero_points(&self.zero_points, groups, codes);
        (QuantParams::new(codes, granularity, scales, zero_points).expect("valid parameters"), length)
    }
}
