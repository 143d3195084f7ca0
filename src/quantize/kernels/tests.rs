//! The walk, over an operation that marks quads as it is told.

use super::super::ops::Round;
use super::super::vec_params::{QuadParams, VecParams};
use super::*;
use crate::codes::CodeBounds;
use crate::isa::Isa;
use crate::kernel::Kernel;
use crate::simd::memory::StreamVectors as _;
use crate::simd::tests::minimal::Streaming;

/// Three times x, except that a quad which contains `invalid` is marked and written wrong.
#[derive(Clone, Copy)]
struct Triple {
    invalid: i32,
}

impl Operation for Triple {
    type In = i32;
    type Out = i32;
    const HAS_QUAD: bool = true;

    #[inline(always)]
    fn vector<V: Vectors>(self, _: V, _: &VecParams<V>, _: impl Round<V>, block: Block<'_, i32, i32>) {
        assert_eq!(block.x[0], block.at as i32);
        assert_eq!(Streaming::unfenced(block.out), 0, "streamed, and touched before a fence");
        *block.out = block.x.map(|x| x * 3);
    }

    #[inline(always)]
    fn quad<V: Vectors>(self, v: V, _: &QuadParams<V>, quad: Quad<'_, i32, i32>, invalid: V::I32) -> V::I32 {
        assert_eq!(quad.x[0][0], quad.at as i32);
        let wrong = quad.x.as_flattened().contains(&self.invalid);
        for (out, x) in quad.out.as_flattened_mut().iter_mut().zip(quad.x.as_flattened()) {
            *out = if wrong { -7 } else { x * 3 };
        }
        if wrong { v.splat_i32(i32::MIN) } else { invalid }
    }
}

/// Segments of one length, whose state is their start.
#[derive(Clone, Copy)]
struct Segments<V> {
    v: V,
    length: usize,
}

impl<V: Vectors> Segments<V> {
    fn check(&self, segment: usize, i: usize) -> VecParams<V> {
        assert!((segment..segment + self.length.next_multiple_of(QUAD * LANES)).contains(&i));
        let codes = CodeBounds { min: 0, max: 0 };
        VecParams::new(self.v, codes, self.v.splat_f32(1.0), self.v.splat_i32(0))
    }
}

impl<V: Vectors> ParamSource<V> for Segments<V> {
    type Segment = usize;
    fn segment(&mut self, start: usize) -> (usize, usize) {
        (start, self.length)
    }
    fn vector(&self, segment: usize, i: usize) -> VecParams<V> {
        self.check(segment, i)
    }
    fn quad(&self, segment: usize, i: usize) -> QuadParams<V> {
        QuadParams::new(self.v, [self.check(segment, i); QUAD])
    }
}

struct Walk<'a> {
    op: Triple,
    segment: usize,
    elements: Elements<'a, Triple>,
}

impl Kernel for Walk<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        // SAFETY: a fence follows.
        unsafe { map(v, self.op, Segments { v, length: self.segment }, self.elements) };
        v.fence();
    }
}

/// Every element is computed, by a marked window too, wherever the output begins and memory lies; and nothing else.
#[test]
fn walks_cover_all_elements() {
    let lengths = (0..300).chain([1023, 1024, 1025, 2048, 3000]);
    for isa in Isa::supported() {
        for (length, offset) in lengths.clone().flat_map(|length| [0, 3, 7].map(|offset| (length, offset))) {
            for memory in [Memory::Cached, Memory::Beyond, Memory::Streamed] {
                for (invalid, segment) in [(-1, 70), (-1, 1), (length / 2, 3000), (length - 20, 1000)] {
                    let x: Vec<i32> = (0..length).collect();
                    let mut out = vec![-1; x.len() + offset + 1];
                    let elements = Elements { x: &x, out: &mut out[offset..][..x.len()], memory };
                    isa.run(Walk { op: Triple { invalid }, segment, elements });
                    let (before, behind) = (&out[..offset], out[offset + x.len()]);
                    assert!(before.iter().all(|&out| out == -1) && behind == -1, "{isa} {length} {memory:?}");
                    let same = out[offset..].iter().zip(&x).all(|(out, x)| *out == x * 3);
                    assert!(same, "{isa} {length} {offset} {memory:?} {invalid} {segment}");
                }
            }
        }
    }
}

/// Every element of windows in streams is computed, by a marked window too.
#[test]
fn walks_cover_windows_in_streams() {
    const WINDOW: i32 = (WINDOW_BEYOND * QUAD * LANES) as i32;
    for isa in Isa::supported() {
        for (length, invalid) in [(WINDOW, -1), (2 * WINDOW + 70, WINDOW + 5), (WINDOW + 1000, WINDOW + 990)] {
            for memory in [Memory::Beyond, Memory::Streamed] {
                let x: Vec<i32> = (0..length).collect();
                let mut out = vec![-1; x.len()];
                let elements = Elements { x: &x, out: &mut out, memory };
                isa.run(Walk { op: Triple { invalid }, segment: 3 * WINDOW as usize, elements });
                assert!(out.iter().zip(&x).all(|(out, x)| *out == x * 3), "{isa} {length} {memory:?}");
            }
        }
    }
}

/// What was streamed is fenced before a window is computed again, and no other vector touches it; and something was streamed.
#[test]
fn streamed_lines_are_fenced_before_they_are_touched_again() {
    let mut most = 0;
    for length in [64, 65, 70, 128, 129, 200, 1023, 1024, 1030, 3001] {
        for (offset, invalid) in [(0, -1), (0, length - 1), (3, length / 2), (16, 70), (7, 0)] {
            let x: Vec<i32> = (0..length).collect();
            let mut out = vec![-1; x.len() + offset + 16];
            // So many elements behind the beginning of a cache line.
            let begin = out.as_ptr().align_offset(CACHE_LINE) + offset;
            let out = &mut out[begin..begin + x.len()];
            let v = Streaming::new();
            let elements = Elements { x: &x, out: &mut *out, memory: Memory::Streamed };
            // SAFETY: a fence follows.
            unsafe { map(v, Triple { invalid }, Segments { v, length: 3000 }, elements) };
            most = most.max(Streaming::unfenced(out));
            v.fence();
            assert!(out.iter().zip(&x).all(|(out, x)| *out == x * 3), "{length} {offset} {invalid}");
        }
    }
    assert!(most > 0, "nothing was streamed");
}
