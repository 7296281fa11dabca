//! The engine's steps: decode, prefill, expansion.

use super::{Error, Figure, Params, Subject, What};
use crate::engine::{Choose, Engine, Generate, Machine, Request, Session, Slot, Weights};
use crate::model::device::is_cpu;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

/// How long a repeat should take, in seconds.
const ENOUGH: f64 = 0.7;

/// Fewest and most steps of a repeat.
const STEPS: (usize, usize) = (4, 400);

/// Continuations that an expansion reports.
const TOP_K: usize = 5;

/// Decode: `rows` sequences of `context` tokens go on greedily. The keys and values before them are
/// blank, each sequence's own: what they hold does not change the time.
pub(super) fn decode(
    subject: &Subject,
    params: &Params,
    machine: &Machine,
) -> Result<Figure, Error> {
    let mean_context = |steps: usize| params.context + steps / 2;
    timed(
        subject,
        params,
        What::Decode,
        machine,
        mean_context,
        |contexts, steps, session| {
            Box::pin(async move {
                let mut rows = JoinSet::new();
                for context in contexts {
                    let session = session.clone();
                    rows.spawn(async move {
                        session
                            .run(Request {
                                context,
                                tokens: vec![1],
                                top_k: 1,
                                generate: Some(Generate {
                                    draft: None,
                                    choose: Choose::Greedy,
                                    max_new_tokens: steps,
                                    stop: Arc::from([]),
                                    until: None,
                                    record: false,
                                }),
                                ..Request::default()
                            })
                            .await
                    });
                }
                finish(rows).await
            })
        },
    )
}

/// Expansion: `rows` single tokens after `context`, round after round, each answer awaited before
/// the next question.
pub(super) fn expansion(
    subject: &Subject,
    params: &Params,
    machine: &Machine,
) -> Result<Figure, Error> {
    timed(
        subject,
        params,
        What::Expansion,
        machine,
        |_| params.context,
        |contexts, steps, session| {
            Box::pin(async move {
                let mut slots = Vec::new();
                for _ in 0..steps {
                    let mut rows = JoinSet::new();
                    for context in &contexts {
                        let (session, context) = (session.clone(), context.clone());
                        rows.spawn(async move {
                            session
                                .run(Request {
                                    context,
                                    tokens: vec![1],
                                    top_k: TOP_K,
                                    generate: None,
                                    ..Request::default()
                                })
                                .await
                        });
                    }
                    slots.extend(finish(rows).await?);
                }
                Ok(slots)
            })
        },
    )
}

type Rows<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Vec<Slot>, Error>> + 'a>>;

async fn finish(
    mut rows: JoinSet<Result<crate::engine::Reply, crate::engine::Error>>,
) -> Result<Vec<Slot>, Error> {
    let mut slots = Vec::new();
    while let Some(done) = rows.join_next().await {
        slots.extend(done.map_err(crate::search::Error::from)??.slots);
    }
    Ok(slots)
}

/// Times `run`, which forwards a token for every context and step and returns the slots it filled.
fn timed(
    subject: &Subject,
    params: &Params,
    what: What,
    machine: &Machine,
    mean_context: impl Fn(usize) -> usize,
    run: impl Fn(Vec<Vec<Slot>>, usize, Arc<Session>) -> Rows<'static>,
) -> Result<Figure, Error> {
    let (_engine, policy) = subject.engine(false)?;
    let rows = params.rows;
    let (repeats, steps) = runtime()?.block_on(async {
        let most = STEPS.1.min(
            policy
                .engine
                .context_limit()
                .saturating_sub(params.context + 1),
        );
        let session = policy
            .engine
            .session(rows * (params.context + most.max(1)))
            .await?;
        let session = Arc::new(session);
        let mut contexts = Vec::with_capacity(rows);
        for _ in 0..rows {
            contexts.push(session.blank(params.context).await?);
        }
        // Once for threads and buffers, once to learn how many steps are enough.
        let first = STEPS.0.min(most).max(1);
        let mut seconds = 0.0;
        for _ in 0..2 {
            let from = Instant::now();
            let slots = run(contexts.clone(), first, session.clone()).await?;
            seconds = from.elapsed().as_secs_f64();
            session.release(&slots);
        }
        let steps = (ENOUGH / seconds * first as f64) as usize;
        let steps = steps.clamp(first, most.max(first));
        let mut repeats = Vec::with_capacity(params.repeats);
        for _ in 0..params.repeats {
            let from = Instant::now();
            let slots = run(contexts.clone(), steps, session.clone()).await?;
            repeats.push((rows * steps) as f64 / from.elapsed().as_secs_f64());
            session.release(&slots);
        }
        Ok::<_, Error>((repeats, steps))
    })?;
    let cost = Cost::of(subject, rows, rows, mean_context(steps))?;
    let unit = match what {
        What::Expansion => "expansions_per_s",
        _ => "tokens_per_s",
    };
    Ok(Figure {
        peak_bytes: None,
        what,
        rows,
        context: params.context,
        unit,
        repeats,
        roofline: Some(rows as f64 / cost.seconds(machine)),
    })
}

