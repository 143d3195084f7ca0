//! Arguments of the C interface: memory that is exactly as large as it says, and views of it, honest or with one flaw that has to
//! be found out.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use std::alloc::{Layout, alloc, dealloc};

use arbitrary::Arbitrary;
use zeropoint_capi::{zp_type, zp_view, zp_view_mut};

use crate::data::Words;

/// A value of an enum of C that may be any number.
pub fn number<E: Copy>(number: u32) -> MaybeUninit<E> {
    assert_eq!(size_of::<E>(), 4);
    // SAFETY: of the same size, and MaybeUninit may hold any bytes.
    unsafe { core::mem::transmute_copy(&number) }
}

/// Bytes of their own allocation.
pub struct Memory {
    start: *mut u8,
    layout: Layout,
}

impl Memory {
    pub fn new(bytes: &[u8]) -> Self {
        let layout = Layout::from_size_align(bytes.len().max(1), 64).expect("small");
        // SAFETY: of one byte at least.
        let start = unsafe { alloc(layout) };
        assert!(!start.is_null());
        // SAFETY: as many bytes were allocated.
        unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Memory { start, layout }
    }

    pub fn start(&self) -> *mut u8 {
        self.start
    }

    fn bytes(&self) -> Vec<u8> {
        // SAFETY: all bytes were written when it was made, and no call is running.
        unsafe { core::slice::from_raw_parts(self.start, self.layout.size()) }.to_vec()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nobody uses it any more.
        unsafe { dealloc(self.start, self.layout) };
    }
}

/// The types of elements; the bytes of an element, which share one if they are packed; and the elements of those bytes.
const TYPES: [(zp_type, usize, usize); 12] = [
    (zp_type::F32, 4, 1),
    (zp_type::U8, 1, 1),
    (zp_type::I8, 1, 1),
    (zp_type::I32, 4, 1),
    (zp_type::U16, 2, 1),
    (zp_type::I16, 2, 1),
    (zp_type::F16, 2, 1),
    (zp_type::Bf16, 2, 1),
    (zp_type::U4, 1, 2),
    (zp_type::I4, 1, 2),
    (zp_type::U2, 1, 4),
    (zp_type::I2, 1, 4),
];

/// A view's sizes, contents and flaw.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct ViewInput {
    element: u8,
    rows: Count,
    columns: Count,
    gap: u8,
    seed: u16,
    /// From 240 on, one is chosen.
    flaw: u8,
    wild: [usize; 3],
}

/// A number of rows, columns or elements.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Count {
    One,
    /// One of the case's dimensions.
    Dimension(u8),
    Product(u8, u8),
    /// All of them together, with a factor.
    All(u8),
    Number(u8),
}

/// The dimensions of a case, which views have in common more often than not.
pub type Dimensions = [usize; 4];

impl Count {
    pub fn of(self, dimensions: &Dimensions) -> usize {
        let dimension = |i: u8| dimensions[usize::from(i) % dimensions.len()];
        match self {
            Count::One => 1,
            Count::Dimension(i) => dimension(i),
            Count::Product(i, j) => dimension(i) * dimension(j),
            Count::All(factor) => dimensions.iter().product::<usize>().min(4096) * usize::from(factor % 3),
            Count::Number(n) => n.into(),
        }
    }
}

/// A view with its memory.
pub struct View {
    pub memory: Memory,
    before: Vec<u8>,
    view: zp_view,
}

impl ViewInput {
    pub fn view(&self, dimensions: &Dimensions) -> View {
        let (element, size, per_byte) = TYPES[usize::from(self.element) % TYPES.len()];
        let (mut rows, mut columns) = (self.rows.of(dimensions), self.columns.of(dimensions));
        columns = columns.min(20_000 / rows.max(1));
        let gap = if self.gap < 200 { 0 } else { usize::from(self.gap) - 200 };
        let mut stride = if gap == 0 && self.seed.is_multiple_of(2) { 0 } else { columns + gap };
        let extent = if rows * columns == 0 { 0 } else { (rows - 1) * stride.max(columns) + columns };
        let bytes = size * extent.div_ceil(per_byte);
        let contents = self.contents(bytes + 4, element);
        let mut element = element as u32;
        // A buffer that begins at an odd address, or has another type, is larger.
        let is_larger = matches!(self.flaw, 241 | 243);
        let memory = Memory::new(&contents[..if self.flaw == 243 { bytes } else { bytes + usize::from(is_larger) }]);
        let mut data = memory.start;
        match self.flaw {
            240 => data = core::ptr::null_mut(),
            241 => data = data.wrapping_add(1),
            // More than memory holds: nothing of it may be read.
            242 => {
                let huge = |n: usize| n | 1 << (usize::BITS / 2 + 1);
                [rows, columns, stride] = [huge(self.wild[0]), huge(self.wild[1]), self.wild[2]];
                data = if self.wild[2].is_multiple_of(2) { data } else { core::ptr::dangling_mut::<u64>().cast() };
                // (Only codes of one row fit, if any.)
                stride = stride.max(columns);
            }
            243 => element = 20 + self.wild[0] as u32 % 1000,
            // Rows that overlap, which is an error; and no columns, or rows, of any length.
            244 => stride = columns.saturating_sub(1),
            245 => (rows, columns, stride) = (0, self.wild[0], self.wild[1]),
            246 => (rows, columns) = (self.wild[0], 0),
            _ => {}
        }
        let view = zp_view { r#type: number(element), data: data.cast::<c_void>().cast_const(), rows, columns, stride };
        View { before: memory.bytes(), memory, view }
    }

    /// Bytes that are numbers of a type more often than not.
    fn contents(&self, count: usize, element: zp_type) -> Vec<u8> {
        let mut words = Words(self.seed.into());
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            let word = words.word();
            match element {
                zp_type::F32 if !self.seed.is_multiple_of(8) => {
                    bytes.extend((((word % 2001) as f32 - 1000.0) * 0.01).to_ne_bytes())
                }
                zp_type::I32 if !self.seed.is_multiple_of(8) => bytes.extend((word as i32 % 1000).to_ne_bytes()),
                zp_type::U8 if self.seed % 8 > 4 => bytes.push(word as u8 % 16),
                zp_type::I8 if self.seed % 8 > 4 => bytes.push((word as i8 % 8).cast_unsigned()),
                _ => bytes.extend(word.to_ne_bytes()),
            }
        }
        bytes.truncate(count);
        bytes
    }
}

impl View {
    pub fn read(&self) -> zp_view {
        self.view
    }

    pub fn write(&self) -> zp_view_mut {
        let zp_view { r#type, data, rows, columns, stride } = self.view;
        zp_view_mut { r#type, data: data.cast_mut(), rows, columns, stride }
    }

    /// A view of another one's memory, from a byte on: of as much as there is.
    pub fn write_over(&self, other: &View, from: u8) -> zp_view_mut {
        let start = usize::from(from).min(other.memory.layout.size() - 1);
        let length = other.memory.layout.size() - start;
        zp_view_mut {
            r#type: number(1 + u32::from(from % 2)),
            data: other.memory.start.wrapping_add(start).cast(),
            rows: 1,
            columns: length,
            stride: 0,
        }
    }

    /// Panics if the memory was written.
    pub fn assert_untouched(&self) {
        assert_eq!(self.memory.bytes(), self.before, "a call that failed has written");
    }
}
