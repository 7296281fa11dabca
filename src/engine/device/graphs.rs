//! Steps that are recorded once and replayed as one launch: CUDA graphs, through Burn's `capture`.
//!
//! A captured step runs on the very tensors that it was recorded with. What changes from step to step is
//! therefore written over in place before each replay ([`ops::overwrite`]), and what it leaves is copied
//! before the next one. Each shape of a step needs a graph of its own, which keeps the memory of its
//! intermediate results for as long as it lives: only shapes that come again and again get one.

use super::numbers::Layout;
use super::step::Step;
use crate::engine::handle::Error;
use crate::kernels::ops;
use burn::tensor::{Device, Graph, Int, Tensor, capture};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Steps of a shape before it is captured. Tests want replays.
const EARLIER: u32 = if cfg!(test) { 2 } else { 8 };

/// Graphs that are kept; the one that was used longest ago goes first.
const MOST: usize = 12;

/// Whether steps of decode are captured and replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Graphs {
    /// Every kernel is launched by itself.
    #[default]
    Off,
    /// Where the device replays in hardware.
    Auto,
    /// Everywhere: a device that does not replay runs the step again, which gains nothing.
    Always,
}

/// What a step is given: a token of each row and the numbers of its draw.
#[derive(Debug, Clone)]
pub struct Inputs {
    pub step: Step,
    /// `[count, 3]`; see [`Layout::dice`].
    pub dice: Option<Tensor<2>>,
}

/// The numbers of all places and the tokens that they choose.
pub type Left = (Tensor<2>, Tensor<1, Int>);

/// What distinguishes graphs: rows, length of the lists of slots, and what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    rows: usize,
    longest: usize,
    layout: Layout,
}

impl Shape {
    fn of(inputs: &Inputs, layout: Layout) -> Shape {
        let [rows, longest] = inputs.step.paths.slots.dims();
        Shape {
            rows,
            longest,
            layout,
        }
    }
}

struct Captured {
    inputs: Rc<RefCell<Inputs>>,
    graph: Graph<Left, Box<dyn FnMut() -> Left>>,
    last_used: u64,
}

/// The graphs of an engine.
pub struct Recorder {
    graphs: HashMap<Shape, Captured>,
    seen: HashMap<Shape, u32>,
    replays: u64,
    hardware: bool,
}

impl Recorder {
    /// None where `graphs` says so or the device does not replay.
    pub fn new(graphs: Graphs, device: &Device) -> Option<Recorder> {
        if graphs == Graphs::Off {
            return None;
        }
        let x = Tensor::<1>::ones([8], device);
        let probe = capture(device, move || x.clone().add_scalar(1.0));
        let hardware = probe.is_hardware();
        if !hardware && graphs == Graphs::Auto {
            tracing::warn!("the device replays no graphs: each kernel is launched by itself");
            return None;
        }
        Some(Recorder {
            graphs: HashMap::new(),
            seen: HashMap::new(),
            replays: 0,
            hardware,
        })
    }

    /// Forgets everything: a tensor that the graphs were recorded with is another one now.
    pub fn clear(&mut self) {
        self.graphs.clear();
    }

    /// Replays the step of this shape with `inputs`, recording `step` where it is new; `None` where the
    /// shape has come too rarely. `step` must read what changes from its argument alone.
    ///
    /// # Errors
    /// [`Error::Failed`] where the device replays graphs but did not record this one. Keys and values
    /// may be lost then.
    pub fn run(
        &mut self,
        inputs: &Inputs,
        layout: Layout,
        step: impl FnMut(&Inputs) -> Left + 'static,
    ) -> Result<Option<Left>, Error> {
        let shape = Shape::of(inputs, layout);
        if !self.graphs.contains_key(&shape) {
            let seen = self.seen.entry(shape).or_insert(0);
            *seen += 1;
            if *seen <= EARLIER {
                return Ok(None);
            }
            self.record(shape, inputs, step)?;
        }
        self.replays += 1;
        let Some(captured) = self.graphs.get_mut(&shape) else {
            return Ok(None);
        };
        captured.last_used = self.replays;
        captured.inputs.borrow_mut().refresh(inputs);
        // Safety: weights, keys and values are alive and where they were, or `clear` was called; inputs
        // are held here and outputs by the graph. No other thread writes to any of them, and this one
        // refreshes, replays and reads in order on one stream.
        let (numbers, tokens) = unsafe { captured.graph.replay() };
        Ok(Some((own(numbers), own_ints(tokens))))
    }

    fn record(
        &mut self,
        shape: Shape,
        inputs: &Inputs,
        mut step: impl FnMut(&Inputs) -> Left + 'static,
    ) -> Result<(), Error> {
        if self.graphs.len() >= MOST
            && let Some(oldest) = self.graphs.iter().min_by_key(|g| g.1.last_used)
        {
            let oldest = *oldest.0;
            self.graphs.remove(&oldest);
            self.seen.remove(&oldest);
        }
        let device = inputs.step.tokens.device();
        let fixed = Rc::new(RefCell::new(inputs.copied()));
        let read = fixed.clone();
        let again: Box<dyn FnMut() -> Left> = Box::new(move || step(&read.borrow()));
        let graph = capture(&device, again);
        if self.hardware && !graph.is_hardware() {
            return Err(Error::Failed(
                "a step could not be recorded as a graph; set engine.graphs to \"off\"".into(),
            ));
        }
        let captured = Captured {
            inputs: fixed,
            graph,
            last_used: self.replays,
        };
        self.graphs.insert(shape, captured);
        Ok(())
    }
}

