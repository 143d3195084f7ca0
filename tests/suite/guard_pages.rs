//! No kernel reads or writes past a slice. Every operand lies between two pages that nobody may touch: against one of them, which
//! an access beyond that end would run into; or some bytes from it, so that kernels meet every start within a cache line. The
//! bytes around a slice have to be the same after the call.

mod elementwise;
mod formats;
mod groups;
mod layers;
mod products;
mod reductions;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::common::{emulated, part};
use region::{Allocation, Protection};
use zeropoint::exec::Workspace;
use zeropoint::{Code, Granularity};

/// Bytes of a cache line, and of the longest vectors.
const LINE: usize = 64;

/// Every length up to two quads of vectors, and a little more. (A prime number of them: a part of all cases has every length.)
const LENGTHS: std::ops::Range<usize> = 0..131;

/// Where a slice lies: so many bytes behind the first forbidden page, or before the second one, in whole elements.
#[derive(Clone, Copy, Debug)]
enum Place {
    Behind(usize),
    Before(usize),
}

/// Whether a slice there touches a forbidden page.
fn touches(place: Place) -> bool {
    matches!(place, Place::Behind(0) | Place::Before(0))
}

/// Every one of these cases against either page, and then at each other distance within a cache line from the second page, so
/// that each meets every start. With the number of the case.
fn everywhere<T: Clone>(cases: impl IntoIterator<Item = T>, check: impl FnMut(Place, T, usize)) {
    scattered(1, cases, check);
}

/// Every one of these cases against either page, and every n-th one at the other distances. (Whose number n does not divide, so
/// that each of them is at many.)
fn scattered<T: Clone>(n: usize, cases: impl IntoIterator<Item = T>, mut check: impl FnMut(Place, T, usize)) {
    let cases: Vec<T> = cases.into_iter().collect();
    // (In an emulator: the pages alone.)
    let distances = if emulated() { 1 } else { LINE };
    let places = [Place::Behind(0)].into_iter().chain((0..distances).map(Place::Before));
    let all = places.flat_map(|place| cases.iter().map(move |case| (place, case.clone()))).enumerate();
    let some = all.filter(|(number, _)| *number < 2 * cases.len() || number.is_multiple_of(n));
    part(some).for_each(|(number, (place, case))| check(place, case, number));
}

/// Calls; and where operands end at a forbidden page, again with no more scratch memory than is needed, which ends there, too.
fn call(place: Place, mut operation: impl FnMut()) {
    if !matches!(place, Place::Before(0)) {
        return operation();
    }
    let mut measured = Workspace::new(0).unwrap();
    measured.scope(&mut operation);
    let mut memory = Guarded::of(place, measured.needed(), 0_u8);
    let mut exact = Workspace::borrowed(&mut memory);
    exact.scope(&mut operation);
    assert_eq!([exact.bytes(), exact.needed()], [measured.needed(); 2]);
}

/// Pages between two forbidden ones.
struct Fenced {
    memory: Allocation,
    page: usize,
}

/// What is in the memory around a slice.
const AROUND: u8 = 0xa5;

thread_local! {
    /// Those that no slice is in: to protect pages takes longer than most calls.
    static FREE: RefCell<Vec<Fenced>> = const { RefCell::new(Vec::new()) };
}

impl Fenced {
    fn new(inside: usize) -> Self {
        let page = region::page::size();
        let mut memory = region::alloc(inside + 2 * page, Protection::READ_WRITE).unwrap();
        let start = memory.as_mut_ptr::<u8>();
        for guard in [start, start.wrapping_add(page + inside)] {
            // SAFETY: both pages belong to this allocation, and nothing of it is in use yet.
            unsafe { region::protect(guard, page, Protection::NONE).unwrap() };
        }
        Fenced { memory, page }
    }

    /// One of so many bytes, a multiple of a page.
    fn take(inside: usize) -> Self {
        let free = FREE.with_borrow_mut(|free| {
            let fits = |fenced: &Fenced| fenced.memory.len() == inside + 2 * fenced.page;
            free.iter().position(fits).map(|found| free.swap_remove(found))
        });
        free.unwrap_or_else(|| Fenced::new(inside))
    }

