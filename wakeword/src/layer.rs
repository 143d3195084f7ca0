//! Operators with weights: zeropoint's layers, and the output stage of a set of kernels.

use zeropoint::layers::{Conv2d, Linear, Window};
use zeropoint::raw::{AccumulatorBias, multipliers};
use zeropoint::{
    Accumulators, CodeRange, Error, Exec, Granularity, Matrix, MatrixMut, QuantParams, Quantized, Requantize, Rule,
    Stage,
};

use crate::kernels::{Kernels, TwiceUp};
use crate::network::{Network, Operator, Product, Tensor, Weights, Wrong};

/// The channels that a built-in depthwise convolution computes at once.
const DEPTHWISE_CHANNELS: usize = 8;

/// A layer of a network.
pub struct Layer {
    sums: Sums,
    outputs: usize,
    x: QuantParams<i8>,
    stage: Requantize<i8>,
    /// What takes the place of the stage in the first columns, as many as this.
    twice_up: Option<(TwiceUp, usize)>,
}

/// What makes accumulators.
enum Sums {
    Conv(Conv2d<i8, i8>, [usize; 4]),
    Linear(Linear<i8, i8>),
}

impl Layer {
    /// The layer of an operator that has weights.
    pub fn new(exec: Exec<'_>, network: &Network, operator: &Operator, kernels: Kernels) -> Result<Self, Wrong> {
        let product = operator.product().ok_or("an operator without weights")?;
        let depthwise = matches!(operator, Operator::DepthwiseConv2d(_));
        let linear = matches!(operator, Operator::FullyConnected(_));
        let [input, output] = [product.input, product.output].map(|number| &network.graph.tensors[&number]);
        let weights = network.weights(product)?;
        let (x, y) = (input.params()?, output.params()?);
        let outputs = weights.bias.len();
        let sums = if linear {
            sums_of_linear(exec, &weights)?
        } else {
            sums_of_conv(exec, product, input, &weights, depthwise)?
        };
        let stage = match (kernels, linear) {
            (Kernels::Xnnpack, _) => sums.onnxruntime(&x, &y)?,
            (Kernels::Reference, true) => sums.requantize(&x, &y, Rule::HalfAway)?,
            (Kernels::Reference | Kernels::BuiltIn, _) => sums.requantize(&x, &y, Rule::Gemmlowp)?,
        };
        let twice_up = (kernels == Kernels::BuiltIn).then(|| {
            let [s_x, s_y] = [&x, &y].map(|params| params.scales()[0]);
            let multipliers = match weights.scales.as_slice() {
                &[s_w] if linear => vec![f64::from(s_x * s_w) / f64::from(s_y)],
                scales => multipliers(s_x, scales, s_y),
            };
            let columns = if depthwise { outputs / DEPTHWISE_CHANNELS * DEPTHWISE_CHANNELS } else { outputs };
            Ok::<_, Error>((TwiceUp::new(&multipliers, outputs, &y, product.relu)?, columns))
        });
        let stage = if product.relu { stage.relu() } else { stage };
        Ok(Layer { sums, outputs, stage, twice_up: twice_up.transpose()?, x })
    }

    /// The codes of the result.
    pub fn forward(&self, exec: Exec<'_>, codes: &[i8], out: &mut [i8]) -> Result<(), Error> {
        self.sums.forward(exec, codes, (&self.x, self.outputs), &self.stage, out)?;
        if let Some((twice_up, columns)) = &self.twice_up {
            let mut accumulators = vec![0; out.len()];
            self.sums.forward(exec, codes, (&self.x, self.outputs), &Accumulators, &mut accumulators)?;
            twice_up.apply(&accumulators, *columns, out);
        }
        Ok(())
    }
}

impl Sums {
    fn forward<S: Stage>(
        &self,
        exec: Exec<'_>,
        codes: &[i8],
        (x, outputs): (&QuantParams<i8>, usize),
        stage: &S,
        out: &mut [S::Element],
    ) -> Result<(), Error> {
        match self {
            Sums::Conv(conv, shape) => conv.forward(exec, codes, *shape, x, stage, out),
            Sums::Linear(linear) => {
                let rows = out.len() / outputs;
                let x = Quantized::new(Matrix::new(codes, rows, linear.inputs())?, x)?;
                linear.forward(exec, x, stage, MatrixMut::new(out, rows, outputs)?)
            }
        }
    }

    fn requantize(&self, x: &QuantParams<i8>, y: &QuantParams<i8>, rule: Rule) -> Result<Requantize<i8>, Error> {
        match self {
            Sums::Conv(conv, _) => Requantize::new(conv, x, y, rule),
            Sums::Linear(linear) => Requantize::new(linear, x, y, rule),
        }
    }

    fn onnxruntime(&self, x: &QuantParams<i8>, y: &QuantParams<i8>) -> Result<Requantize<i8>, Error> {
        match self {
            Sums::Conv(conv, _) => Requantize::onnxruntime(conv, x, y),
            Sums::Linear(linear) => Requantize::onnxruntime(linear, x, y),
        }
    }
}

/// The parameters of weights `[outputs, …]`: one scale, or one for every output.
fn weight_params(shape: &[usize], scales: &[f32]) -> Result<QuantParams<i8>, Error> {
    let granularity = if scales.len() == 1 { Granularity::Tensor } else { Granularity::channel(shape, 0)? };
    QuantParams::new(CodeRange::signed(8)?, granularity, scales.to_vec(), vec![0; scales.len()])
}

fn sums_of_linear(exec: Exec<'_>, Weights { shape, codes, scales, bias }: &Weights) -> Result<Sums, Wrong> {
    let &[outputs, inputs] = shape.as_slice() else {
        return Err("weights of a fully connected layer have two axes".into());
    };
    let params = weight_params(shape, scales)?;
    let linear = Linear::new(exec, Quantized::new(Matrix::new(codes, outputs, inputs)?, &params)?)?;
    Ok(Sums::Linear(linear.with_accumulator_bias(bias)?))
}

fn sums_of_conv(
    exec: Exec<'_>,
    product: &Product,
    input: &Tensor,
    Weights { shape, codes, scales, bias }: &Weights,
    depthwise: bool,
) -> Result<Sums, Wrong> {
    let (&[first, height, width, last], &[images, image_height, image_width, channels]) =
        (shape.as_slice(), input.shape.as_slice())
    else {
        return Err("weights and images of a convolution have four axes".into());
    };
    let taps = height * width;
    // From [outputs, taps, channels], or [taps, channels], to [outputs, channels / groups, taps].
    let (codes, shape, groups) = if depthwise {
        let codes = (0..last).flat_map(|output| (0..taps).map(move |tap| codes[tap * last + output]));
        (codes.collect::<Vec<i8>>(), [last, 1, height, width], channels)
    } else {
        let places = (0..first).flat_map(|output| (0..last).map(move |channel| output * taps * last + channel));
        let codes = places.flat_map(|place| (0..taps).map(move |tap| codes[place + tap * last]));
        (codes.collect(), [first, last, height, width], 1)
    };
    let window = Window { stride: product.stride, ..Window::new([height, width]) };
    let conv = Conv2d::new(exec, &codes, shape, &weight_params(&shape, scales)?, window, groups)?;
    Ok(Sums::Conv(conv.with_accumulator_bias(bias)?, [images, image_height, image_width, channels]))
}
