//! Where a call runs: on which ISA, and on whose threads.

use core::ffi::{CStr, c_char, c_void};
use core::mem::MaybeUninit;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{LazyLock, Mutex, PoisonError};

use zeropoint::{Error, Exec, Isa, Threads};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{CEnum, c_enum};
use crate::error::zp_error;
use crate::failure::{Failure, Reason};

/// An instruction set. All of them give the same bytes; they differ in speed only.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_isa {
    /// The fastest of this CPU; or the one that the environment variable ZEROPOINT_ISA names when it is first asked for.
    Best = 0,
    /// "scalar": on every CPU.
    Scalar = 1,
    /// "portable": the vectors that every CPU of the architecture has.
    Portable = 2,
    /// "avx2"
    Avx2 = 10,
    /// "avxvnni"
    Avxvnni = 11,
    /// "avx512"
    Avx512 = 12,
    /// "avx512vnni"
    Avx512vnni = 13,
    /// "neon"
    Neon = 20,
    /// "neon-dotprod"
    NeonDotprod = 21,
    /// "neon-i8mm"
    NeonI8mm = 22,
}

c_enum! { zp_isa { Best, Scalar, Portable, Avx2, Avxvnni, Avx512, Avx512vnni, Neon, NeonDotprod, NeonI8mm } }

/// All ISAs with their names.
const NAMES: [(zp_isa, &CStr); 9] = [
    (zp_isa::Scalar, c"scalar"),
    (zp_isa::Portable, c"portable"),
    (zp_isa::Avx2, c"avx2"),
    (zp_isa::Avxvnni, c"avxvnni"),
    (zp_isa::Avx512, c"avx512"),
    (zp_isa::Avx512vnni, c"avx512vnni"),
    (zp_isa::Neon, c"neon"),
    (zp_isa::NeonDotprod, c"neon-dotprod"),
    (zp_isa::NeonI8mm, c"neon-i8mm"),
];

/// The ISA of every number, if this CPU has it. (To ask the CPU in every call would allocate a list.)
static ISAS: LazyLock<[Option<Isa>; 23]> = LazyLock::new(|| {
    let mut isas = [None; 23];
    for (isa, name) in NAMES {
        isas[isa as usize] = Isa::named(name.to_str().expect("ASCII")).ok();
    }
    isas[zp_isa::Best as usize] = Isa::best().ok();
    isas
});

impl zp_isa {
    /// The ISA, or an error that lists those of this CPU.
    #[inline]
    fn find(self) -> Result<Isa, Error> {
        ISAS[self as usize].map_or_else(|| self.missing(), Ok)
    }

    #[cold]
    fn missing(self) -> Result<Isa, Error> {
        match NAMES.iter().find(|(isa, _)| *isa == self) {
            Some((_, name)) => Isa::named(name.to_str().expect("ASCII")),
            None => Isa::best(),
        }
    }

    /// The number of an ISA.
    fn number_of(isa: Isa) -> Self {
        let known = NAMES.iter().find(|(_, name)| name.to_bytes() == isa.name().as_bytes());
        known.expect("every ISA has a number: a test of this file").0
    }
}

/// Threads of the caller's: a thread pool of an engine, for example. Results do not depend on them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_threads {
    /// Handed to `run`.
    pub context: *mut c_void,
    /// How many tasks can run at the same time, the calling thread included; 0 counts as 1.
    pub count: usize,
    /// Calls `task(data, 0)`, …, `task(data, tasks - 1)`, each once, in any order, on any threads, and returns when all have
    /// returned. There are at most `count` tasks, and they do not wait for each other. Calls on several threads may use it at the
    /// same time.
    pub run: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            tasks: usize,
            task: unsafe extern "C" fn(data: *mut c_void, index: usize),
            data: *mut c_void,
        ),
    >,
}

/// Where a call runs. One of zeros is the fastest ISA of this CPU, on the calling thread alone.
///
/// A thread keeps memory that calls used, 16 MiB at most, for the calls that follow, and frees it when it ends.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_exec {
    /// The instruction set.
    pub isa: MaybeUninit<zp_isa>,
    /// Threads that share the work of a call that is large enough; NULL for the calling thread alone.
    pub threads: *const zp_threads,
}

// SAFETY: a context and functions, which the caller says may be used on several threads at a time.
unsafe impl Sync for zp_threads {}

