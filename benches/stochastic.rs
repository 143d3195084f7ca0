//! Random words and stochastic rounding: one group an operation and length, one function an ISA, and beside them what
//! they are measured against.
//!
//! `simd_rand` chooses its vectors when it is compiled, so it takes part only when the features are on:
//!
//! ```sh
//! RUSTFLAGS="-C target-feature=+avx2" cargo bench --bench stochastic -- words
//! RUSTFLAGS="-C target-feature=+avx512f,+avx512bw,+avx512dq,+avx512vl" cargo bench --bench stochastic -- words
//! ```

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro128PlusPlus;
use zeropoint::random::{StreamRng, fill_words};
use zeropoint::{CodeRange, Isa, QuantParams, Rounding, Stream, quantize, reference};

/// Words that stay in a level-1 cache.
const WORDS: usize = 4 << 10;

fn words(c: &mut Criterion) {
    let mut out = vec![0_u32; WORDS];
    let mut group = c.benchmark_group(format!("words/{WORDS}"));
    group.throughput(Throughput::Bytes(4 * WORDS as u64));
    let mut one_by_one = |name: &str, rng: &mut dyn FnMut(&mut [u32])| {
        group.bench_function(name, |bencher| bencher.iter(|| rng(&mut out)));
    };
    let mut rng = Xoshiro128PlusPlus::seed_from_u64(1);
    one_by_one("rand_xoshiro", &mut |out| out.iter_mut().for_each(|word| *word = rng.next_u32()));
    let mut rng = StreamRng::seed_from_u64(1);
    one_by_one("StreamRng::next_u32", &mut |out| out.iter_mut().for_each(|word| *word = rng.next_u32()));
    for isa in Isa::supported() {
        group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
            bencher.iter(|| fill_words(isa, Stream::new(1), &mut out).unwrap());
        });
        // Seeded once, as the peers are.
        group.bench_function(BenchmarkId::new("StreamRng::fill_bytes", isa), |bencher| {
            let (mut rng, mut bytes) = (StreamRng::new(isa, Stream::new(1)), vec![0; 4 * WORDS]);
            bencher.iter(|| rng.fill_bytes(&mut bytes));
        });
    }

    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        let state = hand::generators();
        // SAFETY: the feature was detected.
        group.bench_function("hand loop avx512", |bencher| bencher.iter(|| unsafe { hand::words(&state, &mut out) }));
    }
    #[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
    {
        use core::arch::x86_64::{__m256i, _mm256_setzero_si256};
        use rand_core_0_9::SeedableRng;
        use simd_rand::specific::avx2::{SimdRand, Xoshiro256PlusPlusX4, Xoshiro256PlusPlusX4Seed};
        // SAFETY: the whole binary is compiled for CPUs that have it.
        let mut out: Vec<__m256i> = vec![unsafe { _mm256_setzero_si256() }; WORDS / 8];
        let mut rng = Xoshiro256PlusPlusX4::from_seed(Xoshiro256PlusPlusX4Seed::new([1; 128]));
        group.bench_function("simd_rand avx2 xoshiro256++", |bencher| {
            bencher.iter(|| out.iter_mut().for_each(|words| *words = rng.next_m256i()));
        });
    }
    #[cfg(all(target_arch = "x86_64", target_feature = "avx512dq", target_feature = "avx512vl"))]
    {
        use core::arch::x86_64::{__m512i, _mm512_setzero_si512};
        use rand_core_0_9::SeedableRng;
        use simd_rand::specific::avx512::{SimdRand, Xoshiro256PlusPlusX8, Xoshiro256PlusPlusX8Seed};
        // SAFETY: as above.
        let mut out: Vec<__m512i> = vec![unsafe { _mm512_setzero_si512() }; WORDS / 16];
        let mut rng = Xoshiro256PlusPlusX8::from_seed(Xoshiro256PlusPlusX8Seed::new([1; 256]));
        group.bench_function("simd_rand avx512 xoshiro256++", |bencher| {
            bencher.iter(|| out.iter_mut().for_each(|words| *words = rng.next_m512i()));
        });
    }
}

/// Numbers inside and outside the range, the same in every run.
fn reals(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0).collect()
}

const SCALE: f32 = 0.0129;

