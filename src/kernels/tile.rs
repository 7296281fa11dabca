//! The inner loop of a matrix product, for each instruction set.

use super::lanes::multiply_add;
use super::panels::WIDTH;

/// Whether the target has a fused multiply-add without further ado.
const FUSED: bool = cfg!(target_arch = "aarch64");

/// Most rows of a tile.
pub const TALL: usize = 12;

/// A tile's rows of `a` and place in `c`.
pub struct Tile {
    pub a: *const f32,
    /// From a row of `a` to the next, where it is not packed in tiles.
    pub a_stride: usize,
    pub k: usize,
    /// Where, from the panel rows, to fetch ahead of use, and how much further after each row.
    pub ahead: usize,
    pub ahead_step: usize,
    pub c: *mut f32,
    pub c_stride: usize,
    /// Whether `c` counts, or what is there is overwritten.
    pub add: bool,
}

/// The instruction sets that have a kernel.
#[derive(Clone, Copy)]
pub enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

/// The widest that this processor has.
pub fn isa() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return Isa::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Isa::Avx2;
        }
    }
    Isa::Portable
}

impl Isa {
    /// Rows of a full tile.
    pub fn tall(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => TALL,
            _ => 4,
        }
    }
}

impl Tile {
    /// Where row `i` of `a` has its number `k`, in a tile of `M` rows.
    #[inline(always)]
    fn at<const M: usize, const PACKED: bool>(&self, i: usize, k: usize) -> usize {
        if PACKED {
            k * M + i
        } else {
            i * self.a_stride + k
        }
    }

