//! Buffers of the caller's: checked once, so that slices of them are sound.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;

use zeropoint::{ByteCode, Halves, HalvesMut, Matrix, MatrixMut, PackedCodes, PackedCodesMut};

use crate::boundary::Caller;
use crate::element::{CEnum, Element, zp_type};
use crate::failure::{Failure, Reason};

/// Elements that a function reads: a row-major matrix, whose rows may lie further apart than they are long. A vector is a matrix of
/// one row. A tensor of more axes is one of any shape with as many elements.
///
/// Packed codes and floats of 16 bits have no gaps between rows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_view {
    /// The type of the elements.
    pub r#type: MaybeUninit<zp_type>,
    /// The first element, aligned to the size of an element; NULL only without elements.
    pub data: *const c_void,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub columns: usize,
    /// Elements from a row to the next; 0 stands for `columns`: no gaps.
    pub stride: usize,
}

/// Elements that a function writes, as in zp_view. Functions that fail leave them alone, unless their comment says otherwise. From
/// the first element to the last, gaps between rows included, the memory belongs to the call until it returns; what is in the gaps
/// is not changed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_view_mut {
    /// The type of the elements.
    pub r#type: MaybeUninit<zp_type>,
    /// The first element, aligned to the size of an element; NULL only without elements.
    pub data: *mut c_void,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub columns: usize,
    /// Elements from a row to the next; 0 stands for `columns`: no gaps.
    pub stride: usize,
}

/// A view whose pointer, type and sizes were checked.
#[derive(Clone, Copy)]
struct Checked {
    what: &'static str,
    element: zp_type,
    data: *mut u8,
    rows: usize,
    columns: usize,
    stride: usize,
    /// Elements from the first to the last, gaps included; of packed codes, their bytes.
    extent: usize,
    /// The bytes of all of them.
    bytes: usize,
}

impl Checked {
    /// A view without elements.
    const NOTHING: Self = Checked {
        what: "",
        element: zp_type::U8,
        data: core::ptr::null_mut(),
        rows: 0,
        columns: 0,
        stride: 0,
        extent: 0,
        bytes: 0,
    };

    /// Checks a view. (A call checks two or three, in nanoseconds: without a division, without a reference to what is returned, which
    /// would be in memory then, and what is wrong is found out again.)
    #[inline(always)]
    fn new(view: &zp_view, what: &'static str) -> Result<Self, Failure> {
        Self::valid(view, what).ok_or_else(|| Self::why_invalid(view, what))
    }

