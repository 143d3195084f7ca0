//! The size of the level-2 cache: how much of an operand is best kept at hand.

use std::sync::LazyLock;

/// Bytes of the level-2 cache of a core; half a MiB where the CPU does not tell.
pub fn level2() -> usize {
    static SIZE: LazyLock<usize> = LazyLock::new(|| detected().unwrap_or(512 << 10));
    *SIZE
}

/// From CPUID's list of caches: leaf 4 of Intel, leaf 0x8000001d of AMD.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn detected() -> Option<usize> {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    let caches = |leaf: u32| {
        let known = __cpuid(leaf & 0x8000_0000).eax >= leaf;
        let list = (0..if known { 16 } else { 0 }).map(move |index| __cpuid_count(leaf, index));
        list.take_while(|cache| cache.eax & 31 != 0)
    };
    let level2 = caches(4).chain(caches(0x8000_001d)).find(|cache| cache.eax >> 5 & 7 == 2)?;
    let (ways, partitions, line) = (level2.ebx >> 22, level2.ebx >> 12 & 0x3ff, level2.ebx & 0xfff);
    let size = [ways, partitions, line, level2.ecx].iter().map(|&less_one| less_one as usize + 1).product();
    Some(size)
}

/// Other CPUs do not tell a program.
#[cfg(any(not(target_arch = "x86_64"), miri))]
fn detected() -> Option<usize> {
    None
}
