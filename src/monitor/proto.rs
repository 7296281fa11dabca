//! The few protocol buffer messages that TensorBoard reads, encoded by hand:
//! `tensorboard-rs` builds messages for scalars and histograms only, from types of
//! crates that it does not re-export. Field numbers are those of TensorFlow's
//! `event.proto`, `summary.proto`, `tensor.proto` and `tensor_shape.proto`.

use super::seen::{END, EXPERIMENT, LAYOUT, START};
use super::{Category, Event, Histogram, Layout, Lines, Picture, Setting, Start};

/// A message under construction. Fields are written in the order of the calls.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn int(self, field: u64, value: u64) -> Self {
        self.varint(field << 3).varint(value)
    }

    fn double(self, field: u64, value: f64) -> Self {
        let mut message = self.varint(field << 3 | 1);
        message.0.extend(value.to_le_bytes());
        message
    }

    fn float(self, field: u64, value: f32) -> Self {
        let mut message = self.varint(field << 3 | 5);
        message.0.extend(value.to_le_bytes());
        message
    }

    fn bytes(self, field: u64, value: &[u8]) -> Self {
        let mut message = self.varint(field << 3 | 2).varint(value.len() as u64);
        message.0.extend(value);
        message
    }

    fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, &value.0)
    }

    fn doubles(self, field: u64, values: impl Iterator<Item = f64>) -> Self {
        let packed: Vec<u8> = values.flat_map(f64::to_le_bytes).collect();
        self.bytes(field, &packed)
    }
}

/// The record that opens an event file.
pub(super) fn file_version(time: f64) -> Vec<u8> {
    Message::default()
        .double(1, time)
        .bytes(3, b"brain.Event:2")
        .0
}

/// `Event { wall_time, step, summary }`.
pub(super) fn event(time: f64, event: &Event) -> Vec<u8> {
    let (step, summary) = match event {
        Event::Scalars { step, values } => {
            let summary = values.iter().fold(Message::default(), |summary, (tag, v)| {
                let value = Message::default().bytes(1, tag.as_bytes());
                summary.message(1, value.float(2, *v as f32))
            });
            (step, summary)
        }
        Event::Text { tag, step, text } => {
            let value = Message::default()
                .bytes(1, tag.as_bytes())
                .message(8, string_tensor(text))
                .message(9, plugin("text"));
            (step, Message::default().message(1, value))
        }
        Event::Histogram {
            tag,
            step,
            histogram,
        } => {
            let value = Message::default()
                .bytes(1, tag.as_bytes())
                .message(5, buckets(histogram));
            (step, Message::default().message(1, value))
        }
        Event::Picture { tag, step, picture } => {
            let value = Message::default()
                .bytes(1, tag.as_bytes())
                .message(4, image(picture));
            (step, Message::default().message(1, value))
        }
        Event::Layout(charts) => {
            let value = Message::default()
                .bytes(1, LAYOUT.as_bytes())
                .message(8, bytes_tensor(&layout(charts).0))
                .message(9, plugin("custom_scalars"));
            (&0, Message::default().message(1, value))
        }
        Event::Start(start) => {
            let summary = Message::default()
                .message(1, hparams(EXPERIMENT, 2, experiment(start)))
                .message(1, hparams(START, 3, session_start(start, time)));
            (&0, summary)
        }
        Event::End => {
            const SUCCESS: u64 = 1;
            let end = Message::default().int(1, SUCCESS).double(2, time);
            (&0, Message::default().message(1, hparams(END, 4, end)))
        }
    };
    Message::default()
        .double(1, time)
        .int(2, *step)
        .message(5, summary)
        .0
}

