//! What was measured.

use super::What;
use crate::engine::{Machine, Weights};
use serde::{Serialize, Serializer};

/// All figures of a model on a machine.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub model: String,
    pub device: String,
    pub weights: Weights,
    pub parameters: usize,
    #[serde(flatten)]
    pub machine: Machine,
    pub figures: Vec<Figure>,
}

/// One figure.
#[derive(Debug, Clone)]
pub struct Figure {
    pub what: What,
    /// Sequences at once.
    pub rows: usize,
    /// Tokens of a sequence.
    pub context: usize,
    /// What is counted, as `tokens_per_s`.
    pub unit: &'static str,
    /// Every repeat, in its order.
    pub repeats: Vec<f64>,
    /// What the machine allows at most, in the same unit; `None` where that is not a simple sum.
    pub roofline: Option<f64>,
    /// Most main memory that the process held meanwhile, where the system tells.
    pub peak_bytes: Option<u64>,
}

impl Figure {
    /// The middle repeat.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The lowest and the highest repeat.
    pub fn range(&self) -> (f64, f64) {
        let sorted = self.sorted();
        let end = |x: Option<&f64>| x.copied().unwrap_or(f64::NAN);
        (end(sorted.first()), end(sorted.last()))
    }

    /// Share of the roofline that the median reaches.
    pub fn share(&self) -> Option<f64> {
        self.roofline.map(|most| self.median() / most)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.repeats.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (low, high) = self.range();
        let mut map = serde_json::Map::new();
        let mut put = |key: &str, value: serde_json::Value| map.insert(key.into(), value);
        put("what", serde_json::json!(self.what));
        put("rows", self.rows.into());
        put("context", self.context.into());
        put(self.unit, self.median().into());
        put("low", low.into());
        put("high", high.into());
        put("repeats", self.repeats.clone().into());
        if let Some(most) = self.roofline {
            put("roofline", most.into());
            put("share_of_roofline", self.share().into());
        }
        if let Some(bytes) = self.peak_bytes {
            put("peak_bytes", bytes.into());
        }
        map.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_its_median_with_its_range() {
        let figure = Figure {
            what: What::Decode,
            rows: 8,
            context: 64,
            unit: "tokens_per_s",
            repeats: vec![30.0, 10.0, 20.0],
            roofline: Some(40.0),
            peak_bytes: Some(7),
        };
        let json = serde_json::to_value(&figure).unwrap();
        assert_eq!(json["what"], "decode");
        assert_eq!(json["tokens_per_s"], 20.0);
        assert_eq!(
            (json["low"].as_f64(), json["high"].as_f64()),
            (Some(10.0), Some(30.0))
        );
        assert_eq!(json["share_of_roofline"], 0.5);
        assert_eq!(json["peak_bytes"], 7);
    }
}
