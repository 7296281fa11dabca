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

    /// The most visited part of a tree, its root to the left. A box is a chain of tokens without a
    /// choice, with the visits of the first; green and red are good and bad mean returns, `+` and `x`
    /// right and wrong ends, and the blue frames are the most visited path.
    pub fn tree(branches: &[Branch]) -> Picture {
        const ROW: i32 = 17;
        const HEIGHT: u32 = 14;
        const GAP: i32 = 14;
        let chains = chains(branches);
        let drawn = Layout::of(&chains);
        let texts: Vec<String> = chains.iter().map(Branch::text).collect();
        let width = |index: usize| CHARACTER * texts[index].chars().count() as i32 + 7;
        let mut left = vec![4; chains.len()];
        for (index, chain) in chains.iter().enumerate() {
            if let Some(parent) = chain.parent {
                left[index] = left[parent] + width(parent) + GAP;
            }
        }
        let top = |row: f64| 4 + (f64::from(ROW) * row) as i32;
        let note = format!(
            "{} nodes, {} chains; drawn are those of at least {} visits",
            branches.len(),
            chains.len(),
            drawn.least
        );
        let boxes: Vec<(usize, f64)> = (0..chains.len())
            .filter_map(|index| Some((index, drawn.rows[index]?)))
            .collect();
        let right = boxes.iter().map(|&(i, _)| left[i] + width(i) + 4);
        let least = 8 + CHARACTER * note.chars().count() as i32;
        let right = right.fold(least, i32::max);
        let bottom = ROW * drawn.count as i32 + 6;
        let mut canvas = Canvas::new(right as u32, bottom as u32 + 14);
        for &(index, row) in &boxes {
            let Some(parent) = chains[index].parent else {
                continue;
            };
            let Some(from) = drawn.rows[parent] else {
                continue;
            };
            let middle = HEIGHT as i32 / 2;
            let start = (left[parent] + width(parent), top(from) + middle);
            canvas.line(start, (left[index], top(row) + middle), GREY, 1);
        }
        for &(index, row) in &boxes {
            let at = (left[index], top(row));
            let size = (width(index) as u32, HEIGHT);
            canvas.fill(at, size, tint(chains[index].q));
            if drawn.main[index] {
                canvas.frame(at, size, BLUE);
            }
            canvas.text((at.0 + 4, at.1 + 2), &texts[index], BLACK);
        }
        canvas.text((4, bottom), &note, BLACK);
        canvas.picture()
    }
}

impl Branch {
    /// As it is written into its box.
    fn text(&self) -> String {
        const LABEL: usize = 44;
        let mark = match self.end {
            Some(true) => " +",
            Some(false) => " x",
            None => "",
        };
        let mut label: String = self.label.chars().take(LABEL).collect();
        if self.label.chars().count() > LABEL {
            label += "...";
        }
        format!("{}: {}{mark}", self.visits, label.replace('\n', "\u{b6}"))
    }
}

