//! Intel's oneDNN 3, loaded at run time through its C API: the matmul primitive.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr;

use super::wheels::{self, Lines, functions};
use super::{Multiply, Output, Peer};
use crate::problem::{Problem, Workload};
use crate::shapes::Shape;

/// A pointer to one of the library's objects.
type Object = *mut c_void;
/// 0 is success.
type Status = c_int;

/// An argument of an execution.
#[repr(C)]
#[derive(Clone, Copy)]
struct Argument {
    role: c_int,
    memory: Object,
}

#[repr(C)]
struct Version {
    major: c_int,
    minor: c_int,
    patch: c_int,
}

const CPU: c_int = 1;
const IN_ORDER: c_uint = 1;

const F32: c_int = 3;
const S32: c_int = 4;
const S8: c_int = 5;
const U8: c_int = 6;

const ANY_LAYOUT: c_int = 1;
const VECTOR: c_int = 2;
const ROW_MAJOR: c_int = 3;

const QUERY_IMPLEMENTATION: c_int = 8;
const QUERY_WEIGHTS: c_int = 131;

const SOURCE: c_int = 1;
const DESTINATION: c_int = 17;
const WEIGHTS: c_int = 33;
const BIAS: c_int = 41;
const SCALES: c_int = 4096;
const ZERO_POINTS: c_int = 8192;

/// Bits are the dimensions along which an attribute's numbers differ.
const ONE: c_int = 0;
const PER_COLUMN: c_int = 1 << 1;

functions! {
    /// Of `dnnl.h`.
    Functions {
        fn dnnl_version() -> *const Version;
        fn dnnl_engine_create(engine: *mut Object, kind: c_int, index: usize) -> Status;
        fn dnnl_engine_destroy(engine: Object) -> Status;
        fn dnnl_stream_create(stream: *mut Object, engine: Object, flags: c_uint) -> Status;
        fn dnnl_stream_wait(stream: Object) -> Status;
        fn dnnl_stream_destroy(stream: Object) -> Status;
        fn dnnl_memory_desc_create_with_tag(
            layout: *mut Object, dimensions: c_int, sizes: *const i64, data_type: c_int, tag: c_int,
        ) -> Status;
        fn dnnl_memory_desc_get_size(layout: *const c_void) -> usize;
        fn dnnl_memory_desc_destroy(layout: Object) -> Status;
        fn dnnl_memory_create(memory: *mut Object, layout: *const c_void, engine: Object, data: *mut c_void) -> Status;
        fn dnnl_memory_destroy(memory: Object) -> Status;
        fn dnnl_primitive_attr_create(attributes: *mut Object) -> Status;
        fn dnnl_primitive_attr_set_scales_mask(attributes: Object, role: c_int, mask: c_int) -> Status;
        fn dnnl_primitive_attr_set_zero_points_mask(attributes: Object, role: c_int, mask: c_int) -> Status;
        fn dnnl_primitive_attr_destroy(attributes: Object) -> Status;
        fn dnnl_matmul_primitive_desc_create(
            plan: *mut Object, engine: Object, source: *const c_void, weights: *const c_void, bias: *const c_void,
            destination: *const c_void, attributes: *const c_void,
        ) -> Status;
        fn dnnl_reorder_primitive_desc_create(
            plan: *mut Object, source: *const c_void, source_engine: Object, destination: *const c_void,
            destination_engine: Object, attributes: *const c_void,
        ) -> Status;
        fn dnnl_primitive_desc_query_md(plan: *const c_void, what: c_int, index: c_int) -> *const c_void;
        fn dnnl_primitive_desc_query(plan: *const c_void, what: c_int, index: c_int, result: *mut c_void) -> Status;
        fn dnnl_primitive_desc_destroy(plan: Object) -> Status;
        fn dnnl_primitive_create(primitive: *mut Object, plan: *const c_void) -> Status;
        fn dnnl_primitive_execute(
            primitive: Object, stream: Object, count: c_int, arguments: *const Argument,
        ) -> Status;
        fn dnnl_primitive_destroy(primitive: Object) -> Status;
    }
}

/// An object that is destroyed with its owner.
struct Owned {
    object: Object,
    destroy: unsafe extern "C" fn(Object) -> Status,
}

