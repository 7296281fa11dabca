//! The few numbers of a row of logits that leave the device, and what they say.

use crate::engine::batch::{Judged, Wanted};
use crate::engine::handle::Error;
use crate::engine::request::{Choose, Output};
use crate::engine::sample;
use crate::model::layout::floats;
use crate::model::{Opinion, Readout};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use std::sync::Arc;

/// The columns of a wanted place: log-sum-exp, `k` logits by descending value, their ids, the value of
/// each member of the head and, where any place draws, a draw and its logit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    pub k: usize,
    /// Members of the value head; 0 where there is none.
    pub members: usize,
    pub draws: bool,
}

impl Layout {
    /// As wide as the most demanding of `wanted` needs.
    pub fn new(wanted: &[Wanted], vocab: usize, members: usize) -> Layout {
        let k = wanted.iter().map(|w| w.top_k).max().unwrap_or(0).max(1);
        Layout {
            k: k.min(vocab),
            members,
            draws: wanted.iter().any(|w| dice(w, 0).is_some()),
        }
    }

    fn width(&self) -> usize {
        self.draw() + if self.draws { 2 } else { 0 }
    }

    /// The column of the draw.
    fn draw(&self) -> usize {
        1 + 2 * self.k + self.members
    }

    /// Of each of `count` places its temperature, its uniform number `later` draws on, and 1 where it
    /// draws at all, else 0: `[count, 3]`; `None` where no place draws.
    pub fn dice(
        &self,
        wanted: &[Wanted],
        later: u64,
        count: usize,
        device: &Device,
    ) -> Option<Tensor<2>> {
        if !self.draws {
            return None;
        }
        let mut all = Vec::with_capacity(3 * count);
        for place in 0..count {
            let dice = wanted.get(place).and_then(|w| dice(w, later));
            all.extend(dice.map_or([1.0, 0.0, 0.0], |[t, u]| [t, u, 1.0]));
        }
        let data = TensorData::new(all, [count, 3]);
        Some(Tensor::from_data(data, (device, DType::F32)))
    }

    /// The tokens that were chosen, `[count]`, from `numbers` `[count, width]`: the draw of those places
    /// that draw by `dice`, else the most probable.
    pub fn chosen(
        &self,
        numbers: &Tensor<2>,
        dice: Option<&Tensor<2>>,
        vocab: usize,
    ) -> Tensor<1, Int> {
        let column = |at| numbers.clone().narrow(1, at, 1);
        let mut ids = column(1 + self.k);
        if let Some(dice) = dice {
            let draws = dice.clone().narrow(1, 2, 1).greater_elem(0.5);
            ids = ids.mask_where(draws, column(self.draw()));
        }
        // Logits that are no numbers have no largest: the row fails when it is read.
        let [count, _] = ids.dims();
        ids.clamp(0.0, (vocab - 1) as f32).int().reshape([count])
    }
}

/// What one or more steps left, on the host.
pub struct Numbers {
    layout: Layout,
    /// How the members' values are read; `None` without a head.
    readout: Option<Arc<Readout>>,
    /// Places of a step.
    count: usize,
    numbers: Vec<f32>,
}

impl Numbers {
    /// Waits for the numbers of all `steps`, `[count, width]` each, at once.
    pub fn read(layout: Layout, readout: Option<Arc<Readout>>, steps: Vec<Tensor<2>>) -> Numbers {
        let count = steps.first().map_or(0, |numbers| numbers.dims()[0]);
        Numbers {
            layout,
            readout,
            count,
            numbers: floats(Tensor::cat(steps, 0)),
        }
    }

    /// What step `step` says of place `at`. What takes the whole row of logits is not in it.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    pub fn judge(&self, step: usize, at: usize, wanted: &Wanted) -> Result<Judged, Error> {
        let (k, width) = (self.layout.k, self.layout.width());
        let row = &self.numbers[(step * self.count + at) * width..][..width];
        let log_sum_exp = row[0];
        if !log_sum_exp.is_finite() {
            tracing::error!("the log-sum-exp of a row of logits is {log_sum_exp}");
            return Err(Error::NotFinite);
        }
        let (logits, rest) = row[1..].split_at(k);
        let (ids, rest) = rest.split_at(k);
        let (values, drawn) = rest.split_at(self.layout.members);
        let opinion = match &self.readout {
            Some(readout) => readout.merge(values),
            None => Opinion::default(),
        };
        let next = wanted.choose.map(|_| {
            let (id, logit) = match dice(wanted, 0) {
                Some(_) => (drawn[0], drawn[1]),
                None => (ids[0], logits[0]),
            };
            (id as u32, logit - log_sum_exp)
        });
        let asked = wanted.top_k.min(k);
        let output = Output {
            tokens: ids[..asked].iter().map(|&id| id as u32).collect(),
            log_probs: logits[..asked].iter().map(|x| x - log_sum_exp).collect(),
            log_sum_exp,
            value: opinion.value,
            spread: opinion.spread,
        };
        Ok(Judged {
            output,
            next,
            ..Judged::default()
        })
    }
}

/// Temperature and uniform number of a draw that the device makes, one from the whole softmax, `later`
/// draws after the wanted one.
fn dice(wanted: &Wanted, later: u64) -> Option<[f32; 2]> {
    match wanted.choose {
        Some((how, draw)) if !how.sorts() => match how {
            Choose::Sample {
                temperature, seed, ..
            } if temperature > 0.0 => {
                Some([temperature, sample::uniform(seed, draw + later) as f32])
            }
            _ => None,
        },
        _ => None,
    }
}