    /// The view, unless something is wrong with it.
    #[inline(always)]
    fn valid(view: &zp_view, what: &'static str) -> Option<Self> {
        let zp_view { data, rows, columns, .. } = *view;
        let element = zp_type::from_c(view.r#type)?;
        let (stride, (packed, size)) = (view.stride(), element.unit());
        let extent = view.extent(packed)?;
        let is_valid = stride >= columns
            && extent <= isize::MAX as usize >> size
            && (element.can_have_gaps() || rows <= 1 || stride == columns)
            && (extent == 0 || (!data.is_null() && data.addr() & ((1 << size) - 1) == 0));
        let (data, bytes) = (data.cast::<u8>().cast_mut(), extent << size);
        is_valid.then_some(Checked { what, element, data, rows, columns, stride, extent, bytes })
    }

    /// What is wrong with a view.
    #[cold]
    fn why_invalid(view: &zp_view, what: &'static str) -> Failure {
        let zp_view { data, rows, columns, .. } = *view;
        let element = match zp_type::checked(view.r#type, what) {
            Ok(element) => element,
            Err(failure) => return failure,
        };
        let (stride, alignment) = (view.stride(), element.size());
        match view.extent(element.unit().0) {
            Some(_) if stride < columns => zeropoint::Error::Stride { stride, columns }.into(),
            Some(extent) if extent <= isize::MAX as usize / alignment => {
                if extent > 0 && data.is_null() {
                    Reason::Null { what }.into()
                } else if extent > 0 && !data.addr().is_multiple_of(alignment) {
                    Reason::Misaligned { what, address: data.addr(), alignment }.into()
                } else {
                    let why = "packed codes and halves have no gaps between rows";
                    zeropoint::Error::Shape { why, found: stride }.into()
                }
            }
            _ => Reason::Size { what, rows, columns }.into(),
        }
    }

    /// `Ok` when what is written here is not in another view.
    #[inline(always)]
    fn check_apart(self, other: Checked) -> Result<(), Failure> {
        let (a, b) = (self.addresses(), other.addresses());
        if a.start.max(b.start) < a.end.min(b.end) {
            return Err(Reason::Overlap { output: self.what, other: other.what }.into());
        }
        Ok(())
    }

    /// The addresses of its bytes.
    #[inline(always)]
    fn addresses(self) -> Range<usize> {
        let start = self.data.addr();
        start..start.wrapping_add(self.bytes)
    }

    /// Where elements of this type begin.
    #[inline(always)]
    fn pointer<T>(self) -> *mut T {
        // (Without elements, C may give any pointer.)
        if self.extent == 0 { core::ptr::dangling_mut() } else { self.data.cast() }
    }

    #[inline(always)]
    fn expect(self, expected: &'static str, is: bool) -> Result<(), Failure> {
        if is { Ok(()) } else { Err(Reason::Type { what: self.what, found: self.element, expected }.into()) }
    }

    #[inline(always)]
    fn expect_element<T: Element>(self) -> Result<(), Failure> {
        self.expect(T::TYPE.name(), self.element == T::TYPE)
    }

    fn expect_dense(self) -> Result<(), Failure> {
        if self.rows <= 1 || self.stride == self.columns {
            return Ok(());
        }
        Err(zeropoint::Error::Shape { why: "this operation takes no gaps between rows", found: self.stride }.into())
    }
}

/// A buffer that is read.
#[derive(Clone, Copy)]
pub(crate) struct Input<'c> {
    checked: Checked,
    lifetime: PhantomData<&'c [u8]>,
}

/// A buffer that is written. No other of the call overlaps it.
pub(crate) struct Output<'c> {
    checked: Checked,
    lifetime: PhantomData<&'c mut [u8]>,
}

