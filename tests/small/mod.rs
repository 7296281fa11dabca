//! A run of the quickstart that is small enough for a test and goes through every phase.

use assert_cmd::Command;
use std::path::Path;

const SETTINGS: [&str; 9] = [
    "loop.iterations=1",
    "collect.questions=24",
    "collect.search.simulations=12",
    "joint.steps=6",
    "joint.policy_batch=8",
    "joint.value_batch=8",
    "evaluate.questions=16",
    "evaluate.samples=2",
    "evaluate.search.searched.simulations=10",
];

/// The command that runs it in `dir`, from the project's root.
pub fn run(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("tokenzero").unwrap();
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "recipes/quickstart.toml", "--run-dir"])
        .arg(dir);
    for set in SETTINGS {
        command.args(["--set", set]);
    }
    command
}
