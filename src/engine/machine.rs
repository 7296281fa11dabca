//! What a device can do at best.

use crate::kernels::multiply_rate;
use burn::tensor::{Device, Distribution, Tensor};
use rayon::prelude::*;
use serde::Serialize;
use std::time::Instant;

/// Rates that everything else is compared with.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Machine {
    /// Bytes a second that a copy reads and writes, together.
    pub bytes_per_s: f64,
    /// Operations a second of a matrix product, a multiply-add counted as two: on a CPU with both
    /// operands in cache, on an accelerator of two large matrices.
    pub flops_per_s: f64,
}

/// Bytes that are copied; more than any cache holds.
const COPIED: usize = 512 << 20;

/// Times that each rate is measured; the best counts.
const TRIES: usize = 4;

impl Machine {
    /// Measures `device`; half a second or so.
    pub fn measure(device: &Device) -> Machine {
        if crate::model::device::is_cpu(device) {
            return Machine {
                bytes_per_s: host_copy(),
                flops_per_s: best(TRIES, multiply_rate),
            };
        }
        Machine {
            bytes_per_s: device_copy(device),
            flops_per_s: device_multiply(device),
        }
    }
}

fn best(tries: usize, rate: impl Fn() -> f64) -> f64 {
    (0..tries).map(|_| rate()).fold(0.0, f64::max)
}

fn host_copy() -> f64 {
    let from = vec![1u8; COPIED / 2];
    let mut to = vec![0u8; COPIED / 2];
    let mut most = 0.0f64;
    for _ in 0..TRIES {
        let start = Instant::now();
        to.par_chunks_mut(1 << 20)
            .zip(from.par_chunks(1 << 20))
            .for_each(|(to, from)| to.copy_from_slice(from));
        most = most.max(COPIED as f64 / start.elapsed().as_secs_f64());
        std::hint::black_box(&to);
    }
    most
}

fn device_copy(device: &Device) -> f64 {
    let count = COPIED / 8;
    let x = Tensor::<1>::ones([count], device);
    let run = |times: usize| {
        let start = Instant::now();
        let mut y = x.clone();
        for _ in 0..times {
            y = y.add_scalar(1.0);
        }
        // Only reading a number back waits for all of it.
        let _ = y.slice(0..1).into_data();
        start.elapsed().as_secs_f64()
    };
    run(2);
    best(TRIES, || 8.0 * COPIED as f64 / (run(9) - run(1)).max(1e-9))
}

fn device_multiply(device: &Device) -> f64 {
    let n = 4096;
    let x = Tensor::<2>::random([n, n], Distribution::Default, device);
    let run = |times: usize| {
        let start = Instant::now();
        let mut y = x.clone();
        for _ in 0..times {
            y = y.matmul(x.clone()).mul_scalar(1.0 / n as f64);
        }
        let _ = y.slice([0..1, 0..1]).into_data();
        start.elapsed().as_secs_f64()
    };
    run(2);
    let operations = 2.0 * (n as f64).powi(3);
    best(TRIES, || 8.0 * operations / (run(9) - run(1)).max(1e-9))
}
