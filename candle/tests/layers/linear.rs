//! The linear layer.

use candle_core::{D, DType, Device, Module, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use zeropoint::groups::{Activations, GroupScheme, PackedWeights, RealStage, StoredWeights, matmul};
use zeropoint::{Exec, Halves, HalvesMut, Matrix, Scheme};
use zeropoint_candle::{Linear, LinearScheme, linear, linear_b, linear_no_bias};

use crate::{bits, everywhere, floats, integers, tensor, with_two_threads};

/// A scheme, and what it is in the library's words: weights, activations, and the length of their groups.
type Case = (LinearScheme, GroupScheme, Scheme, Option<usize>);

fn cases() -> Vec<Case> {
    let int8 = GroupScheme::symmetric(8, usize::MAX).unwrap();
    let four = GroupScheme::with_zero_points(4, 32).unwrap().f16_scales();
    let least = GroupScheme::symmetric(5, 48).unwrap().least_error();
    vec![
        (LinearScheme::int8(), int8, Scheme::SYMMETRIC, None),
        (LinearScheme::int8().asymmetric(), int8, Scheme::ASYMMETRIC, None),
        (LinearScheme::groups(4, 32).unwrap(), four, Scheme::SYMMETRIC, None),
        (LinearScheme::groups(4, 32).unwrap().activations_in_groups(32), four, Scheme::SYMMETRIC, Some(32)),
        (LinearScheme::new(least).asymmetric(), least, Scheme::ASYMMETRIC, None),
    ]
}

/// The product by the library's own calls, into f32 or bits of 16 bits.
struct Own {
    weights: PackedWeights,
    stage: RealStage,
    scheme: Scheme,
    length: Option<usize>,
}

impl Own {
    fn new(w: &[f32], bias: &[f32], inputs: usize, (_, groups, scheme, length): Case) -> Self {
        let (exec, w) = (Exec::best().unwrap(), Matrix::new(w, w.len() / inputs, inputs).unwrap());
        let stored = StoredWeights::quantize(exec, w, groups).unwrap();
        let weights = PackedWeights::pack(exec, &stored.weights()).unwrap();
        Own { weights, stage: RealStage::new().with_bias(bias).unwrap(), scheme, length }
    }

    fn multiply(&self, x: Activations<'_>, out: impl zeropoint::Destination<f32>) {
        let x = self.length.map_or(Ok(x), |length| x.in_groups(length)).unwrap();
        matmul(Exec::best().unwrap(), &x, &self.weights, &self.stage, out).unwrap();
    }

    fn reals(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.weights.depth();
        let mut out = vec![0.0; rows * self.weights.outputs()];
        self.multiply(Activations::reals(Matrix::new(x, rows, self.weights.depth()).unwrap(), self.scheme), &mut out);
        out
    }

    fn halves(&self, x: Halves<'_>, rows: usize, out: HalvesMut<'_>) {
        self.multiply(Activations::halves(x, rows, self.weights.depth(), self.scheme).unwrap(), out);
    }
}

#[test]
fn equals_the_librarys_product() -> Result<()> {
    let (inputs, outputs, rows) = (100, 37, 6);
    let (w, bias, x) = (floats(outputs * inputs, 1), floats(outputs, 2), floats(rows * inputs, 3));
    for case in cases() {
        let own = Own::new(&w, &bias, inputs, case);
        let (weight, bias) = (tensor(w.clone(), &[outputs, inputs])?, tensor(bias.clone(), &[outputs])?);
        let layer = Linear::new(&weight, Some(&bias), case.0)?;
        assert_eq!([layer.inputs(), layer.outputs(), layer.bytes()], [inputs, outputs, own.weights.bytes()]);

        let x = tensor(x.clone(), &[2, 3, inputs])?;
        let y = layer.forward(&x)?;
        assert_eq!((y.dims(), y.dtype()), (&[2, 3, outputs][..], DType::F32));
        assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, own.reals(&x.flatten_all()?.to_vec1()?));

        let halves = x.to_dtype(DType::F16)?.flatten_all()?.to_vec1::<f16>()?;
        let mut out = vec![0; rows * outputs];
        own.halves(Halves::f16(halves.reinterpret_cast()), rows, HalvesMut::f16(&mut out));
        let y = layer.forward(&x.to_dtype(DType::F16)?)?.flatten_all()?.to_vec1::<f16>()?;
        assert_eq!(y.reinterpret_cast(), out);

        let halves = x.to_dtype(DType::BF16)?.flatten_all()?.to_vec1::<bf16>()?;
        own.halves(Halves::bf16(halves.reinterpret_cast()), rows, HalvesMut::bf16(&mut out));
        let y = layer.forward(&x.to_dtype(DType::BF16)?)?.flatten_all()?.to_vec1::<bf16>()?;
        assert_eq!(y.reinterpret_cast(), out);
    }
    Ok(())
}

