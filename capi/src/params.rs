//! Parameters of quantized tensors.

use zeropoint::{Code, QuantParams, Range, ranges as ranges_of};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{Element, zp_type};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::failure::{Failure, Reason};
use crate::handle::{Handle, Owned};
use crate::scheme::{ranges, zp_codes, zp_granularity, zp_range, zp_scheme};
use crate::view::{zp_view, zp_view_mut};

/// The parameters of a quantized tensor: the codes, the granularity, and a scale S and a zero point Z for every group, so that code q
/// stands for S · (q − Z). An owned handle: free it with zp_params_free(). It never changes, so threads may share it.
pub struct zp_params {
    _opaque: (),
}

/// Parameters of codes of any type.
pub(crate) enum Params {
    U8(QuantParams<u8>),
    I8(QuantParams<i8>),
    U16(QuantParams<u16>),
    I16(QuantParams<i16>),
}

impl Handle for zp_params {
    type Value = Params;
    type Ownership = Owned;
    const NAME: &str = "zp_params";
    const KIND: u32 = 0x7a70_0001;
}

/// A type of codes that have parameters.
pub(crate) trait CodeType: Code + Element {
    /// Parameters of this type as those of any.
    fn wrap(params: QuantParams<Self>) -> Params;
    /// Parameters of this type, if they are.
    fn unwrap(params: &Params) -> Option<&QuantParams<Self>>;
}

macro_rules! code_types {
    ($($Code:ident: $variant:ident),+) => { $(
        impl CodeType for $Code {
            fn wrap(params: QuantParams<Self>) -> Params {
                Params::$variant(params)
            }
            fn unwrap(params: &Params) -> Option<&QuantParams<Self>> {
                if let Params::$variant(params) = params { Some(params) } else { None }
            }
        }
    )+ };
}
code_types! { u8: U8, i8: I8, u16: U16, i16: I16 }

/// Evaluates an expression with parameters of whatever type.
macro_rules! with_params {
    ($params:expr, $typed:ident => $body:expr) => {
        match $params {
            $crate::params::Params::U8($typed) => $body,
            $crate::params::Params::I8($typed) => $body,
            $crate::params::Params::U16($typed) => $body,
            $crate::params::Params::I16($typed) => $body,
        }
    };
}
pub(crate) use with_params;

/// Evaluates an expression with a type of codes, `zp_codes::code_type`.
macro_rules! with_code_type {
    ($code_type:expr, $Code:ident => $body:expr) => {
        match $code_type {
            zp_type::I8 => with_code_type!(@ i8, $Code => $body),
            zp_type::U16 => with_code_type!(@ u16, $Code => $body),
            zp_type::I16 => with_code_type!(@ i16, $Code => $body),
            _ => with_code_type!(@ u8, $Code => $body),
        }
    };
    (@ $Type:ident, $Code:ident => $body:expr) => {{
        type $Code = $Type;
        $body
    }};
}
pub(crate) use with_code_type;

impl Params {
    /// Parameters of this type.
    #[inline(always)]
    pub(crate) fn typed<C: CodeType>(&self, what: &'static str) -> Result<&QuantParams<C>, Failure> {
        C::unwrap(self).ok_or_else(|| Reason::Type { what, found: self.code_type(), expected: C::TYPE.name() }.into())
    }

    pub(crate) fn code_type(&self) -> zp_type {
        match self {
            Params::U8(_) => zp_type::U8,
            Params::I8(_) => zp_type::I8,
            Params::U16(_) => zp_type::U16,
            Params::I16(_) => zp_type::I16,
        }
    }
}

/// `Ok` when an array of the caller's has as many elements as there are groups.
fn check_count(what: &'static str, expected: usize, found: usize) -> Result<(), Failure> {
    if expected == found { Ok(()) } else { Err(zeropoint::Error::Length { what, expected, found }.into()) }
}

/// The parameters that a scheme gives the data: the ranges of all groups of `x`, floats without gaps. The new handle is the caller's.
///
/// Errors: ZP_ERROR_NON_FINITE with the first NaN or infinity; ZP_ERROR_MULTIPLE when the length does not go with the granularity;
/// ZP_ERROR_CODES; ZP_ERROR_RANGE for negative numbers in codes without a sign around zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_params_fit(
    exec: *const zp_exec,
    x: zp_view,
    codes: zp_codes,
    scheme: zp_scheme,
    granularity: zp_granularity,
    params: *mut *mut zp_params,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec) = (c.out_handle(params)?, c.exec(exec)?);
            let ([x], []) = c.buffers([(&x, "x")], [])?;
            let (x, scheme, granularity) = (x.slice()?, scheme.checked()?, granularity.checked()?);
            out.write(with_code_type!(codes.code_type()?, C => {
                C::wrap(QuantParams::<C>::fit(exec, x, codes.range()?, scheme, granularity)?)
            }));
            Ok(())
        })
    }
}

