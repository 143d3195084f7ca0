//! Values of the chunks of a tensor, combined in their order.

use bytemuck::Pod;

use super::Exec;
use crate::memory::Scratch;

impl Exec<'_> {
    /// The values of chunks of `length` elements, of which the last may have fewer, folded from the first to the last: the same
    /// value whoever made which. `value_of` gets the index of a chunk's first element. `None` of an empty tensor. The work takes
    /// the calling thread alone at least `nanoseconds`.
    pub(crate) fn fold_chunks<T: Pod + Send>(
        self,
        nanoseconds: usize,
        x: &[f32],
        length: usize,
        value_of: impl Fn(usize, &[f32]) -> T + Sync,
        fold: impl Fn(T, T) -> T,
    ) -> Option<T> {
        let team = self.team(nanoseconds);
        let chunks = x.chunks(length).enumerate();
        if team.alone() {
            return chunks.map(|(i, x)| value_of(i * length, x)).reduce(fold);
        }
        let mut memory = Scratch::default();
        let values = memory.elements::<T>(chunks.len());
        team.share(chunks.zip(&mut *values), |((i, x), value)| *value = value_of(i * length, x));
        values.iter().copied().reduce(fold)
    }
}
