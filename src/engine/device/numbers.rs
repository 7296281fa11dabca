//! The few numbers of a row of logits that leave the device, and what they say.

use crate::engine::batch::{Judged, Wanted};
use crate::engine::handle::Error;
use crate::engine::request::{Choose, Output};
use crate::engine::sample;
use crate::model::layout::floats;
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};

/// The columns of a wanted place: log-sum-exp, `k` logits by descending value, their ids, the value and,
/// where any place draws, a draw and its logit.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub k: usize,
    pub draws: bool,
}

impl Layout {
    /// As wide as the most demanding of `wanted` needs.
    pub fn new(wanted: &[Wanted], vocab: usize) -> Layout {
        let k = wanted.iter().map(|w| w.top_k).max().unwrap_or(0).max(1);
        Layout {
            k: k.min(vocab),
            draws: wanted.iter().any(|w| dice(w, 0).is_some()),
        }
    }

    fn width(&self) -> usize {
        2 + 2 * self.k + if self.draws { 2 } else { 0 }
    }

    /// Temperature and uniform number of `count` places, `later` draws on; those that draw nothing get
    /// some.
    pub fn dice(&self, wanted: &[Wanted], later: u64, count: usize, device: &Device) -> Tensor<2> {
        let mut all: Vec<f32> = wanted
            .iter()
            .flat_map(|w| dice(w, later).unwrap_or([1.0, 0.0]))
            .collect();
        all.resize(2 * count, 1.0);
        Tensor::from_data(TensorData::new(all, [count, 2]), (device, DType::F32))
    }

    /// Which of `count` places draw, where some do: `[count, 1]`.
    pub fn drawing(
        &self,
        wanted: &[Wanted],
        count: usize,
        device: &Device,
    ) -> Option<Tensor<2, Bool>> {
        let mut which: Vec<bool> = wanted.iter().map(|w| dice(w, 0).is_some()).collect();
        which.resize(count, false);
        let which = || Tensor::from_data(TensorData::new(which, [count, 1]), device);
        self.draws.then(which)
    }

    /// The tokens that were chosen, `[count]`, from `numbers` `[count, width]`: the draw of those places
    /// that `drawing` names, else the most probable.
    pub fn chosen(
        &self,
        numbers: &Tensor<2>,
        drawing: Option<&Tensor<2, Bool>>,
        vocab: usize,
    ) -> Tensor<1, Int> {
        let column = |at| numbers.clone().narrow(1, at, 1);
        let mut ids = column(1 + self.k);
        if let Some(drawing) = drawing {
            ids = ids.mask_where(drawing.clone(), column(2 + 2 * self.k));
        }
        // Logits that are no numbers have no largest: the row fails when it is read.
        let [count, _] = ids.dims();
        ids.clamp(0.0, (vocab - 1) as f32).int().reshape([count])
    }
}

/// What one or more steps left, on the host.
pub struct Numbers {
    layout: Layout,
    /// Places of a step.
    count: usize,
    numbers: Vec<f32>,
}

impl Numbers {
    /// Waits for the numbers of all `steps`, `[count, width]` each, at once.
    pub fn read(layout: Layout, steps: Vec<Tensor<2>>) -> Numbers {
        let count = steps.first().map_or(0, |numbers| numbers.dims()[0]);
        Numbers {
            layout,
            count,
            numbers: floats(Tensor::cat(steps, 0)),
        }
    }

    /// What step `step` says of place `at`. A choice from a nucleus is not in it.
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
        let next = wanted.choose.map(|_| {
            let (id, logit) = match dice(wanted, 0) {
                Some(_) => (rest[1], rest[2]),
                None => (ids[0], logits[0]),
            };
            (id as u32, logit - log_sum_exp)
        });
        let asked = wanted.top_k.min(k);
        let output = Output {
            tokens: ids[..asked].iter().map(|&id| id as u32).collect(),
            log_probs: logits[..asked].iter().map(|x| x - log_sum_exp).collect(),
            log_sum_exp,
            value: rest[0],
        };
        Ok(Judged { output, next })
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
