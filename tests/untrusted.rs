//! Files from anywhere: every reader is fed damaged ones. It may refuse them; it may not panic, hang or
//! ask for memory without bound.
//!
//! `cargo test --test untrusted` tries each reader a few hundred times. For longer:
//! `TOKENZERO_FUZZ_SECONDS=600 cargo test --test untrusted -- --nocapture`, which divides the time
//! among the readers and prints how often each ran.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};
use tokenzero::model::config::Config;
use tokenzero::model::tokenizer::Tokenizer;
use tokenzero::model::weights::Weights;
use tokenzero::recipe::Recipe;
use tokenzero::task::{self, Message};
use tokenzero::trace::{self, Journal, NodeRecord, TreeRecord, table};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/countdown-tiny");

/// Tries of a reader where no time is given.
const TRIES: usize = 300;

/// Address space of the test: a reader that believes an impossible length fails here.
const MEMORY: u64 = 12 << 30;

/// Longest time for one input.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pieces that text formats take seriously.
const WORDS: [&str; 16] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "\\u0000",
    "{% for x in y %}",
    "{{",
    "../..",
    "\u{feff}",
];

/// `good` with a few bytes flipped, cut, doubled, moved or replaced.
fn damaged(good: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..rng.random_range(1..6) {
        if bytes.is_empty() {
            return bytes;
        }
        // Most of what is worth breaking is at the two ends.
        let at = match rng.random_range(0..3) {
            0 => rng.random_range(0..bytes.len().min(200)),
            1 => bytes.len() - 1 - rng.random_range(0..bytes.len().min(200)),
            _ => rng.random_range(0..bytes.len()),
        };
        let end = (at + rng.random_range(1..40)).min(bytes.len());
        match rng.random_range(0..7) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let number = [u64::MAX, 1 << 63, 1 << 40, 0][rng.random_range(0..4)];
                for (byte, new) in bytes[at..end].iter_mut().zip(number.to_le_bytes()) {
                    *byte = new;
                }
            }
            _ => {
                let word = WORDS[rng.random_range(0..WORDS.len())].bytes();
                bytes.splice(at..at, word);
            }
        }
    }
    bytes
}

/// Feeds `read` with damaged versions of `good`, for as long as wanted.
fn fuzz(name: &str, good: &[u8], readers: u32, mut read: impl FnMut(&[u8])) {
    let seconds = std::env::var("TOKENZERO_FUZZ_SECONDS").ok().map(|s| {
        s.parse::<u32>()
            .expect("TOKENZERO_FUZZ_SECONDS is a number")
    });
    let mut rng = ChaCha8Rng::seed_from_u64(good.len() as u64);
    let start = Instant::now();
    let mut tries = 0;
    read(good);
    while match seconds {
        Some(seconds) => start.elapsed() < Duration::from_secs(u64::from(seconds / readers)),
        None => tries < TRIES,
    } {
        let bytes = damaged(good, &mut rng);
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&bytes)));
        if outcome.is_err() || begun.elapsed() > PATIENCE {
            eprintln!(
                "{name}, try {tries}, {:?}: {}",
                begun.elapsed(),
                String::from_utf8_lossy(&bytes)
            );
            panic!("{name}");
        }
        tries += 1;
    }
    println!(
        "{name:>24} {tries:>9} tries in {:.0} s",
        start.elapsed().as_secs_f64()
    );
}

