//! The shipped networks: operators in the order of their execution, parameters of tensors, and constants.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use serde::Deserialize;
use zeropoint::{CodeRange, Error, QuantParams};

/// Whatever is wrong.
pub type Wrong = Box<dyn std::error::Error + Send + Sync>;

/// A network whose file is part of the program.
pub struct Network {
    /// Its operators and tensors.
    pub graph: Graph,
    constants: SafeTensors<'static>,
}

/// Operators and the tensors of codes, which have numbers.
#[derive(Deserialize)]
pub struct Graph {
    /// In the order of their execution.
    pub operators: Vec<Operator>,
    /// By their numbers.
    pub tensors: BTreeMap<usize, Tensor>,
    /// The tensor of features.
    pub input: usize,
    /// The tensor of the word's probability.
    pub output: usize,
    /// The variables, which keep codes from step to step, and begin as real zeros.
    pub variables: usize,
}

/// A tensor of codes: of u8 where `Quantize` writes it, else of i8.
#[derive(Deserialize)]
pub struct Tensor {
    /// Its axes.
    pub shape: Vec<usize>,
    scale: f32,
    zero_point: i32,
}

/// An operator: what it reads and writes are numbers of tensors.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "TensorFlow Lite's names")]
pub enum Operator {
    ReadVariable {
        variable: usize,
        output: usize,
    },
    AssignVariable {
        variable: usize,
        input: usize,
    },
    Reshape {
        input: usize,
        output: usize,
    },
    Concatenation {
        axis: usize,
        inputs: Vec<usize>,
        output: usize,
    },
    SplitV {
        axis: usize,
        input: usize,
        outputs: Vec<usize>,
    },
    StridedSlice {
        begin: Vec<usize>,
        input: usize,
        output: usize,
    },
    #[serde(rename = "conv_2d")]
    Conv2d(Product),
    #[serde(rename = "depthwise_conv_2d")]
    DepthwiseConv2d(Product),
    FullyConnected(Product),
    Logistic {
        input: usize,
        output: usize,
    },
    Quantize {
        input: usize,
        output: usize,
    },
}

impl Operator {
    /// What an operator with weights computes with.
    #[must_use]
    pub fn product(&self) -> Option<&Product> {
        match self {
            Operator::Conv2d(product) | Operator::DepthwiseConv2d(product) | Operator::FullyConnected(product) => {
                Some(product)
            }
            _ => None,
        }
    }
}

/// The weights of an operator.
#[derive(Deserialize)]
pub struct Product {
    /// The activations.
    pub input: usize,
    /// The results.
    pub output: usize,
    /// The constant of codes with the zero point 0: `[outputs, height, width, channels]`, `[1, height, width, channels]` (depthwise),
    /// or `[outputs, inputs]`.
    pub weights: usize,
    /// The constant of i32, in units of the accumulators.
    pub bias: usize,
    /// Whether a ReLU follows.
    pub relu: bool,
    /// Of the window, which has no padding: on height and width. A fully connected layer has none.
    #[serde(default)]
    pub stride: [usize; 2],
}

/// Weights, as TensorFlow Lite lays them out.
pub struct Weights {
    /// Their axes.
    pub shape: Vec<usize>,
    /// Codes with the zero point 0.
    pub codes: Vec<i8>,
    /// One, or one for every output.
    pub scales: Vec<f32>,
    /// One for every output.
    pub bias: Vec<i32>,
}

impl Network {
    /// Reads a file of `record.py`.
    ///
    /// # Errors
    /// Another file.
    pub fn new(file: &'static [u8]) -> Result<Self, Wrong> {
        let (_, metadata) = SafeTensors::read_metadata(file)?;
        let described = metadata.metadata().as_ref().and_then(|metadata| metadata.get("network"));
        let graph = serde_json::from_str(described.ok_or("a file without a network")?)?;
        Ok(Network { graph, constants: SafeTensors::deserialize(file)? })
    }

    /// The constants of an operator.
    ///
    /// # Errors
    /// A file without them.
    pub fn weights(&self, product: &Product) -> Result<Weights, Wrong> {
        let weights = self.constants.tensor(&product.weights.to_string())?;
        let words = |name: String| Ok::<_, Wrong>(self.constants.tensor(&name)?.data().as_chunks().0);
        Ok(Weights {
            shape: weights.shape().to_vec(),
            codes: weights.data().iter().map(|&byte| byte as i8).collect(),
            scales: words(format!("{}.scales", product.weights))?
                .iter()
                .map(|&word| f32::from_le_bytes(word))
                .collect(),
            bias: words(product.bias.to_string())?.iter().map(|&word| i32::from_le_bytes(word)).collect(),
        })
    }
}

impl Tensor {
    /// The parameters of codes of i8.
    ///
    /// # Errors
    /// A scale or a zero point out of range.
    pub fn params(&self) -> Result<QuantParams<i8>, Error> {
        QuantParams::per_tensor(CodeRange::signed(8)?, self.scale, self.zero_point)
    }

    /// The parameters of codes of u8.
    ///
    /// # Errors
    /// A scale or a zero point out of range.
    pub fn unsigned_params(&self) -> Result<QuantParams<u8>, Error> {
        QuantParams::per_tensor(CodeRange::unsigned(8)?, self.scale, self.zero_point)
    }

    /// How many codes there are.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}
