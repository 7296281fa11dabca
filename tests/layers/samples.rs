//! The scanner against samples: each breach is caught, its look-alikes are not.

use super::Source;

fn broken(file: &str, text: &str) -> Vec<String> {
    let source = Source::new(file, text);
    source.breaches().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn caught(file: &str, text: &str, expected: &[&str]) {
    assert_eq!(broken(file, text), expected, "{file}: {text}");
}

#[test]
fn imports_upwards_and_sideways_are_caught_with_their_line() {
    let upwards = "src/tree/mod.rs:2: `tree` imports `model`; it may import no module of the crate";
    caught(
        "tree/mod.rs",
        "use std::fmt;\nuse crate::model::Config;\n",
        &[upwards],
    );
    let rule = "src/model/hub.rs:1: `model` (floor 1) imports upwards: `engine` (floor 2)";
    for text in [
        "use crate::engine::Engine;",
        "use crate::{task::Problem, engine};",
        "use crate::{monitor::{Event, Monitor}, engine::{self, Slot}};",
        "pub(crate) use crate::engine as motor;",
        "fn f(x: &crate::engine::Engine) {}",
        "use super::super::engine::Engine;",
        "use super::{super::engine::Engine, config::Config};",
        "use super::super::{task, engine};",
        "fn f() { super::super::engine::start() }",
        "mod inner { use super::super::super::engine::Engine; }",
        "mod a { mod b { } use super::super::super::engine; }",
        "use self::decoder::X; pub(in crate::engine) fn f() {}",
    ] {
        caught("model/hub.rs", text, &[rule]);
    }
    caught(
        "collect/worker.rs",
        "use crate::{\n    search::Search,\n    evaluate::Ledger,\n};",
        &["src/collect/worker.rs:3: `collect` (floor 4) imports sideways: `evaluate` (floor 4)"],
    );
    caught(
        "trace/mod.rs",
        "use crate::task::Problem;",
        &["src/trace/mod.rs:1: `trace` (floor 0) imports sideways: `task` (floor 0)"],
    );
}

#[test]
fn imports_down_and_within_pass() {
    for (file, text) in [
        (
            "task/gsm8k.rs",
            "use crate::trace::table; use super::Problem; use crate::task::Split;",
        ),
        (
            "train/value.rs",
            "use crate::monitor::Monitor; use crate::{model, trace};",
        ),
        (
            "search/leaf.rs",
            "use crate::{tree::{Tree, Leaf}, engine::Handle, task::Task};",
        ),
        (
            "model/io/mod.rs",
            "use super::super::model::Config; use super::decoder;",
        ),
        (
            "model/hub.rs",
            "mod inner { use super::super::config::Config; use super::X; }",
        ),
        (
            "model/hub.rs",
            "pub(crate) fn f(a: crate_name::engine::X) { my::engine::y() }",
        ),
        (
            "cli/run.rs",
            "use crate::{iterate, recipe, task, tree, engine, search};",
        ),
        (
            "main.rs",
            "use crate::anything; fn main() { tokenzero::cli::run() }",
        ),
        ("lib.rs", "pub mod task; pub use crate::cli::x;"),
    ] {
        caught(file, text, &[]);
    }
}

#[test]
fn the_root_and_unknown_modules_are_caught() {
    for text in [
        "use crate::*;",
        "use crate as root;",
        "use super::*;",
        "use crate::{self as root};",
    ] {
        caught(
            "model.rs",
            text,
            &[
                "src/model.rs:1: `model` names the crate's root, which is no module of the floor table",
            ],
        );
    }
    caught(
        "model/mod.rs",
        "use crate::Config;",
        &["src/model/mod.rs:1: `model` names Config, which is no module of the floor table"],
    );
    caught(
        "util/mod.rs",
        "",
        &["src/util/mod.rs:1: `util` is no module of the floor table"],
    );
}

#[test]
fn special_rules_are_caught() {
    for to in ["task", "tree", "trace"] {
        caught(
            "engine/batch.rs",
            &format!("use crate::{to}::X;"),
            &[&format!(
                "src/engine/batch.rs:1: `engine` must not import `{to}`"
            )],
        );
    }
    caught(
        "train/fit.rs",
        "\n\nuse crate::search::Search;",
        &["src/train/fit.rs:3: `train` must not import `search`"],
    );
}

#[test]
fn heavy_crates_have_one_home() {
    for (file, text, rule) in [
        (
            "collect/a.rs",
            "use polars::prelude::*;",
            "only trace may name `polars`",
        ),
        (
            "main.rs",
            "fn f() { polars::x() }",
            "only trace may name `polars`",
        ),
        (
            "cli/a.rs",
            "use ::tensorboard_rs as board;",
            "only monitor may name `tensorboard_rs`",
        ),
        (
            "recipe/a.rs",
            "use {hf_hub, serde};",
            "only model and task may name `hf_hub`",
        ),
        (
            "task/a.rs",
            "extern crate tokenizers;",
            "only model may name `tokenizers`",
        ),
        (
            "model/a.rs",
            "impl burn_train::X for Y {}",
            "only train may name `burn_train`",
        ),
        (
            "engine/a.rs",
            "#[cubecl::cube]\nfn f() {}",
            "only kernels::ops may name `cubecl`",
        ),
    ] {
        caught(file, text, &[&format!("src/{file}:1: {rule}")]);
    }
    for (file, text) in [
        ("trace/shard.rs", "use polars::prelude::*;"),
        (
            "task/a.rs",
            "use hf_hub::api; let polars = 1; f(polars, x.polars, polars);",
        ),
        ("model/a.rs", "use tokenizers::Tokenizer;"),
        ("kernels/ops.rs", "use cubecl::prelude::*;"),
        ("kernels/ops/attend.rs", "use cubecl::prelude::*;"),
        ("cli/a.rs", "use crate::trace::polars::X; mod polars_like;"),
    ] {
        caught(file, text, &[]);
    }
}

#[test]
fn comments_strings_and_tests_do_not_count() {
    let text = r####"
//! use crate::engine::X;
/* crate::engine /* nested crate::engine */ crate::engine */
const A: &str = "crate::engine \" crate::engine";
const B: &str = r#"crate::engine " crate::engine"#;
const C: [char; 3] = ['"', '\'', '{'];
fn f<'a>(x: &'a str) -> &'a str { x }
struct S { #[cfg(test)] x: crate::engine::X }
#[cfg(test)]
use crate::{engine, search};
#[cfg(test)]
#[allow(dead_code)]
mod tests {
    use crate::engine::X;
    fn g() { if true { crate::engine::y() } }
}
#[test]
fn t() { crate::engine::y() }
#[derive(Debug)]
struct After(crate::search::X);
"####;
    caught(
        "model/a.rs",
        text,
        &["src/model/a.rs:20: `model` (floor 1) imports upwards: `search` (floor 3)"],
    );
    let source = Source::new(
        "model/a.rs",
        "#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub mod fake;",
    );
    assert_eq!(
        source.test_files,
        [["model", "a", "tests"], ["model", "a", "fake"]]
    );
}
