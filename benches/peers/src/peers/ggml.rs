//! ggml, which llama.cpp is built on, loaded at run time through its C interface: a graph of one product.
//!
//! Its weights are quantized by itself. A buffer of the kind `CPU_REPACK` interleaves rows of them when they are put there.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;
use std::rc::Rc;

use super::wheels::{self, functions};
use super::{Multiply, Output, Peer};
use crate::real::RealProblem;
use crate::shapes::Shape;

/// A pointer to one of the library's objects.
type Object = *mut c_void;

const F32: c_int = 0;

/// The types of weights, as `ggml.h` numbers them, and their bits.
const TYPES: [(&str, c_int, u32); 3] = [("Q4_0", 2, 4), ("Q4_K", 12, 4), ("Q8_0", 8, 8)];

/// Memory for the descriptions of a few tensors and a graph.
const CONTEXT: usize = 1 << 20;

#[repr(C)]
struct ContextOptions {
    bytes: usize,
    memory: Object,
    without_data: bool,
}

functions! {
    /// Of `ggml.h`, `ggml-alloc.h`, `ggml-backend.h` and `ggml-cpu.h`.
    Functions {
        fn ggml_version() -> *const c_char;
        fn ggml_log_set(log: unsafe extern "C" fn(c_int, *const c_char, Object), data: Object);
        fn ggml_init(options: ContextOptions) -> Object;
        fn ggml_free(context: Object);
        fn ggml_new_tensor_2d(context: Object, kind: c_int, columns: i64, rows: i64) -> Object;
        fn ggml_mul_mat(context: Object, weights: Object, x: Object) -> Object;
        fn ggml_new_graph(context: Object) -> Object;
        fn ggml_build_forward_expand(graph: Object, result: Object);
        fn ggml_row_size(kind: c_int, columns: i64) -> usize;
        fn ggml_quantize_chunk(
            kind: c_int, source: *const f32, destination: *mut c_void, start: i64, rows: i64, columns: i64,
            importance: *const f32,
        ) -> usize;
        fn ggml_get_data(tensor: Object) -> *mut c_void;
        fn ggml_backend_cpu_init() -> Object;
        fn ggml_backend_cpu_set_n_threads(backend: Object, threads: c_int);
        fn ggml_backend_cpu_reg() -> Object;
        fn ggml_backend_cpu_buffer_type() -> Object;
        fn ggml_backend_reg_dev_get(registry: Object, index: usize) -> Object;
        fn ggml_backend_reg_get_proc_address(registry: Object, name: *const c_char) -> *mut c_void;
        fn ggml_backend_buft_name(kind: Object) -> *const c_char;
        fn ggml_backend_alloc_ctx_tensors_from_buft(context: Object, kind: Object) -> Object;
        fn ggml_backend_buffer_free(buffer: Object);
        fn ggml_backend_tensor_set(tensor: Object, data: *const c_void, offset: usize, bytes: usize);
        fn ggml_backend_graph_compute(backend: Object, graph: Object) -> c_int;
        fn ggml_backend_free(backend: Object);
    }
}

/// The library, and its processor on one thread.
struct Library {
    functions: Functions,
    backend: Object,
    /// Buffers for weights as they are, and for weights in another order, if the library has them for this processor.
    kinds: [Option<Object>; 2],
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: it was made in `load`; every product is gone, which held this library.
        unsafe { (self.functions.ggml_backend_free)(self.backend) };
    }
}

/// ggml with weights of one type, in one kind of buffer.
pub struct Ggml {
    library: Rc<Library>,
    name: &'static str,
    kind: c_int,
    bits: u32,
    repacked: bool,
}

impl Ggml {
    /// Opens the library: a peer for every type and buffer.
    pub fn load(path: Option<&Path>) -> Result<Vec<Self>, String> {
        let functions = Functions::of(wheels::open(path, &["libggml.so", "llama_cpp/lib/libggml.so"])?)?;
        // SAFETY: functions without arguments, and those that take what they returned, which is checked.
        let (backend, kinds) = unsafe {
            (functions.ggml_log_set)(ignore, ptr::null_mut());
            let backend = (functions.ggml_backend_cpu_init)();
            if backend.is_null() {
                return Err("no backend for this processor".into());
            }
            (functions.ggml_backend_cpu_set_n_threads)(backend, 1);
            (backend, [Some((functions.ggml_backend_cpu_buffer_type)()), repacking(&functions)])
        };
        let library = Rc::new(Library { functions, backend, kinds });
        let mut peers = Vec::new();
        for (name, kind, bits) in TYPES {
            for repacked in [false, true] {
                // (It has no other order for Q8_0 on x86.)
                if library.kinds[usize::from(repacked)].is_some() && !(repacked && bits == 8) {
                    peers.push(Ggml { library: library.clone(), name, kind, bits, repacked });
                }
            }
        }
        Ok(peers)
    }
}

/// What becomes of the lines that the library logs.
unsafe extern "C" fn ignore(_: c_int, _: *const c_char, _: Object) {}

