//! A call, instruction by instruction: a process that another one lets execute one at a time.

use std::collections::BTreeMap;
use std::process::exit;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// How often a call executes which instructions that multiply integers, by their names without the `v` of wider vectors.
///
/// # Errors
/// When this process may not look into another one.
pub fn executed(call: &mut dyn FnMut()) -> Result<BTreeMap<&'static str, u64>, Errno> {
    // SAFETY: this process has one thread, so its child may do whatever it might.
    match unsafe { fork() }? {
        ForkResult::Child => {
            // (Where it is not allowed, nothing stops here, and the parent sees the exit.)
            if ptrace::traceme().is_err() || raise(Signal::SIGSTOP).is_err() {
                exit(1);
            }
            call();
            let _ = raise(Signal::SIGSTOP);
            exit(0)
        }
        ForkResult::Parent { child } => count(child),
    }
}

/// Follows a child from where it stops to where it stops again, and ends it.
fn count(child: Pid) -> Result<BTreeMap<&'static str, u64>, Errno> {
    let mut counts = BTreeMap::new();
    let WaitStatus::Stopped(..) = waitpid(child, None)? else { return Err(Errno::EPERM) };
    loop {
        ptrace::step(child, None)?;
        match waitpid(child, None)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            // The end of the call.
            WaitStatus::Stopped(_, Signal::SIGSTOP) => break,
            status => panic!("the call ended by {status:?}"),
        }
        let next = ptrace::getregs(child)?.rip;
        let code = ptrace::read(child, next as ptrace::AddressType)?.to_le_bytes();
        if let Some(name) = multiplies(code) {
            *counts.entry(name).or_default() += 1;
        }
    }
    kill(child, Signal::SIGKILL)?;
    waitpid(child, None)?;
    Ok(counts)
}

/// The name of an instruction of these bytes, if it multiplies vectors of integers and adds.
fn multiplies(code: [u8; 8]) -> Option<&'static str> {
    // The map of opcodes and the opcode, behind a VEX prefix of two or three bytes, EVEX, or the prefixes of SSE.
    let (map, opcode) = match code {
        [0xc5, _, opcode, ..] => (1, opcode),
        [0xc4, map, _, opcode, ..] => (map & 0x1f, opcode),
        [0x62, map, _, _, opcode, ..] => (map & 0x07, opcode),
        [0x66, 0x0f, 0x38, opcode, ..] | [0x66, 0x40..=0x4f, 0x0f, 0x38, opcode, ..] => (2, opcode),
        [0x66, 0x0f, opcode, ..] | [0x66, 0x40..=0x4f, 0x0f, opcode, ..] => (1, opcode),
        _ => return None,
    };
    match (map, opcode) {
        (1, 0xf5) => Some("pmaddwd"),
        (2, 0x04) => Some("pmaddubsw"),
        (2, 0x50) => Some("pdpbusd"),
        (2, 0x52) => Some("pdpwssd"),
        _ => None,
    }
}
