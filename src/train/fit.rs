//! What all fits share: one run of burn-train's supervised training.

use super::checkpointer::{self, History, PartFile};
use super::dashboard::Curve;
use super::error::Error;
use super::feed::{StepLoader, ValidLoader};
use super::learner::{Batch, Objective, Shared, State, Trainee};
use super::optimiser::{self, Settings};
use super::passes::Passes;
use super::report::{Feed, FitReport, StepMetric, Tags, Totals, ValidMetric, lock};
use super::schedule::Schedule;
use super::silent::Silent;
use crate::model::device::is_cpu;
use crate::model::{Decoder, ValueHead};
use crate::monitor::Monitor;
use crate::stop::Stop;
use burn::module::{Module, ModuleMapper, Param};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Tensor};
use burn_train::checkpoint::{Checkpointer, KeepLastNCheckpoints};
use burn_train::renderer::default_renderer;
use burn_train::{Interrupter, Learner, SupervisedTraining};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Where a fit reports and keeps its checkpoints.
#[derive(Clone)]
pub struct Context<'a> {
    pub monitor: &'a Monitor,
    /// Folder for checkpoints; a fit that finds some there goes on from the last. `None`: none are
    /// written.
    pub folder: Option<&'a Path>,
    /// Step number under which the first step is reported, so that the curves of successive fits
    /// follow each other.
    pub first_step: u64,
    /// Ends the fit early, with a checkpoint and [`Error::Stopped`].
    pub stop: Stop,
    /// Whether burn-train's dashboard takes the terminal while the fit runs. Whoever ends the fit
    /// there asks `stop`.
    pub dashboard: bool,
}

impl<'a> Context<'a> {
    /// Reports from step 0 and keeps no checkpoints.
    pub fn new(monitor: &'a Monitor) -> Self {
        Context {
            monitor,
            folder: None,
            first_step: 0,
            stop: Stop::default(),
            dashboard: false,
        }
    }
}

/// The type in which a fit's passes compute. Weights, gradients and the optimiser are in f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    /// bfloat16 on an accelerator that computes in it, else f32.
    #[default]
    Auto,
    F32,
}

impl Compute {
    /// The type on `device`.
    fn on(self, device: &Device) -> DType {
        match self {
            Compute::Auto if !is_cpu(device) && device.supports_dtype(DType::BF16) => DType::BF16,
            Compute::Auto | Compute::F32 => DType::F32,
        }
    }
}

/// Everything that [`run`] needs.
pub(crate) struct Job {
    pub objective: Objective,
    pub settings: Settings,
    pub schedule: Schedule,
    pub steps: usize,
    /// Passes in an optimiser step.
    pub parts: usize,
    /// Steps between checkpoints; 0 for none.
    pub checkpoint_every: usize,
    pub compute: Compute,
    pub passes: Arc<dyn Passes>,
    pub valid: Vec<Batch>,
    pub tags: Tags,
    pub trunk: Option<Decoder>,
    pub head: Option<ValueHead>,
}

