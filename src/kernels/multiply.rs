//! `c += a * w` on the host, for a few rows of `a` or for many.
//!
//! A tile of up to twelve rows and one panel of columns is held in registers while `k` runs. Every
//! sum runs over `k` in order, one fused multiply-add a step, whatever the number of rows, of threads
//! and the width of the vectors: what a row computes does not depend on its neighbours.

use super::panels::{Panels, Rows, WIDTH};
use super::team::Team;
use super::tile::{TALL, Tile, isa};
use rayon::prelude::*;
use std::cell::RefCell;
use std::time::Instant;

/// Rows of `k` that are multiplied before the next tile's turn: a panel's part of that height stays
/// in the first-level cache.
const DEPTH: usize = 512;

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
            if rows == TALL {
                // Of a known size, so that a row is a few moves and not a call.
                for (to, from) in data
                    .as_chunks_mut::<TALL>()
                    .0
                    .iter_mut()
                    .zip(x.chunks_exact(m))
                {
                    to.copy_from_slice(&from[first..first + TALL]);
                }
                return;
            }
            for (to, from) in data.chunks_exact_mut(rows).zip(x.chunks_exact(m)) {
                for (to, x) in to.iter_mut().zip(&from[first..]) {
                    *to = *x;
                }
            }
        });
    }
}

/// The left side of a product.
#[derive(Clone, Copy)]
pub enum Left<'a> {
    /// Packed.
    Tiles(&'a Tiles),
    /// `m` rows of `k` numbers, one after the other.
    Rows { x: &'a [f32], m: usize, k: usize },
}

impl Left<'_> {
    fn m(&self) -> usize {
        match self {
            Left::Tiles(tiles) => tiles.m,
            Left::Rows { m, .. } => *m,
        }
    }

    fn k(&self) -> usize {
        match self {
            Left::Tiles(tiles) => tiles.k,
            Left::Rows { k, .. } => *k,
        }
    }
}

/// `out = a * w`, or with `add`, `out += a * w`; `out` is `[m, n]`, row after row.
pub fn multiply_rows(team: Team, a: Left<'_>, w: &Panels, out: &mut [f32], add: bool) {
    /// Where the rows begin; each panel writes columns of its own.
    struct Start(*mut f32);
    // SAFETY: threads write disjoint columns.
    unsafe impl Sync for Start {}
    impl Start {
        fn at(&self, index: usize) -> *mut f32 {
            self.0.wrapping_add(index)
        }
    }
    let (m, n) = (a.m(), w.n());
    assert_eq!(out.len(), m * n);
    if let Left::Rows { x, m, k } = a {
        assert_eq!(x.len(), m * k);
    }
    let start = Start(out.as_mut_ptr());
    let each = |panel: usize| {
        let first = panel * WIDTH;
        if n - first >= WIDTH {
            // SAFETY: the panel's columns lie inside every row, and no other panel has them.
            return unsafe { multiply_panel(a, w, panel, start.at(first), n, add) };
        }
        SCRATCH.with_borrow_mut(|product| {
            product.resize(m * WIDTH, 0.0);
            one_panel(a, w, panel, product);
            for (i, from) in product.chunks_exact(WIDTH).enumerate() {
                // SAFETY: as above.
                let to =
                    unsafe { std::slice::from_raw_parts_mut(start.at(i * n + first), n - first) };
                for (to, x) in to.iter_mut().zip(from) {
                    *to = if add { *to + x } else { *x };
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
            product.resize(a.m * WIDTH, 0.0);
            one_panel(Left::Tiles(a), w, panel, product);
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
            one_panel(Left::Tiles(&tiles), &w, 0, &mut c);
        }
        std::hint::black_box(&c);
    });
    let operations = 2 * threads * TIMES * isa().tall() * K * WIDTH;
    operations as f64 / start.elapsed().as_secs_f64()
}

/// The product of `a` with one panel of `w`, `[m, WIDTH]`.
fn one_panel(a: Left<'_>, w: &Panels, panel: usize, c: &mut [f32]) {
    assert_eq!(c.len(), a.m() * WIDTH);
    // SAFETY: `c` has `m` rows of `WIDTH`.
    unsafe { multiply_panel(a, w, panel, c.as_mut_ptr(), WIDTH, false) }
}

/// Sets `c`, whose rows are `stride` apart, to the product of `a` with one panel of `w`, or adds it.
///
/// # Safety
/// `c` must be valid for reads and writes of `WIDTH` floats at each of the `m` strides, and nobody
/// else may use these meanwhile.
unsafe fn multiply_panel(
    a: Left<'_>,
    w: &Panels,
    panel: usize,
    c: *mut f32,
    stride: usize,
    add: bool,
) {
    let (m, k) = (a.m(), a.k());
    assert!(k == w.k() && panel < w.count());
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
            let (packed, start) = match a {
                Left::Tiles(tiles) => (true, &raw const tiles.data[row * k + depth * rows]),
                Left::Rows { x, .. } => (false, &raw const x[row * k + depth]),
            };
            let tile = Tile {
                a: start,
                a_stride: k,
                k: height,
                ahead: height * w.row_bytes() + number * height * ahead_step,
                ahead_step,
                // SAFETY: `row < m`, so that this stays inside what the caller vouches for.
                c: unsafe { c.add(row * stride) },
                c_stride: stride,
                add: add || depth > 0,
            };
            // SAFETY: the tile lies inside `a`, which was filled in the same tiles where it is
            // packed, and inside `c` (the caller's promise); the panel has `k` rows.
            unsafe {
                match (w.rows(), packed) {
                    (Rows::F32(all), true) => {
                        tile.run::<false, true>(isa, rows, all[first..].as_ptr().cast());
                    }
                    (Rows::F32(all), false) => {
                        tile.run::<false, false>(isa, rows, all[first..].as_ptr().cast());
                    }
                    (Rows::Bf16(all), true) => {
                        tile.run::<true, true>(isa, rows, all[first..].as_ptr().cast());
                    }
                    (Rows::Bf16(all), false) => {
                        tile.run::<true, false>(isa, rows, all[first..].as_ptr().cast());
                    }
                }
            }
        }
    }
}

/// Rows of each tile of `m` rows but the last: as even as the fewest tiles allow.
fn tile_rows(m: usize) -> usize {
    m.div_ceil(m.div_ceil(isa().tall())).max(1)
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
                        let mut plain = vec![1.0; m * n];
                        let x: Vec<f32> = (0..m * k).map(|at| row(at / k, at % k)).collect();
                        let left = Left::Rows { x: &x, m, k };
                        multiply_rows(Team::All, left, &w, &mut plain, false);
                        assert_eq!(plain, all);
                        for (j, found) in alone[i].iter().enumerate() {
                            let right: f64 = (0..k)
                                .map(|at| f64::from(row(i, at)) * f64::from(weight(at, j)))
                                .sum();
                            assert!((f64::from(*found) - right).abs() < 1e-4);
                        }
                    }
                }
            }
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
