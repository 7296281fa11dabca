//! The few protocol buffer messages that TensorBoard reads, encoded by hand:
//! `tensorboard-rs` builds messages for scalars and histograms only, from types of
//! crates that it does not re-export. Field numbers are those of TensorFlow's
//! `event.proto`, `summary.proto`, `tensor.proto` and `tensor_shape.proto`.

use super::{Event, Histogram};

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

/// `TensorProto` of type DT_STRING and shape `[1]`, which is what the text plugin shows.
fn string_tensor(text: &str) -> Message {
    const DT_STRING: u64 = 7;
    let shape = Message::default().message(2, Message::default().int(1, 1));
    Message::default()
        .int(1, DT_STRING)
        .message(2, shape)
        .bytes(8, text.as_bytes())
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
