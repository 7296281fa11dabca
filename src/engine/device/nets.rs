//! Policy and value net on an accelerator. Of the logits only what was asked for leaves the device.

use super::net::{DeviceNet, Step, bucket};
use super::numbers::{Layout, Numbers};
use crate::engine::batch::{Batch, Judged, Wanted};
use crate::engine::handle::Error;
use crate::engine::sample;
use crate::kernels::ops;
use crate::model::layout::floats;
use crate::model::{Decoder, Value, ValueHead};
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
        let (hidden, own) = self.run(&Step::new(batch, &self.device), slots);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let layout = Layout::new(wanted, self.policy.vocab());
        let hidden = self.pick(hidden, wanted);
        let own = own.map(|own| self.pick(own, wanted));
        let logits = self.policy.logits(hidden.clone());
        let numbers = self.numbers(logits.clone(), hidden, own, &layout, wanted, 0);
        let numbers = Numbers::read(layout, vec![numbers]);
        let mut judged = Vec::with_capacity(wanted.len());
        for (at, wanted) in wanted.iter().enumerate() {
            let mut one = numbers.judge(0, at, wanted)?;
            if let Some((how, draw)) = wanted.choose
                && how.sorts()
            {
                // A nucleus needs the whole row in order: it is cut out on the host.
                let row = floats(logits.clone().narrow(0, at, 1));
                one.next = Some(sample::choose(&row, one.output.log_sum_exp, how, draw));
            }
            judged.push(one);
        }
        Ok(judged)
    }

    /// Forwards the steps of a decode without a look at what they choose: row `i`, which is token `i` of
    /// `batch` and of `wanted`, goes on for `left[i]` steps with its own choices, then fills its place.
    pub fn decode(
        &mut self,
        batch: &Batch,
        left: &[usize],
        slots: usize,
        wanted: &[Wanted],
    ) -> Numbers {
        let layout = Layout::new(wanted, self.policy.vocab());
        let drawing = layout.drawing(wanted, bucket(wanted.len()), &self.device);
        let mut tokens = None;
        let mut all = Vec::new();
        let steps = Step::decode(batch, left, &self.device);
        for (number, mut step) in steps.into_iter().enumerate() {
            if let Some(tokens) = tokens.take() {
                step.follow(tokens);
            }
            let (hidden, own) = self.run(&step, slots);
            let logits = self.policy.logits(hidden.clone());
            let numbers = self.numbers(logits, hidden, own, &layout, wanted, number as u64);
            tokens = Some(layout.chosen(&numbers, drawing.as_ref(), self.policy.vocab()));
            all.push(numbers);
        }
        Numbers::read(layout, all)
    }

    /// Final hidden states of a step's tokens, in the policy and in a trunk of the value's own.
    fn run(&mut self, step: &Step, slots: usize) -> (Tensor<2>, Option<Tensor<2>>) {
        let hidden = self.policy.forward(step, slots);
        let own = self.trunk.as_mut().map(|trunk| trunk.forward(step, slots));
        (hidden, own)
    }

    /// What leaves the device of each wanted place, as `layout` says; `later` steps after the one that
    /// `wanted` was asked for.
    fn numbers(
        &self,
        logits: Tensor<2>,
        hidden: Tensor<2>,
        own: Option<Tensor<2>>,
        layout: &Layout,
        wanted: &[Wanted],
        later: u64,
    ) -> Tensor<2> {
        let [count, _] = logits.dims();
        let mut columns = vec![ops::top(logits.clone(), layout.k)];
        columns.push(match &self.head {
            Some(head) => {
                let states = own.unwrap_or(hidden).cast(DType::F32);
                head.value(states).reshape([count, 1])
            }
            None => Tensor::zeros([count, 1], (&self.device, DType::F32)),
        });
        if layout.draws {
            let dice = layout.dice(wanted, later, count, &self.device);
            columns.push(ops::draw(logits, dice));
        }
        Tensor::cat(columns, 1)
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
}
