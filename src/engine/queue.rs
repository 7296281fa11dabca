//! Several steps of decode on an accelerator before one look at what came of them: what a step chooses
//! goes into the next one without leaving the device.
//!
//! A row whose end nobody sees yet, at a stop token or by its own rule, goes on in slots of its own, which go back to the
//! pool when the end is seen; at its last token, which is known beforehand, it only fills its place.

use super::batch::Batch;
use super::device::DeviceNets;
use super::handle::Error;
use super::pool::SlotPool;
use super::row::Row;

/// What became of the rows.
pub(super) struct Done {
    /// Whether each row is at its end.
    pub finished: Vec<bool>,
    /// Tokens that belong to replies; those forwarded after a row's end do not count.
    pub forwarded: usize,
}

/// How many steps of `rows` can be queued, `most` at most: 1 where a row does anything else than decode
/// or the pool lacks the slots.
pub(super) fn steps(rows: &[Row], pool: &SlotPool, most: usize) -> usize {
    let mut longest = 0;
    let mut needed = 0;
    for row in rows {
        let Some(left) = row.decodes() else {
            return 1;
        };
        longest = left.max(longest);
        needed += left.min(most);
    }
    match needed <= pool.room() {
        true => longest.min(most).max(1),
        false => 1,
    }
}

/// Runs `steps` steps of `rows`, all of which decode, and takes in what was chosen.
pub(super) fn decode(
    nets: &mut DeviceNets,
    rows: &mut [Row],
    pool: &mut SlotPool,
    steps: usize,
) -> Result<Done, Error> {
    let left: Vec<usize> = rows
        .iter()
        .map(|row| row.decodes().unwrap_or(1).min(steps))
        .collect();
    let mut shares = Vec::with_capacity(rows.len());
    for row in rows.iter_mut() {
        shares.push(row.join(1, pool)?);
    }
    // Step by step, as slots are taken without a queue.
    for step in 1..steps {
        for (row, &left) in rows.iter_mut().zip(&left) {
            if step < left {
                row.reserve(pool)?;
            }
        }
    }
    let mut batch = Batch::default();
    let mut wanted = Vec::with_capacity(rows.len());
    for (index, (row, share)) in rows.iter().zip(&shares).enumerate() {
        batch.tokens.extend(row.tokens(share));
        batch.positions.push(share.first_position);
        batch.rows.push(index);
        batch.paths.push(row.path());
        wanted.push(row.wanted(index, 0));
    }
    let numbers = nets.decode(&batch, &left, pool.touched(), &wanted)?;
    let mut done = Done {
        finished: vec![false; rows.len()],
        forwarded: 0,
    };
    for (index, row) in rows.iter_mut().enumerate() {
        for step in 0..left[index] {
            done.forwarded += 1;
            let judged = numbers.judge(step, index, &wanted[index])?;
            if row.advance(vec![judged], pool) {
                done.finished[index] = true;
                pool.release(&row.give_back(left[index] - step - 1));
                break;
            }
        }
    }
    Ok(done)
}
