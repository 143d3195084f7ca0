//! Layers of the weights of a `.gguf` file.

use std::io::Cursor;

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{Device, Module, Result};
use zeropoint::formats::{BlockFormat, decode_blocks};
use zeropoint::groups::{Activations, PackedWeights, RealStage, matmul};
use zeropoint::{Exec, Matrix, Scheme};
use zeropoint_candle::{ActivationScheme, Linear};

use crate::{bits, everywhere, floats, tensor};

/// Written by candle, read by candle, multiplied here: the bytes of a row of the file are those of the library's own product, and
/// stand for the values that candle reads.
#[test]
fn weights_of_a_file() -> Result<()> {
    let ([outputs, inputs], device) = ([37, 512], Device::Cpu);
    let w = tensor(floats(outputs * inputs, 1), &[outputs, inputs])?;
    let (x, bias) = (floats(3 * inputs, 2), floats(outputs, 3));
    let (rows, bias) = (tensor(x.clone(), &[3, inputs])?, (tensor(bias.clone(), &[outputs])?, bias));
    for (dtype, format) in [
        (GgmlDType::Q4_0, BlockFormat::Q4_0),
        (GgmlDType::Q4_1, BlockFormat::Q4_1),
        (GgmlDType::Q5_0, BlockFormat::Q5_0),
        (GgmlDType::Q5_1, BlockFormat::Q5_1),
        (GgmlDType::Q8_0, BlockFormat::Q8_0),
        (GgmlDType::Q2K, BlockFormat::Q2_K),
        (GgmlDType::Q4K, BlockFormat::Q4_K),
        (GgmlDType::Q5K, BlockFormat::Q5_K),
        (GgmlDType::Q6K, BlockFormat::Q6_K),
    ] {
        let mut file = Cursor::new(Vec::new());
        gguf_file::write(&mut file, &[], &[("w", &QTensor::quantize(&w, dtype)?)])?;
        let content = gguf_file::Content::read(&mut Cursor::new(file.get_ref()))?;
        let stored = content.tensor(&mut Cursor::new(file.get_ref()), "w", &device)?;

        let exec = Exec::best().unwrap();
        let bytes = stored.data()?;
        let mut values = vec![0.0; outputs * inputs];
        decode_blocks(exec, format, &bytes, &mut values).unwrap();
        assert_eq!(bits(&stored.dequantize(&device)?), values.iter().map(|x| x.to_bits()).collect::<Vec<_>>());

        let weights = PackedWeights::from_format(exec, format, &bytes, outputs, inputs).unwrap();
        let mut want = vec![0.0; 3 * outputs];
        let activations = Activations::reals(Matrix::new(&x, 3, inputs).unwrap(), Scheme::SYMMETRIC);
        matmul(exec, &activations, &weights, &RealStage::new().with_bias(&bias.1).unwrap(), &mut want).unwrap();
        let want: Vec<u32> = want.into_iter().map(f32::to_bits).collect();
        for exec in everywhere() {
            let layer = Linear::from_qtensor(&stored, Some(&bias.0), ActivationScheme::symmetric().on(exec))?;
            assert_eq!(bits(&layer.forward(&rows)?), want, "{dtype:?} on {exec:?}");
        }
    }
    Ok(())
}

#[test]
fn other_types_are_errors() -> Result<()> {
    let w = tensor(floats(256, 1), &[1, 256])?;
    for dtype in [GgmlDType::F16, GgmlDType::Q8_1, GgmlDType::Q3K] {
        let refused = Linear::from_qtensor(&QTensor::quantize(&w, dtype)?, None, ActivationScheme::symmetric());
        assert!(refused.unwrap_err().to_string().contains("no product of integers"), "{dtype:?}");
    }
    Ok(())
}
