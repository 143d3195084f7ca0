//! Sizes of caches, prefetches, and the alignment of loops.

use std::sync::LazyLock;

use crate::memory::CACHE_LINE;

/// Bytes of the level-2 cache of a core; 512 KiB where the CPU does not report it.
pub fn level2() -> usize {
    static SIZE: LazyLock<usize> = LazyLock::new(|| detected(2).unwrap_or(512 << 10));
    *SIZE
}

/// Bytes of level-3 cache that the data of one core may fill; more is read with prefetches and written by non-temporal
/// stores. All of the cache, but no more than 32 times the level-2 cache, since other cores use it too.
pub fn last_level() -> usize {
    static SIZE: LazyLock<usize> = LazyLock::new(|| detected(3).unwrap_or(usize::MAX).min(32 * level2()));
    *SIZE
}

/// Bytes of the cache of a level, from CPUID's list of caches: leaf 4 of Intel, leaf 0x8000001d of AMD.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn detected(level: u32) -> Option<usize> {
    use core::arch::x86_64::__cpuid_count;
    #[allow(unused_unsafe, reason = "an unsafe function in older releases that we support")]
    // SAFETY: every x86-64 CPU has the instruction.
    let cpuid = |leaf: u32, index: u32| unsafe { __cpuid_count(leaf, index) };
    let caches = |leaf: u32| {
        let known = cpuid(leaf & 0x8000_0000, 0).eax >= leaf;
        let list = (0..if known { 16 } else { 0 }).map(move |index| cpuid(leaf, index));
        list.take_while(|cache| cache.eax & 31 != 0)
    };
    let cache = caches(4).chain(caches(0x8000_001d)).find(|cache| cache.eax >> 5 & 7 == level)?;
    let (ways, partitions, line) = (cache.ebx >> 22, cache.ebx >> 12 & 0x3ff, cache.ebx & 0xfff);
    let size = [ways, partitions, line, cache.ecx].iter().map(|&less_one| less_one as usize + 1).product();
    Some(size)
}

/// Other CPUs do not report the sizes of their caches to programs.
#[cfg(any(not(target_arch = "x86_64"), miri))]
fn detected(_: u32) -> Option<usize> {
    None
}

/// Prefetches the cache line of an address into level 1. Every address is allowed, mapped or not: a prefetch never faults.
#[inline(always)]
pub fn prefetch_line(address: *const u8) {
    prefetch::<1>(address);
}

/// Prefetches the cache line of an address into level 2. Every address is allowed.
#[inline(always)]
pub fn prefetch_line_to_level2(address: *const u8) {
    prefetch::<2>(address);
}

#[inline(always)]
fn prefetch<const LEVEL: u32>(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        #[allow(unused_unsafe, reason = "an unsafe function in older releases that we support")]
        // SAFETY: every x86-64 CPU has the instruction, and it faults for no address.
        unsafe {
            match LEVEL {
                1 => _mm_prefetch::<_MM_HINT_T0>(address.cast()),
                _ => _mm_prefetch::<_MM_HINT_T1>(address.cast()),
            }
        }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: every aarch64 CPU has the instruction, and it faults for no address.
    unsafe {
        match LEVEL {
            1 => core::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly)),
            _ => core::arch::asm!("prfm pldl2keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly)),
        }
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}

/// Bytes between data that is read and the cache lines that are prefetched then.
const AHEAD: usize = 8 << 10;

/// Prefetches for a walk through data that no cache holds. 512-bit loads get a third more bytes a second in this way: they
/// touch too few lines at once for the CPU's own prefetcher.
#[inline(always)]
pub fn prefetch_ahead<T>(x: &T) {
    let address: *const u8 = core::ptr::from_ref(x).cast();
    for line in (0..size_of::<T>()).step_by(CACHE_LINE) {
        prefetch_line(address.wrapping_add(AHEAD + line));
    }
}

/// Pieces of data beyond the caches that are read side by side, in turn. A Zen 4 core reads a third more bytes a second in
/// this way than from one place: its prefetchers follow each piece, and ask memory for more lines at once.
const STREAMS: usize = 4;

/// The index of the element that is the nth to be read, of `count` elements in [`STREAMS`] pieces that take turns.
#[inline(always)]
pub fn in_streams(n: usize, count: usize) -> usize {
    n % STREAMS * (count / STREAMS) + n / STREAMS
}

/// Calls `f` for all of `x`, which no cache holds, in any order: blocks of four pieces of 64 KiB [in streams](in_streams), and
/// what is less than a block with a prefetch. (`f` is called in one place, so that the compiler makes one copy of it.)
#[inline(always)]
pub fn for_each_in_streams<T>(x: &[T], mut f: impl FnMut(&T)) {
    const STREAM: usize = 64 << 10;
    let whole = const { STREAMS * STREAM / size_of::<T>() };
    for block in x.chunks(whole) {
        for n in 0..block.len() {
            let x = if block.len() == whole { &block[in_streams(n, whole)] } else { &block[n] };
            if block.len() < whole {
                prefetch_ahead(x);
            }
            f(x);
        }
    }
}

/// Aligns the loop that follows to a cache line of code: else its alignment, which is worth up to 8 % in a micro-kernel,
/// depends on what else the program is linked from.
#[inline(always)]
pub fn align_loop() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the assembler fills up to the next cache line with instructions that do nothing.
    unsafe {
        core::arch::asm!(".p2align 6", options(nomem, nostack, preserves_flags));
    }
}
