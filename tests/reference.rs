//! The reference of recipes, `recipes/REFERENCE.md`, is made of the code: every key with its default
//! from the parameters themselves, and its effect from the comment on the field. Set
//! `TOKENZERO_WRITE=1` to write it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use tokenzero::recipe::Recipe;

/// Where the keys of a table are declared: the table's name, the file, the type.
const TABLES: &[(&str, &str, &str)] = &[
    ("", "recipe/mod.rs", "Recipe"),
    ("loop", "recipe/mod.rs", "Loop"),
    ("model", "recipe/mod.rs", "Model"),
    ("task", "task/params.rs", "Params"),
    ("reward", "task/reward/mod.rs", "Params"),
    ("engine", "engine/mod.rs", "Params"),
    ("collect", "collect/mod.rs", "Params"),
    ("collect.sampling", "search/sample.rs", "Params"),
    ("collect.imagine", "collect/imagine/mod.rs", "Params"),
    ("collect.search", "search/params.rs", "Params"),
    ("collect.search.rollout", "search/params.rs", "Rollout"),
    ("collect.search.actions", "search/actions.rs", "Actions"),
    ("collect.search.revise", "search/revise.rs", "Params"),
    (
        "collect.search.playout_cap",
        "search/params.rs",
        "PlayoutCap",
    ),
    ("collect.search.stop", "search/params.rs", "Stop"),
    ("collect.search.noise", "search/params.rs", "Noise"),
    (
        "collect.search.random_root",
        "search/params.rs",
        "RandomRoot",
    ),
    ("collect.search.redraw", "search/redraw.rs", "Params"),
    ("collect.search.tree", "tree/params.rs", "Params"),
    ("collect.search.tree.rule", "tree/rule.rs", "Rule"),
    ("collect.search.tree.gate", "tree/gate.rs", "Gate"),
    ("collect.search.tree.width", "tree/width.rs", "Width"),
    ("traces", "train/from_traces.rs", "Params"),
    ("traces.sound", "train/sound.rs", "Params"),
    ("traces.policy", "train/distil.rs", "Params"),
    ("traces.policy.teach", "train/distil.rs", "Teach"),
    ("learn", "recipe/mod.rs", "Learn"),
    ("joint", "train/fit_joint.rs", "Params"),
    ("value", "train/fit_value.rs", "Params"),
    ("policy", "train/fit_policy.rs", "Params"),
    ("gate", "evaluate/gate.rs", "Params"),
    ("evaluate", "evaluate/mod.rs", "Params"),
    ("evaluate.sampling", "search/sample.rs", "Params"),
    ("evaluate.search.searched", "search/guided.rs", "Params"),
    (
        "evaluate.search.searched.actions",
        "search/actions.rs",
        "Actions",
    ),
    (
        "evaluate.search.searched.revise",
        "search/revise.rs",
        "Params",
    ),
    (
        "evaluate.search.searched.rollout",
        "search/params.rs",
        "Rollout",
    ),
    ("evaluate.search.searched.tree", "tree/params.rs", "Params"),
    ("evaluate.search.searched.tree.rule", "tree/rule.rs", "Rule"),
    ("evaluate.search.searched.tree.gate", "tree/gate.rs", "Gate"),
    (
        "evaluate.search.searched.tree.width",
        "tree/width.rs",
        "Width",
    ),
];

