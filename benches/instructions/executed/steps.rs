//! A call, instruction by instruction: with the CPU's trap flag, every one ends in a signal of this process.
//!
//! (In this process, and not by another one that looks into it: that would take two switches of processes for every instruction,
//! each of which waits on a busy machine.)

use core::arch::asm;
use core::ffi::{c_int, c_void};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc::{REG_RIP, siginfo_t, ucontext_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// How often each of [`NAMES`] was executed.
static COUNTS: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

/// Instructions that multiply vectors of integers and add, by their names without the `v` of wider vectors, with the map of opcodes
/// and the opcode of each.
const NAMES: [(&str, u8, u8); 4] =
    [("pmaddwd", 1, 0xf5), ("pmaddubsw", 2, 0x04), ("pdpbusd", 2, 0x50), ("pdpwssd", 2, 0x52)];

/// How often a call executes which instructions that multiply integers. It has to be a call that makes no threads.
pub fn executed(call: &mut dyn FnMut()) -> BTreeMap<&'static str, u64> {
    let action = SigAction::new(SigHandler::SigAction(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler reads code and adds to atomics, which a signal may do at any time; nobody else has one for traps.
    let before = unsafe { sigaction(Signal::SIGTRAP, &action) }.expect("a handler of SIGTRAP");
    COUNTS.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    // SAFETY: what is pushed is popped. The trap flag makes a signal behind every instruction, whose handler changes nothing
    // that the program sees.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    call();
    // SAFETY: what is pushed is popped.
    unsafe { asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq") };
    // SAFETY: the handler that was there before.
    unsafe { sigaction(Signal::SIGTRAP, &before) }.expect("a handler of SIGTRAP");
    NAMES.iter().zip(&COUNTS).map(|((name, ..), count)| (*name, count.load(Ordering::Relaxed))).collect()
}

/// Looks at the instruction that comes next.
extern "C" fn count(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the system hands a handler its context. Eight bytes from the next instruction on can be read: behind the code of a
    // program or a library lies its section .fini, which is longer and is not executed here.
    let code = unsafe {
        let next = (*context.cast::<ucontext_t>()).uc_mcontext.gregs[REG_RIP as usize];
        (next as usize as *const [u8; 8]).read_unaligned()
    };
    // The map of opcodes and the opcode, behind a VEX prefix of two or three bytes, EVEX, or the prefixes of SSE.
    let (map, opcode) = match code {
        [0xc5, _, opcode, ..] => (1, opcode),
        [0xc4, map, _, opcode, ..] => (map & 0x1f, opcode),
        [0x62, map, _, _, opcode, ..] => (map & 0x07, opcode),
        [0x66, 0x0f, 0x38, opcode, ..] | [0x66, 0x40..=0x4f, 0x0f, 0x38, opcode, ..] => (2, opcode),
        [0x66, 0x0f, opcode, ..] | [0x66, 0x40..=0x4f, 0x0f, opcode, ..] => (1, opcode),
        _ => return,
    };
    for ((_, its_map, its_opcode), count) in NAMES.iter().zip(&COUNTS) {
        if (map, opcode) == (*its_map, *its_opcode) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