impl Owned {
    /// The object that a constructor makes, unless it fails.
    fn new(
        construct: impl FnOnce(*mut Object) -> Status,
        destroy: unsafe extern "C" fn(Object) -> Status,
    ) -> Option<Self> {
        let mut object = ptr::null_mut();
        (construct(&mut object) == 0).then_some(Owned { object, destroy })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: a constructor made it, the function is the one for its kind, and nobody else destroys it. The library
        // counts the references among its objects.
        unsafe { (self.destroy)(self.object) };
    }
}

/// oneDNN on one thread (which `OMP_NUM_THREADS` has to say before the library is loaded).
pub struct OneDnn {
    // Before the functions, so that they are dropped first.
    stream: Owned,
    engine: Owned,
    functions: Functions,
}

impl OneDnn {
    /// Opens the library.
    pub fn load(path: Option<&Path>) -> Result<Self, String> {
        let functions = Functions::of(wheels::open(path, &["libdnnl.so.3"])?)?;
        let engine = Owned::new(
            // SAFETY: the pointer takes an object.
            |engine| unsafe { (functions.dnnl_engine_create)(engine, CPU, 0) },
            functions.dnnl_engine_destroy,
        );
        let engine = engine.ok_or("no engine for the CPU")?;
        let stream = Owned::new(
            // SAFETY: the pointer takes an object; the engine is alive.
            |stream| unsafe { (functions.dnnl_stream_create)(stream, engine.object, IN_ORDER) },
            functions.dnnl_stream_destroy,
        );
        Ok(OneDnn { stream: stream.ok_or("no stream")?, engine, functions })
    }

    fn layout(&self, sizes: &[usize], data_type: c_int, tag: c_int) -> Option<Owned> {
        let sizes: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
        Owned::new(
            // SAFETY: the pointer takes an object; there are as many sizes as dimensions.
            |layout| unsafe {
                let dimensions = sizes.len() as c_int;
                (self.functions.dnnl_memory_desc_create_with_tag)(layout, dimensions, sizes.as_ptr(), data_type, tag)
            },
            self.functions.dnnl_memory_desc_destroy,
        )
    }

    /// # Safety
    /// The layout describes the data, which outlives the memory. Executions write it only where it is a destination.
    unsafe fn memory(&self, layout: *const c_void, data: *const c_void) -> Option<Owned> {
        Owned::new(
            // SAFETY: the pointer takes an object; the rest is the caller's word.
            |memory| unsafe {
                (self.functions.dnnl_memory_create)(memory, layout, self.engine.object, data.cast_mut())
            },
            self.functions.dnnl_memory_destroy,
        )
    }

    fn primitive(&self, plan: &Owned) -> Option<Owned> {
        Owned::new(
            // SAFETY: the pointer takes an object; the plan is alive.
            |primitive| unsafe { (self.functions.dnnl_primitive_create)(primitive, plan.object) },
            self.functions.dnnl_primitive_destroy,
        )
    }

    /// Attributes with these masks.
    fn attributes(&self, scales: &[(c_int, c_int)], zero_points: &[c_int]) -> Option<Owned> {
        let attributes = Owned::new(
            // SAFETY: the pointer takes an object.
            |attributes| unsafe { (self.functions.dnnl_primitive_attr_create)(attributes) },
            self.functions.dnnl_primitive_attr_destroy,
        )?;
        for &(role, mask) in scales {
            // SAFETY: the attributes are alive.
            let status = unsafe { (self.functions.dnnl_primitive_attr_set_scales_mask)(attributes.object, role, mask) };
            (status == 0).then_some(())?;
        }
        for &role in zero_points {
            // SAFETY: the attributes are alive.
            let status =
                unsafe { (self.functions.dnnl_primitive_attr_set_zero_points_mask)(attributes.object, role, ONE) };
            (status == 0).then_some(())?;
        }
        Some(attributes)
    }

    /// A matmul primitive's plan.
    fn plan(&self, layouts: [&Owned; 3], bias: Option<&Owned>, attributes: &Owned) -> Option<Owned> {
        let [source, weights, destination] = layouts.map(|layout| layout.object);
        let bias = bias.map_or(ptr::null_mut(), |bias| bias.object);
        Owned::new(
            // SAFETY: the pointer takes an object; engine, layouts and attributes are alive; no bias is null.
            |plan| unsafe {
                let create = self.functions.dnnl_matmul_primitive_desc_create;
                create(plan, self.engine.object, source, weights, bias, destination, attributes.object)
            },
            self.functions.dnnl_primitive_desc_destroy,
        )
    }