/// Step and tags of an event that this module wrote; `None` for other bytes.
pub(super) fn step_and_tags(event: &[u8]) -> Option<(u64, Vec<String>)> {
    let (mut step, mut tags) = (0, Vec::new());
    for field in fields(event) {
        match field? {
            (2, Field::Int(value)) => step = value,
            (5, Field::Bytes(summary)) => {
                for value in fields(summary) {
                    let (1, Field::Bytes(value)) = value? else {
                        continue;
                    };
                    for part in fields(value) {
                        if let (1, Field::Bytes(tag)) = part? {
                            tags.push(String::from_utf8(tag.to_vec()).ok()?);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Some((step, tags))
}

/// A field's content as far as it is read.
enum Field<'a> {
    Int(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The fields of a message with their numbers; ends with `None` where the bytes are no message.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Option<(u64, Field<'_>)>> {
    fn varint(rest: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, after) = rest.split_first()?;
            *rest = after;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    fn take<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
        let (taken, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        *rest = after;
        Some(taken)
    }
    fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
        let key = varint(rest)?;
        let content = match key & 7 {
            0 => Field::Int(varint(rest)?),
            1 => take(rest, 8).map(|_| Field::Fixed)?,
            2 => {
                let length = varint(rest)?;
                Field::Bytes(take(rest, length)?)
            }
            5 => take(rest, 4).map(|_| Field::Fixed)?,
            _ => return None,
        };
        Some((key >> 3, content))
    }
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = field(&mut rest);
        if found.is_none() {
            rest = &[];
        }
        Some(found)
    })
}

/// `HistogramProto`.
fn buckets(histogram: &Histogram) -> Message {
    Message::default()
        .double(1, histogram.min)
        .double(2, histogram.max)
        .double(3, histogram.count as f64)
        .double(4, histogram.sum)
        .double(5, histogram.sum_squares)
        .doubles(6, histogram.limits.iter().copied())
        .doubles(7, histogram.counts.iter().map(|&c| c as f64))
}

/// `Summary.Image` in RGB.
fn image(picture: &Picture) -> Message {
    const RGB: u64 = 3;
    Message::default()
        .int(1, u64::from(picture.height))
        .int(2, u64::from(picture.width))
        .int(3, RGB)
        .bytes(4, &picture.png)
}

/// `Layout` of the custom scalars plugin.
fn layout(layout: &Layout) -> Message {
    layout
        .categories
        .iter()
        .fold(Message::default(), |message, category| {
            message.message(2, charts(category))
        })
}

fn charts(category: &Category) -> Message {
    let message = Message::default().bytes(1, category.title.as_bytes());
    category.charts.iter().fold(message, |message, chart| {
        let title = Message::default().bytes(1, chart.title.as_bytes());
        message.message(
            2,
            match &chart.lines {
                Lines::Plain(tags) => title.message(2, strings(1, tags)),
                Lines::Intervals(series) => {
                    let series = series.iter().fold(Message::default(), |all, tags| {
                        let one = (1..)
                            .zip(tags)
                            .fold(Message::default(), |one, (field, tag)| {
                                one.bytes(field, tag.as_bytes())
                            });
                        all.message(1, one)
                    });
                    title.message(3, series)
                }
            },
        )
    })
}

fn strings(field: u64, texts: &[String]) -> Message {
    texts.iter().fold(Message::default(), |message, text| {
        message.bytes(field, text.as_bytes())
    })
}

/// A value whose metadata holds `HParamsPluginData { <field>: content }`, which is where that plugin
/// looks; its tensor is empty.
fn hparams(tag: &str, field: u64, content: Message) -> Message {
    const DT_FLOAT: u64 = 1;
    let data = Message::default().message(field, content);
    let plugin = Message::default().bytes(1, b"hparams").message(2, data);
    let shape = Message::default().message(2, Message::default().int(1, 0));
    Message::default()
        .bytes(1, tag.as_bytes())
        .message(8, Message::default().int(1, DT_FLOAT).message(2, shape))
        .message(9, Message::default().message(1, plugin))
}

/// `Experiment`: names and types of the settings, and the metrics.
fn experiment(start: &Start) -> Message {
    let mut message = Message::default();
    for (name, setting) in &start.settings {
        let kind = match setting {
            Setting::Text(_) => 1,
            Setting::Flag(_) => 2,
            Setting::Number(_) => 3,
        };
        let info = Message::default().bytes(1, name.as_bytes()).int(4, kind);
        message = message.message(4, info);
    }
    for tag in &start.metrics {
        let name = Message::default().bytes(2, tag.as_bytes());
        message = message.message(5, Message::default().message(1, name));
    }
    message
}

/// `SessionStartInfo`.
fn session_start(start: &Start, time: f64) -> Message {
    let mut message = Message::default();
    for (name, setting) in &start.settings {
        let value = match setting {
            Setting::Number(x) => Message::default().double(2, *x),
            Setting::Text(text) => Message::default().bytes(3, text.as_bytes()),
            Setting::Flag(on) => Message::default().int(4, u64::from(*on)),
        };
        let entry = Message::default()
            .bytes(1, name.as_bytes())
            .message(2, value);
        message = message.message(1, entry);
    }
    message.bytes(4, start.name.as_bytes()).double(5, time)
}

/// `TensorProto` of type DT_STRING and shape `[1]`, which is what the text plugin shows.
fn string_tensor(text: &str) -> Message {
    bytes_tensor(text.as_bytes())
}

fn bytes_tensor(bytes: &[u8]) -> Message {
    const DT_STRING: u64 = 7;
    let shape = Message::default().message(2, Message::default().int(1, 1));
    Message::default()
        .int(1, DT_STRING)
        .message(2, shape)
        .bytes(8, bytes)
}

/// `SummaryMetadata { plugin_data { plugin_name } }`.
fn plugin(name: &str) -> Message {
    Message::default().message(1, Message::default().bytes(1, name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_base_128_little_endian() {
        assert_eq!(Message::default().varint(0).0, [0]);
        assert_eq!(Message::default().varint(300).0, [0xac, 0x02]);
        assert_eq!(Message::default().varint(u64::MAX).0.len(), 10);
    }

    #[test]
    fn what_was_written_is_read_and_what_was_torn_is_not() {
        let scalars = Event::Scalars {
            step: 300,
            values: vec![("a/b".into(), 0.5), ("c".into(), f64::NAN)],
        };
        let text = Event::Text {
            tag: "text".into(),
            step: 0,
            text: "x".repeat(300),
        };
        let tags = |tags: &[&str]| tags.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();
        let bytes = event(1.0, &scalars);
        assert_eq!(step_and_tags(&bytes), Some((300, tags(&["a/b", "c"]))));
        assert_eq!(
            step_and_tags(&event(1.0, &text)),
            Some((0, tags(&["text"])))
        );
        assert_eq!(step_and_tags(&file_version(1.0)), Some((0, Vec::new())));
        assert_eq!(step_and_tags(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_scalar_event_has_the_documented_bytes() {
        let scalar = Event::Scalars {
            step: 3,
            values: vec![("a".into(), 0.5)],
        };
        let mut expected = vec![0x09];
        expected.extend(1.0f64.to_le_bytes()); // wall_time
        expected.extend([0x10, 3]); // step
        expected.extend([0x2a, 10, 0x0a, 8]); // summary, its value
        expected.extend([0x0a, 1, b'a', 0x15]); // tag, simple_value
        expected.extend(0.5f32.to_le_bytes());
        assert_eq!(event(1.0, &scalar), expected);
    }
}
