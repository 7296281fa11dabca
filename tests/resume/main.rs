//! A run that is killed, stopped or short of disk goes on as if nothing had been.
//!
//! `cargo test --test resume` kills a small run a few times. The long form counts the kills in each
//! phase: `TOKENZERO_KILLS=200 cargo test --test resume -- --ignored --nocapture`.

mod disk;
#[allow(dead_code, reason = "shared with tests that run other scripts")]
#[path = "../python/mod.rs"]
mod python;
mod shown;
mod stops;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const RECIPE: &str = r#"
name = "small"

[loop]
iterations = 2

[model]
path = "checkpoints/countdown-tiny"

[task]
kind = "countdown"

[collect]
questions = 40
shard = 16
workers = 8

[collect.search]
simulations = 12
max_new_tokens = 38

[learn]
mode = "joint"

[joint]
steps = 20
policy_batch = 8
value_batch = 8
checkpoint_every = 3
validation = 0.2

[evaluate]
questions = 24
samples = 2
max_new_tokens = 38

[evaluate.sampling]
max_new_tokens = 38

[evaluate.search.searched]
simulations = 12
max_new_tokens = 38
"#;

fn recipe() -> &'static Path {
    static RECIPE_FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = RECIPE_FILE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("small.toml");
        std::fs::write(&path, RECIPE).unwrap();
        (dir, path)
    });
    path
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenzero"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("run")
        .arg(recipe())
        .arg("--run-dir")
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn finish(dir: &Path) -> Output {
    let output = command(dir).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The run that nothing disturbed.
fn whole() -> &'static Path {
    static WHOLE: OnceLock<tempfile::TempDir> = OnceLock::new();
    WHOLE
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            finish(dir.path());
            dir
        })
        .path()
}

/// Everything in a run folder that must not depend on interruptions, by path: JSON without its wall
/// times, other files as bytes.
fn content(dir: &Path) -> BTreeMap<String, String> {
    fn visit(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy();
            if path.is_dir() {
                visit(root, &path, found);
                continue;
            }
            let skip = ["state.json", "events.jsonl"].contains(&&*name)
                || name.starts_with("tensorboard/");
            if skip {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let shown = if name.ends_with(".json") {
                let mut json: Value = serde_json::from_slice(&bytes).unwrap();
                without_times(&mut json);
                json.to_string()
            } else {
                format!("{} bytes, {:x?}", bytes.len(), checksum(&bytes))
            };
            found.insert(name.into_owned(), shown);
        }
    }
    let mut found = BTreeMap::new();
    visit(dir, dir, &mut found);
    found
}

fn without_times(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            fields.remove("seconds");
            fields.values_mut().for_each(without_times);
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

fn checksum(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).to_vec()
}

/// Whether a scalar measures time or memory.
fn of_time(tag: &str) -> bool {
    tag.starts_with("perf/") || tag.starts_with("time/") || tag.ends_with("_per_s")
}

/// The scalars of a run, those that measure time left out; each tag and step once.
fn scalars(dir: &Path) -> BTreeMap<(String, u64), String> {
    let mut found = BTreeMap::new();
    for line in std::fs::read_to_string(dir.join("events.jsonl"))
        .unwrap()
        .lines()
    {
        let event: Value = serde_json::from_str(line).unwrap();
        let tag = event["tag"].as_str().unwrap().to_owned();
        let step = event["step"].as_u64().unwrap();
        // Made of what remains when a process starts.
        if tag.starts_with("perf/estimate_") {
            continue;
        }
        let value = match of_time(&tag) {
            true => String::new(),
            false => event["value"].to_string(),
        };
        let before = found.insert((tag.clone(), step), value);
        assert!(before.is_none(), "{tag} at step {step} twice");
    }
    found
}

#[track_caller]
fn assert_undisturbed(dir: &Path) {
    let (ours, expected) = (content(dir), content(whole()));
    let names = |c: &BTreeMap<String, String>| c.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&ours), names(&expected));
    for (name, expected) in &expected {
        assert_eq!(&ours[name], expected, "{name}");
    }
    let (ours, expected) = (scalars(dir), scalars(whole()));
    let tags = |s: &BTreeMap<(String, u64), String>| s.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(tags(&ours), tags(&expected));
    for (tag, expected) in &expected {
        assert_eq!(&ours[tag], expected, "{tag:?}");
    }
}

/// The phase that a run folder is in.
fn phase(dir: &Path) -> String {
    let Ok(text) = std::fs::read_to_string(dir.join("state.json")) else {
        return "evaluate 0".into();
    };
    let state: Value = serde_json::from_str(&text).unwrap();
    let phase = state["phase"].as_str().unwrap();
    format!("{phase} {}", state["iteration"])
}

/// Waits for the child to end by itself; `None` where it is still at work after `patience`.
fn wait(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let end = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Kills runs at random moments until there were `wanted` kills, and compares every finished run
/// with the undisturbed one. Returns the kills in each phase and the number of runs.
fn kill(wanted: usize, seed: u64) -> (BTreeMap<String, usize>, usize) {
    let whole_time = {
        let start = Instant::now();
        finish(tempfile::tempdir().unwrap().path());
        start.elapsed()
    };
    whole();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut kills, mut runs) = (BTreeMap::new(), 0);
    while kills.values().sum::<usize>() < wanted {
        let dir = tempfile::tempdir().unwrap();
        loop {
            let mut child = command(dir.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let enough = kills.values().sum::<usize>() >= wanted;
            let patience = match enough {
                true => Duration::from_secs(600),
                false => whole_time.mul_f64(rng.random_range(0.0..0.35)),
            };
            if let Some(status) = wait(&mut child, patience) {
                assert!(status.success(), "{status}");
                break;
            }
            child.kill().unwrap();
            let status = child.wait().unwrap();
            if status.signal().is_some() {
                *kills.entry(phase(dir.path())).or_insert(0) += 1;
            }
        }
        assert_undisturbed(dir.path());
        runs += 1;
    }
    (kills, runs)
}

#[test]
fn a_run_that_is_killed_ends_as_if_it_had_not_been() {
    kill(6, 1);
}

#[test]
#[ignore = "takes minutes; TOKENZERO_KILLS says how many kills, 200 without it"]
fn a_run_that_is_killed_very_often_ends_as_if_it_had_not_been() {
    let wanted = std::env::var("TOKENZERO_KILLS").map_or(200, |n| n.parse().unwrap());
    let (kills, runs) = kill(wanted, 2);
    println!("{} kills in {runs} runs", kills.values().sum::<usize>());
    for (phase, count) in kills {
        println!("{phase:>12} {count:>4}");
    }
}

/// What a run said on stderr, on one line as far as the message goes.
fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).replace("\n  │ ", " ")
}
