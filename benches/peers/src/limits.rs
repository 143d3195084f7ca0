//! What the machine can do at most: multiplications without memory, and reading without multiplications.

use zeropoint::Isa;

/// A loop that does nothing but multiply or read.
pub struct Limit {
    run: Box<dyn FnMut()>,
    /// What a run gets through: multiplications, or bytes.
    pub work: f64,
}

impl Limit {
    /// Runs it once.
    pub fn run(&mut self) {
        (self.run)();
    }
}

/// The multiplications of an ISA with all operands in registers.
pub fn peak(isa: Isa) -> Option<Limit> {
    #[cfg(target_arch = "x86_64")]
    return x86::peak(isa);
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// One core reading a buffer from its beginning to its end.
pub fn bandwidth(bytes: usize) -> Option<Limit> {
    #[cfg(target_arch = "x86_64")]
    return x86::bandwidth(bytes);
    #[cfg(not(target_arch = "x86_64"))]
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::asm;
    use core::arch::x86_64::*;
    use std::hint::black_box;

    use super::Limit;
    use zeropoint::Isa;

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

    /// A loop of eight sums over a buffer of whole blocks of eight vectors.
    macro_rules! read_loop {
        ($(#[$attribute:meta])* $name:ident, $Vector:ty, $zero:ident, $add:ident) => {
            $(#[$attribute])*
            fn $name(blocks: &[[$Vector; 8]]) {
                let mut sums = [$zero(); 8];
                for block in blocks {
                    for (sum, &vector) in sums.iter_mut().zip(block) {
                        *sum = $add(*sum, vector);
                    }
                }
                black_box(sums);
            }
        };
    }

    read_loop!(
        #[target_feature(enable = "avx512f")]
        read_512,
        __m512i,
        _mm512_setzero_si512,
        _mm512_add_epi64
    );
    read_loop!(
        #[target_feature(enable = "avx2")]
        read_256,
        __m256i,
        _mm256_setzero_si256,
        _mm256_add_epi64
    );

    #[target_feature(enable = "avx512f")]
    fn ones_512() -> __m512i {
        _mm512_set1_epi32(1)
    }

    #[target_feature(enable = "avx2")]
    fn ones_256() -> __m256i {
        _mm256_set1_epi32(1)
    }

    pub fn bandwidth(bytes: usize) -> Option<Limit> {
        if is_x86_feature_detected!("avx512f") {
            let blocks = bytes / 512;
            // SAFETY: the feature was detected.
            let buffer = vec![[unsafe { ones_512() }; 8]; blocks];
            // SAFETY: the feature was detected.
            Some(Limit { run: Box::new(move || unsafe { read_512(&buffer) }), work: (blocks * 512) as f64 })
        } else if is_x86_feature_detected!("avx2") {
            let blocks = bytes / 256;
            // SAFETY: the feature was detected.
            let buffer = vec![[unsafe { ones_256() }; 8]; blocks];
            // SAFETY: the feature was detected.
            Some(Limit { run: Box::new(move || unsafe { read_256(&buffer) }), work: (blocks * 256) as f64 })
        } else {
            None
        }
    }
}
