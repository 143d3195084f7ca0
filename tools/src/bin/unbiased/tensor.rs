//! The numbers to quantize: the weight of the larger convolution of the LeNet that the project ships.

use std::error::Error;

use safetensors::{Dtype, SafeTensors};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../lenet/data/lenet-mnist.safetensors");

/// Its name in the file.
pub const NAME: &str = "conv2.weight";

/// Its elements.
pub fn load() -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = std::fs::read(PATH).map_err(|error| format!("{PATH}: {error}"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let tensor = file.tensor(NAME)?;
    if tensor.dtype() != Dtype::F32 {
        return Err(format!("{PATH}: tensor `{NAME}` is {:?}, not F32", tensor.dtype()).into());
    }
    Ok(tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}