/// A task of the library, and what it panicked with if it did.
struct Work<'w> {
    task: &'w (dyn Fn(usize) + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Runs one task, on whatever thread. A panic may not pass through the caller's frames: it is kept for the calling thread.
unsafe extern "C" fn run_task(data: *mut c_void, index: usize) {
    // SAFETY: `data` is what `run` got from `Threads::run` below, which waits for all tasks.
    let work = unsafe { &*data.cast::<Work<'_>>() };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (work.task)(index))) {
        *work.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
    }
}

impl Threads for zp_threads {
    fn count(&self) -> usize {
        self.count
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let run = self.run.expect("it was checked when the call began");
        let work = Work { task, panic: Mutex::new(None) };
        // SAFETY: the caller's function with the caller's context; `work` lives until it returns, which it does after all tasks.
        unsafe { run(self.context, tasks, run_task, (&raw const work).cast_mut().cast()) };
        if let Some(panic) = work.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
    }
}

impl<'c> Caller<'c> {
    /// Where the call runs.
    #[inline(always)]
    pub fn exec(self, exec: *const zp_exec) -> Result<Exec<'c>, Failure> {
        let zp_exec { isa, threads } = *self.value(exec, "exec")?;
        let exec = Exec::from(zp_isa::checked(isa, "exec->isa")?.find()?);
        match self.optional(threads, "exec->threads")? {
            None => Ok(exec),
            Some(zp_threads { run: None, .. }) => Err(Reason::Null { what: "exec->threads->run" }.into()),
            Some(threads) => Ok(exec.on(threads)),
        }
    }
}

/// The ISA of a name: "avx2", for example.
///
/// Errors: ZP_ERROR_ISA when there is none of that name, or this CPU lacks it: the message lists the choices.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_isa_named(name: *const c_char, isa: *mut zp_isa, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c| {
            let (name, out) = (c.text(name, "name")?, c.out(isa, "isa")?);
            out.write(zp_isa::number_of(Isa::named(name)?));
            Ok(())
        })
    }
}

/// The fastest ISA of this CPU, or the one that the environment variable ZEROPOINT_ISA names: what ZP_ISA_BEST stands for.
///
/// Errors: ZP_ERROR_ISA when the variable names none that this CPU has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_isa_best(isa: *mut zp_isa, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c| {
            let out = c.out(isa, "isa")?;
            out.write(zp_isa::number_of(zp_isa::Best.find()?));
            Ok(())
        })
    }
}

/// The name of an ISA: "avx2", for example, and "best" for ZP_ISA_BEST. Static; NULL of a number that is none.
#[unsafe(no_mangle)]
pub extern "C" fn zp_isa_name(isa: MaybeUninit<zp_isa>) -> *const c_char {
    match zp_isa::from_c(isa) {
        None => core::ptr::null(),
        Some(isa) => NAMES.iter().find(|(known, _)| *known == isa).map_or(c"best", |(_, name)| *name).as_ptr(),
    }
}

/// Whether this CPU has an ISA.
#[unsafe(no_mangle)]
pub extern "C" fn zp_isa_is_supported(isa: MaybeUninit<zp_isa>) -> bool {
    zp_isa::from_c(isa).is_some_and(|isa| isa.find().is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_isa_has_a_number() {
        for isa in Isa::supported() {
            assert_eq!(zp_isa::number_of(isa).find(), Ok(isa));
        }
    }

    /// The caller's threads: every task on the calling thread.
    unsafe extern "C" fn in_turn(
        _: *mut c_void,
        tasks: usize,
        task: unsafe extern "C" fn(*mut c_void, usize),
        data: *mut c_void,
    ) {
        // SAFETY: what `run` is called with.
        (0..tasks).for_each(|i| unsafe { task(data, i) });
    }

    #[test]
    fn a_panic_of_a_task_is_one_of_the_call() {
        let threads = zp_threads { context: core::ptr::null_mut(), count: 3, run: Some(in_turn) };
        let ran = AtomicUsize::new(0);
        let run = || {
            threads.run(3, &|i| {
                ran.fetch_add(1, Ordering::Relaxed);
                assert!(i != 1, "task one");
            });
        };
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it panics");
        assert_eq!((panic.downcast_ref(), ran.into_inner()), (Some(&"task one"), 3));
    }
}