/// The visited part of a tree with chains, nodes of which each but the last has one visited child,
/// made one. The root stays by itself.
fn chains(branches: &[Branch]) -> Vec<Branch> {
    let mut visited_children = vec![0; branches.len()];
    for branch in branches.iter().filter(|branch| branch.visits > 0) {
        if let Some(parent) = branch.parent {
            visited_children[parent] += 1;
        }
    }
    let mut chains: Vec<Branch> = Vec::new();
    let mut chain_of = vec![0; branches.len()];
    for (index, branch) in branches.iter().enumerate() {
        let Some(parent) = branch.parent else {
            chains.push(branch.clone());
            continue;
        };
        if branch.visits == 0 {
            continue;
        }
        let chain = chain_of[parent];
        if branches[parent].parent.is_some() && visited_children[parent] == 1 {
            chains[chain].label += &branch.label;
            chains[chain].end = branch.end;
            chain_of[index] = chain;
            continue;
        }
        chain_of[index] = chains.len();
        chains.push(Branch {
            parent: Some(chain),
            ..branch.clone()
        });
    }
    chains
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

/// Where the nodes of a tree go, from top to bottom.
struct Layout {
    /// Rows of those that are drawn.
    rows: Vec<Option<f64>>,
    /// The most visited path.
    main: Vec<bool>,
    /// Rows in all.
    count: usize,
    /// Visits of the least visited node that is drawn.
    least: u32,
}

impl Layout {
    /// Rows, so that a tree can be taken in at a glance.
    const ROWS: usize = 28;

    fn of(branches: &[Branch]) -> Layout {
        let mut children = vec![Vec::new(); branches.len()];
        for (index, branch) in branches.iter().enumerate() {
            if let Some(parent) = branch.parent {
                children[parent].push(index);
            }
        }
        for list in &mut children {
            list.sort_by_key(|&child| std::cmp::Reverse(branches[child].visits));
        }
        // A node has at least the visits of each child, so that any threshold leaves a tree.
        let shown = |index: usize, least: u32| index == 0 || branches[index].visits >= least;
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
            rows: vec![None; branches.len()],
            main: vec![false; branches.len()],
            count: leaves(least).max(1),
            least,
        };
        let mut next = 0;
        // Children before their parents, the most visited first.
        let root = branches.first().map(|_| (0, false));
        let mut stack: Vec<(usize, bool)> = root.into_iter().collect();
        while let Some((index, ready)) = stack.pop() {
            let mut below = children[index].iter().copied().filter(|&c| shown(c, least));
            if !ready {
                stack.push((index, true));
                let below: Vec<usize> = below.collect();
                stack.extend(below.into_iter().rev().map(|child| (child, false)));
                continue;
            }
            // The most visited child goes straight on.
            let row = below.next().and_then(|child| layout.rows[child]);
            layout.rows[index] = Some(row.unwrap_or_else(|| {
                next += 1;
                f64::from(next - 1)
            }));
        }
        let mut at = branches.first().map(|_| 0);
        while let Some(index) = at {
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
        assert_eq!(
            layout.rows,
            [Some(0.0), Some(2.0), Some(0.0), Some(1.0), Some(0.0), None]
        );
        assert_eq!(layout.main, [true, false, true, false, true, false]);
        assert_eq!((layout.count, layout.least), (3, 1));
    }

    #[test]
    fn chains_become_one() {
        let label = |text: &str, branch: Branch| Branch {
            label: text.into(),
            ..branch
        };
        let end = |branch: Branch| Branch {
            end: Some(true),
            ..branch
        };
        let branches = [
            branch(None, 9),
            label(" 3", branch(Some(0), 8)),
            label(" +", branch(Some(1), 7)),
            label(" 1", branch(Some(2), 4)),
            label(" 2", branch(Some(2), 2)),
            label("\n", end(branch(Some(3), 4))),
            label("unvisited", branch(Some(3), 0)),
        ];
        let found: Vec<_> = chains(&branches)
            .iter()
            .map(|c| (c.parent, c.text()))
            .collect();
        let text = |text: &str| text.to_owned();
        assert_eq!(
            found,
            [
                (None, text("9: tok")),
                (Some(0), text("8:  3 +")),
                (Some(1), text("4:  1\u{b6} +")),
                (Some(1), text("2:  2")),
            ]
        );
    }

    #[test]
    fn a_wide_tree_is_pruned_to_its_most_visited_nodes() {
        let mut branches = vec![branch(None, 1000)];
        branches.extend((0..100).map(|i| branch(Some(0), i)));
        let layout = Layout::of(&branches);
        assert_eq!((layout.count, layout.least), (28, 72));
        assert_eq!(layout.rows.iter().flatten().count(), 29);
        let picture = Picture::tree(&branches);
        assert!(picture.height < 520 && picture.width < 500);
        assert!(picture.png.starts_with(b"\x89PNG"));
    }

    #[test]
    fn a_root_alone_and_no_bins_can_be_drawn() {
        assert!(Picture::tree(&[branch(None, 0)]).width > 0);
        assert!(Picture::tree(&[]).width > 0);
        assert!(Picture::reliability(&[]).width > 0);
    }
}
