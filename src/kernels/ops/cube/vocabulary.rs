//! From a row of logits to the few numbers that leave the device, one cube a row.

use super::norm::sum;
use cubecl::prelude::*;

/// Below every logit.
const LEAST: f32 = -3.0e38;

/// The largest of all units' values, by halving.
#[cube]
fn largest(value: f32, shared: &mut Shared<[f32]>, #[comptime] units: usize) -> f32 {
    let u = UNIT_POS as usize;
    sync_cube();
    shared[u] = value;
    sync_cube();
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        if u < half {
            shared[u] = max(shared[u], shared[u + half]);
        }
        sync_cube();
        half /= 2;
    }
    shared[0]
}

/// Each unit looks at every `units`-th logit and offers its best that is not out yet; `k` times the
/// best offer goes out and its unit looks again.
#[cube(launch)]
pub fn top(logits: &[f32], out: &mut [f32], vocab: u32, k: u32, #[comptime] units: usize) {
    let vocab = vocab as usize;
    let u = UNIT_POS as usize;
    let row = CUBE_POS as usize * vocab;
    let to = CUBE_POS as usize * (1 + 2 * k as usize);
    let mut shared = Shared::<[f32]>::new_slice(units);
    let mut offered = Shared::<[f32]>::new_slice(units);
    let mut ids = Shared::<[u32]>::new_slice(units);

    let mut best = f32::new(LEAST);
    let mut id = vocab;
    let mut i = u;
    while i < vocab {
        let x = logits[row + i];
        if x > best {
            best = x;
            id = i;
        }
        i += units;
    }
    let peak = largest(best, &mut shared, units);
    let mut mass = f32::new(0.0);
    let mut i = u;
    while i < vocab {
        mass += (logits[row + i] - peak).exp();
        i += units;
    }
    let mass = sum(mass, &mut shared, units);
    if u == 0 {
        out[to] = peak + mass.ln();
    }

    for round in 0..k as usize {
        sync_cube();
        offered[u] = best;
        ids[u] = id as u32;
        sync_cube();
        let mut half = comptime!(units / 2).runtime();
        while half > 0 {
            if u < half {
                let more = offered[u + half] > offered[u];
                let same = offered[u + half] == offered[u];
                if more || (same && ids[u + half] < ids[u]) {
                    offered[u] = offered[u + half];
                    ids[u] = ids[u + half];
                }
            }
            sync_cube();
            half /= 2;
        }
        let chosen = ids[0] as usize;
        if u == 0 {
            out[to + 1 + round] = offered[0];
            out[to + 1 + k as usize + round] = f32::cast_from(ids[0]);
        }
        if id == chosen {
            // What comes after the one that went out: smaller, or equal with a higher id.
            let bound = best;
            let after = id;
            best = f32::new(LEAST);
            id = vocab;
            let mut i = u;
            while i < vocab {
                let x = logits[row + i];
                let left = x < bound || (x == bound && i > after);
                if left && x > best {
                    best = x;
                    id = i;
                }
                i += units;
            }
        }
    }
}

/// Each unit weighs a stretch of the vocabulary; the unit in whose stretch the draw falls walks it.
#[cube(launch)]
pub fn draw(logits: &[f32], dice: &[f32], out: &mut [f32], vocab: u32, #[comptime] units: usize) {
    let vocab = vocab as usize;
    let u = UNIT_POS as usize;
    let row = CUBE_POS as usize * vocab;
    let temperature = dice[CUBE_POS as usize * 2];
    let uniform = dice[CUBE_POS as usize * 2 + 1];
    let mut shared = Shared::<[f32]>::new_slice(units);
    let stretch = vocab.div_ceil(units);
    let start = u * stretch;
    let mut end = start + stretch;
    if end > vocab {
        end = vocab;
    }

    let mut best = f32::new(LEAST);
    let mut i = u;
    while i < vocab {
        best = max(best, logits[row + i]);
        i += units;
    }
    let peak = largest(best, &mut shared, units);
    let mut mass = f32::new(0.0);
    let mut i = start;
    while i < end {
        mass += ((logits[row + i] - peak) / temperature).exp();
        i += 1;
    }
    sync_cube();
    shared[u] = mass;
    sync_cube();
    if u == 0 {
        let mut all = f32::new(0.0);
        for j in 0..units {
            all += shared[j];
        }
        // The last stretch with any weight keeps what rounding leaves over.
        let mut left = uniform * all;
        let mut chosen = 0usize.runtime();
        let mut found = false.runtime();
        let mut before = f32::new(0.0);
        for j in 0..units {
            if !found && shared[j] > 0.0 {
                chosen = j;
                before = left;
                if left < shared[j] {
                    found = true;
                } else {
                    left -= shared[j];
                }
            }
        }
        let first = chosen * stretch;
        let mut last = first + stretch;
        if last > vocab {
            last = vocab;
        }
        let mut id = first;
        let mut done = false.runtime();
        for i in first..last {
            let weight = ((logits[row + i] - peak) / temperature).exp();
            if !done && weight > 0.0 {
                id = i;
                if before < weight {
                    done = true;
                } else {
                    before -= weight;
                }
            }
        }
        out[CUBE_POS as usize * 2] = f32::cast_from(id as u32);
        out[CUBE_POS as usize * 2 + 1] = logits[row + id];
    }
}
