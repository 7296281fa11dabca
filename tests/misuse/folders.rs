//! Run folders that are damaged, in use or of another recipe.

use super::*;

pub(super) fn run_folders(b: &mut Bench) {
    let nothing = b.path("no-run");
    let out = b.path("out");
    let out = out.to_str().unwrap();
    b.case(
        "exporting what is no run",
        &["export", "value", nothing.to_str().unwrap(), "--out", out],
    );
    let file = b.write("a-file", "x");
    b.case(
        "a run folder that is a file",
        &["run", "recipes/quickstart.toml", "--run-dir", &file],
    );
    b.write("other/recipe.toml", "seed = 3\n");
    let other = b.path("other");
    b.case(
        "a run folder of another recipe",
        &[
            "run",
            "recipes/quickstart.toml",
            "--run-dir",
            other.to_str().unwrap(),
        ],
    );
    b.write("newer/state.json", "{\"version\": 99, \"future\": true}");
    let newer = b.path("newer");
    b.case(
        "a run folder from a newer version",
        &[
            "run",
            "recipes/quickstart.toml",
            "--run-dir",
            newer.to_str().unwrap(),
        ],
    );
    b.write("taken/file.txt", "x");
    let taken = b.path("taken");
    b.case(
        "collecting into a folder that is in use",
        &[
            "collect",
            "recipes/quickstart.toml",
            "--out",
            taken.to_str().unwrap(),
        ],
    );
    b.case(
        "a run folder where nothing can be written",
        &[
            "run",
            "recipes/quickstart.toml",
            "--no-estimate",
            "--run-dir",
            "/proc/tokenzero",
        ],
    );
    b.write("half/recipe.toml", "seed = 3\n");
    b.write("half/iter-0001/evaluation.json", "{\"iteration\": 1,");
    let half = b.path("half");
    let half = half.to_str().unwrap();
    b.case(
        "exporting from a run whose checkpoint was deleted",
        &["export", "policy", half, "--out", out],
    );
    b.case(
        "showing what is no run",
        &["show", nothing.to_str().unwrap()],
    );
    b.case(
        "comparing a run with nothing",
        &["diff", half, nothing.to_str().unwrap()],
    );
    b.write(
        "torn/manifest.json",
        "{\"schema_version\": 3, \"shards\": [",
    );
    let torn = b.path("torn");
    b.case(
        "training on traces with a torn manifest",
        &[
            "train-policy",
            "recipes/quickstart.toml",
            "--traces",
            torn.to_str().unwrap(),
            "--out",
            out,
        ],
    );
    b.write(
        "old/manifest.json",
        "{\"schema_version\": 99, \"shards\": []}",
    );
    let old = b.path("old");
    b.case(
        "training on traces of a newer version",
        &[
            "train-policy",
            "recipes/quickstart.toml",
            "--traces",
            old.to_str().unwrap(),
            "--out",
            out,
        ],
    );
    b.case(
        "training on what are no traces",
        &[
            "train-value",
            "recipes/quickstart.toml",
            "--traces",
            taken.to_str().unwrap(),
            "--out",
            out,
        ],
    );
}