/// Prefill: `rows` prompts of `context` tokens, of which the last one's logits are wanted.
pub(super) fn prefill(
    subject: &Subject,
    params: &Params,
    machine: &Machine,
) -> Result<Figure, Error> {
    let (_engine, policy): (Engine, _) = subject.engine(false)?;
    let (rows, length) = (params.rows, params.context.max(1));
    let vocab = subject.config().vocab_size as u32;
    let prompt: Vec<u32> = (0..length as u32)
        .map(|t| (t * 7919 + 13) % vocab)
        .collect();
    let repeats = runtime()?.block_on(async {
        let mut repeats = Vec::with_capacity(params.repeats);
        for number in 0..=params.repeats {
            let session = Arc::new(policy.engine.session(rows * length).await?);
            let from = Instant::now();
            let mut jobs = JoinSet::new();
            for _ in 0..rows {
                let (session, tokens) = (session.clone(), prompt.clone());
                jobs.spawn(async move {
                    session
                        .run(Request {
                            context: Vec::new(),
                            tokens,
                            top_k: 1,
                            generate: None,
                            ..Request::default()
                        })
                        .await
                });
            }
            finish(jobs).await?;
            // The first starts threads and fills buffers.
            if number > 0 {
                repeats.push((rows * length) as f64 / from.elapsed().as_secs_f64());
            }
        }
        Ok::<_, Error>(repeats)
    })?;
    let tokens = rows * length;
    let cost = Cost::of(subject, tokens, rows, length / 2)?;
    Ok(Figure {
        peak_bytes: None,
        what: What::Prefill,
        rows,
        context: length,
        unit: "tokens_per_s",
        repeats,
        roofline: Some(tokens as f64 / cost.seconds(machine)),
    })
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?)
}

/// What a step has to move and to compute at least.
struct Cost {
    bytes: f64,
    operations: f64,
}

impl Cost {
    /// `tokens` of `rows` sequences forwarded at once, each seeing `context` others, and the logits
    /// of one token of each.
    fn of(subject: &Subject, tokens: usize, rows: usize, context: usize) -> Result<Cost, Error> {
        let config = subject.config();
        let head = config.vocab_size * config.hidden_size;
        let tied = if config.tie_word_embeddings { 1 } else { 2 };
        let layers = config.parameters() - tied * head;
        let per_weight = match subject.weights()? {
            Weights::Bf16 => 2,
            _ => 4,
        };
        // The CPU keeps keys and values in f32 whatever the weights are.
        let per_number = match is_cpu(subject.device()) {
            true => 4,
            false => per_weight,
        };
        let key_values = config.num_hidden_layers * config.kv_size() * per_number;
        let width = config.num_attention_heads * config.head_dim;
        let attention = 4 * config.num_hidden_layers * width * context;
        Ok(Cost {
            bytes: (per_weight * (layers + head) + rows * context * key_values) as f64,
            operations: (tokens * (2 * layers + attention) + rows * 2 * head) as f64,
        })
    }

    fn seconds(&self, machine: &Machine) -> f64 {
        let memory = self.bytes / machine.bytes_per_s;
        memory.max(self.operations / machine.flops_per_s)
    }
}