/// Trains what is not frozen in the job's modules. They come back without autodiff.
pub(crate) fn run(
    job: Job,
    context: &Context<'_>,
) -> Result<(Option<Decoder>, Option<ValueHead>, FitReport), Error> {
    let started = Instant::now();
    let fit = job.objective.fit;
    let every = match job.checkpoint_every {
        0 => job.steps,
        every => every.min(job.steps),
    };
    let folder = context.folder.filter(|_| job.checkpoint_every > 0);
    let (resumed, past) = match folder {
        Some(folder) => {
            let last = checkpointer::last(folder)?.unwrap_or_default();
            checkpointer::forget_others(folder, last.0)?;
            last
        }
        None => (0, History::default()),
    };
    let done = past.steps.len().min(job.steps);
    let interrupter = Interrupter::new();
    let name = format!("{fit} fit");
    let bar = match context.dashboard {
        true => Monitor::silent().progress(&name, job.steps as u64),
        false => context.monitor.progress(&name, job.steps as u64),
    };
    let history = Arc::new(Mutex::new(past.clone()));
    let shared = Shared {
        objective: job.objective,
        interrupter: interrupter.clone(),
        outbox: Arc::default(),
        history: history.clone(),
        state: Arc::new(Mutex::new(State::default())),
    };
    let trainee = Trainee {
        trunk: job.trunk.map(|trunk| {
            let compute = job.compute.on(&trunk.embedding.val().device().inner());
            trunk.computing_in(compute)
        }),
        head: job.head,
        shared: shared.clone(),
    };
    let feed = Feed {
        monitor: context.monitor.clone(),
        bar: Arc::new(bar),
        tags: job.tags,
        last: Arc::new(Mutex::new(Instant::now())),
        first_step: context.first_step,
        outbox: shared.outbox.clone(),
        totals: Arc::new(Mutex::new(Totals::default())),
        history: history.clone(),
    };
    feed.replay(&past);
    let totals = feed.totals.clone();
    let train = StepLoader {
        passes: job.passes,
        steps: job.steps,
        parts: job.parts,
        every: every.max(1),
        done: Arc::new(AtomicUsize::new(done)),
        epoch: Arc::new(AtomicUsize::new(resumed)),
        history: history.clone(),
        stop: context.stop.clone(),
        interrupter: interrupter.clone(),
    };
    let valid = ValidLoader {
        passes: Arc::new(job.valid),
        steps: job.steps,
        done: train.done.clone(),
    };
    let epochs = job.steps.div_ceil(train.every) - done / train.every;
    let epochs = match done == job.steps {
        true => 0,
        false => epochs,
    };
    let mut training = SupervisedTraining::new(
        folder.unwrap_or(Path::new("")),
        Arc::new(train),
        Arc::new(valid),
    )
    .num_epochs(resumed + epochs)
    .with_interrupter(interrupter.clone())
    .with_application_logger(None)
    .with_metric_logger(Silent)
    .metric_train(StepMetric(feed.clone()))
    .metric_valid(ValidMetric(feed));
    training = match context.dashboard {
        true => training
            .renderer(default_renderer(
                interrupter,
                Some(resumed).filter(|e| *e > 0),
            ))
            .metric_train_numeric(Curve::loss(&totals))
            .metric_valid_numeric(Curve::valid_loss(&totals)),
        false => training.renderer(Box::new(Silent)),
    };
    if job.parts > 1 {
        training = training.grads_accumulation(job.parts);
    }
    if let Some(folder) = folder {
        let [model, optimiser, lr] = PartFile::all(folder, &history);
        training = training
            .with_custom_checkpointers(model, optimiser, lr)
            .with_checkpointing_strategy(KeepLastNCheckpoints::new(2));
        if resumed > 0 {
            check_checkpoint(&trainee, folder, resumed, fit)?;
            training = training.checkpoint(resumed);
        }
    }
    let learner = Learner::new(trainee, optimiser::adamw(&job.settings), job.schedule);
    let result = training.launch(learner);
    if let Some(failure) = lock(&shared.state).failure.take() {
        return Err(failure);
    }
    if let Some(error) = result.error {
        return Err(Error::Training {
            fit,
            problem: error.to_string(),
        });
    }
    if lock(&history).steps.len() < job.steps {
        if context.dashboard {
            context.stop.ask();
        }
        context.stop.check()?;
    }
    let totals = *lock(&totals);
    let report = FitReport {
        steps: job.steps,
        skipped: totals.skipped,
        examples: 0,
        train_loss: totals.loss,
        valid_loss: totals.valid_loss,
        value: None,
        calibration: None,
        tokens: totals.tokens,
        sequence_tokens: totals.sequence_tokens,
        prefix_tokens: totals.prefix_tokens,
        seconds: started.elapsed().as_secs_f64(),
        grad_norm: totals.grad_norm / (totals.steps - totals.skipped).max(1) as f64,
    };
    let trunk = result.model.trunk;
    let trunk = trunk.map(|trunk| trunk.computing_in(DType::F32));
    Ok((trunk, result.model.head, report))
}

/// Finds out before the fit whether the checkpoint is one of this model.
fn check_checkpoint(
    trainee: &Trainee,
    folder: &Path,
    epoch: usize,
    fit: &'static str,
) -> Result<(), Error> {
    let [model, ..] = PartFile::all(folder, &Arc::default());
    let record: Result<ModuleRecord, _> = model.restore(epoch);
    let loaded = match record {
        Ok(record) => trainee
            .clone()
            .try_load_record(record)
            .map(drop)
            .map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    loaded.map_err(|error| Error::Checkpoint {
        fit,
        path: checkpointer::path(folder, "model", epoch),
        problem: format!("it is not a checkpoint of this model ({error})"),
    })
}

/// Puts `module` on the autodiff backend with gradients for the parameters whose path (such as
/// `layers.3.qkv.weight`) `free` accepts, and for no others.
pub(crate) fn free<M: Module>(module: M, free: impl Fn(&str) -> bool) -> M {
    struct Freeze<F> {
        path: Vec<String>,
        free: F,
    }
    impl<F: Fn(&str) -> bool> ModuleMapper for Freeze<F> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_string());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let free = (self.free)(&self.path.join("."));
            param.set_require_grad(free)
        }
    }
    module.train().map(&mut Freeze {
        path: Vec::new(),
        free,
    })
}

/// [`free`] for the last `last` layers and the final norm of a decoder; `last` 0 means everything.
pub(crate) fn free_last_layers(decoder: Decoder, last: usize) -> Decoder {
    let layers = decoder.layers.len();
    let first = if last == 0 {
        0
    } else {
        layers.saturating_sub(last)
    };
    free(decoder, |path| match path.strip_prefix("layers.") {
        Some(rest) => rest
            .split('.')
            .next()
            .and_then(|index| index.parse::<usize>().ok())
            .is_some_and(|index| index >= first),
        None => last == 0 || path.starts_with("norm."),
    })
}

/// Whether [`backward`](super::backward) can give the gradients of `decoder`.
pub(crate) fn can_by_hand(decoder: &Decoder) -> bool {
    is_cpu(&decoder.embedding.val().device().inner())
}

/// Number of optimiser steps: `steps`, or where that is 0 as many as make `epochs` passes.
pub(crate) fn step_count(steps: usize, epochs: f64, examples: usize, batch: usize) -> usize {
    if steps > 0 {
        return steps;
    }
    ((epochs * examples as f64 / batch.max(1) as f64).floor() as usize).max(1)
}