#[test]
fn damaged_files_are_refused_and_nothing_worse() {
    let limit = libc::rlimit {
        rlim_cur: MEMORY,
        rlim_max: MEMORY,
    };
    // SAFETY: a plain system call; this test is alone in its process.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    // Panics of libraries become refusals; one that does not is told below with its input.
    std::panic::set_hook(Box::new(|_| {}));
    let readers = 10;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
    let bundled = |name: &str| std::fs::read(Path::new(TINY).join(name)).unwrap();

    let recipe = include_bytes!("../recipes/gsm8k.toml");
    let path = file("recipe.toml");
    fuzz("recipe", recipe, readers, |bytes| {
        write(&path, bytes);
        // A refusal is made to be shown.
        if let Err(error) = Recipe::read(&path, &[]) {
            let _ = format!("{:?}", miette::Report::new(error));
        }
    });
    fuzz(
        "--set",
        b"collect.search.tree.c_puct=1.25",
        readers,
        |bytes| {
            let set = String::from_utf8_lossy(bytes).into_owned();
            let _ = Recipe::read(Path::new("recipes/quickstart.toml"), &[set]);
        },
    );
    fuzz("config.json", &bundled("config.json"), readers, |bytes| {
        let _ = Config::from_json(&String::from_utf8_lossy(bytes));
    });
    let path = file("model.safetensors");
    fuzz(
        "safetensors",
        &bundled("model.safetensors"),
        readers,
        |bytes| {
            write(&path, bytes);
            if let Ok(weights) = Weights::open_file(&path) {
                let names: Vec<String> = weights.names().map(str::to_owned).collect();
                for name in names {
                    let _ = weights.get(&name, &[96]);
                }
            }
        },
    );
    let model = file("model");
    std::fs::create_dir(&model).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        write(&model.join(name), &bundled(name));
    }
    let path = model.join("tokenizer.json");
    fuzz(
        "tokenizer.json",
        &bundled("tokenizer.json"),
        readers,
        |bytes| {
            write(&path, bytes);
            if let Ok(tokenizer) = Tokenizer::load(&model) {
                let _ = tokenizer.encode("1 2 3 make 6\n");
                let _ = tokenizer.decode(&[0, 1, 110, 4_000_000_000]);
            }
        },
    );
    write(&path, &bundled("tokenizer.json"));
    let template = json!({
        "eos_token": "<eos>",
        "chat_template": "{% for m in messages %}{% if m.role == 'user' %}{{ '<u>' + m.content | trim }}\
                          {% else %}{{ m['content'].split(' ')[0] }}{% endif %}{% endfor %}\
                          {% if add_generation_prompt %}{{ eos_token }}{% endif %}"
    });
    let path = model.join("tokenizer_config.json");
    let messages = [Message::user("1 2 3 make 6")];
    fuzz(
        "chat template",
        template.to_string().as_bytes(),
        readers,
        |bytes| {
            write(&path, bytes);
            if let Ok(tokenizer) = Tokenizer::load(&model) {
                let _ = tokenizer.render(&messages);
            }
        },
    );

    let trees: Vec<TreeRecord> = (0..20).map(tree).collect();
    let traces = file("traces");
    trace::write_shard(&traces, 0, &trees).unwrap();
    let path = traces.join("shard-00000.parquet");
    let good = std::fs::read(&path).unwrap();
    fuzz("traces", &good, readers, |bytes| {
        write(&path, bytes);
        let _ = trace::read_shard(&path);
    });
    let path = file("data.parquet");
    table::Table::new()
        .column_str("question", vec!["1 + 1?"; 50])
        .column_u64("answer", (0..50).collect())
        .write(&path)
        .unwrap();
    let good = std::fs::read(&path).unwrap();
    fuzz("Parquet data", &good, readers, |bytes| {
        write(&path, bytes);
        let _ = table::read_text_columns(&path, &["question", "answer"]);
    });
    let path = file("train.jsonl");
    let params = task::Params {
        kind: task::Kind::Jsonl,
        path: Some(path.clone()),
        dev_size: 2,
        ..task::Params::default()
    };
    let good: String = (0..9)
        .map(|i| format!("{{\"question\": \"{i} + 1?\", \"answer\": \"so #### 1,00{i}.5\"}}\n"))
        .collect();
    fuzz("JSONL data", good.as_bytes(), readers, |bytes| {
        write(&path, bytes);
        let _ = task::open(&params);
    });
    let folder = file("journal");
    std::fs::create_dir(&folder).unwrap();
    let (mut journal, _) = Journal::open(&folder).unwrap();
    for (index, tree) in trees.iter().enumerate() {
        journal.append(index, tree).unwrap();
    }
    let path = folder.join("trees.journal");
    let good = std::fs::read(&path).unwrap();
    fuzz("journal", &good, readers, |bytes| {
        for entry in std::fs::read_dir(&folder).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        write(&path, bytes);
        Journal::open(&folder).unwrap();
    });
}

fn tree(problem: u64) -> TreeRecord {
    let node = |index: u32| NodeRecord {
        parent: index.checked_sub(1),
        token: index,
        visits: 9 - index,
        child_tokens: vec![index + 1, 50],
        child_log_probs: vec![-0.1, -3.0],
        child_priors: vec![0.9, 0.1],
        ..NodeRecord::default()
    };
    TreeRecord {
        problem,
        prompt: vec![4, 5, 6],
        nodes: (0..8).map(node).collect(),
        ..TreeRecord::default()
    }
}
