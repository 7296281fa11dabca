//! Runs that no search made: with hostile words, and with a tree of ten thousand nodes.

use std::path::{Path, PathBuf};

use serde_json::json;
use tokenzero::trace::{Manifest, NodeRecord, TreeRecord, write_shard};

/// What runs as script where a page forgets to escape it.
pub const HOSTILE: &str = "</script><img/src=x/onerror=hacked=1>";

/// A run in `dir` whose words, tags and reasons are hostile. Returns its folder and that of its
/// tokenizer.
pub fn run(dir: &Path) -> (PathBuf, PathBuf) {
    let run = dir.join("run<img src=x onerror=hacked=1>%20");
    let traces = run.join("iter-0001/traces");
    std::fs::create_dir_all(&traces).unwrap();
    std::fs::write(run.join("recipe.toml"), "").unwrap();
    let event = json!({"time": 1.0, "tag": format!("value/{HOSTILE}"), "step": 1, "value": 0.5});
    std::fs::write(run.join("events.jsonl"), format!("{event}\n")).unwrap();
    let mut trees = vec![large_tree(), TreeRecord::failed(8, 1, HOSTILE.into())];
    trees[1].prompt = vec![3];
    let shard = write_shard(&traces, 0, &trees).unwrap();
    Manifest::unfinished(vec![shard]).write(&traces).unwrap();
    (run, tokenizer(dir))
}

/// 10,000 nodes: three children each, one leaf in seven right.
fn large_tree() -> TreeRecord {
    let mut nodes = Vec::new();
    for index in 0..10_000u32 {
        let leaf = index * 3 + 1 >= 10_000;
        nodes.push(NodeRecord {
            parent: index.checked_sub(1).map(|i| i / 3),
            token: 3 + index % 3,
            visits: 10_000 / (index + 1),
            return_sum: f64::from(10_000 / (index + 1)) * f64::from(index % 5) / 5.0,
            value: (index as f32).sin(),
            outcome: Some(if index % 7 == 0 { 1.0 } else { -1.0 }),
            terminal: leaf,
            child_tokens: if leaf { vec![] } else { vec![4, 5, 3, 1] },
            child_log_probs: if leaf { vec![] } else { vec![-1.1; 4] },
            child_priors: if leaf { vec![] } else { vec![0.25; 4] },
            ..NodeRecord::default()
        });
    }
    TreeRecord {
        problem: 7,
        iteration: 1,
        root_depth: 1,
        prompt: vec![3, 4, 5, 2, 4],
        forward_tokens: 10_000,
        simulations: 10_000,
        solved_greedily: Some(false),
        nodes,
        ..TreeRecord::default()
    }
}

/// A tokenizer of five words, one of them hostile.
fn tokenizer(dir: &Path) -> PathBuf {
    let folder = dir.join("tokenizer");
    std::fs::create_dir(&folder).unwrap();
    let special = json!({"id": 0, "content": "<eos>", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true});
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special],
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "unk_token": "<eos>",
            "vocab": {"<eos>": 0, "never": 1, "\n": 2, HOSTILE: 3, "alpha": 4, " &amp; ": 5}},
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(
        folder.join("generation_config.json"),
        r#"{"eos_token_id": 0}"#,
    )
    .unwrap();
    folder
}
