//! Policy and value net on an accelerator. Of the logits only what was asked for leaves the device.

use super::graphs::{Graphs, Inputs, Left, Recorder};
use super::net::DeviceNet;
use super::numbers::{Layout, Numbers};
use super::step::{Padding, Step, bucket};
use crate::engine::batch::{Batch, Judged, Wanted};
use crate::engine::handle::Error;
use crate::engine::sample;
use crate::kernels::ops;
use crate::model::layout::floats;
use crate::model::{Decoder, Readout, Value, ValueHead};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The networks of an engine with their keys and values.
pub struct DeviceNets {
    networks: Rc<RefCell<Networks>>,
    /// Where steps are captured and replayed.
    recorder: Option<Recorder>,
    /// How the numbers of the head's members are read.
    readout: Option<Arc<Readout>>,
    vocab: usize,
    device: Device,
}

/// Those that every token goes through.
struct Networks {
    policy: DeviceNet,
    /// A value trunk of its own; it sees the same tokens in the same slots.
    trunk: Option<DeviceNet>,
    head: Option<ValueHead>,
}

impl DeviceNets {
    /// Takes the networks, their matrices in `dtype`.
    pub fn new(policy: Decoder, value: Option<Value>, dtype: DType, graphs: Graphs) -> DeviceNets {
        let device = policy.embedding.val().device();
        let (trunk, head) = value.map_or((None, None), Value::into_parts);
        DeviceNets {
            readout: head.as_ref().map(|head| Arc::new(head.readout.clone())),
            vocab: policy.config().vocab_size,
            networks: Rc::new(RefCell::new(Networks {
                policy: DeviceNet::new(policy, dtype),
                trunk: trunk.map(|trunk| DeviceNet::new(trunk, dtype)),
                head,
            })),
            recorder: Recorder::new(graphs, &device),
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
        if self.recorder.is_some()
            && each_brings_one(batch, wanted)
            && wanted.iter().all(Wanted::is_plain)
        {
            let numbers = self.decode(batch, &vec![1; wanted.len()], slots, wanted)?;
            let judge = |(at, wanted)| numbers.judge(0, at, wanted);
            return wanted.iter().enumerate().map(judge).collect();
        }
        let step = Step::new(batch, Padding::Narrow, &self.device);
        self.make_room(slots, step.positions);
        let mut networks = self.networks.borrow_mut();
        let (hidden, own) = networks.hidden(&step);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let states = self.states(&hidden, wanted);
        let all = wanted;
        let wanted: Vec<Wanted> = all.iter().copied().filter(|w| w.logits).collect();
        if wanted.is_empty() {
            let silent = |state| Judged {
                state,
                silent: true,
                ..Judged::default()
            };
            return Ok(states.into_iter().map(silent).collect());
        }
        let wanted = wanted.as_slice();
        let layout = Layout::new(wanted, self.vocab, self.members());
        let hidden = self.pick(hidden, wanted);
        let own = own.map(|own| self.pick(own, wanted));
        let dice = layout.dice(wanted, 0, bucket(wanted.len()), &self.device);
        let logits = networks.policy.logits(hidden.clone());
        let numbers = networks.numbers(logits.clone(), hidden, own, layout, dice.as_ref());
        let numbers = Numbers::read(layout, self.readout.clone(), vec![numbers]);
        let mut judged = Vec::with_capacity(wanted.len());
        for (at, wanted) in wanted.iter().enumerate() {
            let mut one = numbers.judge(0, at, wanted)?;
            if wanted.takes_row() {
                let row = floats(logits.clone().narrow(0, at, 1));
                let log_sum_exp = one.output.log_sum_exp;
                one.compared = sample::compared(&row, log_sum_exp, wanted.compare);
                // A nucleus needs the row in order: it is cut out on the host.
                if let Some((how, draw)) = wanted.choose.filter(|(how, _)| how.sorts()) {
                    one.next = Some(sample::choose(&row, log_sum_exp, how, draw));
                }
            }
            judged.push(one);
        }
        let mut judged = judged.into_iter();
        let with = |(wanted, state): (&Wanted, Vec<f32>)| {
            let spoken = wanted.logits.then(|| judged.next()).flatten();
            Judged {
                state,
                silent: !wanted.logits,
                ..spoken.unwrap_or_default()
            }
        };
        Ok(all.iter().zip(states).map(with).collect())
    }

    /// Those of the `hidden` states that are wanted, on the host; empty where none is.
    fn states(&self, hidden: &Tensor<2>, wanted: &[Wanted]) -> Vec<Vec<f32>> {
        if !wanted.iter().any(|w| w.state) {
            return vec![Vec::new(); wanted.len()];
        }
        let picked = self.pick(hidden.clone(), wanted).cast(DType::F32);
        let [_, width] = picked.dims();
        let picked = floats(picked);
        let state = |(wanted, state): (&Wanted, &[f32])| match wanted.state {
            true => state.to_vec(),
            false => Vec::new(),
        };
        wanted
            .iter()
            .zip(picked.chunks_exact(width))
            .map(state)
            .collect()
    }

    /// Forwards the steps of a decode without a look at what they choose: row `i`, which is token `i` of
    /// `batch` and of `wanted`, goes on for `left[i]` steps with its own choices, then fills its place.
    ///
    /// # Errors
    /// A step that could not be captured.
    pub fn decode(
        &mut self,
        batch: &Batch,
        left: &[usize],
        slots: usize,
        wanted: &[Wanted],
    ) -> Result<Numbers, Error> {
        let layout = Layout::new(wanted, self.vocab, self.members());
        let padding = match self.recorder {
            Some(_) => Padding::Wide,
            None => Padding::Narrow,
        };
        let steps = Step::decode(batch, left, padding, &self.device);
        self.make_room(slots, steps.iter().map(|s| s.positions).max().unwrap_or(0));
        let mut tokens = None;
        let mut all = Vec::with_capacity(steps.len());
        for (number, mut step) in steps.into_iter().enumerate() {
            step.tokens = tokens.take().unwrap_or(step.tokens);
            let count = bucket(wanted.len());
            let dice = layout.dice(wanted, number as u64, count, &self.device);
            let (numbers, chosen) = self.whole(Inputs { step, dice }, layout)?;
            tokens = Some(chosen);
            all.push(numbers);
        }
        Ok(Numbers::read(layout, self.readout.clone(), all))
    }

    /// Runs a step of which every token is wanted, as a graph where there is one.
    fn whole(&mut self, inputs: Inputs, layout: Layout) -> Result<Left, Error> {
        if let Some(recorder) = &mut self.recorder {
            let networks = self.networks.clone();
            let step = move |inputs: &Inputs| networks.borrow_mut().whole(inputs, layout);
            if let Some(left) = recorder.run(&inputs, layout, step)? {
                return Ok(left);
            }
        }
        Ok(self.networks.borrow_mut().whole(&inputs, layout))
    }

    /// Members of the head.
    fn members(&self) -> usize {
        self.readout.as_ref().map_or(0, |readout| readout.members)
    }

    fn make_room(&mut self, slots: usize, positions: usize) {
        let moved = self.networks.borrow_mut().make_room(slots, positions);
        if let Some(recorder) = &mut self.recorder
            && moved
        {
            recorder.clear();
        }
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

impl Networks {
    fn make_room(&mut self, slots: usize, positions: usize) -> bool {
        let moved = self.policy.make_room(slots, positions);
        let trunk = self.trunk.as_mut();
        trunk.is_some_and(|trunk| trunk.make_room(slots, positions)) || moved
    }

    /// Final hidden states of a step's tokens, in the policy and in a trunk of the value's own.
    fn hidden(&mut self, step: &Step) -> (Tensor<2>, Option<Tensor<2>>) {
        let hidden = self.policy.forward(step);
        (hidden, self.trunk.as_mut().map(|trunk| trunk.forward(step)))
    }

    /// A step of which every token is wanted.
    fn whole(&mut self, inputs: &Inputs, layout: Layout) -> Left {
        let (hidden, own) = self.hidden(&inputs.step);
        let logits = self.policy.logits(hidden.clone());
        let dice = inputs.dice.as_ref();
        let vocab = self.policy.vocab();
        let numbers = self.numbers(logits, hidden, own, layout, dice);
        let chosen = layout.chosen(&numbers, dice, vocab);
        (numbers, chosen)
    }

    /// What leaves the device of each wanted place, as `layout` says.
    fn numbers(
        &self,
        logits: Tensor<2>,
        hidden: Tensor<2>,
        own: Option<Tensor<2>>,
        layout: Layout,
        dice: Option<&Tensor<2>>,
    ) -> Tensor<2> {
        let mut columns = vec![ops::top(logits.clone(), layout.k)];
        if let Some(head) = &self.head {
            let states = own.unwrap_or(hidden);
            columns.push(head.members(states.cast(DType::F32)));
        }
        if let Some(dice) = dice {
            columns.push(ops::draw(logits, dice.clone().narrow(1, 0, 2)));
        }
        Tensor::cat(columns, 1)
    }
}

/// Whether every row brings one token, in order, and something is wanted of each.
fn each_brings_one(batch: &Batch, wanted: &[Wanted]) -> bool {
    let count = wanted.len();
    count > 0
        && (batch.len(), batch.paths.len()) == (count, count)
        && wanted.iter().enumerate().all(|(i, w)| i == w.at)
}
