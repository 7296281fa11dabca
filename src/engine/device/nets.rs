//! Policy and value net on an accelerator. Of the logits only what was asked for leaves the device.

use super::net::{DeviceNet, Step, bucket};
use crate::engine::batch::{Batch, Judged, Wanted};
use crate::engine::handle::Error;
use crate::engine::request::{Choose, Output};
use crate::engine::sample;
use crate::kernels::ops;
use crate::model::layout::floats;
use crate::model::{Decoder, Opinion, Value, ValueHead};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// The networks of an engine with their keys and values.
pub struct DeviceNets {
    policy: DeviceNet,
    /// A value trunk of its own; it sees the same tokens in the same slots.
    trunk: Option<DeviceNet>,
    head: Option<ValueHead>,
    device: Device,
}

impl DeviceNets {
    /// Takes the networks, their matrices in `dtype`.
    pub fn new(policy: Decoder, value: Option<Value>, dtype: DType) -> DeviceNets {
        let device = policy.embedding.val().device();
        let (trunk, head) = value.map_or((None, None), Value::into_parts);
        DeviceNets {
            policy: DeviceNet::new(policy, dtype),
            trunk: trunk.map(|trunk| DeviceNet::new(trunk, dtype)),
            head,
            device,
        }
    }

    /// Bytes that the accelerator's memory pool holds, where it has one.
    pub fn device_bytes(&self) -> Option<u64> {
        Some(self.device.memory_pool_usage()?.bytes_reserved)
    }

    /// Forwards a batch and judges what is wanted of it.
    pub fn forward(
        &mut self,
        batch: &Batch,
        slots: usize,
        wanted: &[Wanted],
    ) -> Result<Vec<Judged>, Error> {
        let step = Step::new(batch, &self.device);
        let hidden = self.policy.forward(&step, slots);
        let own = self.trunk.as_mut().map(|trunk| trunk.forward(&step, slots));
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let hidden = self.pick(hidden, wanted);
        let count = hidden.dims()[0];
        let logits = self.policy.logits(hidden.clone());
        // One row of numbers for each place: log-sum-exp, k logits, k ids, the value of each member of
        // the head, draw and its logit.
        let k = wanted.iter().map(|w| w.top_k).max().unwrap_or(0).max(1);
        let k = k.min(logits.dims()[1]);
        let mut columns = vec![ops::top(logits.clone(), k)];
        let mut members = 0;
        if let Some(head) = &self.head {
            let states = own.map_or(hidden, |own| self.pick(own, wanted));
            members = head.readout.members;
            columns.push(head.members(states.cast(DType::F32)));
        }
        if wanted.iter().any(|w| dice(w).is_some()) {
            columns.push(ops::draw(logits.clone(), self.dice(wanted, count)));
        }
        let numbers = Tensor::cat(columns, 1);
        let width = numbers.dims()[1];
        let numbers = floats(numbers);
        let mut judged = Vec::with_capacity(wanted.len());
        for (at, (wanted, row)) in wanted.iter().zip(numbers.chunks_exact(width)).enumerate() {
            let log_sum_exp = row[0];
            if !log_sum_exp.is_finite() {
                tracing::error!("the log-sum-exp of a row of logits is {log_sum_exp}");
                return Err(Error::NotFinite);
            }
            let (tops, rest) = (&row[1..=k], &row[1 + k..]);
            let (ids, rest) = rest.split_at(k);
            let (values, drawn) = rest.split_at(members);
            let opinion = match &self.head {
                Some(head) => head.readout.merge(values),
                None => Opinion::default(),
            };
            let own_k = wanted.top_k.min(k);
            let next = wanted.choose.map(|(how, number)| {
                let (id, logit) = match how {
                    _ if dice(wanted).is_some() => (drawn[0], drawn[1]),
                    Choose::Sample { temperature, .. } if temperature > 0.0 => {
                        // A nucleus needs the whole row in order: it is cut out on the host.
                        let row = floats(logits.clone().narrow(0, at, 1));
                        return sample::choose(&row, log_sum_exp, how, number);
                    }
                    _ => (ids[0], tops[0]),
                };
                (id as u32, logit - log_sum_exp)
            });
            judged.push(Judged {
                output: output(log_sum_exp, &tops[..own_k], &ids[..own_k], opinion),
                next,
            });
        }
        Ok(judged)
    }

    /// The rows of `x` that are wanted, filled up to a bucket.
    fn pick(&self, x: Tensor<2>, wanted: &[Wanted]) -> Tensor<2> {
        let [n, _] = x.dims();
        let count = bucket(wanted.len());
        if count == n && wanted.iter().enumerate().all(|(i, w)| i == w.at) {
            return x;
        }
        let mut index: Vec<i32> = wanted.iter().map(|w| w.at as i32).collect();
        index.resize(count, index[0]);
        let index = Tensor::<1, Int>::from_data(TensorData::new(index, [count]), &self.device);
        x.select(0, index)
    }

    /// Temperature and uniform number of each place; those that draw nothing get some.
    fn dice(&self, wanted: &[Wanted], count: usize) -> Tensor<2> {
        let mut all: Vec<f32> = wanted
            .iter()
            .flat_map(|w| dice(w).unwrap_or([1.0, 0.0]))
            .collect();
        all.resize(2 * count, 1.0);
        let data = TensorData::new(all, [count, 2]);
        Tensor::from_data(data, (&self.device, DType::F32))
    }
}

/// Temperature and uniform number of a draw that the device makes: one from the whole softmax.
fn dice(wanted: &Wanted) -> Option<[f32; 2]> {
    match wanted.choose {
        Some((
            Choose::Sample {
                temperature,
                top_p,
                seed,
            },
            number,
        )) if temperature > 0.0 && top_p >= 1.0 => {
            Some([temperature, sample::uniform(seed, number) as f32])
        }
        _ => None,
    }
}

fn output(log_sum_exp: f32, logits: &[f32], ids: &[f32], opinion: Opinion) -> Output {
    Output {
        tokens: ids.iter().map(|&id| id as u32).collect(),
        log_probs: logits.iter().map(|x| x - log_sum_exp).collect(),
        log_sum_exp,
        value: opinion.value,
        spread: opinion.spread,
    }
}