fn stochastic_quantize(c: &mut Criterion) {
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), SCALE, -11).unwrap();
    for length in [64 << 10, 16 << 20] {
        let x = reals(length);
        let mut codes = vec![0_i8; length];
        let mut group = c.benchmark_group(format!("stochastic quantize f32→i8/{length}"));
        group.throughput(Throughput::Elements(length as u64));
        for isa in Isa::supported() {
            group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
                bencher.iter(|| quantize(isa, &x, &params, Stream::new(1), &mut codes).unwrap());
            });
            group.bench_function(BenchmarkId::new("nearest", isa), |bencher| {
                bencher.iter(|| quantize(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap());
            });
        }
        if length == 64 << 10 {
            group.bench_function("reference", |bencher| {
                bencher.iter(|| reference::quantize_stochastic(&x, &params, Stream::new(1)));
            });
        }
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            let state = hand::generators();
            group.bench_function("hand loop avx512", |bencher| {
                // SAFETY: the feature was detected.
                bencher.iter(|| unsafe { hand::quantize(&state, &x, SCALE, &mut codes) });
            });
        }
    }
}

/// The least that loops of their kinds can do on 512-bit vectors: without chunks, offsets and tails.
#[cfg(target_arch = "x86_64")]
mod hand {
    use core::arch::x86_64::*;

    use zeropoint::random::fill_words;
    use zeropoint::{Isa, Stream};

    const DOWN: i32 = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;

    /// The states of sixteen generators.
    pub type State = [[u32; 16]; 4];

    /// Some states.
    pub fn generators() -> State {
        let mut state = [[0; 16]; 4];
        fill_words(Isa::supported()[0], Stream::new(1), state.as_flattened_mut()).unwrap();
        state
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(state: &State) -> [__m512i; 4] {
        // SAFETY: sixteen words may be read.
        [0, 1, 2, 3].map(|i| unsafe { _mm512_loadu_si512(state[i].as_ptr().cast()) })
    }

    /// A step of xoshiro128++ in sixteen lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn step(state: &mut [__m512i; 4]) -> __m512i {
        let [a, b, c, d] = *state;
        *state = [
            _mm512_ternarylogic_epi32::<0b1001_0110>(a, b, d),
            _mm512_ternarylogic_epi32::<0b1001_0110>(a, b, c),
            _mm512_ternarylogic_epi32::<0b1001_0110>(a, c, _mm512_slli_epi32::<9>(b)),
            _mm512_rol_epi32::<11>(_mm512_xor_si512(b, d)),
        ];
        _mm512_add_epi32(_mm512_rol_epi32::<7>(_mm512_add_epi32(a, d)), a)
    }

    /// Steps and stores.
    #[target_feature(enable = "avx512f")]
    pub fn words(state: &State, out: &mut [u32]) {
        let mut state = load(state);
        for out in out.as_chunks_mut::<16>().0 {
            // SAFETY: sixteen words may be written.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), step(&mut state)) };
        }
    }

    /// Steps, multiplies, floors, compares, narrows and stores: no division, no clamping, no rule for NaN, no zero point.
    #[target_feature(enable = "avx512f")]
    pub fn quantize(state: &State, x: &[f32], scale: f32, codes: &mut [i8]) {
        let mut state = load(state);
        let reciprocal = _mm512_set1_ps(1.0 / scale);
        for (x, codes) in x.as_chunks::<16>().0.iter().zip(codes.as_chunks_mut::<16>().0) {
            let words = step(&mut state);
            // SAFETY: sixteen numbers may be read.
            let v = _mm512_mul_ps(unsafe { _mm512_loadu_ps(x.as_ptr()) }, reciprocal);
            let floor = _mm512_roundscale_ps::<DOWN>(v);
            let fraction = _mm512_mul_ps(_mm512_sub_ps(v, floor), _mm512_set1_ps((1 << 24) as f32));
            let up = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_cvtepi32_ps(_mm512_srli_epi32::<8>(words)), fraction);
            let floor = _mm512_cvtps_epi32(floor);
            let q = _mm512_mask_add_epi32(floor, up, floor, _mm512_set1_epi32(1));
            // SAFETY: sixteen codes may be written.
            unsafe { _mm_storeu_si128(codes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(q)) };
        }
    }
}

criterion_group!(benches, words, stochastic_quantize);
criterion_main!(benches);
