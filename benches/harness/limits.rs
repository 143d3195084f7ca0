//! Limits of the machine: multiplications from registers, and memory traffic without computation.

use zeropoint::Isa;

/// A loop that only multiplies, or only moves bytes.
pub struct Limit {
    run: Box<dyn FnMut()>,
    /// The work of a run: multiply-accumulates, or bytes.
    pub work: f64,
}

impl Limit {
    /// Runs it once.
    pub fn run(&mut self) {
        (self.run)();
    }
}

/// Multiply-accumulates of an ISA with all operands in registers.
pub fn peak(isa: Isa) -> Option<Limit> {
    #[cfg(target_arch = "x86_64")]
    return x86::peak(isa);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = isa;
        None
    }
}

/// One core reading a buffer, four places side by side.
pub fn bandwidth(bytes: usize) -> Option<Limit> {
    traffic(Traffic::Read, bytes, true)
}

/// The ratio of bytes read to bytes written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Nothing is written.
    Read,
    /// Four bytes for every one.
    ReadFourWriteOne,
    /// As many bytes.
    Copy,
    /// One byte for every four.
    ReadOneWriteFour,
    /// Nothing is read.
    Write,
}

impl Traffic {
    /// Vectors that a step reads and writes.
    #[cfg(target_arch = "x86_64")]
    const fn vectors(self) -> (usize, usize) {
        match self {
            Traffic::Read => (8, 0),
            Traffic::ReadFourWriteOne => (8, 2),
            Traffic::Copy => (4, 4),
            Traffic::ReadOneWriteFour => (2, 8),
            Traffic::Write => (0, 8),
        }
    }
}