    fn bytes(&self) -> &[u8] {
        let inside = self.memory.len() - 2 * self.page;
        // SAFETY: these bytes lie between the forbidden pages; they were zeros at first.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr::<u8>().add(self.page), inside) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let inside = self.memory.len() - 2 * self.page;
        // SAFETY: as above, and the memory is this value's alone.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr::<u8>().add(self.page), inside) }
    }
}

/// A slice between forbidden pages. Whoever drops it checks that what is around it did not change.
struct Guarded<T> {
    fenced: Option<Fenced>,
    offset: usize,
    bytes: usize,
    element: PhantomData<T>,
}

impl<T: bytemuck::Pod> Guarded<T> {
    fn new(place: Place, values: &[T]) -> Self {
        let bytes = size_of_val(values);
        let mut fenced = Fenced::take((bytes + LINE).next_multiple_of(region::page::size()));
        let memory = fenced.bytes_mut();
        let whole = |gap: usize| gap / size_of::<T>() * size_of::<T>();
        let offset = match place {
            Place::Behind(gap) => whole(gap),
            Place::Before(gap) => memory.len() - whole(gap) - bytes,
        };
        memory.fill(AROUND);
        memory[offset..][..bytes].copy_from_slice(bytemuck::cast_slice(values));
        Guarded { fenced: Some(fenced), offset, bytes, element: PhantomData }
    }

    /// Of one value.
    fn of(place: Place, length: usize, value: T) -> Self {
        Self::new(place, &vec![value; length])
    }
}

impl<T: bytemuck::Pod> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let fenced = self.fenced.as_ref().expect("only dropping takes it away");
        bytemuck::cast_slice(&fenced.bytes()[self.offset..][..self.bytes])
    }
}

impl<T: bytemuck::Pod> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let fenced = self.fenced.as_mut().expect("only dropping takes it away");
        bytemuck::cast_slice_mut(&mut fenced.bytes_mut()[self.offset..][..self.bytes])
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let fenced = self.fenced.take().expect("it is dropped once");
        let (before, rest) = fenced.bytes().split_at(self.offset);
        let untouched = before.iter().chain(&rest[self.bytes..]).all(|&byte| byte == AROUND);
        FREE.with_borrow_mut(|free| free.push(fenced));
        assert!(untouched || std::thread::panicking(), "wrote outside of a slice");
    }
}

/// Numbers that need the exact path of every family where a slice touches a forbidden page, and in every fifth case elsewhere:
/// ties, NaN, and what is far outside. Else finite ones, which take a tenth of the time.
fn reals(place: Place, number: usize, count: usize) -> Vec<f32> {
    let mut all = finite(count);
    if touches(place) || number.is_multiple_of(5) {
        let specials = [f32::NAN, 0.25, -1e30].into_iter().cycle();
        all.iter_mut().skip(5).step_by(6).zip(specials).for_each(|(x, special)| *x = special);
    }
    all
}

/// Finite numbers.
fn finite(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.73).sin() * 3.0).collect()
}

fn codes<C: Code>(count: usize) -> Vec<C> {
    let span = C::MAX.into() - C::MIN.into() + 1;
    (0..count as i32).map(|i| C::try_from(C::MIN.into() + i * 37 % span).ok().unwrap()).collect()
}

/// The granularities of a tensor, with other kernels each: one group; a group for every element of a row, and rows of less than
/// a vector; groups of neighbours, of any length; bands along an outer axis.
fn granularities(length: usize) -> Vec<Granularity> {
    let channel = |shape: &[usize], axis| Granularity::channel(shape, axis).unwrap();
    let mut all = vec![
        Granularity::Tensor,
        channel(&[1, length], 1),
        channel(&[1, length], 0),
        Granularity::block(&[1, length], 5).unwrap(),
        Granularity::block(&[1, length], 32).unwrap(),
        Granularity::block_along(&[1, length], 0, 2).unwrap(),
    ];
    if length.is_multiple_of(2) {
        all.push(channel(&[2, length / 2], 1));
        all.push(channel(&[2, length / 2], 0));
    }
    if length.is_multiple_of(3) {
        all.push(channel(&[length / 3, 3], 1));
        all.push(Granularity::block_along(&[3, length / 3], 0, 2).unwrap());
    }
    all
}

/// All of them where a slice touches a forbidden page, and elsewhere one, by the number of the case.
fn some<T: Clone>(place: Place, number: usize, all: &[T]) -> Vec<T> {
    if touches(place) { all.to_vec() } else { vec![all[number % all.len()].clone()] }
}
