//! Who shares the work of one operation.

use rayon::prelude::*;

/// The threads of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Team {
    /// The calling thread: others have rows of their own.
    Alone,
    /// All threads of the pool.
    All,
}

impl Team {
    /// Runs `f` on every chunk of `size` items, the last perhaps shorter, with its number.
    pub fn chunks<T: Send>(
        self,
        data: &mut [T],
        size: usize,
        f: impl Fn(usize, &mut [T]) + Send + Sync,
    ) {
        if self == Team::Alone || data.len() <= size {
            for (index, chunk) in data.chunks_mut(size).enumerate() {
                f(index, chunk);
            }
        } else {
            data.par_chunks_mut(size)
                .enumerate()
                .for_each(|(index, chunk)| f(index, chunk));
        }
    }
}
