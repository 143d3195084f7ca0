//! Everyone who multiplies, behind one trait.

mod gemm;
mod mkl;
mod onednn;
mod rten;
mod tract;
mod wheels;
mod zeropoint;

use std::path::Path;

use ::zeropoint::Isa;

use crate::problem::{Problem, Workload};

pub use zeropoint::Zeropoint;

/// A library that multiplies matrices.
pub trait Peer {
    /// As in the tables.
    fn name(&self) -> String;

    /// The version, and the kernel if the library tells.
    fn version(&self) -> String;

    /// Does it take a zero point for every column of B?
    fn column_zero_points(&self) -> bool;

    /// Gets everything ready that the workload allows; `None` when the library has no such operation.
    fn prepare<'p>(&'p self, workload: Workload, problem: &'p Problem) -> Option<Box<dyn Multiply + 'p>>;
}

/// Several of them.
pub type Peers = Vec<Box<dyn Peer>>;

/// A multiplication that can be repeated.
pub trait Multiply {
    /// Once more, into the same result.
    fn multiply(&mut self);

    /// What the last one made.
    fn result(&self) -> Output<'_>;
}

/// A row-major result.
#[derive(Clone, Copy, Debug)]
pub enum Output<'a> {
    /// i32.
    Sums(&'a [i32]),
    /// Requantized.
    Codes(&'a [u8]),
    /// For context only.
    Floats(#[allow(dead_code, reason = "nobody compares them")] &'a [f32]),
}

/// What a result consists of.
trait Element: Copy + Default {
    fn output(elements: &[Self]) -> Output<'_>;
}

impl Element for i32 {
    fn output(elements: &[i32]) -> Output<'_> {
        Output::Sums(elements)
    }
}

impl Element for u8 {
    fn output(elements: &[u8]) -> Output<'_> {
        Output::Codes(elements)
    }
}

impl Element for f32 {
    fn output(elements: &[f32]) -> Output<'_> {
        Output::Floats(elements)
    }
}

/// A multiplication that writes into a slice, with the slice.
struct Into<T, F> {
    out: Vec<T>,
    multiply: F,
}

impl<T: Element, F: FnMut(&mut [T])> Multiply for Into<T, F> {
    fn multiply(&mut self) {
        (self.multiply)(&mut self.out);
    }

    fn result(&self) -> Output<'_> {
        T::output(&self.out)
    }
}

/// Makes a [`Multiply`] of a closure that writes `elements` elements.
fn into<'p, T: Element + 'p>(elements: usize, multiply: impl FnMut(&mut [T]) + 'p) -> Option<Box<dyn Multiply + 'p>> {
    Some(Box::new(Into { out: vec![T::default(); elements], multiply }))
}

/// The other libraries, and a line about each that is absent. One whose place was given has to be there.
pub fn others(mkl: Option<&Path>, onednn: Option<&Path>) -> Result<(Peers, Vec<String>), String> {
    let mut peers: Peers = Vec::new();
    let mut absent = Vec::new();
    let libraries = [
        ("MKL", mkl, mkl::Mkl::load(mkl).map(|mkl| Box::new(mkl) as Box<dyn Peer>)),
        ("oneDNN", onednn, onednn::OneDnn::load(onednn).map(|onednn| Box::new(onednn) as Box<dyn Peer>)),
    ];
    for (name, place, library) in libraries {
        match (library, place) {
            (Ok(library), _) => peers.push(library),
            (Err(error), Some(place)) => return Err(format!("{name} at {}: {error}", place.display())),
            (Err(error), None) => absent.push(format!("{name} is absent: {error}")),
        }
    }
    peers.push(Box::new(rten::Rten::default()));
    peers.push(Box::new(tract::Tract));
    peers.push(Box::new(gemm::Gemm));
    Ok((peers, absent))
}

/// This library, on each of these ISAs.
pub fn ours(isas: &[Isa]) -> Vec<Zeropoint> {
    isas.iter().map(|&isa| Zeropoint { isa }).collect()
}
