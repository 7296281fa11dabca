//! `c += a * w` on the host, for a few rows of `a` or for many.
//!
//! A tile of up to twelve rows and one panel of columns is held in registers while `k` runs. Every
//! sum runs over `k` in order, one fused multiply-add a step, whatever the number of rows, of threads
//! and the width of the vectors: what a row computes does not depend on its neighbours.

use super::lanes::multiply_add;
use super::panels::{Panels, Rows, WIDTH};
use super::team::Team;
use rayon::prelude::*;
use std::cell::RefCell;
use std::time::Instant;

/// Rows of `k` that are multiplied before the next tile's turn: a panel's part of that height stays
/// in the first-level cache.
const DEPTH: usize = 512;

/// Whether the target has a fused multiply-add without further ado.
const FUSED: bool = cfg!(target_arch = "aarch64");

/// Most rows of a tile.
const TALL: usize = 12;

/// Rows of `a`, tile after tile, each `[k, rows of the tile]`: the order in which a kernel reads them.
#[derive(Default)]
pub struct Tiles {
    data: Vec<f32>,
    m: usize,
    k: usize,
}

thread_local! {
    /// A row, or the product with one panel.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Tiles {
    /// Takes in `m` rows of `k` numbers; `write` is given a row's number and its place.
    pub fn fill(
        &mut self,
        team: Team,
        m: usize,
        k: usize,
        write: impl Fn(usize, &mut [f32]) + Send + Sync,
    ) {
        (self.m, self.k) = (m, k);
        self.data.resize(m * k, 0.0);
        let rows = tile_rows(m);
        team.chunks(&mut self.data, rows * k, |tile, data| {
            let first = tile * rows;
            let rows = data.len() / k;
            if rows == 1 {
                return write(first, data);
            }
            SCRATCH.with_borrow_mut(|row| {
                row.resize(k, 0.0);
                for i in 0..rows {
                    write(first + i, row);
                    for (to, x) in data[i..].iter_mut().step_by(rows).zip(&*row) {
                        *to = *x;
                    }
                }
            });
        });
    }
}

impl Tiles {
    /// Takes in the transpose of `x`, `[k, m]` row after row: `m` rows of `k` numbers.
    pub fn fill_transposed(&mut self, team: Team, x: &[f32], k: usize, m: usize) {
        assert_eq!(x.len(), k * m);
        (self.m, self.k) = (m, k);
        self.data.resize(m * k, 0.0);
        let rows = tile_rows(m);
        team.chunks(&mut self.data, rows * k, |tile, data| {
            let first = tile * rows;
            let rows = data.len() / k;
            for (to, from) in data.chunks_exact_mut(rows).zip(x.chunks_exact(m)) {
                to.copy_from_slice(&from[first..first + rows]);
            }
        });
    }
}

/// `out = a * w`, or with `add`, `out += a * w`; `out` is `[m, n]`, row after row.
pub fn multiply_rows(team: Team, a: &Tiles, w: &Panels, out: &mut [f32], add: bool) {
    /// Where the rows begin; each panel writes columns of its own.
    struct Rows(*mut f32);
    // SAFETY: threads write disjoint columns.
    unsafe impl Sync for Rows {}
    impl Rows {
        fn at(&self, index: usize) -> *mut f32 {
            self.0.wrapping_add(index)
        }
    }
    let n = w.n();
    assert_eq!(out.len(), a.m * n);
    let rows = Rows(out.as_mut_ptr());
    let each = |panel: usize| {
        SCRATCH.with_borrow_mut(|product| {
            product.clear();
            product.resize(a.m * WIDTH, 0.0);
            add_panel(a, w, panel, product);
            let width = WIDTH.min(n - panel * WIDTH);
            for (i, from) in product.chunks_exact(WIDTH).enumerate() {
                // SAFETY: row `i` and these columns lie inside `out`, and no other panel has them.
                let to = unsafe {
                    std::slice::from_raw_parts_mut(rows.at(i * n + panel * WIDTH), width)
                };
                if !add {
                    to.copy_from_slice(&from[..width]);
                } else {
                    for (to, x) in to.iter_mut().zip(from) {
                        *to += x;
                    }
                }
            }
        });
    };
    match team {
        Team::Alone => (0..w.count()).for_each(each),
        Team::All => (0..w.count()).into_par_iter().for_each(each),
    }
}

/// Multiplies `a` by every panel of `w` and hands the products, `[m, WIDTH]` each, to `finish` with
/// the number of the panel and its part of `out`, which is `per_panel` long.
pub fn multiply(
    team: Team,
    a: &Tiles,
    w: &Panels,
    out: &mut [f32],
    per_panel: usize,
    finish: impl Fn(usize, &[f32], &mut [f32]) + Send + Sync,
) {
    team.chunks(out, per_panel, |panel, out| {
        SCRATCH.with_borrow_mut(|product| {
            product.clear();
            product.resize(a.m * WIDTH, 0.0);
            add_panel(a, w, panel, product);
            finish(panel, product, out);
        });
    });
}

