//! The model that is measured.

use super::{Error, shapes};
use crate::engine::{self, Engine, Weights};
use crate::model::{
    Checkpoint, Config, Decoder, HeadKind, Tokenizer, Value, ValueHead, make_tokenizer,
};
use crate::search::Policy;
use crate::task::{self, Kind, Task};
use burn::tensor::Device;
use std::path::Path;
use std::sync::Arc;

/// Texts that the tokenizer of a model with random weights is made from.
const TEXTS: u64 = 64;

/// A model with what its searches need.
pub struct Subject {
    name: String,
    device_name: String,
    device: Device,
    policy: Decoder,
    value: Option<Value>,
    tokenizer: Arc<Tokenizer>,
    task: Arc<dyn Task>,
    engine: engine::Params,
}

/// A question as a peer needs it.
#[derive(Debug, serde::Serialize)]
pub struct Prompted {
    pub question: String,
    pub gold: String,
    pub tokens: Vec<u32>,
}

impl Subject {
    /// The checkpoint in `dir`; a policy without a value net gets a head that says 0.
    ///
    /// # Errors
    /// A folder that holds no checkpoint.
    pub fn load(
        dir: &Path,
        kind: Kind,
        device: (&str, Device),
        engine: engine::Params,
    ) -> Result<Subject, Error> {
        let checkpoint = Checkpoint::load(dir, &device.1)?;
        Ok(Subject {
            name: dir.display().to_string(),
            device_name: device.0.into(),
            device: device.1,
            policy: checkpoint.policy,
            value: checkpoint.value,
            tokenizer: Arc::new(checkpoint.tokenizer),
            task: open(kind)?,
            engine,
        })
    }

    /// Random weights in a named shape, with a byte-level tokenizer; `None` for an unknown name.
    ///
    /// # Errors
    /// None in practice: building a tokenizer is fallible.
    pub fn random(
        name: &str,
        kind: Kind,
        device: (&str, Device),
        engine: engine::Params,
    ) -> Result<Option<Subject>, Error> {
        let Some(config) = shapes::shape(name) else {
            return Ok(None);
        };
        let task = open(kind)?;
        let questions = task.train(0..TEXTS as usize)?;
        let texts = questions.iter().map(|q| task.prompt(&q.question).plain);
        let texts: Vec<String> = texts.collect();
        let tokenizer = match kind {
            Kind::Countdown => make_tokenizer::word_level(&task::countdown::vocabulary())?,
            _ => make_tokenizer::byte_level(texts, &[])?,
        };
        Ok(Some(Subject {
            name: format!("{name}, random weights"),
            device_name: device.0.into(),
            policy: Decoder::init(&config, 0, &device.1),
            device: device.1,
            value: None,
            tokenizer: Arc::new(tokenizer),
            task,
            engine,
        }))
    }

    /// The first `count` train questions, with the tokens of their prompts: what a peer needs to
    /// search the same trees.
    ///
    /// # Errors
    /// A chat template that refuses a question.
    pub fn prompts(&self, count: usize) -> Result<Vec<Prompted>, Error> {
        let problems = self.task.train(0..count)?;
        let prompted = problems.into_iter().map(|problem| {
            let prompt = self.task.prompt(&problem.question);
            Ok(Prompted {
                tokens: self.tokenizer.prompt(&prompt.plain, &prompt.messages)?,
                question: problem.question,
                gold: problem.gold,
            })
        });
        prompted.collect()
    }

    /// Folder or shape.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device as it was asked for.
    pub fn device_name(&self) -> &str {
        &self.device_name
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How weights are held: in bfloat16, or in f32.
    ///
    /// # Errors
    /// A device that does not compute in bfloat16 and was asked to.
    pub fn weights(&self) -> Result<Weights, engine::Error> {
        self.engine.weights.on(&self.device)
    }

    /// The shape.
    pub fn config(&self) -> &Config {
        self.policy.config()
    }

    pub(super) fn policy(&self) -> &Decoder {
        &self.policy
    }

    pub(super) fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    pub(super) fn task(&self) -> &Arc<dyn Task> {
        &self.task
    }

    /// The value head, or one that says 0.
    pub(super) fn head(&self) -> ValueHead {
        match &self.value {
            Some(value) => value.head().clone(),
            None => {
                let hidden = self.config().hidden_size;
                ValueHead::init(HeadKind::Linear, hidden, 0, 0, &self.device)
            }
        }
    }

    /// An engine with the policy alone, or with the value net as well.
    pub(super) fn engine(&self, valued: bool) -> Result<(Engine, Policy), Error> {
        let value = valued.then(|| {
            let head = || Value::Shared(self.head());
            self.value.clone().unwrap_or_else(head)
        });
        let engine = Engine::start(self.policy.clone(), value, self.engine.clone())?;
        let policy = Policy::new(engine.handle(), &self.tokenizer);
        Ok((engine, policy))
    }
}

fn open(kind: Kind) -> Result<Arc<dyn Task>, Error> {
    Ok(task::open(&task::Params {
        kind,
        ..task::Params::default()
    })?)
}
