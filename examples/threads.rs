//! Threads and memory of the caller: the same bytes as a serial call, and no allocation.
//!
//! ```sh
//! cargo run --release --example threads
//! ```

use std::thread;

use zeropoint::exec::{SharedCall, Workspace};
use zeropoint::*;

/// Threads that wait for work: those of an engine, for example. Here they start anew for every call.
struct Engine {
    threads: usize,
}

impl Threads for Engine {
    fn count(&self) -> usize {
        self.threads
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        thread::scope(|scope| (0..tasks).for_each(|i| drop(scope.spawn(move || task(i)))));
    }
}

fn main() -> Result<(), Error> {
    let exec = Exec::best()?;
    let [m, n, k] = [256, 512, 1024];
    let (a, b) = (vec![200_u8; m * k], vec![-3_i8; k * n]);
    let weights = raw::pack(exec, Matrix::new(&b, k, n)?, 0.into())?;
    let product = |exec: Exec<'_>, out: &mut [i32]| {
        raw::matmul(exec, Matrix::new(&a, m, k)?, 9.into(), &weights, &Accumulators, MatrixMut::new(out, m, n)?)
    };
    let [mut serial, mut engine, mut shared] = [(); 3].map(|()| vec![0; m * n]);

    // The calling thread alone, with memory that it brings: as many bytes as a first call says that it needs.
    let mut measured = Workspace::new(0)?;
    measured.scope(|| product(exec, &mut serial))?;
    let mut workspace = Workspace::new(measured.needed())?;
    workspace.scope(|| product(exec, &mut serial))?;
    println!("alone: {} bytes of memory", workspace.bytes());

    // Threads that run n tasks and wait for them.
    product(exec.on(&Engine { threads: 2 }), &mut engine)?;

    // Tasks for threads that come when they can: none waits for another one to begin.
    let call = SharedCall::new(2, |threads| product(exec.on(threads), &mut shared));
    thread::scope(|scope| (0..call.tasks()).for_each(|_| drop(scope.spawn(|| call.run()))));
    call.into_result()?;

    assert!(engine == serial && shared == serial);
    println!("on 2 threads of an engine, and as 2 tasks: the same {} sums", serial.len());
    Ok(())
}