/// Operations a second of all threads together, a multiply-add counted as two, on operands that stay
/// in cache.
pub fn multiply_rate() -> f64 {
    const K: usize = 256;
    const TIMES: usize = 20_000;
    let threads = rayon::current_num_threads();
    let start = Instant::now();
    (0..threads).into_par_iter().for_each(|_| {
        let w = Panels::pack(K, WIDTH, false, |i, j| (i + j) as f32);
        let m = isa().tall();
        let mut tiles = Tiles::default();
        tiles.fill(Team::Alone, m, K, |_, row| row.fill(1e-6));
        let mut c = vec![0.0; m * WIDTH];
        for _ in 0..TIMES {
            add_panel(&tiles, &w, 0, &mut c);
        }
        std::hint::black_box(&c);
    });
    let operations = 2 * threads * TIMES * isa().tall() * K * WIDTH;
    operations as f64 / start.elapsed().as_secs_f64()
}

/// Adds the product of `a` with one panel of `w` to `c`, `[m, WIDTH]`.
fn add_panel(a: &Tiles, w: &Panels, panel: usize, c: &mut [f32]) {
    let (m, k) = (a.m, a.k);
    assert!(k == w.k() && panel < w.count() && c.len() == m * WIDTH);
    let isa = isa();
    let tall = tile_rows(m);
    let tiles = m.div_ceil(tall);
    let ahead_step = w.row_bytes().div_ceil(tiles);
    for depth in (0..k).step_by(DEPTH) {
        let height = (k - depth).min(DEPTH);
        let first = panel * k + depth;
        for number in 0..tiles {
            let row = number * tall;
            let rows = tall.min(m - row);
            let tile = Tile {
                a: &raw const a.data[row * k + depth * rows],
                k: height,
                ahead: height * w.row_bytes() + number * height * ahead_step,
                ahead_step,
                c: &raw mut c[row * WIDTH],
            };
            // SAFETY: the tile lies inside `a`, which was filled in the same tiles, and inside `c`;
            // the panel has `k` rows.
            unsafe {
                match w.rows() {
                    Rows::F32(all) => tile.add::<false>(isa, rows, all[first..].as_ptr().cast()),
                    Rows::Bf16(all) => tile.add::<true>(isa, rows, all[first..].as_ptr().cast()),
                }
            }
        }
    }
}

/// Rows of each tile of `m` rows but the last: as even as the fewest tiles allow.
fn tile_rows(m: usize) -> usize {
    m.div_ceil(m.div_ceil(isa().tall())).max(1)
}

/// A tile's rows of `a` and place in `c`.
struct Tile {
    a: *const f32,
    /// Where, from the panel rows, to fetch ahead of use, and how much further after each row.
    ahead: usize,
    ahead_step: usize,
    k: usize,
    /// `[rows, WIDTH]`.
    c: *mut f32,
}

/// The instruction sets that have a kernel.
#[derive(Clone, Copy)]
enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

fn isa() -> Isa {
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
    fn tall(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => TALL,
            _ => 4,
        }
    }
}

