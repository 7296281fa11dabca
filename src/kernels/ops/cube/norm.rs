//! The residual stream and its norm, one cube a row.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// The sum over all units of the cube, by halving; `shared` has one place a unit and may be used
/// again after it.
#[cube]
pub fn sum(value: f32, shared: &mut Shared<[f32]>, #[comptime] units: usize) -> f32 {
    let u = UNIT_POS as usize;
    sync_cube();
    shared[u] = value;
    sync_cube();
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        if u < half {
            shared[u] = shared[u] + shared[u + half];
        }
        sync_cube();
        half /= 2;
    }
    shared[0]
}

#[cube(launch)]
pub fn add_norm<F: Float>(
    x: &[f32],
    delta: &[F],
    weight: &[f32],
    total: &mut [f32],
    normed: &mut [F],
    epsilon: f32,
    #[comptime] width: usize,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let u = UNIT_POS as usize;
    let row = CUBE_POS as usize * width;
    let mut shared = Shared::<[f32]>::new_slice(units);
    let mut squares = f32::new(0.0);
    let mut i = u;
    while i < width {
        let value = x[row + i] + f32::cast_from(delta[row + i]);
        total[row + i] = value;
        squares += value * value;
        i += units;
    }
    let mean = sum(squares, &mut shared, units) / f32::cast_from(width);
    let scale = 1.0 / (mean + epsilon).sqrt();
    let mut i = u;
    while i < width {
        normed[row + i] = F::cast_from(total[row + i] * scale * weight[i]);
        i += units;
    }
}
