//! Everyone who multiplies, behind one trait.

mod gemm;
mod ggml;
mod mkl;
mod onednn;
mod onnxruntime;
mod rten;
mod tract;
mod wheels;
mod zeropoint;

use std::path::PathBuf;

use ::zeropoint::Isa;
use clap::Args;

use crate::problem::{Problem, Workload};
use crate::real::RealProblem;

pub use zeropoint::Zeropoint;

/// A library that multiplies matrices.
pub trait Peer {
    /// As in the tables.
    fn name(&self) -> String;

    /// The version, and the kernel if the library tells.
    fn version(&self) -> String;

    /// Does it take a zero point for every column of B?
    fn column_zero_points(&self) -> bool {
        false
    }

    /// Gets everything ready that the workload allows; `None` when the library has no such operation.
    fn prepare<'p>(&'p self, workload: Workload, problem: &'p Problem) -> Option<Box<dyn Multiply + 'p>> {
        let _ = (workload, problem);
        None
    }

    /// Gets a product of f32 by weights in groups ready; `None` when the library has none for such weights.
    fn prepare_real<'p>(&'p self, problem: &'p RealProblem) -> Option<Box<dyn Multiply + 'p>> {
        let _ = problem;
        None
    }
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
    /// f32: products by weights in groups, or what is there for context.
    Reals(&'a [f32]),
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
        Output::Reals(elements)
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

/// Where the libraries of wheels lie, if not where the `python3` of the path installs.
#[derive(Args)]
pub struct Places {
    /// libmkl_rt, or its directory.
    #[arg(long, value_name = "PATH")]
    mkl: Option<PathBuf>,
    /// libdnnl.so.3, or its directory.
    #[arg(long, value_name = "PATH")]
    onednn: Option<PathBuf>,
    /// libggml.so, or its directory.
    #[arg(long, value_name = "PATH")]
    ggml: Option<PathBuf>,
    /// libonnxruntime.so, or its directory.
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
}

/// A library as its peers.
fn boxed<P: Peer + 'static>(peers: impl IntoIterator<Item = P>) -> Peers {
    peers.into_iter().map(|peer| Box::new(peer) as Box<dyn Peer>).collect()
}

/// The other libraries, and a line about each that is absent. One whose place was given has to be there.
pub fn others(places: &Places) -> Result<(Peers, Vec<String>), String> {
    let mut peers: Peers = Vec::new();
    let mut absent = Vec::new();
    let Places { mkl, onednn, ggml, onnxruntime } = places;
    let libraries = [
        ("MKL", mkl, mkl::Mkl::load(mkl.as_deref()).map(|mkl| boxed([mkl]))),
        ("oneDNN", onednn, onednn::OneDnn::load(onednn.as_deref()).map(|onednn| boxed([onednn]))),
        ("ggml", ggml, ggml::Ggml::load(ggml.as_deref()).map(boxed)),
        (
            "onnxruntime",
            onnxruntime,
            onnxruntime::OnnxRuntime::load(onnxruntime.as_deref()).map(|runtime| boxed([runtime])),
        ),
    ];
    for (name, place, library) in libraries {
        match (library, place) {
            (Ok(library), _) => peers.extend(library),
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
