//! `tokenzero generate --follow`: what a model says in the place of each token of given texts, for
//! comparing devices and weights with each other and with other programs.

use super::common;
use crate::engine::{EngineHandle, Output, Request};
use miette::{IntoDiagnostic, Result, miette};
use serde::Deserialize;
use std::path::Path;
use tokio::task::JoinSet;

/// A prompt and what follows it, in token ids.
#[derive(Deserialize)]
pub(super) struct Text {
    tokens: Vec<u32>,
    follow: Vec<u32>,
}

/// Reads a file of texts, one a line.
pub(super) fn read(path: &Path) -> Result<Vec<Text>> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| miette!("{} cannot be read: {e}", path.display()))?;
    let mut texts = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let bad = |why: String| {
            miette!(
                help = "every line is a JSON object with two lists of token ids, `tokens` and `follow`, \
                        neither of them empty",
                "{}:{}: {why}",
                path.display(),
                number + 1
            )
        };
        let text: Text = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
        if text.tokens.is_empty() || text.follow.is_empty() {
            return Err(bad("a list is empty".into()));
        }
        texts.push(text);
    }
    Ok(texts)
}

/// Follows all `texts` at once and prints a JSON object for each, in their order: for every token of
/// `follow`, the `top` most probable ones in its place with their log-probabilities, and the log-sum-exp.
/// Each of these tokens is a step of its own, as in decoding.
pub(super) async fn run(engine: EngineHandle, texts: Vec<Text>, top: usize) -> Result<()> {
    let mut tasks = JoinSet::new();
    for (index, text) in texts.into_iter().enumerate() {
        let engine = engine.clone();
        tasks.spawn(async move { (index, follow(&engine, text, top).await) });
    }
    let mut done = tasks.join_all().await;
    done.sort_by_key(|d| d.0);
    for (_, outputs) in done {
        let outputs = outputs.into_diagnostic()?;
        let line = serde_json::json!({
            "tokens": outputs.iter().map(|o| &o.tokens).collect::<Vec<_>>(),
            "log_probs": outputs.iter().map(|o| &o.log_probs).collect::<Vec<_>>(),
            "log_sum_exp": outputs.iter().map(|o| o.log_sum_exp).collect::<Vec<_>>(),
        });
        common::print(&line.to_string())?;
    }
    Ok(())
}

async fn follow(
    engine: &EngineHandle,
    text: Text,
    top_k: usize,
) -> Result<Vec<Output>, crate::engine::Error> {
    let session = engine
        .session(text.tokens.len() + text.follow.len())
        .await?;
    let mut context = Vec::new();
    let mut outputs = Vec::with_capacity(text.follow.len());
    // The last token has nothing behind it that is asked for.
    let (_, before) = text.follow.split_last().unwrap_or((&0, &[]));
    let steps = std::iter::once(text.tokens).chain(before.iter().map(|&t| vec![t]));
    for tokens in steps {
        let reply = session
            .run(Request {
                context: context.clone(),
                tokens,
                top_k,
                generate: None,
                ..Request::default()
            })
            .await?;
        context.extend(&reply.slots);
        outputs.extend(reply.outputs);
    }
    Ok(outputs)
}
