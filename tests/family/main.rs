//! Ways of searching and learning through the command line: the frontier, sweeps, and every way to
//! learn in a run of its own, small but whole; its statistics beside those of scipy and statsmodels, its
//! losses beside TRL's.

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tokenzero::evaluate::bootstrap::{RESAMPLES, percentiles, resampled_means};
use tokenzero::evaluate::statistics::{McNemar, holm, sign_flip, student};
use tokenzero::train::group_advantages;
use tokenzero::train::pull::{Pull, Want};

mod frontier;
mod learning;
#[path = "../python/mod.rs"]
mod python;
mod questions;
mod references;
mod rewards;

fn tokenzero() -> Command {
    let mut command = Command::cargo_bin("tokenzero").unwrap();
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

const SMALL: [&str; 9] = [
    "loop.iterations=1",
    "collect.questions=24",
    "collect.search.simulations=12",
    "joint.steps=4",
    "evaluate.questions=8",
    "evaluate.samples=2",
    "evaluate.search.searched.simulations=5",
    "joint.checkpoint_every=0",
    "joint.policy_batch=8",
];

fn sets(command: &mut Command, sets: &[&str]) {
    for set in sets {
        command.args(["--set", set]);
    }
}

fn run(dir: &Path, more: &[&str]) -> Value {
    let mut command = tokenzero();
    command.args([
        "run",
        "recipes/quickstart.toml",
        "--quiet",
        "--no-estimate",
        "--run-dir",
    ]);
    command.arg(dir);
    sets(&mut command, &SMALL);
    sets(&mut command, more);
    command.assert().success();
    let text = fs::read_to_string(dir.join("iter-0001/train.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
