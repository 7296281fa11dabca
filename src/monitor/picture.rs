//! Pictures for the eye: how far a value can be trusted, and what a search tree looks like.

use embedded_graphics::pixelcolor::Rgb888;
use serde::{Deserialize, Serialize};

use super::canvas::{BLACK, BLUE, CHARACTER, Canvas, GREY, WHITE};

/// A picture in RGB.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The encoded file.
    pub png: Vec<u8>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

/// Predictions of about the same probability, and what came of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share of them that came true.
    pub share: f64,
    /// Predictions.
    pub count: usize,
}

/// A node of a tree to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// Index of the parent, which comes before; `None` for the root.
    pub parent: Option<usize>,
    /// The token's text.
    pub label: String,
    pub visits: u32,
    /// Mean return, in [-1, 1].
    pub q: f64,
    /// For an end of the text: whether it is right.
    pub end: Option<bool>,
}

impl Picture {
    /// The reliability diagram of `bins`: predicted probability to the right, share that came true
    /// upwards, both from 0 to 1, and the counts below. A value that can be trusted lies on the
    /// diagonal.
    pub fn reliability(bins: &[Bin]) -> Picture {
        const SIDE: i32 = 300;
        const COUNTS: i32 = 60;
        let (left, top) = (40, 20);
        let bottom = top + SIDE;
        let foot = bottom + 24 + COUNTS;
        let mut canvas = Canvas::new((left + SIDE + 20) as u32, (foot + 30) as u32);
        canvas.text((left, 4), "share that is right", BLACK);
        for tenth in 0..=10 {
            let (x, y) = (left + SIDE * tenth / 10, bottom - SIDE * tenth / 10);
            canvas.line((left, y), (left + SIDE, y), GREY, 1);
            canvas.line((x, top), (x, bottom), GREY, 1);
            if tenth % 2 == 0 {
                let label = format!("0.{tenth}").replace("0.10", "1.0");
                canvas.text((left - 24, y - 5), &label, BLACK);
                canvas.text((x - 8, bottom + 6), &label, BLACK);
            }
        }
        canvas.line((left, bottom), (left + SIDE, top), BLACK, 1);
        let place = |bin: &Bin| {
            (
                left + (SIDE as f64 * bin.predicted) as i32,
                bottom - (SIDE as f64 * bin.share) as i32,
            )
        };
        for pair in bins.windows(2) {
            canvas.line(place(&pair[0]), place(&pair[1]), BLUE, 2);
        }
        let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
        for bin in bins {
            let (x, y) = place(bin);
            canvas.fill((x - 3, y - 3), (7, 7), BLUE);
            let height = (COUNTS as usize * bin.count).div_ceil(most) as i32;
            canvas.fill((x - 8, foot - height), (17, height as u32), BLUE);
        }
        canvas.line((left, foot), (left + SIDE, foot), BLACK, 1);
        let total: usize = bins.iter().map(|bin| bin.count).sum();
        let note = format!("predicted probability; {total} predictions");
        canvas.text((left, foot + 10), &note, BLACK);
        canvas.picture()
    }

    /// The most visited part of a tree, its root to the left. A node shows its token and visits;
    /// green and red are good and bad mean returns, `+` and `x` right and wrong ends, and the blue
    /// frame is the most visited path.
    pub fn tree(branches: &[Branch]) -> Picture {
        const LABEL: usize = 6;
        const CELL: (i32, i32) = ((LABEL as i32 + 6) * CHARACTER, 15);
        let drawn = Layout::of(branches);
        let width = CELL.0 * (drawn.columns as i32) + 8;
        let height = CELL.1 * (drawn.rows as i32) + 20;
        let mut canvas = Canvas::new(width as u32, height as u32);
        let place = |at: (f64, usize)| {
            (
                4 + CELL.0 * at.1 as i32,
                4 + (f64::from(CELL.1) * at.0) as i32,
            )
        };
        let size = ((CELL.0 - 10) as u32, (CELL.1 - 2) as u32);
        for (branch, at) in branches.iter().zip(&drawn.places) {
            let (Some(at), Some(parent)) = (at, branch.parent) else {
                continue;
            };
            if let Some(from) = drawn.places[parent] {
                let (x, y) = place(from);
                let middle = size.1 as i32 / 2;
                let to = place(*at);
                canvas.line(
                    (x + size.0 as i32, y + middle),
                    (to.0, to.1 + middle),
                    GREY,
                    1,
                );
            }
        }
        for (index, (branch, at)) in branches.iter().zip(&drawn.places).enumerate() {
            let Some(at) = at else { continue };
            let at = place(*at);
            canvas.fill(at, size, tint(branch.q));
            if drawn.main[index] {
                canvas.frame(at, size, BLUE);
            }
            let mark = match branch.end {
                Some(true) => "+",
                Some(false) => "x",
                None => "",
            };
            let label: String = branch
                .label
                .chars()
                .map(|c| match c {
                    ' ' => '\u{b7}',
                    '\n' => '\u{b6}',
                    c => c,
                })
                .take(LABEL)
                .collect();
            let text = format!("{label} {}{mark}", branch.visits);
            canvas.text((at.0 + 3, at.1 + 2), &text, BLACK);
        }
        let note = format!(
            "{} of {} nodes, those of at least {} visits",
            drawn.places.iter().flatten().count(),
            branches.len(),
            drawn.least
        );
        canvas.text((4, height - 13), &note, BLACK);
        canvas.picture()
    }
}