    /// B in the layout that a plan wants.
    fn reorder(&self, b: &[i8], from: &Owned, to: *const c_void) -> Option<Lines> {
        // SAFETY: the layout is alive.
        let mut packed = Lines::new(unsafe { (self.functions.dnnl_memory_desc_get_size)(to) });
        let plan = Owned::new(
            // SAFETY: the pointer takes an object; engine and layouts are alive; without attributes is null.
            |plan| unsafe {
                let (create, engine) = (self.functions.dnnl_reorder_primitive_desc_create, self.engine.object);
                create(plan, from.object, engine, to, engine, ptr::null())
            },
            self.functions.dnnl_primitive_desc_destroy,
        )?;
        let primitive = self.primitive(&plan)?;
        // SAFETY: `from` is the row-major layout of all of `b`, `packed` has the size of `to`; both live until the end of
        // this function, and the memory does not.
        let (from, to) =
            unsafe { (self.memory(from.object, b.as_ptr().cast())?, self.memory(to, packed.as_mut_ptr().cast())?) };
        let arguments = [(SOURCE, &from), (DESTINATION, &to)];
        let arguments = arguments.map(|(role, memory)| Argument { role, memory: memory.object });
        self.execute(&primitive, &arguments).then_some(packed)
    }

    /// Did it work?
    fn execute(&self, primitive: &Owned, arguments: &[Argument]) -> bool {
        // SAFETY: primitive, stream and the arguments' memories are alive, and the memories those of its plan.
        let status = unsafe {
            let count = arguments.len() as c_int;
            (self.functions.dnnl_primitive_execute)(primitive.object, self.stream.object, count, arguments.as_ptr())
        };
        // SAFETY: the stream is alive.
        status == 0 && unsafe { (self.functions.dnnl_stream_wait)(self.stream.object) } == 0
    }

    /// The name of what a plan runs.
    fn implementation(&self, plan: &Owned) -> Option<String> {
        let mut name: *const c_char = ptr::null();
        // SAFETY: the plan is alive; this query's result is a string.
        let status = unsafe {
            let result = (&raw mut name).cast();
            (self.functions.dnnl_primitive_desc_query)(plan.object, QUERY_IMPLEMENTATION, 0, result)
        };
        // SAFETY: a string that lives as long as the plan.
        (status == 0).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
    }
}

impl Peer for OneDnn {
    fn name(&self) -> String {
        "oneDNN".into()
    }

    fn version(&self) -> String {
        // SAFETY: a constant of the library, which begins with these numbers.
        let Version { major, minor, patch } = unsafe { (self.functions.dnnl_version)().read() };
        let implementation = || {
            let layout = |data_type, tag| self.layout(&[256, 256], data_type, tag);
            let layouts = [layout(U8, ROW_MAJOR)?, layout(S8, ANY_LAYOUT)?, layout(S32, ROW_MAJOR)?];
            self.implementation(&self.plan(layouts.each_ref(), None, &self.attributes(&[], &[])?)?)
        };
        format!("{major}.{minor}.{patch}, {}", implementation().unwrap_or_default())
    }