/// Weights and activations whose scales are 1, so that codes are the numbers themselves: then all sums are integers, which f32
/// has in any order.
#[test]
fn equals_candle_where_codes_are_exact() -> Result<()> {
    let (inputs, outputs, rows) = (64, 20, 5);
    let bias = tensor(integers(outputs, 7, 9.0), &[outputs])?;
    // The largest weight of a group is half a step beyond the largest code, which then has the scale 1.
    for (scheme, length, largest) in [
        (LinearScheme::int8(), 64, 127.0),
        (LinearScheme::new(GroupScheme::symmetric(4, 32).unwrap()), 32, 7.0),
        (LinearScheme::new(GroupScheme::symmetric(8, 16).unwrap()), 16, 127.0),
    ] {
        let mut exact = integers(outputs * inputs, 5, largest);
        exact.iter_mut().step_by(length).for_each(|w| *w = largest);
        let mut given = exact.clone();
        given.iter_mut().step_by(length).for_each(|w| *w += 0.5);
        let mut x = integers(rows * inputs, 6, 127.0);
        x.iter_mut().step_by(inputs).for_each(|x| *x = -127.0);

        let (given, exact) = (tensor(given, &[outputs, inputs])?, tensor(exact, &[outputs, inputs])?);
        let (x, layer) = (tensor(x, &[rows, inputs])?, Linear::new(&given, Some(&bias), scheme)?);
        let expected = candle_nn::Linear::new(exact, Some(bias.clone())).forward(&x)?;
        assert_eq!(bits(&layer.forward(&x)?), bits(&expected));
    }
    Ok(())
}

#[test]
fn takes_any_layout() -> Result<()> {
    let inputs = 48;
    let weight = tensor(floats(10 * inputs, 11), &[10, inputs])?;
    let layer = Linear::new(&weight, None, LinearScheme::int8())?;
    let all = tensor(floats(4 * 3 * 2 * 2 * inputs, 12), &[4, 3, 2, 2 * inputs])?;
    let layouts = [
        all.narrow(D::Minus1, 7, inputs)?,
        all.narrow(D::Minus1, 0, inputs)?.narrow(1, 1, 2)?,
        all.narrow(D::Minus1, inputs, inputs)?.permute((2, 0, 1, 3))?,
        all.flatten_all()?.reshape((inputs, 24, 2))?.permute((1, 2, 0))?,
        all.narrow(D::Minus1, 0, inputs)?.get(1)?.get(2)?,
        all.narrow(D::Minus1, 3, inputs)?.get(3)?.get(0)?.get(1)?,
        all.narrow(D::Minus1, 3, inputs)?.narrow(1, 0, 1)?.narrow(2, 1, 1)?.broadcast_as((4, 5, 3, inputs))?,
        all.narrow(D::Minus1, 3, inputs)?.narrow(0, 2, 0)?,
    ];
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for x in &layouts {
            // A conversion makes tensors contiguous, so it is that of the whole.
            let x = if dtype == DType::F32 { x.clone() } else { restrided(x, dtype)? };
            let y = layer.forward(&x)?;
            assert_eq!(y.dims(), [&x.dims()[..x.rank() - 1], &[10]].concat());
            assert!(y.is_contiguous());
            assert_eq!(bits(&y), bits(&layer.forward(&x.force_contiguous()?)?), "{:?}", x.layout());
        }
    }
    Ok(())
}

/// The values in another type, every second element of a tensor.
fn restrided(x: &Tensor, dtype: DType) -> Result<Tensor> {
    let x = x.to_dtype(dtype)?.unsqueeze(D::Minus1)?;
    Tensor::cat(&[&x, &x.ones_like()?], D::Minus1)?.narrow(D::Minus1, 0, 1)?.squeeze(D::Minus1)
}

#[test]
fn has_the_same_bytes_everywhere() -> Result<()> {
    let (inputs, outputs) = (192, 160);
    let (weight, x) = (tensor(floats(outputs * inputs, 21), &[outputs, inputs])?, floats(65 * inputs, 22));
    let x = tensor(x, &[65, inputs])?;
    for (scheme, ..) in cases() {
        let run = |exec: Exec<'static>| Linear::new(&weight, None, scheme.on(exec))?.forward(&x).map(|y| bits(&y));
        let expected = run(Exec::best().unwrap())?;
        for exec in everywhere() {
            assert_eq!(with_two_threads(|| run(exec))?, expected, "{exec:?}");
        }
        // A row alone has the bytes that it has among others.
        let alone = Linear::new(&weight, None, scheme)?.forward(&x.narrow(0, 40, 1)?)?;
        assert_eq!(bits(&alone), expected[40 * outputs..41 * outputs]);
    }
    Ok(())
}

#[test]
fn is_made_as_candles_layer_is() -> Result<()> {
    let weights = VarMap::new();
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    let exact = candle_nn::linear(32, 8, vb.pp("dense"))?;
    let x = tensor(floats(3 * 32, 31), &[3, 32])?;
    let scheme = LinearScheme::int8();
    let expected = Linear::new(exact.weight(), exact.bias(), scheme)?.forward(&x)?;
    assert_eq!(bits(&linear(32, 8, vb.pp("dense"), scheme)?.forward(&x)?), bits(&expected));
    assert_eq!(bits(&linear_b(32, 8, true, vb.pp("dense"), scheme)?.forward(&x)?), bits(&expected));
    let expected = Linear::new(exact.weight(), None, scheme)?.forward(&x)?;
    assert_eq!(bits(&linear_no_bias(32, 8, vb.pp("dense"), scheme)?.forward(&x)?), bits(&expected));
    // Weights of 16 bits, as a file may have them.
    let half = exact.weight().to_dtype(DType::BF16)?;
    let expected = Linear::new(&half.to_dtype(DType::F32)?, None, scheme)?.forward(&x)?;
    assert_eq!(bits(&Linear::new(&half, None, scheme)?.forward(&x)?), bits(&expected));
    Ok(())
}
