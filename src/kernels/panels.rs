//! Weights as the host's matrix kernel reads them.

use super::team::Team;
use rayon::prelude::*;

/// Columns of a panel: two vectors of AVX-512.
pub const WIDTH: usize = 32;

/// One row of a panel in f32.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Wide(pub [f32; WIDTH]);

/// One row of a panel in bfloat16: the upper halves of f32 numbers.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Narrow(pub [u16; WIDTH]);

/// A matrix `[k, n]`, cut into panels of [`WIDTH`] columns that lie one after the other, row by row
/// each; the last panel is filled up with zeros.
#[derive(Debug, Clone)]
pub struct Panels {
    k: usize,
    n: usize,
    rows: Rows,
}

/// The rows of all panels.
#[derive(Debug, Clone)]
pub enum Rows {
    F32(Vec<Wide>),
    Bf16(Vec<Narrow>),
}

/// Who packs a matrix of `size` numbers.
fn team(size: usize) -> Team {
    match size > 1 << 18 {
        true => Team::All,
        false => Team::Alone,
    }
}

impl Panels {
    /// Packs the matrix whose element in row `i` and column `j` is `at(i, j)`.
    pub fn pack(k: usize, n: usize, bf16: bool, at: impl Fn(usize, usize) -> f32 + Sync) -> Panels {
        let panels = n.div_ceil(WIDTH);
        let number = |index: usize, lane: usize| {
            let column = index / k * WIDTH + lane;
            if column < n {
                at(index % k, column)
            } else {
                0.0
            }
        };
        let all = (0..panels * k).into_par_iter();
        let rows = if bf16 {
            Rows::Bf16(
                all.map(|i| {
                    Narrow(std::array::from_fn(|lane| {
                        half::bf16::from_f32(number(i, lane)).to_bits()
                    }))
                })
                .collect(),
            )
        } else {
            Rows::F32(
                all.map(|i| Wide(std::array::from_fn(|lane| number(i, lane))))
                    .collect(),
            )
        };
        Panels { k, n, rows }
    }

    /// Packs a matrix that lies row after row, `[k, n]`, in f32.
    pub fn of_rows(k: usize, n: usize, from: &[f32]) -> Panels {
        assert_eq!(from.len(), k * n);
        let mut rows = vec![Wide([0.0; WIDTH]); n.div_ceil(WIDTH) * k];
        team(k * n).chunks(&mut rows, k, |panel, rows| {
            let lines = from.chunks_exact(n).map(|line| &line[panel * WIDTH..]);
            for (row, line) in rows.iter_mut().zip(lines) {
                match line.first_chunk::<WIDTH>() {
                    Some(whole) => row.0 = *whole,
                    None => row.0[..line.len()].copy_from_slice(line),
                }
            }
        });
        Panels {
            k,
            n,
            rows: Rows::F32(rows),
        }
    }

    /// Packs the transpose of a matrix that lies row after row, `[n, k]`, in f32.
    pub fn of_columns(k: usize, n: usize, from: &[f32]) -> Panels {
        assert_eq!(from.len(), k * n);
        let mut rows = vec![Wide([0.0; WIDTH]); n.div_ceil(WIDTH) * k];
        team(k * n).chunks(&mut rows, k, |panel, rows| {
            let lines = from.chunks_exact(k).skip(panel * WIDTH).take(WIDTH);
            for (lane, line) in lines.enumerate() {
                for (row, x) in rows.iter_mut().zip(line) {
                    row.0[lane] = *x;
                }
            }
        });
        Panels {
            k,
            n,
            rows: Rows::F32(rows),
        }
    }

    /// Rows of the matrix.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns of the matrix.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of panels.
    pub fn count(&self) -> usize {
        self.n.div_ceil(WIDTH)
    }

    /// The rows of all panels.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Bytes of a row of a panel.
    pub fn row_bytes(&self) -> usize {
        match &self.rows {
            Rows::F32(_) => size_of::<Wide>(),
            Rows::Bf16(_) => size_of::<Narrow>(),
        }
    }

    /// Writes the numbers of column `j` from row `first` on to `out`.
    pub fn column(&self, j: usize, first: usize, out: &mut [f32]) {
        assert!(j < self.n && first + out.len() <= self.k);
        let rows = j / WIDTH * self.k + first..j / WIDTH * self.k + first + out.len();
        let lane = j % WIDTH;
        match &self.rows {
            Rows::F32(all) => {
                for (x, row) in out.iter_mut().zip(&all[rows]) {
                    *x = row.0[lane];
                }
            }
            Rows::Bf16(all) => {
                for (x, row) in out.iter_mut().zip(&all[rows]) {
                    *x = f32::from_bits(u32::from(row.0[lane]) << 16);
                }
            }
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match &self.rows {
            Rows::F32(rows) => std::mem::size_of_val(rows.as_slice()),
            Rows::Bf16(rows) => std::mem::size_of_val(rows.as_slice()),
        }
    }
}
