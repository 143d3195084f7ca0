//! Images as arguments: with their parameters, or with zero points that are given by hand.

use bytemuck::cast_slice;

use crate::codes::ByteCode;
use crate::error::{Error, check_length, elements_of};
use crate::kernel::Vectors;
use crate::matrix::{Largest, Matrix, ZeroPoints};
use crate::params::{Granularity, QuantParams};
use crate::quantized::Quantized;
use crate::sign::Sign;
use crate::simd::walk::block;

/// Images with zero points that are given by hand.
#[derive(Clone, Copy, Debug)]
pub struct RawImages<'a, A> {
    /// `[images, height, width, channels]`.
    pub codes: &'a [A],
    /// Images, height, width, channels.
    pub shape: [usize; 4],
    /// One, one for every image, or one for every channel. Padding has this value.
    pub zero_points: ImageZeroPoints<'a>,
}

/// The zero points of images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ImageZeroPoints<'a> {
    /// One for all.
    Uniform(i32),
    /// One for every image.
    PerImage(&'a [i32]),
    /// One for every channel.
    PerChannel(&'a [i32]),
}

impl From<i32> for ImageZeroPoints<'_> {
    fn from(zero_point: i32) -> Self {
        ImageZeroPoints::Uniform(zero_point)
    }
}

/// One for every image.
impl<'a> From<&'a [i32]> for ImageZeroPoints<'a> {
    fn from(zero_points: &'a [i32]) -> Self {
        ImageZeroPoints::PerImage(zero_points)
    }
}

impl<'a> ImageZeroPoints<'a> {
    /// The zero points of one image: one for all channels, or one for each.
    #[inline(always)]
    pub(super) fn of_image(self, image: impl FnOnce() -> usize) -> ZeroPoints<'a> {
        match self {
            ImageZeroPoints::Uniform(zero_point) => ZeroPoints::Uniform(zero_point),
            ImageZeroPoints::PerImage(each) => ZeroPoints::Uniform(each[image()]),
            ImageZeroPoints::PerChannel(each) => ZeroPoints::Each(each),
        }
    }
}

/// The zero points of a vector of channels.
#[inline(always)]
pub(super) fn load_zero_points<V: Vectors>(v: V, zero_points: ZeroPoints<'_>, channel: usize) -> V::I32 {
    match zero_points {
        ZeroPoints::Uniform(zero_point) => v.splat_i32(zero_point),
        ZeroPoints::Each(each) => v.load_i32(&block(each, channel)),
    }
}

/// Images of either type, as many codes as their shape says.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub codes: &'a [u8],
    pub sign: Sign,
    /// Images, height, width, channels.
    pub shape: [usize; 4],
    pub zero_points: ImageZeroPoints<'a>,
    /// As many as there are zero points; none when only the stage knows them.
    pub scales: &'a [f32],
}

impl<'a> Images<'a> {
    /// Images whose parameters are per tensor, per image or per channel.
    pub fn quantized<A: ByteCode>(
        codes: &'a [A],
        shape: [usize; 4],
        params: &'a QuantParams<A>,
    ) -> Result<Self, Error> {
        check_length("the images", elements_of(&shape), codes.len())?;
        let (zero_points, scales) = match params.granularity() {
            Granularity::Channel { channels, inner: 1 } if channels == shape[3] => {
                (ImageZeroPoints::PerChannel(params.zero_points()), params.scales())
            }
            _ => {
                let by_image = Matrix::new(codes, shape[0], elements_of(&shape[1..]))?;
                match Quantized::new(by_image, params)?.by_row()? {
                    (ZeroPoints::Uniform(zero_point), scale) => (zero_point.into(), scale),
                    (ZeroPoints::Each(each), scales) => (each.into(), scales),
                }
            }
        };
        Ok(Images { codes: cast_slice(codes), sign: A::SIGN, shape, zero_points, scales })
    }

    /// Images whose zero points are given by hand.
    pub fn by_hand<A: ByteCode>(RawImages { codes, shape, zero_points }: RawImages<'a, A>) -> Result<Self, Error> {
        check_length("the images", elements_of(&shape), codes.len())?;
        Ok(Images { codes: cast_slice(codes), sign: A::SIGN, shape, zero_points, scales: &[] })
    }

    /// The largest `|x − zx|`, for zero points that are codes.
    pub fn check_zero_points(&self) -> Result<Largest, Error> {
        let [images, _, _, channels] = self.shape;
        match self.zero_points {
            ImageZeroPoints::Uniform(zero_point) => ZeroPoints::Uniform(zero_point).check_for(self.sign, images),
            ImageZeroPoints::PerImage(each) => ZeroPoints::Each(each).check_for(self.sign, images),
            ImageZeroPoints::PerChannel(each) => ZeroPoints::Each(each).check_for(self.sign, channels),
        }
    }
}
