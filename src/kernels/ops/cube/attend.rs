//! Attention over gathered slots: one cube for each key head and block of tokens, so that all query
//! heads of the group, of all tokens of the block, share each key and value that is read. Softmax
//! streams over chunks of slots that begin at fixed places.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// What stands for a score of minus infinity.
const NEVER: f32 = -1.0e30;

/// Parts that a query's scores of a chunk are reduced in.
const PARTS: usize = 8;

/// Units of a cube, which are also the slots of a chunk: a multiple of a head's width `d`, 64 or more.
pub fn units(d: usize) -> usize {
    d * 64usize.div_ceil(d)
}

#[cube(launch)]
pub fn attend<F: Float>(
    q: &[F],
    pool: &[F],
    paths: &[u32],
    tokens: &[u32],
    blocks: &[u32],
    out: &mut [F],
    count: u32,
    longest: u32,
    block_count: u32,
    scale: f32,
    #[comptime] heads: usize,
    #[comptime] kv: usize,
    #[comptime] d: usize,
    #[comptime] tile: usize,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let group = comptime!(heads / kv);
    let queries = comptime!(tile * heads / kv);
    let parts = comptime!(queries * PARTS);
    let subsets = comptime!(units / d);
    let u = UNIT_POS as usize;
    let key_head = CUBE_POS_X as usize;
    let block = CUBE_POS_Y as usize;
    let first = blocks[block] as usize;
    let present = blocks[block_count as usize + block] as usize;
    let path = tokens[first] as usize * longest as usize;

    let mut query = Shared::<[f32]>::new_slice(comptime!(queries * d));
    let mut scores = Shared::<[f32]>::new_slice(comptime!(queries * units));
    let mut part = Shared::<[f32]>::new_slice(parts);
    let mut peak = Shared::<[f32]>::new_slice(queries);
    let mut total = Shared::<[f32]>::new_slice(queries);
    let mut fix = Shared::<[f32]>::new_slice(queries);
    let mut length = Shared::<[u32]>::new_slice(tile);

    // A block may have fewer tokens than its tile; the rest repeat its last and are not written.
    let mut i = u;
    while i < comptime!(queries * d) {
        let line = i / d;
        let mut token = line / group;
        if token >= present {
            token = present - 1;
        }
        let head = key_head * group + line % group;
        query[i] = f32::cast_from(q[((first + token) * heads + head) * d + i % d]) * scale;
        i += units;
    }
    if u < queries {
        peak[u] = f32::new(NEVER);
        total[u] = f32::new(0.0);
    }
    if u < tile {
        let mut token = u;
        if token >= present {
            token = present - 1;
        }
        length[u] = tokens[count as usize + first + token];
    }
    let mut sums = Array::<f32>::new(queries);
    let mut dots = Array::<f32>::new(queries);
    #[unroll]
    for line in 0..queries {
        sums[line] = f32::new(0.0);
    }
    sync_cube();

    // The last token of a block sees most.
    let seen = length[comptime!(tile - 1)] as usize;
    let chunks = seen.div_ceil(units);
    for chunk in 0..chunks {
        let start = chunk * units;
        let mut here = seen - start;
        if here > units {
            here = units.runtime();
        }
        #[unroll]
        for line in 0..queries {
            dots[line] = f32::new(0.0);
        }
        if u < here {
            let slot = paths[path + start + u] as usize;
            let key = (slot * comptime!(2 * kv) + key_head) * d;
            for i in 0..d {
                let k = f32::cast_from(pool[key + i]);
                #[unroll]
                for line in 0..queries {
                    dots[line] += query[line * d + i] * k;
                }
            }
        }
        #[unroll]
        for line in 0..queries {
            let mut score = dots[line];
            if start + u >= length[line / group] as usize {
                score = f32::new(NEVER);
            }
            scores[line * units + u] = score;
        }
        sync_cube();

        let mut i = u;
        while i < parts {
            let from = i / PARTS * units;
            let mut most = f32::new(NEVER);
            let mut j = i % PARTS;
            while j < units {
                most = max(most, scores[from + j]);
                j += PARTS;
            }
            part[i] = most;
            i += units;
        }
        sync_cube();
        let mut i = u;
        while i < queries {
            let mut most = peak[i];
            for j in 0..PARTS {
                most = max(most, part[i * PARTS + j]);
            }
            fix[i] = (peak[i] - most).exp();
            peak[i] = most;
            i += units;
        }
        sync_cube();
        #[unroll]
        for line in 0..queries {
            let score = scores[line * units + u];
            let mut weight = f32::new(0.0);
            if score > NEVER * 0.5 {
                weight = (score - peak[line]).exp();
            }
            scores[line * units + u] = weight;
        }
        sync_cube();
        let mut i = u;
        while i < parts {
            let from = i / PARTS * units;
            let mut sum = f32::new(0.0);
            let mut j = i % PARTS;
            while j < units {
                sum += scores[from + j];
                j += PARTS;
            }
            part[i] = sum;
            i += units;
        }
        sync_cube();
        let mut i = u;
        while i < queries {
            let mut sum = total[i] * fix[i];
            for j in 0..PARTS {
                sum += part[i * PARTS + j];
            }
            total[i] = sum;
            i += units;
        }

        #[unroll]
        for line in 0..queries {
            sums[line] *= fix[line];
        }
        let mut j = u / d;
        while j < here {
            let slot = paths[path + start + j] as usize;
            let v = f32::cast_from(
                pool[(slot * comptime!(2 * kv) + comptime!(kv) + key_head) * d + u % d],
            );
            #[unroll]
            for line in 0..queries {
                sums[line] += scores[line * units + j] * v;
            }
            j += subsets;
        }
        sync_cube();
    }

    // Each subset of units has summed some of the slots.
    #[unroll]
    for line in 0..queries {
        scores[line * units + u] = sums[line];
    }
    sync_cube();
    let mut i = u;
    while i < comptime!(queries * d) {
        let line = i / d;
        let mut sum = f32::new(0.0);
        for j in 0..subsets {
            sum += scores[line * units + j * d + i % d];
        }
        if line / group < present {
            let head = key_head * group + line % group;
            let to = ((first + line / group) * heads + head) * d + i % d;
            out[to] = F::cast_from(sum / total[line]);
        }
        i += units;
    }
}
