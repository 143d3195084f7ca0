//! Arguments of calls: right more often than not, now and then of any number.

use core::mem::MaybeUninit;
use core::ptr::null_mut;

use arbitrary::Arbitrary;
use zeropoint_capi::*;
use zeropoint_fuzz::Words;
use zeropoint_fuzz::c::{Count, Dimensions, Memory, ViewInput, number};

/// A handle of a kind: one of those that were made, none, or one of another kind.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct HandleInput(pub u8);

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Codes {
    kind: u8,
    wild: [i32; 2],
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Granularity {
    kind: u8,
    axis: Count,
    inner: Count,
    block: Count,
    wild: Option<[usize; 3]>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Window {
    size: [u8; 2],
    stride: [u8; 2],
    padding: [u8; 4],
    dilation: [u8; 2],
    wild: Option<(u8, usize)>,
}

/// An array: its count, what it holds, and what is wrong with it.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Array {
    count: Count,
    seed: u16,
    flaw: u8,
    wild: usize,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Shape {
    axes: [Count; 4],
    wild: Option<(u8, usize)>,
}

/// Where results go: into a view of their own, or over one that is read.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Out {
    pub view: ViewInput,
    pub over: Option<u8>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Rounding {
    kind: u8,
    seed: u64,
    offset: u64,
}

impl Rounding {
    pub fn c(self) -> zp_rounding {
        zp_rounding { kind: number(small(self.kind, 1)), seed: self.seed, offset: self.offset }
    }
}

/// A number from 0 to `most`, or now and then one that an enum does not have.
pub fn small(byte: u8, most: u32) -> u32 {
    if byte < 250 { u32::from(byte) % (most + 1) } else { byte.into() }
}

/// A bool of C, whose byte may be any.
pub fn truth(byte: u8) -> MaybeUninit<bool> {
    // SAFETY: of the same size, and MaybeUninit may hold any byte.
    unsafe { core::mem::transmute_copy(&byte) }
}

impl Codes {
    pub fn c(self) -> zp_codes {
        let [a, b] = self.wild;
        let (element, min, max) = match self.kind % 14 {
            0 | 1 => (1, 0, 255),
            2 => (2, -127, 127),
            3 => (2, -128, 127),
            4 => (1, 0, 15),
            5 => (2, -8, 7),
            6 => (1, 0, 3),
            7 => (2, -2, 1),
            8 => (3, 0, 65_535),
            9 => (4, -32_768, 32_767),
            10 => (2, a % 256, b % 256),
            11 => (1, a, b),
            12 => (4, a, b),
            _ => (a.cast_unsigned(), 0, b),
        };
        zp_codes { r#type: number(element), min, max }
    }
}

impl Granularity {
    pub fn c(self, dimensions: &Dimensions) -> zp_granularity {
        let [axis, inner, block] = match self.wild {
            None => [self.axis, self.inner, self.block].map(|count| count.of(dimensions)),
            Some(wild) => wild,
        };
        zp_granularity { kind: number(small(self.kind, 2)), axis, inner, block }
    }
}

impl Window {
    pub fn c(self) -> zp_window {
        // Seldom 0, which no window may have: with a fifth of the six numbers, most windows would be refused.
        let some = |n: u8| if n < 250 { usize::from(n % 4) + 1 } else { 0 };
        let [size, stride, dilation] = [self.size, self.stride, self.dilation].map(|of| of.map(some));
        let mut window = zp_window { size, stride, padding: self.padding.map(|n| usize::from(n % 5)), dilation };
        if let Some((which, n)) = self.wild {
            let [_, left, bottom, _] = &mut window.padding;
            let numbers = [&mut window.size[0], &mut window.stride[1], left, bottom, &mut window.dilation[0]];
            for (i, number) in numbers.into_iter().enumerate() {
                if i == usize::from(which) % 5 {
                    *number = n;
                }
            }
        }
        window
    }
}

impl Shape {
    pub fn c(self, dimensions: &Dimensions) -> zp_shape {
        let mut axes = self.axes.map(|count| count.of(dimensions));
        if let Some((which, n)) = self.wild {
            axes[usize::from(which) % 4] = n;
        }
        zp_shape { axes }
    }
}

pub fn scheme([scale, offset, rounding]: [u8; 3]) -> zp_scheme {
    zp_scheme { scale: number(small(scale, 1)), offset: number(small(offset, 2)), rounding: number(small(rounding, 1)) }
}

pub fn tensor_format(format: u8, tensor_scale: u32) -> zp_tensor_format {
    const FORMATS: [u32; 13] = [1, 2, 3, 16, 17, 18, 19, 20, 24, 25, 26, 27, 99];
    let format = FORMATS[usize::from(format) % FORMATS.len()];
    zp_tensor_format { format: number(format), tensor_scale: f32::from_bits(tensor_scale) }
}

/// An array in memory of its own.
pub struct Elements {
    pub memory: Memory,
    pub pointer: *mut u8,
    pub count: usize,
}

impl Array {
    pub fn of<const SIZE: usize>(self, dimensions: &Dimensions, element: impl Fn(u64) -> [u8; SIZE]) -> Elements {
        let mut words = Words(self.seed.into());
        let count = self.count.of(dimensions).min(4096);
        let bytes: Vec<u8> = (0..count).flat_map(|_| element(words.word())).chain([0; 1]).collect();
        let memory = Memory::new(&bytes[..count * SIZE + usize::from(self.flaw == 241)]);
        let start = memory.start();
        let (pointer, count) = match self.flaw {
            240 => (null_mut(), count),
            241 => (start.wrapping_add(1), count),
            // More than memory holds.
            242 => (start, self.wild | (isize::MAX.cast_unsigned() / SIZE + 1)),
            _ => (start, count),
        };
        Elements { memory, pointer, count }
    }

    pub fn floats(self, dimensions: &Dimensions) -> Elements {
        let seed = self.seed;
        self.of(dimensions, |word| {
            let bits =
                if !seed.is_multiple_of(8) { (((word % 100) as f32 + 1.0) * 0.01).to_bits() } else { word as u32 };
            bits.to_ne_bytes()
        })
    }

    pub fn integers(self, dimensions: &Dimensions) -> Elements {
        let seed = self.seed;
        self.of(dimensions, |word| (if !seed.is_multiple_of(8) { 0 } else { word as i32 >> (seed % 32) }).to_ne_bytes())
    }

    pub fn doubles(self, dimensions: &Dimensions) -> Elements {
        let seed = self.seed;
        self.of(dimensions, |word| {
            (if !seed.is_multiple_of(8) { ((word % 100) as f64 + 1.0) * 0.001 } else { f64::from_bits(word) })
                .to_ne_bytes()
        })
    }
}

/// A text that a zero byte ends, in memory of its own.
pub fn text(text: &str) -> Box<[u8]> {
    text.bytes().take_while(|&byte| byte != 0).chain([0]).collect()
}
