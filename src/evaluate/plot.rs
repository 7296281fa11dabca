//! A plot as an SVG document: lines with 95% intervals over a logarithmic axis.

use std::collections::BTreeMap;
use std::fmt::Write;

/// A point of a line.
pub(super) struct Dot {
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
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444",
];
const DASHES: [&str; 3] = ["", "6 3", "2 3"];

/// Draws `lines` by name.
pub(super) fn svg(title: &str, x: &str, y: &str, lines: &BTreeMap<String, Vec<Dot>>) -> String {
    let dots = || lines.values().flatten();
    let least = dots().map(|d| d.x).fold(f64::INFINITY, f64::min).max(1.0);
    let most = dots().map(|d| d.x).fold(least * 2.0, f64::max);
    let top = dots().map(|d| d.high).fold(0.05, f64::max);
    let top = (top * 10.0).ceil() / 10.0;
    let (from, to) = (least.log2().floor(), most.log2().ceil());
    let across = |value: f64| {
        let share = (value.max(1.0).log2() - from) / (to - from);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    let down = |value: f64| TOP + (1.0 - value / top) * (HEIGHT - TOP - BOTTOM);
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{text}");
    };
    line(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">"
    ));
    line(format_args!(
        "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    ));
    line(format_args!(
        "<text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>",
        escaped(title)
    ));
    for step in 0..=(top * 10.0).round() as u32 {
        let value = f64::from(step) / 10.0;
        let at = down(value);
        line(format_args!(
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0}%</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            100.0 * value
        ));
    }
    for power in from as i32..=to as i32 {
        let value = 2f64.powi(power);
        line(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>",
            across(value),
            HEIGHT - BOTTOM + 18.0
        ));
    }
    line(format_args!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 8.0,
        escaped(x)
    ));
    line(format_args!(
        "<text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (TOP + HEIGHT - BOTTOM) / 2.0,
        escaped(y)
    ));
    for (index, (name, dots)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let dash = DASHES[index / COLOURS.len() % DASHES.len()];
        let mut dots: Vec<&Dot> = dots.iter().collect();
        dots.sort_by(|a, b| a.x.total_cmp(&b.x));
        let path: Vec<String> = dots
            .iter()
            .map(|d| format!("{:.1},{:.1}", across(d.x), down(d.y)))
            .collect();
        line(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" \
             stroke-dasharray=\"{dash}\"/>",
            path.join(" ")
        ));
        for dot in dots {
            let at = across(dot.x);
            line(format_args!(
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" \
                 stroke=\"{colour}\" opacity=\"0.4\"/>\
                 <circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3.4\" fill=\"{colour}\">\
                 <title>{}: {:.1}% ({:.1} to {:.1}) at {:.0}</title></circle>",
                down(dot.low),
                down(dot.high),
                down(dot.y),
                escaped(name),
                100.0 * dot.y,
                100.0 * dot.low,
                100.0 * dot.high,
                dot.x
            ));
        }
        let at = TOP + 8.0 + 18.0 * index as f64;
        let left = WIDTH - RIGHT + 16.0;
        line(format_args!(
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\" stroke=\"{colour}\" \
             stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            left + 22.0,
            left + 28.0,
            at + 4.0,
            escaped(name)
        ));
    }
    line(format_args!("</svg>"));
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_whole_and_escapes_names() {
        let dot = |x, y| Dot {
            x,
            y,
            low: y - 0.1,
            high: y + 0.1,
        };
        let lines = BTreeMap::from([
            ("a<b".to_string(), vec![dot(30.0, 0.4), dot(120.0, 0.6)]),
            ("c".to_string(), vec![dot(64.0, 0.5)]),
        ]);
        let text = svg("title", "x", "y", &lines);
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        assert!(text.contains("a&lt;b") && !text.contains("a<b"));
        assert_eq!(text.matches("<circle").count(), 3);
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }
}