/// The kind of buffer that puts weights into another order.
///
/// # Safety
/// The functions are those of the library.
unsafe fn repacking(functions: &Functions) -> Option<Object> {
    let name = c"ggml_backend_dev_get_extra_bufts";
    // SAFETY: the processor's registry is static and has a device; what the name stands for takes it, and returns null or a list
    // that ends with null.
    unsafe {
        let registry = (functions.ggml_backend_cpu_reg)();
        let extra = (functions.ggml_backend_reg_get_proc_address)(registry, name.as_ptr());
        if extra.is_null() {
            return None;
        }
        let extra: unsafe extern "C" fn(Object) -> *const Object = std::mem::transmute(extra);
        let mut kinds = extra((functions.ggml_backend_reg_dev_get)(registry, 0));
        if kinds.is_null() {
            return None;
        }
        while !(*kinds).is_null() {
            if CStr::from_ptr((functions.ggml_backend_buft_name)(*kinds)) == c"CPU_REPACK" {
                return Some(*kinds);
            }
            kinds = kinds.add(1);
        }
    }
    None
}

impl Peer for Ggml {
    fn name(&self) -> String {
        format!("ggml {}{}", self.name, if self.repacked { " repacked" } else { "" })
    }

    fn version(&self) -> String {
        // SAFETY: it returns a static string.
        let version: CString = unsafe { CStr::from_ptr((self.library.functions.ggml_version)()) }.into();
        version.to_string_lossy().into_owned()
    }

    fn prepare_real<'p>(&'p self, problem: &'p RealProblem) -> Option<Box<dyn Multiply + 'p>> {
        let group = if self.name == "Q4_K" { 256 } else { 32 };
        if problem.groups.bits != self.bits || problem.groups.length != 32 || !problem.shape.k.is_multiple_of(group) {
            return None;
        }
        Some(Box::new(Product::new(self, problem)?))
    }
}

/// A graph, its tensors and their memory.
struct Product {
    library: Rc<Library>,
    /// Of the weights, and of everything else.
    contexts: [Object; 2],
    buffers: [Object; 2],
    graph: Object,
    result: *const f32,
    elements: usize,
}

impl Product {
    fn new(peer: &Ggml, problem: &RealProblem) -> Option<Self> {
        let Shape { m, n, k } = problem.shape;
        let [rows, outputs, depth] = [m, n, k].map(|size| size as i64);
        let library = peer.library.clone();
        let functions = &library.functions;
        let plain = library.kinds[0].expect("every processor has plain buffers");
        let kind = library.kinds[usize::from(peer.repacked)]?;
        // SAFETY: objects are made of objects of this library, which are checked or which it makes of the contexts' memory,
        // which is enough. The operands have the sizes that the tensors are told.
        unsafe {
            let context = || {
                (functions.ggml_init)(ContextOptions { bytes: CONTEXT, memory: ptr::null_mut(), without_data: true })
            };
            let contexts = [context(), context()];
            assert!(contexts.iter().all(|context| !context.is_null()), "there is memory for descriptions");
            let weights = (functions.ggml_new_tensor_2d)(contexts[0], peer.kind, depth, outputs);
            let x = (functions.ggml_new_tensor_2d)(contexts[1], F32, depth, rows);
            let result = (functions.ggml_mul_mat)(contexts[1], weights, x);
            let graph = (functions.ggml_new_graph)(contexts[1]);
            (functions.ggml_build_forward_expand)(graph, result);
            let buffers = [
                (functions.ggml_backend_alloc_ctx_tensors_from_buft)(contexts[0], kind),
                (functions.ggml_backend_alloc_ctx_tensors_from_buft)(contexts[1], plain),
            ];
            assert!(buffers.iter().all(|buffer| !buffer.is_null()), "there is memory for tensors");
            let mut blocks = vec![0_u8; (functions.ggml_row_size)(peer.kind, depth) * n];
            (functions.ggml_quantize_chunk)(
                peer.kind,
                problem.weights.as_ptr(),
                blocks.as_mut_ptr().cast(),
                0,
                outputs,
                depth,
                ptr::null(),
            );
            (functions.ggml_backend_tensor_set)(weights, blocks.as_ptr().cast(), 0, blocks.len());
            (functions.ggml_backend_tensor_set)(x, problem.x.as_ptr().cast(), 0, 4 * problem.x.len());
            let result = (functions.ggml_get_data)(result).cast();
            Some(Product { library, contexts, buffers, graph, result, elements: m * n })
        }
    }
}

impl Multiply for Product {
    fn multiply(&mut self) {
        let Library { functions, backend, .. } = &*self.library;
        // SAFETY: the graph and its tensors live as long as `self`.
        let status = unsafe { (functions.ggml_backend_graph_compute)(*backend, self.graph) };
        assert_eq!(status, 0, "a product of two tensors succeeds");
    }

    fn result(&self) -> Output<'_> {
        // SAFETY: the tensor has so many elements in a buffer that lives as long as `self`; only `multiply` writes there.
        Output::Reals(unsafe { std::slice::from_raw_parts(self.result, self.elements) })
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        let functions = &self.library.functions;
        // SAFETY: nobody else has them.
        unsafe {
            for buffer in self.buffers {
                (functions.ggml_backend_buffer_free)(buffer);
            }
            for context in self.contexts {
                (functions.ggml_free)(context);
            }
        }
    }
}
