//! A layer in an asynchronous server: every request is two blocking tasks, which share the work of one product.
//!
//! ```sh
//! cargo run --release --example tokio
//! ```

use std::sync::Arc;

use tokio::task::{JoinError, spawn_blocking};
use zeropoint::exec::SharedCall;
use zeropoint::*;

const ROWS: usize = 64;
const OUTPUTS: usize = 512;
const DEPTH: usize = 1024;

/// The sums of a request of `[ROWS, DEPTH]` codes. The operands belong to the tasks, which may outlive the caller.
async fn forward(weights: Arc<PackedMatrix<u8, i8>>, codes: Vec<u8>) -> Result<Vec<i32>, JoinError> {
    let call = SharedCall::new(2, move |threads| {
        let mut sums = vec![0; ROWS * OUTPUTS];
        let exec = Exec::best()?.on(threads);
        let (a, out) = (Matrix::new(&codes, ROWS, DEPTH)?, MatrixMut::new(&mut sums, ROWS, OUTPUTS)?);
        raw::matmul(exec, a, 9.into(), &*weights, &Accumulators, out)?;
        Ok::<_, Error>(sums)
    });
    let call = Arc::new(call);
    let tasks: Vec<_> =
        (0..call.tasks()).map(|_| Arc::clone(&call)).map(|call| spawn_blocking(move || call.run())).collect();
    for task in tasks {
        task.await?;
    }
    let call = Arc::into_inner(call).expect("the tasks have ended");
    Ok(call.into_result().expect("the shapes go together"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weights = vec![-3_i8; DEPTH * OUTPUTS];
    let weights = Arc::new(raw::pack(Exec::best()?, Matrix::new(&weights, DEPTH, OUTPUTS)?, 0.into())?);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let requests = [200, 10].map(|code| tokio::spawn(forward(Arc::clone(&weights), vec![code; ROWS * DEPTH])));
        for (request, code) in requests.into_iter().zip([200, 10]) {
            let sums = request.await??;
            assert!(sums.iter().all(|&sum| sum == (code - 9) * -3 * DEPTH as i32));
            println!("a request of codes {code}: {} sums of {}", sums.len(), sums[0]);
        }
        Ok(())
    })
}
