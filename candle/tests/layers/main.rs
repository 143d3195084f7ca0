//! The layers beside the library's own calls and beside candle's f32.

mod bert;
mod conv;
mod errors;
mod gguf;
mod linear;
mod qat;

use candle_core::{DType, Device, Result, Tensor};
use zeropoint::{Exec, Isa};

/// Values between −1 and 1, the same for a seed.
fn floats(length: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

/// Integers up to a magnitude.
fn integers(length: usize, seed: u32, magnitude: f32) -> Vec<f32> {
    floats(length, seed).iter().map(|x| (x * magnitude).round()).collect()
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// The bits of all elements, in order.
fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = tensor.to_dtype(DType::F32).and_then(|x| x.flatten_all()?.to_vec1::<f32>());
    values.expect("a tensor of floats").into_iter().map(f32::to_bits).collect()
}

/// Every ISA, alone and with the threads of the rayon pool.
fn everywhere() -> impl Iterator<Item = Exec<'static>> {
    Isa::supported().into_iter().flat_map(|isa| [Exec::from(isa), Exec::from(isa).rayon()])
}

/// Calls something in a pool of two threads.
fn with_two_threads<T: Send>(call: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads").install(call)
}