/// Comments by name of field, or of variant, of a type; a field of a variant is `variant.field`.
fn comments(file: &str, name: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let text = fs::read_to_string(&path).unwrap();
    let (structure, choice) = (
        format!("pub struct {name} {{"),
        format!("pub enum {name} {{"),
    );
    let is_enum = text.contains(&choice);
    let start = text
        .find(if is_enum { &choice } else { &structure })
        .unwrap_or_else(|| panic!("{name} is not declared in {file}"));
    let mut found = BTreeMap::new();
    let (mut words, mut variant) = (String::new(), String::new());
    for line in text[start..].lines().skip(1) {
        let line = line.trim_end();
        if line == "}" {
            break;
        }
        let inner = line.trim();
        if let Some(more) = inner.strip_prefix("///") {
            words.push(' ');
            words.push_str(more.trim());
            continue;
        }
        if inner.starts_with('#') || inner == "}," || inner.is_empty() {
            continue;
        }
        let outer = line.len() - line.trim_start().len() == 4;
        let word: String = inner
            .trim_start_matches("pub ")
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let key = match (is_enum, outer) {
            (false, _) => word,
            (true, true) => {
                variant = snake(&word);
                variant.clone()
            }
            (true, false) => format!("{variant}.{word}"),
        };
        found.insert(key, std::mem::take(&mut words).trim().to_string());
    }
    found
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (index, c) in name.chars().enumerate() {
        if c.is_uppercase() && index > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// A table's own keys with their defaults, in order.
fn defaults(root: &toml::Table, table: &str) -> Vec<(String, String)> {
    let mut here = root;
    for part in table.split('.').filter(|part| !part.is_empty()) {
        let Some(below) = here.get(part).and_then(toml::Value::as_table) else {
            panic!("the default recipe has no table {table}");
        };
        here = below;
    }
    here.iter()
        .filter(|(_, value)| !value.is_table())
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect()
}

fn reference() -> String {
    let root: toml::Table = toml::from_str(&Recipe::default().render()).unwrap();
    let mut out = String::from(
        "# Every key of a recipe\n\n\
         Made of the code; `TOKENZERO_WRITE=1 cargo test --test reference` writes it anew. A key that is \
         not set has the default shown; `-` stands for none. `tokenzero check RECIPE` prints a recipe \
         with every default written out.\n",
    );
    for (table, file, name) in TABLES {
        let comments = comments(file, name);
        let title = if table.is_empty() { "(top)" } else { table };
        let _ = write!(out, "\n## `{title}`\n\nFrom `src/{file}`.\n\n");
        let defaults = defaults(&root, table);
        let is_choice = defaults.iter().any(|(key, _)| key == "kind") && *name != "Params";
        if is_choice {
            let _ = writeln!(out, "| `kind` | effect |\n|---|---|");
            for (key, effect) in &comments {
                let _ = writeln!(out, "| `{key}` | {} |", cell(effect));
            }
            continue;
        }
        let _ = writeln!(out, "| key | default | effect |\n|---|---|---|");
        let mut rows: Vec<(String, String)> = defaults;
        for key in comments.keys() {
            let nested = TABLES.iter().any(|t| t.0 == joined(table, key));
            let known = rows.iter().any(|row| &row.0 == key);
            let elsewhere = root.contains_key(key) && table.is_empty();
            if !known
                && !nested
                && !elsewhere
                && !["max_depth", "driven", "rounds"].contains(&key.as_str())
            {
                rows.push((key.clone(), "-".into()));
            }
        }
        for (key, default) in rows {
            let effect = comments
                .get(&key)
                .filter(|effect| !effect.is_empty())
                .unwrap_or_else(|| panic!("{table}.{key} has no comment in {file}"));
            let _ = writeln!(out, "| `{key}` | `{default}` | {} |", cell(effect));
        }
    }
    out
}

fn joined(table: &str, key: &str) -> String {
    match table {
        "" => key.into(),
        table => format!("{table}.{key}"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace("[`", "`")
        .replace("`]", "`")
}

#[test]
fn the_reference_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/REFERENCE.md");
    let made = reference();
    if std::env::var_os("TOKENZERO_WRITE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == made,
        "recipes/REFERENCE.md is not what the code says: write it anew with \
         TOKENZERO_WRITE=1 cargo test --test reference"
    );
}

#[test]
fn every_key_of_the_default_recipe_is_in_a_table() {
    fn walk(table: &toml::Table, name: &str, missing: &mut Vec<String>) {
        let known = TABLES.iter().any(|t| t.0 == name);
        if !known {
            missing.push(name.into());
        }
        for (key, value) in table {
            if let Some(below) = value.as_table() {
                let below_name = joined(name, key);
                // Named by the user; `searched` stands for all of them.
                if below_name != "evaluate.search" && below_name != "evaluate.beam" {
                    walk(below, &below_name, missing);
                } else if let Some(one) = below.get("searched").and_then(toml::Value::as_table) {
                    walk(one, "evaluate.search.searched", missing);
                }
            }
        }
    }
    let root: toml::Table = toml::from_str(&Recipe::default().render()).unwrap();
    let mut missing = Vec::new();
    walk(&root, "", &mut missing);
    assert!(
        missing.is_empty(),
        "tables without a reference: {missing:?}"
    );
}

/// Every file and test that the table of methods names is there.
#[test]
fn the_table_of_methods_names_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("recipes/family/README.md")).unwrap();
    let mut tests = Vec::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let named = text
                    .split("fn ")
                    .skip(1)
                    .filter_map(|rest| rest.split('(').next());
                tests.extend(named.map(str::to_string));
            }
        }
    }
    let quoted = |cell: &str| -> Vec<String> {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_string).collect()
    };
    let mut rows = 0;
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let [method, _, recipe, test] = cells[..] else {
            panic!("{line}");
        };
        if method.trim() == "method" {
            continue;
        }
        rows += 1;
        for file in quoted(recipe) {
            let path = root.join("recipes/family").join(&file);
            assert!(path.exists(), "{file} in {line}");
        }
        let named = quoted(test);
        assert!(!named.is_empty(), "{line}");
        for name in named {
            assert!(tests.contains(&name), "{name} in {line}");
        }
    }
    assert!(rows > 40, "{rows}");
}
