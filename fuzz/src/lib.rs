//! What the targets share: shapes, parameters and tensors made of a few bytes of input.
//!
//! A tensor is a [`Data`]: a seed, a texture, and elements that are placed by hand. So a few dozen bytes make a case, a mutation
//! of one of them is a mutation of the case, and shrinking works.
//!
//! Every buffer ends where its allocation ends, so AddressSanitizer sees the first byte that is read or written behind it.

pub mod c;
mod data;
mod params;
mod shapes;

// What the suite of tests has, too.
#[path = "../../tests/suite/floats.rs"]
mod floats;
#[path = "../../tests/suite/stored_reals.rs"]
pub mod stored_reals;
#[path = "../../tests/suite/xxh64.rs"]
pub mod xxh64;

pub use data::{CodeTexture, Data, RealTexture, Reals, Words};
pub use floats::bits;
pub use params::{CodeType, ParamsInput, RangeInput, SCHEMES, ScaleTexture, SchemeInput, groups_scales, zero_points};
pub use shapes::{Layout, Shape};

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use zeropoint::{Isa, Stream, Threads};

static ISAS: LazyLock<Vec<Isa>> = LazyLock::new(Isa::supported);

/// One of the ISAs of this CPU.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct IsaInput(u8);

impl IsaInput {
    pub fn isa(self) -> Isa {
        ISAS[usize::from(self.0) % ISAS.len()]
    }
}

/// Every ISA of this CPU.
pub fn isas() -> &'static [Isa] {
    &ISAS
}

/// A place in a stream that has a number of words more: any, around multiples of sixteen and of a chunk, and at the stream's end.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct StreamInput {
    seed: u64,
    near: Near,
    distance: i8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Near {
    Sixteen(u8),
    Chunk(u32),
    Anywhere(u64),
    End,
}

impl StreamInput {
    pub fn stream(self, words: usize) -> Stream {
        let last = u64::MAX - (words as u64).saturating_sub(1);
        let offset = match self.near {
            Near::Sixteen(block) => 16 * u64::from(block),
            Near::Chunk(chunk) => 16_384 * u64::from(chunk),
            Near::Anywhere(offset) => offset,
            Near::End => last,
        };
        Stream { seed: self.seed, offset: offset.saturating_add_signed(self.distance.into()).min(last) }
    }
}

/// Threads that do their tasks one after another on threads of their own, the last task first.
#[derive(Clone, Copy, Debug)]
pub struct Backwards(pub usize);

impl Threads for Backwards {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            (0..tasks).rev().for_each(|i| {
                scope.spawn(move || task(i));
            });
        });
    }
}

/// Calls `write` with a slice of `length` elements that begins `offset` elements behind the start of an allocation and ends with
/// it, and checks that nothing in front of it changed.
pub fn guarded<T: Copy + PartialEq + core::fmt::Debug>(
    length: usize,
    offset: u8,
    canary: T,
    write: impl FnOnce(&mut [T]),
) -> Vec<T> {
    let offset = usize::from(offset % 64);
    let mut buffer = vec![canary; offset + length].into_boxed_slice();
    write(&mut buffer[offset..]);
    assert!(buffer[..offset].iter().all(|&x| x == canary), "wrote outside");
    buffer[offset..].to_vec()
}

/// Calls `read` with the elements `offset` elements behind the start of an allocation, which ends with them.
pub fn behind<T: Copy, R>(elements: &[T], offset: u8, fill: T, read: impl FnOnce(&[T]) -> R) -> R {
    let offset = usize::from(offset % 64);
    let mut buffer = vec![fill; offset];
    buffer.reserve_exact(elements.len());
    buffer.extend_from_slice(elements);
    read(&buffer.into_boxed_slice()[offset..])
}
