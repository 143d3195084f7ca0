//! Images as arguments: with their parameters, or with zero points that are given by hand.

use bytemuck::cast_slice;

use crate::codes::Code;
use crate::error::{Error, check_length, elements_of};
use crate::matrix::{Matrix, ZeroPoints};
use crate::params::QuantParams;
use crate::quantized::Quantized;
use crate::sign::Sign;

/// Images with zero points that are given by hand.
#[derive(Clone, Copy, Debug)]
pub struct RawImages<'a, A> {
    /// `[images, height, width, channels]`.
    pub codes: &'a [A],
    /// Images, height, width, channels.
    pub shape: [usize; 4],
    /// One, or one for every image. Padding has this value.
    pub zero_points: ZeroPoints<'a>,
}

/// Images of either type, as many codes as their shape says.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub codes: &'a [u8],
    pub sign: Sign,
    /// Images, height, width, channels.
    pub shape: [usize; 4],
    /// One, or one for every image.
    pub zero_points: ZeroPoints<'a>,
    /// One, or one for every image; none when only the stage knows them.
    pub scales: &'a [f32],
}

impl<'a> Images<'a> {
    /// Images whose parameters are per tensor or per image.
    pub fn quantized<A: Code>(codes: &'a [A], shape: [usize; 4], params: &'a QuantParams<A>) -> Result<Self, Error> {
        check_length("the images", elements_of(&shape), codes.len())?;
        let by_image = Matrix::new(codes, shape[0], elements_of(&shape[1..]))?;
        let (zero_points, scales) = Quantized::new(by_image, params)?.by_row()?;
        Ok(Images { codes: cast_slice(codes), sign: A::SIGN, shape, zero_points, scales })
    }

    /// Images whose zero points are given by hand.
    pub fn by_hand<A: Code>(RawImages { codes, shape, zero_points }: RawImages<'a, A>) -> Result<Self, Error> {
        check_length("the images", elements_of(&shape), codes.len())?;
        Ok(Images { codes: cast_slice(codes), sign: A::SIGN, shape, zero_points, scales: &[] })
    }

    /// The largest `|x − zx|`, for zero points that are codes.
    pub fn check_zero_points(&self) -> Result<i64, Error> {
        self.zero_points.check_for(self.sign, self.shape[0])
    }
}