    /// Sets `c` to the product with the panel rows at `b`, or adds it; `rows` is at most [`Isa::tall`].
    ///
    /// # Safety
    /// All of `rows` by `k` of `a`, `k` panel rows of `b`, and `rows` by `WIDTH` of `c` must be valid.
    pub unsafe fn run<const BF16: bool, const PACKED: bool>(
        &self,
        isa: Isa,
        rows: usize,
        b: *const u8,
    ) {
        // SAFETY: the caller's promise; the instruction set was found by `isa`.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => match rows {
                    1 => self.run_avx512::<1, BF16, PACKED>(b),
                    2 => self.run_avx512::<2, BF16, PACKED>(b),
                    3 => self.run_avx512::<3, BF16, PACKED>(b),
                    4 => self.run_avx512::<4, BF16, PACKED>(b),
                    5 => self.run_avx512::<5, BF16, PACKED>(b),
                    6 => self.run_avx512::<6, BF16, PACKED>(b),
                    7 => self.run_avx512::<7, BF16, PACKED>(b),
                    8 => self.run_avx512::<8, BF16, PACKED>(b),
                    9 => self.run_avx512::<9, BF16, PACKED>(b),
                    10 => self.run_avx512::<10, BF16, PACKED>(b),
                    11 => self.run_avx512::<11, BF16, PACKED>(b),
                    _ => self.run_avx512::<TALL, BF16, PACKED>(b),
                },
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => match rows {
                    1 => self.run_avx2::<1, BF16, PACKED>(b),
                    2 => self.run_avx2::<2, BF16, PACKED>(b),
                    3 => self.run_avx2::<3, BF16, PACKED>(b),
                    _ => self.run_avx2::<4, BF16, PACKED>(b),
                },
                Isa::Portable => match rows {
                    1 => self.run_lanes::<1, BF16, PACKED, FUSED>(b),
                    2 => self.run_lanes::<2, BF16, PACKED, FUSED>(b),
                    3 => self.run_lanes::<3, BF16, PACKED, FUSED>(b),
                    _ => self.run_lanes::<4, BF16, PACKED, FUSED>(b),
                },
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn run_avx512<const M: usize, const BF16: bool, const PACKED: bool>(
        &self,
        b: *const u8,
    ) {
        use std::arch::x86_64::*;
        // SAFETY: as `add`'s.
        unsafe {
            let mut acc = [[_mm512_setzero_ps(); 2]; M];
            if self.add {
                for (i, [left, right]) in acc.iter_mut().enumerate() {
                    let c = self.c.add(i * self.c_stride);
                    *left = _mm512_loadu_ps(c);
                    *right = _mm512_loadu_ps(c.add(16));
                }
            }
            let mut ahead = b.wrapping_add(self.ahead);
            for k in 0..self.k {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                if !BF16 && M < TALL {
                    _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(64).cast());
                }
                ahead = ahead.wrapping_add(self.ahead_step);
                let (left, right) = if BF16 {
                    let row = b.add(k * 64).cast::<__m256i>();
                    let widen = |half| {
                        let bits = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half));
                        _mm512_castsi512_ps(bits)
                    };
                    (
                        widen(_mm256_load_si256(row)),
                        widen(_mm256_load_si256(row.add(1))),
                    )
                } else {
                    let row = b.add(k * 128).cast::<f32>();
                    (_mm512_load_ps(row), _mm512_load_ps(row.add(16)))
                };
                for (i, acc) in acc.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*self.a.add(self.at::<M, PACKED>(i, k)));
                    acc[0] = _mm512_fmadd_ps(x, left, acc[0]);
                    acc[1] = _mm512_fmadd_ps(x, right, acc[1]);
                }
            }
            for (i, acc) in acc.iter().enumerate() {
                let c = self.c.add(i * self.c_stride);
                _mm512_storeu_ps(c, acc[0]);
                _mm512_storeu_ps(c.add(16), acc[1]);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run_avx2<const M: usize, const BF16: bool, const PACKED: bool>(&self, b: *const u8) {
        // SAFETY: as `add`'s.
        unsafe { self.run_lanes::<M, BF16, PACKED, true>(b) }
    }

    /// Compiled for whatever the caller is compiled for, half a panel at a time.
    #[inline(always)]
    unsafe fn run_lanes<const M: usize, const BF16: bool, const PACKED: bool, const FMA: bool>(
        &self,
        b: *const u8,
    ) {
        const LANES: usize = WIDTH / 2;
        for first in [0, LANES] {
            // SAFETY: as `add`'s.
            unsafe {
                let mut acc: [[f32; LANES]; M] = std::array::from_fn(|i| {
                    *self.c.add(i * self.c_stride + first).cast::<[f32; LANES]>()
                });
                for k in 0..self.k {
                    let row: [f32; LANES] = if BF16 {
                        let bits = *b
                            .add(k * 64)
                            .cast::<u16>()
                            .add(first)
                            .cast::<[u16; LANES]>();
                        bits.map(|x| f32::from_bits(u32::from(x) << 16))
                    } else {
                        *b.add(k * 128).cast::<f32>().add(first).cast()
                    };
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let x = *self.a.add(self.at::<M, PACKED>(i, k));
                        for (sum, w) in acc.iter_mut().zip(row) {
                            *sum = multiply_add::<FMA>(x, w, *sum);
                        }
                    }
                }
                for (i, acc) in acc.iter().enumerate() {
                    *self.c.add(i * self.c_stride + first).cast::<[f32; LANES]>() = *acc;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::panels::{Panels, Rows};
    use super::*;

    fn number(seed: usize) -> f32 {
        ((seed * 7919 + 13) % 1009) as f32 / 504.5 - 1.0
    }

    #[test]
    fn the_kernels_of_all_instruction_sets_agree() {
        let (k, rows) = (100, 4);
        let w = Panels::pack(k, WIDTH, false, |i, j| number(i * 37 + j));
        let a: Vec<f32> = (0..k * rows).map(number).collect();
        let run = |isa| {
            let mut c = vec![0.5f32; rows * WIDTH];
            let tile = Tile {
                a: a.as_ptr(),
                a_stride: k,
                k,
                ahead: 0,
                ahead_step: 0,
                c: c.as_mut_ptr(),
                c_stride: WIDTH,
                add: true,
            };
            let Rows::F32(all) = w.rows() else {
                panic!("packed as f32")
            };
            // SAFETY: `a`, `w` and `c` have `rows` rows, `k` rows and `rows` rows.
            unsafe { tile.run::<false, true>(isa, rows, all.as_ptr().cast()) };
            c
        };
        let best = run(isa());
        for (x, y) in best.iter().zip(run(Isa::Portable)) {
            assert!((x - y).abs() < 1e-5);
        }
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            assert_eq!(best, run(Isa::Avx2));
        }
    }
}
