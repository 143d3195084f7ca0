//! What TensorFlow Lite made of features, and what this program makes of them: digests of tensors.

use core::fmt;

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::SplitMix64;
use safetensors::SafeTensors;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeropoint::Exec;

use crate::executor::Executor;
use crate::kernels::Kernels;
use crate::network::{Network, Wrong};

/// The features of a step: 3 frames of 40.
const FEATURES: usize = 3 * 40;
/// The seed of the random features.
const SEED: u64 = 25;

/// A shipped network, and what was recorded of it.
pub struct Shipped {
    /// Its name: the word that it waits for.
    pub name: &'static str,
    /// The network.
    pub network: Network,
    /// What TensorFlow Lite made.
    pub recorded: Recorded,
}

/// What TensorFlow Lite made of features.
#[derive(Deserialize)]
pub struct Recorded {
    /// The numbers of the tensors that operators make.
    pub tensors: Vec<usize>,
    /// What became of all codes in the logistic operator.
    pub logistic: Vec<i8>,
    /// Every set of kernels with all features.
    pub runs: Vec<Run>,
}

/// A set of kernels with some features.
#[derive(Deserialize)]
pub struct Run {
    /// Whose bits.
    pub kernels: Kernels,
    /// The features of all steps.
    pub features: Features,
    /// After how many steps there are digests.
    pub steps: Vec<usize>,
    /// For every such number of steps a digest of every tensor: of its codes in all steps until then.
    pub digests: Vec<Vec<String>>,
    /// The probability of every step, in codes; of sound alone.
    #[serde(default)]
    pub outputs: Vec<u8>,
}

/// Where features are from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Features {
    /// Of a voice that says the words of all networks.
    Sound,
    /// The upper bytes of SplitMix64's words.
    Random,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Features::Sound { "sound" } else { "random" })
    }
}

macro_rules! data {
    ($($name:literal)*) => {
        [$((
            $name,
            include_bytes!(concat!("../data/", $name, ".safetensors")).as_slice(),
            include_str!(concat!("../data/", $name, ".json")),
        )),*]
    };
}

/// Name, network and recorded results.
const SHIPPED: [(&str, &[u8], &str); 4] = data!("alexa" "hey_jarvis" "hey_mycroft" "okay_nabu");

/// All shipped networks.
///
/// # Errors
/// Files that are not those of `record.py`.
pub fn shipped() -> Result<Vec<Shipped>, Wrong> {
    let network = |(name, network, recorded)| {
        Ok(Shipped { name, network: Network::new(network)?, recorded: serde_json::from_str(recorded)? })
    };
    SHIPPED.into_iter().map(network).collect()
}

impl Features {
    /// The codes of the first steps.
    ///
    /// # Errors
    /// A file that is not that of `record.py`.
    pub fn steps(self, count: usize) -> Result<Vec<[i8; FEATURES]>, Wrong> {
        let mut codes: Vec<i8> = match self {
            Features::Sound => {
                let file = SafeTensors::deserialize(include_bytes!("../data/features.safetensors"))?;
                file.tensor("sound")?.data().iter().map(|&byte| byte as i8).collect()
            }
            Features::Random => {
                let mut words = SplitMix64::seed_from_u64(SEED);
                (0..count * FEATURES).map(|_| (words.next_u64() >> 56) as i8).collect()
            }
        };
        codes.truncate(count * FEATURES);
        Ok(codes.as_chunks().0.to_vec())
    }
}

/// What the program made of some steps.
pub struct Made {
    /// A digest of every recorded tensor.
    pub digests: Vec<String>,
    /// The code of the probability of every step.
    pub outputs: Vec<u8>,
}

/// Runs a network from its beginning.
///
/// # Errors
/// A network that the layers refuse.
pub fn make(exec: Exec<'_>, shipped: &Shipped, kernels: Kernels, steps: &[[i8; FEATURES]]) -> Result<Made, Wrong> {
    let mut executor = Executor::new(exec, &shipped.network, kernels)?;
    let mut hashes = vec![Sha256::new(); shipped.recorded.tensors.len()];
    let mut outputs = Vec::with_capacity(steps.len());
    for features in steps {
        executor.step(features)?;
        for (hash, &tensor) in hashes.iter_mut().zip(&shipped.recorded.tensors) {
            hash.update(bytemuck::cast_slice(executor.tensor(tensor)));
        }
        outputs.extend(executor.tensor(shipped.network.graph.output).iter().map(|&code| code as u8));
    }
    let digests =
        hashes.into_iter().map(|hash| hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect());
    Ok(Made { digests: digests.collect(), outputs })
}
