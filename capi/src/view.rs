//! Buffers of the caller's: checked once, so that slices of them are sound.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;

use zeropoint::{ByteCode, Halves, HalvesMut, Matrix, MatrixMut, PackedCodes, PackedCodesMut};

use crate::boundary::Caller;
use crate::element::{CEnum, Element, zp_type};
use crate::failure::Failure;

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
}

impl Checked {
    /// Checks a view. (A call checks two or three: in nanoseconds, so without a division, and what is wrong is found out again.)
    #[inline(always)]
    fn new(view: zp_view, what: &'static str) -> Result<Self, Failure> {
        let zp_view { data, rows, columns, .. } = view;
        let element = zp_type::checked(view.r#type, what)?;
        let stride = if view.stride == 0 { columns } else { view.stride };
        let (packed, size) = element.unit();
        let elements = match rows {
            0 => Some(0),
            _ if packed > 0 => rows.checked_mul(columns),
            _ => (rows - 1).checked_mul(stride).and_then(|before| before.checked_add(columns)),
        };
        // (Packed elements, rounded up to whole bytes.)
        let Some(extent) =
            elements.map(|elements| (elements >> packed) + usize::from(elements & ((1 << packed) - 1) != 0))
        else {
            return Err(Failure::Size { what, rows, columns });
        };
        let checked = Checked { what, element, data: data.cast::<u8>().cast_mut(), rows, columns, stride, extent };
        let can_have_gaps = packed == 0 && !matches!(element, zp_type::F16 | zp_type::Bf16);
        let is_valid = stride >= columns
            && extent <= isize::MAX as usize >> size
            && (can_have_gaps || rows <= 1 || stride == columns)
            && (extent == 0 || (!data.is_null() && data.addr() & ((1 << size) - 1) == 0));
        if is_valid { Ok(checked) } else { Err(checked.why_invalid()) }
    }

    /// What is wrong with it.
    #[cold]
    fn why_invalid(&self) -> Failure {
        let Checked { what, element, data, rows, columns, stride, extent } = *self;
        let alignment = element.size();
        if stride < columns {
            zeropoint::Error::Stride { stride, columns }.into()
        } else if extent > isize::MAX as usize / alignment {
            Failure::Size { what, rows, columns }
        } else if extent > 0 && data.is_null() {
            Failure::Null { what }
        } else if extent > 0 && !data.addr().is_multiple_of(alignment) {
            Failure::Misaligned { what, address: data.addr(), alignment }
        } else {
            zeropoint::Error::Shape { why: "packed codes and halves have no gaps between rows", found: stride }.into()
        }
    }

    /// The addresses of its bytes.
    fn addresses(&self) -> Range<usize> {
        let start = self.data.addr();
        start..start.wrapping_add(self.extent * self.element.size())
    }

    /// Where elements of this type begin.
    fn pointer<T>(&self) -> *mut T {
        // (Without elements, C may give any pointer.)
        if self.extent == 0 { core::ptr::dangling_mut() } else { self.data.cast() }
    }

    fn expect(&self, expected: &'static str, is: bool) -> Result<(), Failure> {
        if is { Ok(()) } else { Err(Failure::Type { what: self.what, found: self.element, expected }) }
    }

    #[inline]
    fn expect_element<T: Element>(&self) -> Result<(), Failure> {
        self.expect(T::TYPE.name(), self.element == T::TYPE)
    }

    fn expect_dense(&self) -> Result<(), Failure> {
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
}

impl zp_view_mut {
    /// An array as a view.
    pub(crate) fn array<T: Element>(data: *mut T, count: usize) -> Self {
        let element = MaybeUninit::new(T::TYPE);
        zp_view_mut { r#type: element, data: data.cast(), rows: 1, columns: count, stride: 0 }
    }

    /// The same elements, to be read.
    pub(crate) fn view(self) -> zp_view {
        let zp_view_mut { r#type, data, rows, columns, stride } = self;
        zp_view { r#type, data, rows, columns, stride }
    }

    /// Whether it has the type, the place and the shape of another view.
    pub(crate) fn is(self, other: zp_view) -> bool {
        let stride = |stride, columns| if stride == 0 { columns } else { stride };
        let same_type = zp_type::from_c(self.r#type) == zp_type::from_c(other.r#type);
        same_type
            && self.data.cast_const() == other.data
            && (self.rows, self.columns) == (other.rows, other.columns)
            && stride(self.stride, self.columns) == stride(other.stride, other.columns)
    }
}

impl<'c> Caller<'c> {
    /// Checks all buffers of a call, with their names: pointers, types and sizes, and that nothing which is written overlaps
    /// anything else.
    #[inline]
    pub fn buffers<const I: usize, const O: usize>(
        self,
        inputs: [(zp_view, &'static str); I],
        outputs: [(zp_view_mut, &'static str); O],
    ) -> Result<([Input<'c>; I], [Output<'c>; O]), Failure> {
        let nothing = Checked::new(zp_view::array::<u8>(core::ptr::null(), 0), "")?;
        let (mut read, mut written) = ([nothing; I], [nothing; O]);
        for (checked, (view, what)) in read.iter_mut().zip(inputs) {
            *checked = Checked::new(view, what)?;
        }
        for (checked, (view, what)) in written.iter_mut().zip(outputs) {
            *checked = Checked::new(view.view(), what)?;
        }
        for (i, output) in written.iter().enumerate() {
            for other in read.iter().chain(&written[..i]) {
                let (a, b) = (output.addresses(), other.addresses());
                if a.start.max(b.start) < a.end.min(b.end) {
                    return Err(Failure::Overlap { output: output.what, other: other.what });
                }
            }
        }
        let inputs = read.map(|checked| Input { checked, lifetime: PhantomData });
        let outputs = written.map(|checked| Output { checked, lifetime: PhantomData });
        Ok((inputs, outputs))
    }
}

impl<'c> Input<'c> {
    /// The type of the elements.
    #[inline]
    pub fn element(&self) -> zp_type {
        self.checked.element
    }

    /// The memory from the first element to the last, gaps included; of packed codes, their bytes.
    #[inline]
    fn memory<T>(&self) -> &'c [T] {
        debug_assert_eq!(size_of::<T>(), self.checked.element.size());
        // SAFETY: checked: not null, aligned, at most isize::MAX bytes. The caller says that so many elements are there for `'c`;
        // `Caller::buffers` found nothing written that overlaps them.
        unsafe { core::slice::from_raw_parts(self.checked.pointer(), self.checked.extent) }
    }

    /// A matrix of this type.
    #[inline]
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
                Err(Failure::Type { what: self.checked.what, found, expected })
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
    /// The type of the elements.
    #[inline]
    pub fn element(&self) -> zp_type {
        self.checked.element
    }

    /// The memory from the first element to the last, gaps included; of packed codes, their bytes.
    #[inline]
    fn memory<T>(self) -> &'c mut [T] {
        debug_assert_eq!(size_of::<T>(), self.checked.element.size());
        // SAFETY: checked: not null, aligned, at most isize::MAX bytes. The caller says that so many elements are there for `'c`,
        // and that nobody else touches them; `Caller::buffers` found no other buffer of the call that overlaps them; `self` is
        // the only one of them, and is given up.
        unsafe { core::slice::from_raw_parts_mut(self.checked.pointer(), self.checked.extent) }
    }

    /// A matrix of this type.
    #[inline]
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
                Err(Failure::Type { what: self.checked.what, found, expected })
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
