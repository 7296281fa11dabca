//! A plot of lines with 95% intervals, as an SVG document and as a picture.

mod raster;
mod svg;

use embedded_graphics::pixelcolor::Rgb888;
use std::path::Path;

use super::{Error, Monitor};

/// Lines over an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    pub title: String,
    /// What is to the right, and what is up.
    pub x: String,
    pub y: String,
    pub scale: Scale,
    /// Where the vertical axis begins, in tenths of 1.
    pub from: u32,
    pub lines: Vec<Line>,
}

/// Of the horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Powers of two; nothing is below 1.
    Log,
    /// From 0 to 1, in eighths.
    Eighths,
}

/// A line by its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: String,
    pub dots: Vec<Dot>,
    /// Whether the intervals are drawn as a band along the line, not as a bar at each dot.
    pub band: bool,
}

/// A point of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dot {
    pub x: f64,
    /// 0 to 1, as are the ends of its interval.
    pub y: f64,
    pub low: f64,
    pub high: f64,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 48.0;

/// Colours that also people who see few of them tell apart (Okabe and Ito, 2008), and dashes for the
/// lines after them.
const COLOURS: [Rgb888; 7] = [
    Rgb888::new(0x00, 0x72, 0xb2),
    Rgb888::new(0xd5, 0x5e, 0x00),
    Rgb888::new(0x00, 0x9e, 0x73),
    Rgb888::new(0xcc, 0x79, 0xa7),
    Rgb888::new(0xe6, 0x9f, 0x00),
    Rgb888::new(0x56, 0xb4, 0xe9),
    Rgb888::new(0x44, 0x44, 0x44),
];
const DASHES: [&str; 3] = ["", "6 3", "2 3"];

/// Where numbers are on the page.
struct Frame {
    scale: Scale,
    /// Ends of the axes; of a logarithmic one the powers.
    across: (f64, f64),
    up: (f64, f64),
}

impl Frame {
    fn of(plot: &Plot) -> Frame {
        let dots = || plot.lines.iter().flat_map(|line| &line.dots);
        let across = match plot.scale {
            Scale::Eighths => (0.0, 1.0),
            Scale::Log => {
                let least = dots().map(|d| d.x).fold(f64::INFINITY, f64::min).max(1.0);
                let least = if least.is_finite() { least } else { 1.0 };
                let most = dots().map(|d| d.x).fold(least * 2.0, f64::max);
                (least.log2().floor(), most.log2().ceil())
            }
        };
        let from = f64::from(plot.from) / 10.0;
        let top = dots().map(|d| d.high).fold(from + 0.05, f64::max);
        Frame {
            scale: plot.scale,
            across,
            up: (from, (top * 10.0).ceil() / 10.0),
        }
    }

    fn x(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Log => value.max(1.0).log2(),
            Scale::Eighths => value,
        };
        let share = (place - self.across.0) / (self.across.1 - self.across.0);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.up.0) / (self.up.1 - self.up.0);
        TOP + (1.0 - share.max(0.0)) * (HEIGHT - TOP - BOTTOM)
    }

    /// Numbers beside the vertical axis.
    fn tenths(&self) -> impl Iterator<Item = f64> {
        let tenth = |value: f64| (value * 10.0).round() as u32;
        (tenth(self.up.0)..=tenth(self.up.1)).map(|step| f64::from(step) / 10.0)
    }

    /// Numbers below the horizontal axis.
    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Log => {
                let powers = self.across.0 as i32..=self.across.1 as i32;
                powers.map(|power| 2f64.powi(power)).collect()
            }
            Scale::Eighths => (0..=8).map(|eighth| f64::from(eighth) / 8.0).collect(),
        }
    }
}

/// Writes `lines` below `dir` as [`Line::report`] does, each as a run of its own: TensorBoard has a colour
/// for a run, not for a line.
///
/// # Errors
/// A folder or file that cannot be written.
pub fn board(dir: &Path, tag: &str, unit: f64, lines: &[Line]) -> Result<(), Error> {
    for line in lines {
        let folder = dir.join(line.name.replace('/', "-"));
        let monitor = Monitor::builder().tensorboard(folder).build()?;
        line.report(tag, unit, &monitor);
        monitor.flush()?;
    }
    Ok(())
}

impl Line {
    /// Reports the line as the curves `tag`, `tag_low` and `tag_high`; `unit` times what is to the right
    /// takes the place of the steps, to the next whole number.
    pub fn report(&self, tag: &str, unit: f64, monitor: &Monitor) {
        let ends = [format!("{tag}_low"), format!("{tag}_high")];
        let mut next = 0;
        for dot in self.sorted() {
            // Two dots may come to the same number, but no two values to one step.
            let step = ((unit * dot.x).round() as u64).max(next);
            next = step + 1;
            let values = [(tag, dot.y), (&ends[0], dot.low), (&ends[1], dot.high)];
            monitor.scalars(&values, step);
        }
    }