/// The parameters that a scheme gives `count` ranges, one for every group, that were observed before.
///
/// Errors: ZP_ERROR_LENGTH unless there is a range for every group; ZP_ERROR_NON_FINITE and ZP_ERROR_RANGE for a range that has no
/// parameters; ZP_ERROR_CODES.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_params_from_ranges(
    codes: zp_codes,
    scheme: zp_scheme,
    granularity: zp_granularity,
    ranges: *const zp_range,
    count: usize,
    params: *mut *mut zp_params,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, given) = (c.out_handle(params)?, self::ranges(c.array(ranges, count, "ranges")?));
            let (scheme, granularity) = (scheme.checked()?, granularity.checked()?);
            out.write(with_code_type!(codes.code_type()?, C => {
                C::wrap(QuantParams::<C>::from_ranges(codes.range()?, scheme, granularity, &given)?)
            }));
            Ok(())
        })
    }
}

/// Asymmetric parameters of `count` ranges, one for every group, with the bits of ONNX, onnxruntime and PyTorch, which compute in
/// float.
///
/// Errors: those of zp_params_from_ranges().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_params_as_onnx(
    codes: zp_codes,
    granularity: zp_granularity,
    ranges: *const zp_range,
    count: usize,
    params: *mut *mut zp_params,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, given) = (c.out_handle(params)?, self::ranges(c.array(ranges, count, "ranges")?));
            let granularity = granularity.checked()?;
            out.write(with_code_type!(codes.code_type()?, C => {
                C::wrap(QuantParams::<C>::as_onnx(codes.range()?, granularity, &given)?)
            }));
            Ok(())
        })
    }
}

/// Given scales and zero points, `count` of each: one for every group.
///
/// Errors: ZP_ERROR_LENGTH unless there are as many as groups; ZP_ERROR_SCALE for a scale that is NaN, infinite or below the
/// smallest normal float; ZP_ERROR_ZERO_POINT for one that is no code; ZP_ERROR_CODES.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_params_new(
    codes: zp_codes,
    granularity: zp_granularity,
    scales: *const f32,
    zero_points: *const i32,
    count: usize,
    params: *mut *mut zp_params,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, granularity) = (c.out_handle(params)?, granularity.checked()?);
            let scales = c.array(scales, count, "scales")?.to_vec();
            let zero_points = c.array(zero_points, count, "zero_points")?.to_vec();
            out.write(with_code_type!(codes.code_type()?, C => {
                C::wrap(QuantParams::<C>::new(codes.range()?, granularity, scales, zero_points)?)
            }));
            Ok(())
        })
    }
}

/// Parameters with these scales and zero points, for a tensor of another shape with as many groups: images after a pooling, for
/// example.
///
/// Errors: ZP_ERROR_LENGTH when the granularity has another number of groups.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_params_with_granularity(
    params: *const zp_params,
    granularity: zp_granularity,
    other: *mut *mut zp_params,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, granularity) = (c.out_handle(other)?, granularity.checked()?);
            out.write(with_params!(c.handle(params)?, params => CodeType::wrap(params.with_granularity(granularity)?)));
            Ok(())
        })
    }
}

/// What parameters are made of: codes, granularity, and the arrays of scales and zero points, of `count` elements each. The arrays
/// belong to the parameters and live as long as they. Any of the pointers may be NULL.
///
/// Errors: ZP_ERROR_HANDLE, ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_params_get(
    params: *const zp_params,
    codes: *mut zp_codes,
    granularity: *mut zp_granularity,
    scales: *mut *const f32,
    zero_points: *mut *const i32,
    count: *mut usize,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let any = c.handle(params)?;
            let code_type = core::mem::MaybeUninit::new(any.code_type());
            with_params!(any, params => {
                let (min, max) = (params.codes().min().into(), params.codes().max().into());
                c.out_optional(codes, "codes")?.write(zp_codes { r#type: code_type, min, max });
                c.out_optional(granularity, "granularity")?.write(params.granularity().into());
                c.out_optional(scales, "scales")?.write(params.scales().as_ptr());
                c.out_optional(zero_points, "zero_points")?.write(params.zero_points().as_ptr());
                c.out_optional(count, "count")?.write(params.scales().len());
            });
            Ok(())
        })
    }
}

/// Frees parameters. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_params_free(params: *mut zp_params, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(params)) }
}

/// The smallest and the largest element of every group of `x`, floats without gaps, into `ranges`: `count`, one for every group.
///
/// Errors: ZP_ERROR_LENGTH for another number of groups; ZP_ERROR_EMPTY for groups without elements; ZP_ERROR_NON_FINITE with the
/// first NaN or infinity; ZP_ERROR_MULTIPLE when the length does not go with the granularity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_ranges(
    exec: *const zp_exec,
    x: zp_view,
    granularity: zp_granularity,
    ranges: *mut zp_range,
    count: usize,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, granularity) = (c.exec(exec)?, granularity.checked()?);
            let mut out = zp_view_mut::array(ranges.cast::<f32>(), count);
            // (Two floats each.)
            (out.rows, out.columns) = (count, 2);
            let ([x], [out]) = c.buffers([(&x, "x")], [(&out, "ranges")])?;
            let (x, out) = (x.slice()?, out.slice::<f32>()?);
            check_count("ranges", granularity.groups(x.len())?, count)?;
            let found = ranges_of(exec, x, granularity)?;
            for (out, Range { min, max }) in out.as_chunks_mut().0.iter_mut().zip(found) {
                *out = [min, max];
            }
            Ok(())
        })
    }
}
