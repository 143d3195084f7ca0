//! onnxruntime, loaded at run time: a session of one `MatMulNBits`, whose activations are quantized to eight bits in the call.

use std::path::Path;

use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::session::IoBinding;
use ort::session::Session;
use ort::value::{Outlet, Shape as Sizes, SymbolicDimensions, Tensor, TensorElementType, ValueType};
use zeropoint::groups::{GroupScheme, StoredWeights};
use zeropoint::{Exec, Matrix};

use super::wheels;
use super::{Multiply, Output, Peer};
use crate::real::RealProblem;
use crate::shapes::Shape;

/// Asks for integer products of activations of eight bits.
const EIGHT_BITS: i64 = 4;

/// onnxruntime on one thread.
pub struct OnnxRuntime {
    version: String,
}

impl OnnxRuntime {
    /// Opens the library.
    pub fn load(path: Option<&Path>) -> Result<Self, String> {
        let file = wheels::find(path, &["libonnxruntime.so", "onnxruntime/capi/libonnxruntime.so"])?;
        let version = file.to_string_lossy().rsplit_once(".so.").map_or(String::new(), |(_, version)| version.into());
        ort::init_from(&file).map_err(|error| error.to_string())?.commit();
        Ok(OnnxRuntime { version })
    }
}

impl Peer for OnnxRuntime {
    fn name(&self) -> String {
        "onnxruntime MatMulNBits".into()
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn prepare_real<'p>(&'p self, problem: &'p RealProblem) -> Option<Box<dyn Multiply + 'p>> {
        // (Padding of the last block is left out here.)
        let whole = problem.shape.k.is_multiple_of(problem.groups.length);
        whole.then(|| Box::new(Product::new(problem).expect("the model is valid")) as Box<dyn Multiply>)
    }
}

/// A session with its operands.
struct Product {
    session: Session,
    binding: IoBinding,
    result: *const f32,
    elements: usize,
}

impl Product {
    fn new(problem: &RealProblem) -> Result<Self, Box<dyn std::error::Error>> {
        let Shape { m, n, k } = problem.shape;
        let [rows, outputs, depth] = [m, n, k].map(|size| size as i64);
        let (bits, length) = (problem.groups.bits, problem.groups.length);
        let weights = Matrix::new(&problem.weights, n, k)?;
        let weights = StoredWeights::quantize(Exec::best()?, weights, GroupScheme::symmetric(bits, length)?)?;
        let weights = weights.to_matmul_nbits()?;

        let reals = |name: &str, sizes: [i64; 2]| {
            let shape = Sizes::new(sizes);
            let ty = TensorElementType::Float32;
            Outlet::new(name, ValueType::Tensor { ty, shape, dimension_symbols: SymbolicDimensions::empty(2) })
        };
        let mut graph = Graph::new()?;
        graph.set_inputs([reals("x", [rows, depth])])?;
        graph.set_outputs([reals("y", [rows, outputs])])?;
        let sizes = [n, k / length, length * bits as usize / 8];
        let mut codes = Tensor::<u8>::new(&Allocator::default(), sizes)?;
        codes.extract_tensor_mut().1.copy_from_slice(&weights.codes);
        graph.add_initializer("codes", codes, false)?;
        let mut scales = Tensor::<f32>::new(&Allocator::default(), [n * k / length])?;
        scales.extract_tensor_mut().1.copy_from_slice(&weights.scales);
        graph.add_initializer("scales", scales, false)?;
        let attributes = [
            Attribute::new("K", depth)?,
            Attribute::new("N", outputs)?,
            Attribute::new("bits", i64::from(bits))?,
            Attribute::new("block_size", length as i64)?,
            Attribute::new("accuracy_level", EIGHT_BITS)?,
        ];
        let node = Node::new("MatMulNBits", "com.microsoft", "product", ["x", "codes", "scales"], ["y"], attributes)?;
        graph.add_node(node)?;
        let mut model = Model::new([Opset::new(ONNX_DOMAIN, 21)?, Opset::new("com.microsoft", 1)?])?;
        model.add_graph(graph)?;
        let options = Session::builder()?.with_intra_threads(1).map_err(ort::Error::<()>::from)?;
        let session = model.into_session(&options)?;

        let mut binding = session.create_binding()?;
        binding.bind_input("x", &Tensor::from_array(([m, k], problem.x.clone()))?)?;
        let mut result = Tensor::<f32>::new(&Allocator::default(), [m, n])?;
        let elements = result.extract_tensor_mut().1.as_ptr();
        binding.bind_output("y", result)?;
        Ok(Product { session, binding, result: elements, elements: m * n })
    }
}

impl Multiply for Product {
    fn multiply(&mut self) {
        self.session.run_binding(&self.binding).expect("a bound product succeeds");
    }

    fn result(&self) -> Output<'_> {
        // SAFETY: the tensor has so many elements, in memory that the binding keeps; only `multiply` writes there.
        Output::Reals(unsafe { std::slice::from_raw_parts(self.result, self.elements) })
    }
}
