//! The parts of images under windows, and their codes as rows of a matrix.

use core::ops::Range;

use super::images::ImageZeroPoints;
use super::window::Window;
use crate::error::elements_of;
use crate::matmul::lhs::{MakeRow, RowSource};
use crate::matrix::{Matrix, ZeroPoints};

/// Images `[images, height, width, channels]`, and the windows on them that make a result of this height and width.
#[derive(Clone, Copy)]
pub(super) struct Windows<'a> {
    pub images: &'a [u8],
    pub shape: [usize; 4],
    pub output: [usize; 2],
    /// The position of the first window: where the result is a part of a larger one.
    pub first: [usize; 2],
    pub window: &'a Window,
}

/// The part of an image under one window.
#[derive(Clone, Copy)]
pub(super) struct Patch<'a> {
    /// The whole image.
    image: &'a [u8],
    width: usize,
    channels: usize,
    position: [usize; 2],
    window: &'a Window,
    /// The rows and columns of taps that are on the image.
    taps: [(usize, usize); 2],
}

impl<'a> Windows<'a> {
    /// The number of windows on all images: the rows of the result. (More than `usize` holds are none of a result that exists.)
    pub fn count(&self) -> usize {
        elements_of(&[self.shape[0], self.output[0], self.output[1]])
    }

    /// The image of a row of the result.
    #[inline(always)]
    pub fn image_of(&self, row: usize) -> usize {
        row / (self.output[0] * self.output[1])
    }

    /// The patch of a row of the result.
    #[inline(always)]
    pub fn at(&self, row: usize) -> Patch<'a> {
        let [_, height, width, channels] = self.shape;
        let (line, x) = (row / self.output[1], row % self.output[1]);
        let (image, y) = (line / self.output[0], line % self.output[0]);
        let position = [self.first[0] + y, self.first[1] + x];
        let elements = height * width * channels;
        let image = &self.images[image * elements..][..elements];
        let [rows, columns] = [self.window.taps(0, position[0], height), self.window.taps(1, position[1], width)];
        let taps = if rows.is_empty() || columns.is_empty() {
            [(0, 0); 2]
        } else {
            [(rows.start, rows.end), (columns.start, columns.end)]
        };
        Patch { image, width, channels, position, window: self.window, taps }
    }
}

impl<'a> Patch<'a> {
    /// The whole image.
    #[inline(always)]
    pub fn image(&self) -> &'a [u8] {
        self.image
    }

    /// The rows of taps, or the columns, that are on the image. If there are no columns, there are no rows.
    #[inline(always)]
    pub fn taps(&self, axis: usize) -> Range<usize> {
        self.taps[axis].0..self.taps[axis].1
    }

    /// The taps that are on the image.
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.taps(0).len() * self.taps(1).len()
    }

    /// The place in the image of the channels under a tap that is on it.
    #[inline(always)]
    pub fn place(&self, [tap_y, tap_x]: [usize; 2]) -> usize {
        let y = self.window.element(0, self.position[0], tap_y);
        let x = self.window.element(1, self.position[1], tap_x);
        (y * self.width + x) * self.channels
    }

    /// The channels under a tap that is on the image.
    #[inline(always)]
    pub fn channels(&self, tap: [usize; 2]) -> &'a [u8] {
        &self.image[self.place(tap)..][..self.channels]
    }
}

/// The patches of one group, as rows of a matrix.
pub(super) struct Patches<'a> {
    pub windows: Windows<'a>,
    pub zero_points: ImageZeroPoints<'a>,
    pub group: usize,
    /// Channels of the group.
    pub channels: usize,
}

impl Patches<'_> {
    /// The rows in place, if the window is the whole patch.
    pub fn source(&self) -> RowSource<'_> {
        let Windows { window, shape: [count, height, width, channels], images, output, first } = self.windows;
        let whole = *window == Window::new([1, 1]) && self.channels == channels;
        // All lines of all images, or some of one.
        let whole_lines = first[1] == 0 && output[1] == width;
        let lines = first == [0; 2] && output[0] == height || count == 1 && first[0] + output[0] <= height;
        if whole && whole_lines && lines {
            let codes = &images[first[0] * width * channels..];
            if let Ok(matrix) = Matrix::with_stride(codes, self.rows(), channels, channels) {
                return RowSource::Matrix(matrix);
            }
        }
        RowSource::Made(self)
    }
}

impl MakeRow for Patches<'_> {
    fn rows(&self) -> usize {
        self.windows.count()
    }

    fn depth(&self) -> usize {
        let [height, width] = self.windows.window.size;
        height * width * self.channels
    }

    fn make_row(&self, row: usize, out: &mut [u8]) {
        let Windows { window, shape, .. } = self.windows;
        let channels = self.channels;
        let group = self.group * channels..(self.group + 1) * channels;
        // Padding is the zero point, whose low byte is the code: zero points are checked to be codes.
        let zero_points = self.zero_points.of_image(|| self.windows.image_of(row));
        let pad = |out: &mut [u8]| match zero_points {
            ZeroPoints::Uniform(zero_point) => out.fill(zero_point as u8),
            ZeroPoints::Each(each) => {
                for out in out.chunks_exact_mut(channels) {
                    for (out, &zero_point) in out.iter_mut().zip(&each[group.clone()]) {
                        *out = zero_point as u8;
                    }
                }
            }
        };
        let patch = self.windows.at(row);
        let (rows, columns) = (patch.taps(0), patch.taps(1));
        // The taps before and behind those on the image are in the padding.
        let length = window.size[1] * channels;
        let (out, behind) = out.split_at_mut(rows.end * length);
        pad(behind);
        let (before, out) = out.split_at_mut(rows.start * length);
        pad(before);
        // Taps that are neighbours are copied together.
        let together = window.dilation[1] == 1 && channels == shape[3];
        for (tap_y, out) in rows.zip(out.chunks_exact_mut(length)) {
            let (out, behind) = out.split_at_mut(columns.end * channels);
            pad(behind);
            let (before, out) = out.split_at_mut(columns.start * channels);
            pad(before);
            if together {
                out.copy_from_slice(&patch.image()[patch.place([tap_y, columns.start])..][..out.len()]);
                continue;
            }
            for (tap_x, out) in columns.clone().zip(out.chunks_exact_mut(channels)) {
                out.copy_from_slice(&patch.channels([tap_y, tap_x])[group.clone()]);
            }
        }
    }
}
