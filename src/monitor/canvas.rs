//! A small picture to draw on.

use std::convert::Infallible;

use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_6X10;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Line, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Baseline, Text};

use super::Picture;

pub(super) const WHITE: Rgb888 = Rgb888::new(255, 255, 255);
pub(super) const BLACK: Rgb888 = Rgb888::new(30, 30, 30);
pub(super) const GREY: Rgb888 = Rgb888::new(190, 190, 190);
pub(super) const BLUE: Rgb888 = Rgb888::new(30, 90, 200);

/// Width of a character in pixels.
pub(super) const CHARACTER: i32 = 6;

/// Pixels, white at first. What is drawn outside is left out.
pub(super) struct Canvas {
    size: Size,
    pixels: Vec<u8>,
}

impl Canvas {
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            size: Size::new(width, height),
            pixels: vec![255; 3 * width as usize * height as usize],
        }
    }

    pub fn line(&mut self, from: (i32, i32), to: (i32, i32), color: Rgb888, width: u32) {
        let style = PrimitiveStyle::with_stroke(color, width);
        let line = Line::new(from.into(), to.into()).into_styled(style);
        self.draw(&line);
    }

    /// Fills the rectangle of `size` whose upper left corner is `at`.
    pub fn fill(&mut self, at: (i32, i32), size: (u32, u32), color: Rgb888) {
        let area = Rectangle::new(at.into(), size.into());
        self.draw(&area.into_styled(PrimitiveStyle::with_fill(color)));
    }

    /// Frames the rectangle of `size` whose upper left corner is `at`.
    pub fn frame(&mut self, at: (i32, i32), size: (u32, u32), color: Rgb888) {
        let area = Rectangle::new(at.into(), size.into());
        self.draw(&area.into_styled(PrimitiveStyle::with_stroke(color, 1)));
    }

    /// Writes `text` with its upper left corner at `at`.
    pub fn text(&mut self, at: (i32, i32), text: &str, color: Rgb888) {
        let style = MonoTextStyle::new(&FONT_6X10, color);
        self.draw(&Text::with_baseline(text, at.into(), style, Baseline::Top));
    }

    fn draw(&mut self, thing: &impl Drawable<Color = Rgb888>) {
        let Ok(_) = thing.draw(self);
    }

    /// The picture as PNG.
    pub fn picture(self) -> Picture {
        let (width, height) = (self.size.width, self.size.height);
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        // Writing to memory fails only where the pixels do not match the size.
        let written = encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.pixels));
        debug_assert!(written.is_ok(), "{written:?}");
        Picture { width, height, png }
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        self.size
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(at, color) in pixels {
            if !self.bounding_box().contains(at) {
                continue;
            }
            let start = 3 * (at.y as usize * self.size.width as usize + at.x as usize);
            self.pixels[start..start + 3].copy_from_slice(&[color.r(), color.g(), color.b()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_in_the_png() {
        let mut canvas = Canvas::new(7, 5);
        canvas.fill((1, 2), (3, 9), BLUE);
        let picture = canvas.picture();
        let mut reader = png::Decoder::new(std::io::Cursor::new(picture.png))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels.len(), 3 * 7 * 5);
        let pixel = |x: usize, y: usize| &pixels[3 * (7 * y + x)..][..3];
        assert_eq!(pixel(0, 2), [255; 3]);
        assert_eq!(pixel(1, 1), [255; 3]);
        assert_eq!(pixel(1, 2), [BLUE.r(), BLUE.g(), BLUE.b()]);
        assert_eq!(pixel(3, 4), [BLUE.r(), BLUE.g(), BLUE.b()]);
        assert_eq!(pixel(4, 4), [255; 3]);
    }
}