impl Tile {
    /// Adds the product with the panel rows at `b` to `c`; `rows` is at most [`Isa::tall`].
    ///
    /// # Safety
    /// All of `rows` by `k` of `a`, `k` panel rows of `b`, and `rows` by `WIDTH` of `c` must be valid.
    unsafe fn add<const BF16: bool>(&self, isa: Isa, rows: usize, b: *const u8) {
        // SAFETY: the caller's promise; the instruction set was found by `isa`.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => match rows {
                    1 => self.add_avx512::<1, BF16>(b),
                    2 => self.add_avx512::<2, BF16>(b),
                    3 => self.add_avx512::<3, BF16>(b),
                    4 => self.add_avx512::<4, BF16>(b),
                    5 => self.add_avx512::<5, BF16>(b),
                    6 => self.add_avx512::<6, BF16>(b),
                    7 => self.add_avx512::<7, BF16>(b),
                    8 => self.add_avx512::<8, BF16>(b),
                    9 => self.add_avx512::<9, BF16>(b),
                    10 => self.add_avx512::<10, BF16>(b),
                    11 => self.add_avx512::<11, BF16>(b),
                    _ => self.add_avx512::<TALL, BF16>(b),
                },
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => match rows {
                    1 => self.add_avx2::<1, BF16>(b),
                    2 => self.add_avx2::<2, BF16>(b),
                    3 => self.add_avx2::<3, BF16>(b),
                    _ => self.add_avx2::<4, BF16>(b),
                },
                Isa::Portable => match rows {
                    1 => self.add_lanes::<1, BF16, FUSED>(b),
                    2 => self.add_lanes::<2, BF16, FUSED>(b),
                    3 => self.add_lanes::<3, BF16, FUSED>(b),
                    _ => self.add_lanes::<4, BF16, FUSED>(b),
                },
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn add_avx512<const M: usize, const BF16: bool>(&self, b: *const u8) {
        use std::arch::x86_64::*;
        // SAFETY: as `add`'s.
        unsafe {
            let mut acc = [[_mm512_setzero_ps(); 2]; M];
            for (i, [left, right]) in acc.iter_mut().enumerate() {
                let c = self.c.add(i * WIDTH);
                *left = _mm512_loadu_ps(c);
                *right = _mm512_loadu_ps(c.add(16));
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
                    let x = _mm512_set1_ps(*self.a.add(k * M + i));
                    acc[0] = _mm512_fmadd_ps(x, left, acc[0]);
                    acc[1] = _mm512_fmadd_ps(x, right, acc[1]);
                }
            }
            for (i, acc) in acc.iter().enumerate() {
                let c = self.c.add(i * WIDTH);
                _mm512_storeu_ps(c, acc[0]);
                _mm512_storeu_ps(c.add(16), acc[1]);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn add_avx2<const M: usize, const BF16: bool>(&self, b: *const u8) {
        // SAFETY: as `add`'s.
        unsafe { self.add_lanes::<M, BF16, true>(b) }
    }

    /// Compiled for whatever the caller is compiled for, half a panel at a time.
    #[inline(always)]
    unsafe fn add_lanes<const M: usize, const BF16: bool, const FMA: bool>(&self, b: *const u8) {
        const LANES: usize = WIDTH / 2;
        for first in [0, LANES] {
            // SAFETY: as `add`'s.
            unsafe {
                let mut acc: [[f32; LANES]; M] =
                    std::array::from_fn(|i| *self.c.add(i * WIDTH + first).cast::<[f32; LANES]>());
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
                        let x = *self.a.add(k * M + i);
                        for (sum, w) in acc.iter_mut().zip(row) {
                            *sum = multiply_add::<FMA>(x, w, *sum);
                        }
                    }
                }
                for (i, acc) in acc.iter().enumerate() {
                    *self.c.add(i * WIDTH + first).cast::<[f32; LANES]>() = *acc;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(seed: usize) -> f32 {
        ((seed * 7919 + 13) % 1009) as f32 / 504.5 - 1.0
    }

    fn product(m: usize, w: &Panels, row: impl Fn(usize, usize) -> f32 + Send + Sync) -> Vec<f32> {
        let mut tiles = Tiles::default();
        tiles.fill(Team::All, m, w.k(), |i, to| {
            for (j, x) in to.iter_mut().enumerate() {
                *x = row(i, j);
            }
        });
        let mut panels = vec![0.0; w.count() * m * WIDTH];
        multiply(
            Team::All,
            &tiles,
            w,
            &mut panels,
            m * WIDTH,
            |_, product, out| {
                out.copy_from_slice(product);
            },
        );
        (0..m * w.n())
            .map(|at| {
                let (i, j) = (at / w.n(), at % w.n());
                panels[(j / WIDTH * m + i) * WIDTH + j % WIDTH]
            })
            .collect()
    }

    #[test]
    fn products_are_right_and_do_not_depend_on_the_other_rows() {
        for (k, n) in [(1, 1), (24, 33), (96, 109), (700, 64), (1300, 40)] {
            for bf16 in [false, true] {
                let weight = |i, j| {
                    let x = number(i * n + j);
                    if bf16 {
                        half::bf16::from_f32(x).to_f32()
                    } else {
                        x
                    }
                };
                let w = Panels::pack(k, n, bf16, weight);
                let row = |i: usize, j: usize| number(i * 31 + j * 17 + 5);
                let alone: Vec<Vec<f32>> =
                    (0..40).map(|i| product(1, &w, |_, j| row(i, j))).collect();
                for m in [1, 2, 5, 11, 12, 13, 27, 40] {
                    let all = product(m, &w, row);
                    for i in 0..m {
                        assert_eq!(all[i * n..][..n], alone[i], "row {i} of {m}, k {k}");
                        for j in 0..n {
                            let right: f64 = (0..k)
                                .map(|at| f64::from(row(i, at)) * f64::from(weight(at, j)))
                                .sum();
                            assert!((f64::from(alone[i][j]) - right).abs() < 1e-4);
                        }
                    }
                }
            }
        }
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
                k,
                ahead: 0,
                ahead_step: 0,
                c: c.as_mut_ptr(),
            };
            let Rows::F32(all) = w.rows() else {
                panic!("packed as f32")
            };
            // SAFETY: `a`, `w` and `c` have `rows` rows, `k` rows and `rows` rows.
            unsafe { tile.add::<false>(isa, rows, all.as_ptr().cast()) };
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

    #[test]
    fn a_column_is_read_back() {
        for bf16 in [false, true] {
            let w = Panels::pack(5, 70, bf16, |i, j| (i * 70 + j) as f32 / 2.0);
            let mut column = [0.0; 5];
            w.column(67, 0, &mut column);
            let right = [0, 1, 2, 3, 4].map(|i| half::bf16::from_f32((i * 70 + 67) as f32 / 2.0));
            assert!(!bf16 || column == right.map(|x| x.to_f32()));
            assert!(bf16 || column == [0, 1, 2, 3, 4].map(|i| (i * 70 + 67) as f32 / 2.0));
        }
    }
}
