//! A plot as an SVG document.

use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use std::fmt::Write;

use super::{BOTTOM, COLOURS, DASHES, Frame, HEIGHT, LEFT, Plot, RIGHT, Scale, TOP, WIDTH, legend};

impl Plot {
    /// The plot as an SVG document.
    pub fn svg(&self) -> String {
        let frame = Frame::of(self);
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
            escaped(&self.title)
        ));
        for value in frame.tenths() {
            let at = frame.y(value);
            line(format_args!(
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0}%</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                100.0 * value
            ));
        }
        for value in frame.ticks() {
            line(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>",
                frame.x(value),
                HEIGHT - BOTTOM + 18.0
            ));
        }
        line(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 8.0,
            escaped(&self.x)
        ));
        line(format_args!(
            "<text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escaped(&self.y)
        ));
        for (index, own) in self.lines.iter().enumerate() {
            let colour = hex(COLOURS[index % COLOURS.len()]);
            let dash = DASHES[index / COLOURS.len() % DASHES.len()];
            // Where colours are used again, marks are hollow.
            let inner = match index < COLOURS.len() {
                true => colour.clone(),
                false => "white".into(),
            };
            let mark = format!("r=\"3.4\" fill=\"{inner}\" stroke=\"{colour}\"");
            let name = escaped(&own.name);
            let dots = own.sorted();
            let place = |x: f64, y: f64| format!("{:.1},{:.1}", frame.x(x), frame.y(y));
            let path: Vec<String> = dots.iter().map(|d| place(d.x, d.y)).collect();
            let band = own.band && dots.len() > 1;
            if band {
                let upper = dots.iter().map(|d| place(d.x, d.high));
                let lower = dots.iter().rev().map(|d| place(d.x, d.low));
                let edge: Vec<String> = upper.chain(lower).collect();
                line(format_args!(
                    "<polygon points=\"{}\" fill=\"{colour}\" opacity=\"0.15\"/>",
                    edge.join(" ")
                ));
            }
            line(format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" \
                 stroke-dasharray=\"{dash}\"/>",
                path.join(" ")
            ));
            for dot in dots {
                let at = frame.x(dot.x);
                if !band {
                    line(format_args!(
                        "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" \
                         stroke=\"{colour}\" opacity=\"0.4\"/>",
                        frame.y(dot.low),
                        frame.y(dot.high),
                    ));
                }
                let value = match self.scale {
                    Scale::Log => format!("{:.0}", dot.x),
                    Scale::Eighths => dot.x.to_string(),
                };
                line(format_args!(
                    "<circle cx=\"{at:.1}\" cy=\"{:.1}\" {mark}>\
                     <title>{name}: {:.1}% ({:.1} to {:.1}) at {value}</title></circle>",
                    frame.y(dot.y),
                    100.0 * dot.y,
                    100.0 * dot.low,
                    100.0 * dot.high,
                ));
            }
            let at = legend(index);
            let left = WIDTH - RIGHT + 16.0;
            line(format_args!(
                "<line x1=\"{left}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\" stroke=\"{colour}\" \
                 stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\
                 <circle cx=\"{}\" cy=\"{at}\" {mark}/>\
                 <text x=\"{}\" y=\"{}\">{name}</text>",
                left + 22.0,
                left + 11.0,
                left + 28.0,
                at + 4.0,
            ));
        }
        line(format_args!("</svg>"));
        out
    }
}

fn hex(colour: Rgb888) -> String {
    format!("#{:02x}{:02x}{:02x}", colour.r(), colour.g(), colour.b())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
