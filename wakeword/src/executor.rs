//! Runs a network, a step at a time.

use std::collections::BTreeMap;

use zeropoint::{Exec, Matrix, Quantized, Rounding, rescale};

use crate::copies;
use crate::kernels::Kernels;
use crate::layer::Layer;
use crate::logistic;
use crate::network::{Graph, Network, Operator, Wrong};

/// A network, where it runs, and its state.
pub struct Executor<'a> {
    exec: Exec<'a>,
    /// Operators with weights, by their results.
    layers: BTreeMap<usize, Layer>,
    /// Logistic functions, by their results.
    tables: BTreeMap<usize, [i8; 256]>,
    tensors: Tensors<'a>,
    variables: Vec<Vec<i8>>,
}

/// The tensors of a step.
struct Tensors<'a> {
    graph: &'a Graph,
    /// By their numbers; codes of u8 by their bits.
    codes: BTreeMap<usize, Vec<i8>>,
}

impl Tensors<'_> {
    fn get(&self, number: usize) -> &[i8] {
        &self.codes[&number]
    }

    fn set(&mut self, number: usize, codes: Vec<i8>) -> Result<(), Wrong> {
        let expected = self.graph.tensors[&number].elements();
        if codes.len() != expected {
            return Err(format!("tensor {number} has {expected} codes, not {}", codes.len()).into());
        }
        self.codes.insert(number, codes);
        Ok(())
    }

    fn shape(&self, number: usize) -> &[usize] {
        &self.graph.tensors[&number].shape
    }

    /// How many codes stand together along an axis.
    fn run(&self, number: usize, axis: usize) -> usize {
        self.shape(number)[axis..].iter().product()
    }
}

impl<'a> Executor<'a> {
    /// With the bits of these kernels. Variables begin as zeros.
    ///
    /// # Errors
    /// A network that the layers refuse.
    pub fn new(exec: Exec<'a>, network: &'a Network, kernels: Kernels) -> Result<Self, Wrong> {
        let graph = &network.graph;
        let (mut layers, mut tables) = (BTreeMap::new(), BTreeMap::new());
        let mut variables = vec![Vec::new(); graph.variables];
        for operator in &graph.operators {
            match operator {
                Operator::ReadVariable { variable, output } => {
                    let tensor = &graph.tensors[output];
                    variables[*variable] = vec![tensor.params()?.zero_points()[0] as i8; tensor.elements()];
                }
                Operator::Logistic { input, output } => {
                    let [x, y] = [input, output].map(|number| graph.tensors[number].params());
                    tables.insert(*output, logistic::table(&x?, &y?));
                }
                _ => {
                    if let Some(product) = operator.product() {
                        layers.insert(product.output, Layer::new(exec, network, operator, kernels)?);
                    }
                }
            }
        }
        Ok(Executor { exec, layers, tables, tensors: Tensors { graph, codes: BTreeMap::new() }, variables })
    }

    /// Makes all tensors of the next features, which are codes of i8.
    ///
    /// # Errors
    /// Features of another length.
    pub fn step(&mut self, features: &[i8]) -> Result<(), Wrong> {
        let Executor { exec, layers, tables, tensors, variables } = self;
        let graph = tensors.graph;
        tensors.set(graph.input, features.to_vec())?;
        for operator in &graph.operators {
            match operator {
                Operator::ReadVariable { variable, output } => tensors.set(*output, variables[*variable].clone())?,
                Operator::AssignVariable { variable, input } => variables[*variable] = tensors.get(*input).to_vec(),
                Operator::Reshape { input, output } => tensors.set(*output, tensors.get(*input).to_vec())?,
                Operator::Concatenation { axis, inputs, output } => {
                    let part = |&input| (tensors.get(input), tensors.run(input, *axis));
                    let parts: Vec<_> = inputs.iter().map(part).collect();
                    tensors.set(*output, copies::concatenate(&parts))?;
                }
                Operator::SplitV { axis, input, outputs } => {
                    let mut begin = 0;
                    for &output in outputs {
                        let (run, part) = (tensors.run(*input, *axis), tensors.run(output, *axis));
                        tensors.set(output, copies::part(tensors.get(*input), run, begin..begin + part))?;
                        begin += part;
                    }
                }
                Operator::StridedSlice { begin, input, output } => {
                    let mut codes = Vec::new();
                    let [shape, lengths] = [*input, *output].map(|number| tensors.shape(number));
                    copies::slice(tensors.get(*input), shape, begin, lengths, &mut codes);
                    tensors.set(*output, codes)?;
                }
                Operator::Conv2d(product) | Operator::DepthwiseConv2d(product) | Operator::FullyConnected(product) => {
                    let mut codes = vec![0; graph.tensors[&product.output].elements()];
                    layers[&product.output].forward(*exec, tensors.get(product.input), &mut codes)?;
                    tensors.set(product.output, codes)?;
                }
                Operator::Logistic { input, output } => {
                    let table = &tables[output];
                    let code = |&code: &i8| table[usize::from(code as u8 ^ 0x80)];
                    tensors.set(*output, tensors.get(*input).iter().map(code).collect())?;
                }
                Operator::Quantize { input, output } => {
                    let (codes, params) = (tensors.get(*input), graph.tensors[input].params()?);
                    let x = Quantized::new(Matrix::new(codes, 1, codes.len())?, &params)?;
                    let mut unsigned = vec![0_u8; codes.len()];
                    let y = graph.tensors[output].unsigned_params()?;
                    rescale::requantize(*exec, x, &y, Rounding::Nearest, &mut unsigned)?;
                    tensors.set(*output, unsigned.iter().map(|&code| code as i8).collect())?;
                }
            }
        }
        Ok(())
    }

    /// A tensor of the last step; codes of u8 by their bits.
    #[must_use]
    pub fn tensor(&self, number: usize) -> &[i8] {
        self.tensors.get(number)
    }
}
