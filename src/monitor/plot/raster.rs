//! A plot as a picture.

use embedded_graphics::pixelcolor::{Rgb888, RgbColor};

use super::super::Picture;
use super::super::canvas::{BLACK, Canvas, GREY, WHITE};
use super::{BOTTOM, COLOURS, Frame, HEIGHT, LEFT, Plot, RIGHT, TOP, WIDTH, legend};

impl Plot {
    /// The plot as a picture; a band is drawn by its edges.
    pub fn picture(&self) -> Picture {
        let frame = Frame::of(self);
        let mut canvas = Canvas::new(WIDTH as u32, HEIGHT as u32);
        let (left, right) = (LEFT as i32, (WIDTH - RIGHT) as i32);
        canvas.text((left, 12), &self.title, BLACK);
        for value in frame.tenths() {
            let at = frame.y(value) as i32;
            canvas.line((left, at), (right, at), GREY, 1);
            canvas.text(
                (left - 34, at - 5),
                &format!("{:>3.0}%", 100.0 * value),
                BLACK,
            );
        }
        for value in frame.ticks() {
            let text = value.to_string();
            let at = frame.x(value) as i32 - 3 * text.len() as i32;
            canvas.text((at, (HEIGHT - BOTTOM) as i32 + 8), &text, BLACK);
        }
        let middle = (left + right) / 2 - 3 * self.x.len() as i32;
        canvas.text((middle, HEIGHT as i32 - 18), &self.x, BLACK);
        canvas.text((left, TOP as i32 - 12), &self.y, BLACK);
        for (index, own) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            // Where colours are used again, lines are thin and marks hollow.
            let first = index < COLOURS.len();
            let width = if first { 2 } else { 1 };
            let mark = |canvas: &mut Canvas, (x, y): (i32, i32)| {
                canvas.fill((x - 3, y - 3), (7, 7), colour);
                if !first {
                    canvas.fill((x - 2, y - 2), (5, 5), WHITE);
                }
            };
            let dots = own.sorted();
            let place = |x: f64, y: f64| (frame.x(x) as i32, frame.y(y) as i32);
            for pair in dots.windows(2) {
                let (a, b) = (&pair[0], &pair[1]);
                canvas.line(place(a.x, a.y), place(b.x, b.y), colour, width);
                if own.band {
                    canvas.line(place(a.x, a.low), place(b.x, b.low), light(colour), 1);
                    canvas.line(place(a.x, a.high), place(b.x, b.high), light(colour), 1);
                }
            }
            for dot in &dots {
                if !own.band || dots.len() == 1 {
                    let (low, high) = (place(dot.x, dot.low), place(dot.x, dot.high));
                    canvas.line(low, high, light(colour), 1);
                }
                mark(&mut canvas, place(dot.x, dot.y));
            }
            let at = legend(index) as i32;
            canvas.line((right + 16, at), (right + 38, at), colour, width);
            mark(&mut canvas, (right + 27, at));
            canvas.text((right + 44, at - 5), &own.name, BLACK);
        }
        canvas.picture()
    }
}

/// Half way to white.
fn light(colour: Rgb888) -> Rgb888 {
    let half = |part: u8| 128 + part / 2;
    Rgb888::new(half(colour.r()), half(colour.g()), half(colour.b()))
}