/// A light colour for a mean return: red for -1, white for 0, green for 1.
fn tint(q: f64) -> Rgb888 {
    let fade = |full: u8| {
        let strength = q.abs().min(1.0);
        (255.0 - strength * f64::from(255 - full)) as u8
    };
    match q.is_nan() {
        true => WHITE,
        false if q < 0.0 => Rgb888::new(fade(240), fade(150), fade(140)),
        false => Rgb888::new(fade(140), fade(215), fade(150)),
    }
}

/// Where the nodes of a tree go: row and column of those that are drawn.
struct Layout {
    places: Vec<Option<(f64, usize)>>,
    /// The most visited path.
    main: Vec<bool>,
    rows: usize,
    columns: usize,
    /// Visits of the least visited node that is drawn.
    least: u32,
}

impl Layout {
    /// Rows, so that a tree can be taken in at a glance.
    const ROWS: usize = 28;
    const COLUMNS: usize = 64;

    fn of(branches: &[Branch]) -> Layout {
        let mut children = vec![Vec::new(); branches.len()];
        let mut depth = vec![0; branches.len()];
        for (index, branch) in branches.iter().enumerate() {
            if let Some(parent) = branch.parent {
                children[parent].push(index);
                depth[index] = depth[parent] + 1;
            }
        }
        for list in &mut children {
            list.sort_by_key(|&child| std::cmp::Reverse(branches[child].visits));
        }
        // A node has at least the visits of each child, so that any threshold leaves a tree.
        let shown = |index: usize, least: u32| {
            index == 0 || (branches[index].visits >= least && depth[index] < Self::COLUMNS)
        };
        let leaves = |least: u32| {
            (0..branches.len())
                .filter(|&i| shown(i, least))
                .filter(|&i| !children[i].iter().any(|&c| shown(c, least)))
                .count()
        };
        let mut least = 1;
        while leaves(least) > Self::ROWS {
            least += 1;
        }
        let mut layout = Layout {
            places: vec![None; branches.len()],
            main: vec![false; branches.len()],
            rows: leaves(least).max(1),
            columns: 1,
            least,
        };
        let mut next = 0;
        // Children before their parents, the most visited first.
        let mut stack: Vec<(usize, bool)> =
            branches.first().map(|_| (0, false)).into_iter().collect();
        while let Some((index, ready)) = stack.pop() {
            let below = children[index].iter().copied().filter(|&c| shown(c, least));
            if !ready {
                stack.push((index, true));
                let below: Vec<usize> = below.collect();
                stack.extend(below.into_iter().rev().map(|child| (child, false)));
                continue;
            }
            let rows: Vec<f64> = below
                .filter_map(|child| layout.places[child].map(|place| place.0))
                .collect();
            let row = match rows.first() {
                // The most visited child goes straight on.
                Some(&row) => row,
                None => {
                    next += 1;
                    (next - 1) as f64
                }
            };
            layout.places[index] = Some((row, depth[index]));
            layout.columns = layout.columns.max(depth[index] + 1);
        }
        let mut at = Some(0);
        while let Some(index) = at.filter(|&index| index < branches.len()) {
            layout.main[index] = true;
            let best = children[index].first().copied();
            at = best.filter(|&child| branches[child].visits > 0);
        }
        layout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(parent: Option<usize>, visits: u32) -> Branch {
        Branch {
            parent,
            label: "tok".into(),
            visits,
            q: 0.5,
            end: None,
        }
    }

    #[test]
    fn a_tree_is_laid_out_with_the_most_visited_path_on_top() {
        let branches = [
            branch(None, 9),
            branch(Some(0), 3),
            branch(Some(0), 5),
            branch(Some(2), 1),
            branch(Some(2), 4),
            branch(Some(1), 0),
        ];
        let layout = Layout::of(&branches);
        let rows: Vec<_> = layout.places.iter().map(|p| p.map(|p| p.0)).collect();
        assert_eq!(
            rows,
            [Some(0.0), Some(2.0), Some(0.0), Some(1.0), Some(0.0), None]
        );
        assert_eq!(layout.main, [true, false, true, false, true, false]);
        assert_eq!((layout.rows, layout.columns, layout.least), (3, 3, 1));
    }

    #[test]
    fn a_wide_tree_is_pruned_to_its_most_visited_nodes() {
        let mut branches = vec![branch(None, 1000)];
        branches.extend((0..100).map(|i| branch(Some(0), i)));
        let layout = Layout::of(&branches);
        assert_eq!((layout.rows, layout.least), (28, 72));
        assert_eq!(layout.places.iter().flatten().count(), 29);
        let picture = Picture::tree(&branches);
        assert!(picture.height < 500 && picture.width < 300);
        assert!(picture.png.starts_with(b"\x89PNG"));
    }

    #[test]
    fn a_root_alone_and_no_bins_can_be_drawn() {
        assert!(Picture::tree(&[branch(None, 0)]).width > 0);
        assert!(Picture::tree(&[]).width > 0);
        assert!(Picture::reliability(&[]).width > 0);
    }
}