    fn sorted(&self) -> Vec<Dot> {
        let mut dots = self.dots.clone();
        dots.sort_by(|a, b| a.x.total_cmp(&b.x));
        dots
    }
}

/// How far down a line is named.
fn legend(index: usize) -> f64 {
    TOP + 8.0 + 18.0 * index as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(x: f64, y: f64) -> Dot {
        Dot {
            x,
            y,
            low: y - 0.1,
            high: y + 0.1,
        }
    }

    fn plot() -> Plot {
        Plot {
            title: "title".into(),
            x: "x".into(),
            y: "y".into(),
            scale: Scale::Log,
            from: 0,
            lines: vec![
                Line {
                    name: "a<b".into(),
                    dots: vec![dot(120.0, 0.6), dot(30.0, 0.4)],
                    band: true,
                },
                Line {
                    name: "c".into(),
                    dots: vec![dot(64.0, 0.5)],
                    band: true,
                },
            ],
        }
    }

    #[test]
    fn a_plot_is_whole_and_escapes_names() {
        let text = plot().svg();
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        assert!(text.contains("a&lt;b") && !text.contains("a<b"));
        assert_eq!(text.matches("<title>").count(), 3);
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }

    #[test]
    fn a_band_follows_the_intervals_and_one_dot_has_a_bar() {
        let text = plot().svg();
        assert_eq!(text.matches("<polygon").count(), 1);
        assert_eq!(text.matches("opacity=\"0.4\"").count(), 1);
        // Upper ends to the right, lower ends back: .5 and .7, .5 and .3 at 30 and 120 of 16 to 128.
        let frame = Frame::of(&plot());
        let (a, b) = (frame.x(30.0), frame.x(120.0));
        let edge = [(a, 0.5), (b, 0.7), (b, 0.5), (a, 0.3)];
        let points = edge
            .map(|(x, y)| format!("{x:.1},{:.1}", frame.y(y)))
            .join(" ");
        assert!(
            text.contains(&format!("<polygon points=\"{points}\"")),
            "{text}"
        );
        assert!(
            (frame.x(16.0) - LEFT).abs() < 1e-9 && (frame.y(0.0) - (HEIGHT - BOTTOM)).abs() < 1e-9
        );
    }

    #[test]
    fn a_picture_has_the_colours_of_its_lines() {
        let picture = plot().picture();
        assert_eq!((picture.width, picture.height), (860, 480));
        let mut reader = png::Decoder::new(std::io::Cursor::new(picture.png))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let frame = Frame::of(&plot());
        let at = |x: f64, y: f64| {
            let start = 3 * (frame.y(y) as usize * 860 + frame.x(x) as usize);
            [pixels[start], pixels[start + 1], pixels[start + 2]]
        };
        assert_eq!(at(30.0, 0.4), [0x00, 0x72, 0xb2]);
        assert_eq!(at(64.0, 0.5), [0xd5, 0x5e, 0x00]);
        assert_eq!(at(100.0, 0.05), [255; 3]);
    }

    #[test]
    fn curves_have_no_two_values_at_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let monitor = Monitor::builder().json_lines(&path).build().unwrap();
        let line = Line {
            name: "vote".into(),
            dots: vec![dot(31.2, 0.5), dot(30.9, 0.25), dot(60.0, 0.75)],
            band: false,
        };
        line.report("a/b", 1.0, &monitor);
        monitor.flush().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let found: Vec<(u64, f64)> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|event| event["tag"] == "a/b")
            .map(|event| {
                (
                    event["step"].as_u64().unwrap(),
                    event["value"].as_f64().unwrap(),
                )
            })
            .collect();
        assert_eq!(found, [(31, 0.25), (32, 0.5), (60, 0.75)]);
    }

    #[test]
    fn each_line_is_a_run() {
        let dir = tempfile::tempdir().unwrap();
        board(dir.path(), "a/b", 1.0, &plot().lines).unwrap();
        for name in ["a<b", "c"] {
            assert_eq!(std::fs::read_dir(dir.path().join(name)).unwrap().count(), 1);
        }
    }

    #[test]
    fn nothing_can_be_plotted() {
        let none = Plot {
            lines: Vec::new(),
            ..plot()
        };
        assert!(!none.svg().contains("NaN") && none.picture().width > 0);
        let shares = Plot {
            scale: Scale::Eighths,
            from: 4,
            ..none
        };
        assert!(shares.svg().contains(">0.125</text>") && shares.svg().contains(">40%</text>"));
    }
}