/// One core reading and writing about `bytes` bytes in all, from the beginning of its buffers to their end; `streaming` adds
/// prefetches and non-temporal stores, or, where nothing is written, reads four places side by side.
pub fn traffic(traffic: Traffic, bytes: usize, streaming: bool) -> Option<Limit> {
    #[cfg(target_arch = "x86_64")]
    return x86::traffic(traffic, bytes, streaming);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (traffic, bytes, streaming);
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::asm;
    use core::arch::x86_64::*;
    use std::hint::black_box;

    use super::{Limit, Traffic};
    use zeropoint::Isa;

    /// How many bytes ahead lines are asked for.
    const AHEAD: usize = 8 << 10;

    /// Turns of a loop in a run.
    const TURNS: u32 = 10_000;

    /// A loop of `ACCUMULATORS` independent sums, all in registers. Where the products of every turn would be the same,
    /// `$hide` keeps the compiler from knowing it: an empty instruction that may have changed an operand.
    macro_rules! peak_loop {
        ($(#[$attribute:meta])* $name:ident, $Vector:ty, $ones:ident, $accumulators:literal, $class:ident,
         |$sum:ident, $a:ident, $b:ident| $step:expr) => {
            $(#[$attribute])*
            fn $name() {
                let ($b, mut hidden) = (black_box($ones(1)), black_box($ones(1)));
                let mut sums: [$Vector; $accumulators] = black_box([$ones(0); $accumulators]);
                for _ in 0..TURNS {
                    for sum in &mut sums {
                        // SAFETY: there is no instruction.
                        unsafe {
                            asm!("/* {0} */", inout($class) hidden, options(nomem, nostack, preserves_flags));
                        }
                        let ($sum, $a) = (*sum, hidden);
                        *sum = $step;
                    }
                }
                black_box(sums);
            }
        };
    }

    peak_loop!(
        #[target_feature(enable = "avx512f,avx512vnni")]
        dpbusd_512,
        __m512i,
        _mm512_set1_epi32,
        16,
        zmm_reg,
        |sum, a, b| _mm512_dpbusd_epi32(sum, a, b)
    );
    peak_loop!(
        #[target_feature(enable = "avx2,avxvnni")]
        dpbusd_256,
        __m256i,
        _mm256_set1_epi32,
        12,
        ymm_reg,
        |sum, a, b| _mm256_dpbusd_avx_epi32(sum, a, b)
    );
    peak_loop!(
        #[target_feature(enable = "avx512f,avx512bw")]
        madd_512,
        __m512i,
        _mm512_set1_epi32,
        16,
        zmm_reg,
        |sum, a, b| _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
    );
    peak_loop!(
        #[target_feature(enable = "avx2")]
        madd_256,
        __m256i,
        _mm256_set1_epi32,
        12,
        ymm_reg,
        |sum, a, b| _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
    );

    pub fn peak(isa: Isa) -> Option<Limit> {
        // The function, its accumulators, and the multiplications of a step.
        let (function, accumulators, macs): (unsafe fn(), u32, u32) = match isa.name() {
            "avx512vnni" => (dpbusd_512, 16, 64),
            "avxvnni" => (dpbusd_256, 12, 32),
            "avx512" => (madd_512, 16, 32),
            "avx2" => (madd_256, 12, 16),
            _ => return None,
        };
        // SAFETY: an `Isa` exists only where the CPU has its features.
        let run = Box::new(move || unsafe { function() });
        Some(Limit { run, work: f64::from(TURNS * accumulators * macs) })
    }

    /// A loop of steps of READS vectors read and WRITES vectors written, for buffers of any whole number of steps.
    macro_rules! traffic_loop {
        ($(#[$attribute:meta])* $name:ident, $Vector:ident, $splat:ident, $add:ident, $load:ident, $store:ident, $stream:ident) => {
            $(#[$attribute])*
            fn $name<const READS: usize, const WRITES: usize, const STREAMING: bool>(from: &[Line], to: &mut [Line]) {
                let lines = const { size_of::<$Vector>() as f64 / size_of::<Line>() as f64 };
                let lines = |vectors: usize| (vectors as f64 * lines) as usize;
                let steps = if WRITES > 0 { to.len() / lines(WRITES) } else { from.len() / lines(READS) };
                assert!(steps * lines(READS) <= from.len() && steps * lines(WRITES) <= to.len());
                let (mut from, mut to) = (from.as_ptr().cast::<$Vector>(), to.as_mut_ptr().cast::<$Vector>());
                let value = black_box($splat(1));
                let mut sums = [$splat(0); READS];
                if STREAMING && WRITES == 0 {
                    let length = steps / 4;
                    let side_by_side = (0..length).flat_map(|step| [0, 1, 2, 3].map(|place| place * length + step));
                    for step in side_by_side.chain(4 * length..steps) {
                        for (i, sum) in sums.iter_mut().enumerate() {
                            // SAFETY: `from` has READS vectors for every step.
                            *sum = $add(*sum, unsafe { $load(from.add(step * READS + i)) });
                        }
                    }
                    black_box(sums);
                    return;
                }
                for _ in 0..steps {
                    if STREAMING {
                        for line in 0..lines(READS) {
                            _mm_prefetch::<_MM_HINT_T0>(from.cast::<i8>().wrapping_add(AHEAD + line * size_of::<Line>()));
                        }
                    }
                    for (i, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: `from` has READS vectors for every step.
                        *sum = $add(*sum, unsafe { $load(from.add(i)) });
                    }
                    for i in 0..WRITES {
                        // SAFETY: `to` has WRITES vectors for every step, aligned as lines are.
                        unsafe {
                            if STREAMING { $stream(to.add(i), value) } else { $store(to.add(i), value) }
                        }
                    }
                    from = from.wrapping_add(READS);
                    to = to.wrapping_add(WRITES);
                }
                if STREAMING {
                    _mm_sfence();
                }
                black_box(sums);
            }
        };
    }

    traffic_loop!(
        #[target_feature(enable = "avx512f")]
        traffic_512,
        __m512i,
        _mm512_set1_epi32,
        _mm512_add_epi32,
        _mm512_load_si512,
        _mm512_store_si512,
        _mm512_stream_si512
    );
    traffic_loop!(
        #[target_feature(enable = "avx2")]
        traffic_256,
        __m256i,
        _mm256_set1_epi32,
        _mm256_add_epi32,
        _mm256_load_si256,
        _mm256_store_si256,
        _mm256_stream_si256
    );

    /// A cache line.
    #[repr(align(64))]
    #[derive(Clone, Copy)]
    struct Line(#[expect(dead_code, reason = "read through pointers")] [u8; 64]);

    type Loop = unsafe fn(&[Line], &mut [Line]);

    pub fn traffic(traffic: Traffic, bytes: usize, streaming: bool) -> Option<Limit> {
        macro_rules! loops {
            ($name:ident) => {
                match (traffic, streaming) {
                    (Traffic::Read, false) => $name::<8, 0, false> as Loop,
                    (Traffic::Read, true) => $name::<8, 0, true>,
                    (Traffic::ReadFourWriteOne, false) => $name::<8, 2, false>,
                    (Traffic::ReadFourWriteOne, true) => $name::<8, 2, true>,
                    (Traffic::Copy, false) => $name::<4, 4, false>,
                    (Traffic::Copy, true) => $name::<4, 4, true>,
                    (Traffic::ReadOneWriteFour, false) => $name::<2, 8, false>,
                    (Traffic::ReadOneWriteFour, true) => $name::<2, 8, true>,
                    (Traffic::Write, false) => $name::<0, 8, false>,
                    (Traffic::Write, true) => $name::<0, 8, true>,
                }
            };
        }
        let function = if is_x86_feature_detected!("avx512f") {
            loops!(traffic_512)
        } else if is_x86_feature_detected!("avx2") {
            loops!(traffic_256)
        } else {
            return None;
        };
        let (reads, writes) = traffic.vectors();
        // Whole steps of the wider vectors.
        let steps = (bytes / 64).div_ceil(reads + writes);
        let (from, mut to) = (vec![Line([1; 64]); steps * reads], vec![Line([1; 64]); steps * writes]);
        // SAFETY: the features were detected.
        let run = Box::new(move || unsafe { function(&from, &mut to) });
        Some(Limit { run, work: (steps * (reads + writes) * 64) as f64 })
    }
}