impl Inputs {
    /// The same in tensors of its own.
    fn copied(&self) -> Inputs {
        let Step {
            tokens,
            places,
            paths,
            positions,
        } = &self.step;
        Inputs {
            step: Step {
                tokens: own_ints(tokens),
                places: own_ints(places),
                paths: ops::Paths {
                    slots: own_ints(&paths.slots),
                    tokens: own_ints(&paths.tokens),
                    blocks: own_ints(&paths.blocks),
                    tile: paths.tile,
                },
                positions: *positions,
            },
            dice: self.dice.as_ref().map(own),
        }
    }

    /// Takes the numbers of `other`, of the same shape, in place where the device can. Blocks are the
    /// same wherever every row brings one token.
    fn refresh(&mut self, other: &Inputs) {
        fn over<const D: usize>(into: &mut Tensor<D, Int>, from: &Tensor<D, Int>) {
            *into = ops::overwrite_ints(into.clone(), from.clone());
        }
        over(&mut self.step.tokens, &other.step.tokens);
        over(&mut self.step.places, &other.step.places);
        over(&mut self.step.paths.slots, &other.step.paths.slots);
        over(&mut self.step.paths.tokens, &other.step.paths.tokens);
        if let (Some(into), Some(from)) = (&mut self.dice, &other.dice) {
            *into = ops::overwrite(into.clone(), from.clone());
        }
    }
}

/// A copy that nothing else holds.
fn own<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    let room = Tensor::empty(x.shape(), (&x.device(), x.dtype()));
    ops::overwrite(room, x.clone())
}

/// [`own`] for indices.
fn own_ints<const D: usize>(x: &Tensor<D, Int>) -> Tensor<D, Int> {
    let room = Tensor::empty(x.shape(), (&x.device(), x.dtype()));
    ops::overwrite_ints(room, x.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::batch::Batch;
    use crate::engine::device::step::Padding;
    use crate::model::layout::floats;
    use burn::tensor::DType;

    const LAYOUT: Layout = Layout {
        k: 1,
        members: 1,
        draws: true,
    };

    /// A step of `rows` rows with numbers of its own.
    fn inputs(rows: usize, first: u32, device: &Device) -> Inputs {
        let paths: Vec<Vec<u32>> = (0..rows as u32).map(|r| vec![first + r; 3]).collect();
        let batch = Batch {
            tokens: (first..first + rows as u32).collect(),
            positions: vec![first as usize % 3; rows],
            rows: (0..rows).collect(),
            paths: paths.iter().map(Vec::as_slice).collect(),
        };
        let dice = Tensor::<2>::full([rows, 3], first as f32 / 7.0, (device, DType::F32));
        Inputs {
            step: Step::new(&batch, Padding::Wide, device),
            dice: Some(dice),
        }
    }

    /// Something that depends on everything that changes.
    fn step(inputs: &Inputs) -> Left {
        let Step {
            tokens,
            places,
            paths,
            ..
        } = &inputs.step;
        let [count] = tokens.dims();
        let column = |x: Tensor<2, Int>| x.float().reshape([-1, count as i32]).sum_dim(0);
        let numbers = Tensor::cat(
            vec![
                tokens.clone().float().reshape([1, count]),
                column(places.clone()),
                column(paths.tokens.clone()),
                column(paths.slots.clone().swap_dims(0, 1)),
                inputs.dice.clone().unwrap().swap_dims(0, 1),
            ],
            0,
        );
        (numbers, tokens.clone() + 1)
    }

    fn check(device: &Device) {
        let mut recorder = Recorder::new(Graphs::Always, device).unwrap();
        let mut replayed = 0;
        let mut earlier: Vec<(Left, Left)> = Vec::new();
        for first in 0..8 {
            for rows in [2, 4] {
                let inputs = inputs(rows, 3 * first + rows as u32, device);
                if let Some(found) = recorder.run(&inputs, LAYOUT, step).unwrap() {
                    replayed += 1;
                    earlier.push((found, step(&inputs)));
                }
            }
        }
        assert_eq!(replayed, 2 * (8 - EARLIER));
        // What one replay left is not what the next one left.
        for (found, expected) in earlier {
            assert_eq!(floats(found.0), floats(expected.0));
            assert_eq!(floats(found.1.float()), floats(expected.1.float()));
        }
        recorder.clear();
        let inputs = inputs(2, 40, device);
        let (numbers, _) = recorder.run(&inputs, LAYOUT, step).unwrap().unwrap();
        assert_eq!(floats(numbers), floats(step(&inputs).0));
    }

    #[test]
    fn a_replay_computes_with_the_inputs_of_its_step() {
        check(&Device::flex());
        for api in ["wgpu", "cuda"] {
            match crate::model::device::open(api) {
                Ok(device) => check(&device),
                Err(error) => eprintln!("not tested through {api}: {error}"),
            }
        }
    }

    #[test]
    fn only_so_many_graphs_are_kept_and_none_where_they_gain_nothing() {
        let device = Device::flex();
        assert!(Recorder::new(Graphs::Off, &device).is_none());
        assert!(Recorder::new(Graphs::Auto, &device).is_none());
        let mut recorder = Recorder::new(Graphs::Always, &device).unwrap();
        for rows in 1..=3 * MOST {
            for _ in 0..=EARLIER {
                let inputs = inputs(64 * rows, 1, &device);
                recorder.run(&inputs, LAYOUT, step).unwrap();
            }
        }
        assert_eq!(recorder.graphs.len(), MOST);
        let last = Shape::of(&inputs(64 * 3 * MOST, 1, &device), LAYOUT);
        assert!(recorder.graphs.contains_key(&last));
    }
}