/// Reals that are read.
pub(crate) enum Reals<'c> {
    F32(Matrix<'c, f32>),
    Halves(Halves<'c>),
}

/// Reals that are written.
pub(crate) enum RealsMut<'c> {
    F32(MatrixMut<'c, f32>),
    Halves(HalvesMut<'c>),
}

impl zp_view {
    /// An array as a view.
    pub(crate) fn array<T: Element>(data: *const T, count: usize) -> Self {
        let element = MaybeUninit::new(T::TYPE);
        zp_view { r#type: element, data: data.cast(), rows: 1, columns: count, stride: 0 }
    }

    /// An argument that may be left out, by `data` NULL: then without elements, of the type that it would have; and whether it is
    /// there.
    pub(crate) fn optional<T: Element>(self) -> (Self, bool) {
        let is_there = !self.data.is_null();
        (if is_there { self } else { zp_view::array::<T>(core::ptr::null(), 0) }, is_there)
    }

    /// Elements from a row to the next.
    #[inline(always)]
    fn stride(self) -> usize {
        if self.stride == 0 { self.columns } else { self.stride }
    }

    /// Elements from the first to the last, gaps included; of packed codes, 2 to the power of `packed` of which are in a byte, their
    /// bytes.
    #[inline(always)]
    fn extent(self, packed: u32) -> Option<usize> {
        let elements = match self.rows {
            0 => 0,
            rows if packed > 0 => rows.checked_mul(self.columns)?,
            rows => (rows - 1).checked_mul(self.stride())?.checked_add(self.columns)?,
        };
        // (Rounded up to whole bytes.)
        Some((elements >> packed) + usize::from(elements & ((1 << packed) - 1) != 0))
    }
}

impl zp_view_mut {
    /// An array as a view.
    pub(crate) fn array<T: Element>(data: *mut T, count: usize) -> Self {
        let element = MaybeUninit::new(T::TYPE);
        zp_view_mut { r#type: element, data: data.cast(), rows: 1, columns: count, stride: 0 }
    }

    /// A view of these elements, to be read.
    pub(crate) fn view(self) -> zp_view {
        let zp_view_mut { r#type, data, rows, columns, stride } = self;
        zp_view { r#type, data, rows, columns, stride }
    }

    /// Whether it has the type, the place and the shape of another view.
    pub(crate) fn is(self, other: zp_view) -> bool {
        let same_type = zp_type::from_c(self.r#type) == zp_type::from_c(other.r#type);
        same_type
            && self.data.cast_const() == other.data
            && (self.rows, self.columns) == (other.rows, other.columns)
            && self.view().stride() == other.stride()
    }
}

impl<'c> Caller<'c> {
    /// Checks all buffers of a call, with their names: pointers, types and sizes, and that nothing which is written overlaps
    /// anything else.
    #[inline(always)]
    pub fn buffers<const I: usize, const O: usize>(
        self,
        inputs: [(&zp_view, &'static str); I],
        outputs: [(&zp_view_mut, &'static str); O],
    ) -> Result<([Input<'c>; I], [Output<'c>; O]), Failure> {
        // (By indices: loops that a compiler unrolls before it decides what is kept in registers.)
        let (mut read, mut written) = ([Input::NOTHING; I], [const { Output::NOTHING }; O]);
        for i in 0..I {
            read[i].checked = Checked::new(inputs[i].0, inputs[i].1)?;
        }
        for i in 0..O {
            written[i].checked = Checked::new(&outputs[i].0.view(), outputs[i].1)?;
            for j in 0..I {
                written[i].checked.check_apart(read[j].checked)?;
            }
            for j in 0..i {
                written[i].checked.check_apart(written[j].checked)?;
            }
        }
        Ok((read, written))
    }
}

impl<'c> Input<'c> {
    const NOTHING: Self = Input { checked: Checked::NOTHING, lifetime: PhantomData };

    /// The type of the elements.
    #[inline]
    pub fn element(&self) -> zp_type {
        self.checked.element
    }

    /// The memory from the first element to the last, gaps included; of packed codes, their bytes.
    #[inline(always)]
    fn memory<T>(&self) -> &'c [T] {
        debug_assert_eq!(size_of::<T>(), self.checked.element.size());
        // SAFETY: checked: not null, aligned, at most isize::MAX bytes. The caller says that so many elements are there for `'c`;
        // `Caller::buffers` found nothing written that overlaps them.
        unsafe { core::slice::from_raw_parts(self.checked.pointer(), self.checked.extent) }
    }

    /// A matrix of this type.
    #[inline(always)]
    pub fn matrix<T: Element>(&self) -> Result<Matrix<'c, T>, Failure> {
        self.checked.expect_element::<T>()?;
        let Checked { rows, columns, stride, .. } = self.checked;
        Ok(Matrix::with_stride(self.memory(), rows, columns, stride)?)
    }

    /// All elements, of this type, without gaps between rows.
    pub fn slice<T: Element>(&self) -> Result<&'c [T], Failure> {
        self.checked.expect_element::<T>()?;
        self.checked.expect_dense()?;
        Ok(self.memory())
    }

    /// Floats of 32 or 16 bits.
    pub fn reals(&self) -> Result<Reals<'c>, Failure> {
        match self.checked.element {
            zp_type::F32 => self.matrix().map(Reals::F32),
            zp_type::F16 => Ok(Reals::Halves(Halves::f16(self.memory()))),
            zp_type::Bf16 => Ok(Reals::Halves(Halves::bf16(self.memory()))),
            found => {
                let expected = "ZP_TYPE_F32, ZP_TYPE_F16 or ZP_TYPE_BF16";
                Err(Reason::Type { what: self.checked.what, found, expected }.into())
            }
        }
    }

    /// The bits of binary16, all of them.
    pub fn f16_bits(&self) -> Result<&'c [u16], Failure> {
        self.checked.expect(zp_type::F16.name(), self.checked.element == zp_type::F16)?;
        Ok(self.memory())
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.checked.rows, self.checked.columns]
    }

    /// Packed codes of this type; `None` of codes of whole bytes.
    pub fn packed<C: ByteCode + Element>(&self) -> Result<Option<PackedCodes<'c, C>>, Failure> {
        let length = self.checked.rows * self.checked.columns;
        match packing::<C>(&self.checked)? {
            None => Ok(None),
            Some(2) => Ok(Some(PackedCodes::two_bits(self.memory(), length)?)),
            Some(_) => Ok(Some(PackedCodes::four_bits(self.memory(), length)?)),
        }
    }
}

impl<'c> Output<'c> {
    const NOTHING: Self = Output { checked: Checked::NOTHING, lifetime: PhantomData };

    /// The type of the elements.
    #[inline]
    pub fn element(&self) -> zp_type {
        self.checked.element
    }

    /// The memory from the first element to the last, gaps included; of packed codes, their bytes.
    #[inline(always)]
    fn memory<T>(self) -> &'c mut [T] {
        debug_assert_eq!(size_of::<T>(), self.checked.element.size());
        // SAFETY: checked: not null, aligned, at most isize::MAX bytes. The caller says that so many elements are there for `'c`,
        // and that nobody else touches them; `Caller::buffers` found no other buffer of the call that overlaps them; `self` is
        // the only one of them, and is given up.
        unsafe { core::slice::from_raw_parts_mut(self.checked.pointer(), self.checked.extent) }
    }

    /// A matrix of this type.
    #[inline(always)]
    pub fn matrix<T: Element>(self) -> Result<MatrixMut<'c, T>, Failure> {
        self.checked.expect_element::<T>()?;
        let Checked { rows, columns, stride, .. } = self.checked;
        Ok(MatrixMut::with_stride(self.memory(), rows, columns, stride)?)
    }

    /// All elements, of this type, without gaps between rows.
    pub fn slice<T: Element>(self) -> Result<&'c mut [T], Failure> {
        self.checked.expect_element::<T>()?;
        self.checked.expect_dense()?;
        Ok(self.memory())
    }

    /// Floats of 32 or 16 bits.
    pub fn reals(self) -> Result<RealsMut<'c>, Failure> {
        match self.checked.element {
            zp_type::F32 => self.matrix().map(RealsMut::F32),
            zp_type::F16 => Ok(RealsMut::Halves(HalvesMut::f16(self.memory()))),
            zp_type::Bf16 => Ok(RealsMut::Halves(HalvesMut::bf16(self.memory()))),
            found => {
                let expected = "ZP_TYPE_F32, ZP_TYPE_F16 or ZP_TYPE_BF16";
                Err(Reason::Type { what: self.checked.what, found, expected }.into())
            }
        }
    }

    /// Packed codes of this type, or the output as it is, of codes of whole bytes.
    pub fn packed<C: ByteCode + Element>(self) -> Result<Result<PackedCodesMut<'c, C>, Self>, Failure> {
        let length = self.checked.rows * self.checked.columns;
        match packing::<C>(&self.checked)? {
            None => Ok(Err(self)),
            Some(2) => Ok(Ok(PackedCodesMut::two_bits(self.memory(), length)?)),
            Some(_) => Ok(Ok(PackedCodesMut::four_bits(self.memory(), length)?)),
        }
    }
}

/// The bits of packed codes of this type; `None` of codes of whole bytes.
fn packing<C: Element>(checked: &Checked) -> Result<Option<u32>, Failure> {
    let (four, two, expected) = match C::TYPE {
        zp_type::U8 => (zp_type::U4, zp_type::U2, "ZP_TYPE_U8, ZP_TYPE_U4 or ZP_TYPE_U2"),
        _ => (zp_type::I4, zp_type::I2, "ZP_TYPE_I8, ZP_TYPE_I4 or ZP_TYPE_I2"),
    };
    checked.expect(expected, [C::TYPE, four, two].contains(&checked.element))?;
    Ok(match checked.element {
        found if found == four => Some(4),
        found if found == two => Some(2),
        _ => None,
    })
}