    fn prepare<'p>(&'p self, workload: Workload, problem: &'p Problem) -> Option<Box<dyn Multiply + 'p>> {
        let Shape { m, n, k } = problem.shape;
        let requantize = workload == Workload::Requantize;
        let signed = workload == Workload::I8i8;
        let (a, a_type) = match signed {
            true => (problem.signed_a.as_ptr().cast(), S8),
            false => (problem.a.as_ptr().cast(), U8),
        };
        let source = self.layout(&[m, k], a_type, ROW_MAJOR)?;
        let plain = self.layout(&[k, n], S8, ROW_MAJOR)?;
        let any = self.layout(&[k, n], S8, ANY_LAYOUT)?;
        let destination = self.layout(&[m, n], if requantize { U8 } else { S32 }, ROW_MAJOR)?;
        let per_column = self.layout(&[1, n], F32, ROW_MAJOR)?;

        let zero_points: &[c_int] = match workload {
            Workload::ZeroPoints => &[SOURCE, WEIGHTS],
            Workload::Requantize => &[SOURCE, WEIGHTS, DESTINATION],
            _ => &[],
        };
        let scales: &[(c_int, c_int)] = if requantize { &[(WEIGHTS, PER_COLUMN)] } else { &[] };
        let attributes = self.attributes(scales, zero_points)?;
        let weights = if workload == Workload::Unpacked { &plain } else { &any };
        let plan = self.plan([&source, weights, &destination], requantize.then_some(&per_column), &attributes)?;
        let primitive = self.primitive(&plan)?;

        let mut call = Call {
            library: self,
            primitive,
            memories: Vec::new(),
            arguments: Vec::new(),
            _weights: None,
            constants: Vec::new(),
            codes: vec![0; if requantize { m * n } else { 0 }],
            sums: vec![0; if requantize { 0 } else { m * n }],
        };
        // SAFETY: `a` is an M × K matrix and lives as long as the call.
        call.argument(SOURCE, unsafe { self.memory(source.object, a) }?);
        if workload == Workload::Unpacked {
            // SAFETY: `b` is a K × N matrix and lives as long as the call.
            call.argument(WEIGHTS, unsafe { self.memory(plain.object, problem.b.as_ptr().cast()) }?);
        } else {
            // SAFETY: the plan is alive, and so is its layout of the weights until the end of this function.
            let layout = unsafe { (self.functions.dnnl_primitive_desc_query_md)(plan.object, QUERY_WEIGHTS, 0) };
            let packed = self.reorder(&problem.b, &plain, layout)?;
            // SAFETY: `packed` was made for this layout and goes into the call.
            call.argument(WEIGHTS, unsafe { self.memory(layout, packed.as_ptr().cast()) }?);
            call._weights = Some(packed);
        }
        let out = if requantize { call.codes.as_mut_ptr().cast() } else { call.sums.as_mut_ptr().cast::<c_void>() };
        // SAFETY: the result has M · N elements of its type, which belong to the call.
        call.argument(DESTINATION, unsafe { self.memory(destination.object, out) }?);

        for &role in zero_points {
            let zero_point = match role {
                SOURCE => problem.a_zero_point.into(),
                WEIGHTS => problem.b_zero_point.into(),
                _ => problem.out_zero_point.into(),
            };
            let layout = self.layout(&[1], S32, VECTOR)?;
            call.constant(ZERO_POINTS | role, &layout, Constant::Integer(Box::new(zero_point)))?;
        }
        if requantize {
            let multipliers = &problem.multipliers;
            let layout = self.layout(&[n], F32, VECTOR)?;
            call.constant(SCALES | WEIGHTS, &layout, Constant::Floats(multipliers.clone()))?;
            // Added after the multiplication here.
            let bias = problem.bias.iter().zip(multipliers).map(|(&bias, multiplier)| bias as f32 * multiplier);
            call.constant(BIAS, &per_column, Constant::Floats(bias.collect()))?;
        }
        // An execution that fails is an operation that the library does not have.
        self.execute(&call.primitive, &call.arguments).then(|| Box::new(call) as Box<dyn Multiply>)
    }
}

/// What a primitive reads besides the operands.
enum Constant {
    Integer(Box<i32>),
    Floats(Vec<f32>),
}

struct Call<'p> {
    library: &'p OneDnn,
    primitive: Owned,
    arguments: Vec<Argument>,
    memories: Vec<Owned>,
    _weights: Option<Lines>,
    constants: Vec<Constant>,
    codes: Vec<u8>,
    sums: Vec<i32>,
}

impl Call<'_> {
    fn argument(&mut self, role: c_int, memory: Owned) {
        self.arguments.push(Argument { role, memory: memory.object });
        self.memories.push(memory);
    }

    fn constant(&mut self, role: c_int, layout: &Owned, constant: Constant) -> Option<()> {
        let data = match &constant {
            Constant::Integer(integer) => (&raw const **integer).cast(),
            Constant::Floats(floats) => floats.as_ptr().cast(),
        };
        // SAFETY: the caller's layout is that of the constant, whose heap memory belongs to the call from now on.
        let memory = unsafe { self.library.memory(layout.object, data) }?;
        self.constants.push(constant);
        self.argument(role, memory);
        Some(())
    }
}

impl Multiply for Call<'_> {
    fn multiply(&mut self) {
        assert!(self.library.execute(&self.primitive, &self.arguments), "it was executed before");
    }

    fn result(&self) -> Output<'_> {
        if self.codes.is_empty() { Output::Sums(&self.sums) } else { Output::Codes(&self.codes) }
    }
}
