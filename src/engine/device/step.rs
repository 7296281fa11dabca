//! A step as tensors.

use super::cache::DeviceCache;
use crate::engine::batch::Batch;
use crate::kernels::ops::{self, Paths};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The tokens of a step, filled up to a bucket.
#[derive(Debug, Clone)]
pub struct Step {
    pub tokens: Tensor<1, Int>,
    /// `[2, tokens]`: positions and slots.
    pub places: Tensor<2, Int>,
    pub paths: Paths,
    /// Positions that the table of angles must have.
    pub positions: usize,
}

/// The number of rows that a step of `n` is filled up to, so that kernels see few shapes: powers of
/// two up to 64, then multiples of 64.
pub fn bucket(n: usize) -> usize {
    match n {
        0..=64 => n.max(1).next_power_of_two(),
        _ => n.next_multiple_of(64),
    }
}

/// How long lists of slots are padded, so that steps come in few shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// To a multiple of 64.
    Narrow,
    /// To a power of two, 256 or more: a captured graph serves one length.
    Wide,
}

impl Padding {
    fn of(self, longest: usize) -> usize {
        match self {
            Padding::Narrow => longest.max(1).next_multiple_of(64),
            Padding::Wide => longest.next_power_of_two().max(256),
        }
    }
}

/// Where the tokens of a step stand: positions, own slots, and each token's row with the number of
/// slots that it sees.
#[derive(Default)]
struct Places {
    positions: Vec<u32>,
    own: Vec<u32>,
    seen: Vec<(u32, u32)>,
}

impl Places {
    fn push(&mut self, row: usize, position: usize, own: u32) {
        self.positions.push(position as u32);
        self.own.push(own);
        self.seen.push((row as u32, position as u32 + 1));
    }

    /// Fills up to `filled` tokens: each is a row of its own behind `rows`, and sees nobody's slot.
    fn fill(&mut self, rows: usize, filled: usize) {
        for extra in 0..filled - self.own.len() {
            self.push(rows + extra, 0, 0);
        }
    }

    fn longest(&self) -> usize {
        self.positions.iter().max().map_or(0, |&p| p as usize + 1)
    }

    fn tensor(&self, device: &Device) -> Tensor<2, Int> {
        let both = [self.positions.as_slice(), &self.own].concat();
        ops::indices(both, [2, self.own.len()], device)
    }
}

impl Step {
    pub fn new(batch: &Batch, padding: Padding, device: &Device) -> Step {
        let filled = bucket(batch.len());
        let mut places = Places::default();
        for (&row, &position) in batch.rows.iter().zip(&batch.positions) {
            let own = DeviceCache::place(batch.paths[row][position]);
            places.push(row, position, own);
        }
        places.fill(batch.paths.len(), filled);
        Step {
            tokens: tokens(batch, filled, device),
            places: places.tensor(device),
            paths: paths(batch, filled, &places.seen, padding, device),
            positions: places.longest(),
        }
    }

    /// The steps of a decode: token `i` of `batch` is row `i`, which goes on for `left[i]` steps and has
    /// the slots for them. Then it fills its place in the step: it sees what it saw last and writes to
    /// nobody's slot. Every step has the tokens of the first, until others are put there.
    pub fn decode(batch: &Batch, left: &[usize], padding: Padding, device: &Device) -> Vec<Step> {
        let filled = bucket(batch.len());
        let count = left.iter().copied().max().unwrap_or(0);
        let mut steps: Vec<Step> = Vec::with_capacity(count);
        for number in 0..count {
            let mut places = Places::default();
            for (row, (&first, &left)) in batch.positions.iter().zip(left).enumerate() {
                let position = first + number.min(left - 1);
                let own = match number < left {
                    true => DeviceCache::place(batch.paths[row][position]),
                    false => 0,
                };
                places.push(row, position, own);
            }
            places.fill(batch.paths.len(), filled);
            let (tokens, paths) = match steps.first() {
                None => (
                    tokens(batch, filled, device),
                    paths(batch, filled, &places.seen, padding, device),
                ),
                Some(first) => (
                    first.tokens.clone(),
                    first.paths.moved(&places.seen, device),
                ),
            };
            steps.push(Step {
                tokens,
                places: places.tensor(device),
                paths,
                positions: places.longest(),
            });
        }
        steps
    }
}

/// The tokens of a batch, filled up.
fn tokens(batch: &Batch, filled: usize, device: &Device) -> Tensor<1, Int> {
    let mut tokens: Vec<i32> = batch.tokens.iter().map(|&t| t as i32).collect();
    tokens.resize(filled, 0);
    Tensor::from_data(TensorData::new(tokens, [filled]), device)
}

/// The slots of a batch's rows and of what fills it up, which is nobody's slot.
fn paths(
    batch: &Batch,
    filled: usize,
    seen: &[(u32, u32)],
    padding: Padding,
    device: &Device,
) -> Paths {
    let places = |path: &&[u32]| path.iter().map(|&slot| DeviceCache::place(slot)).collect();
    let mut paths: Vec<Vec<u32>> = batch.paths.iter().map(places).collect();
    paths.resize(paths.len() + filled - batch.len(), vec![0]);
    let rows: Vec<&[u32]> = paths.iter().map(Vec::as_slice).collect();
    let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    Paths::with_room(&rows, seen, padding.of(longest), device)
}
