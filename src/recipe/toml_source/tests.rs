mod files;
mod sets;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Recipe {
    seed: u64,
    name: String,
    lr: f32,
    on: bool,
    path: Option<PathBuf>,
    list: Vec<u32>,
    small: u8,
    kind: Plan,
    #[serde(rename = "loop")]
    cycle: Loop,
    model: Model,
    stage: Stage,
    phases: Vec<Loop>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Loop {
    iterations: u32,
    gate: f64,
    inner: Inner,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Inner {
    depth: u32,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    path: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Plan {
    #[default]
    Countdown,
    Gsm8k,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields, rename_all = "kebab-case")]
enum Stage {
    Fixed { steps: u32 },
    Cosine { floor: f32 },
}

impl Default for Stage {
    fn default() -> Self {
        Self::Fixed { steps: 1 }
    }
}

fn load(text: &str, sets: &[&str]) -> Result<Recipe, Error> {
    let mut source = Source::from_text("x.toml", text)?;
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    source.apply_sets(&sets)?;
    source.parse()
}

fn fails(text: &str, sets: &[&str]) -> Error {
    let error = load(text, sets).expect_err(text);
    assert!(!error.remedy().is_empty(), "{error:?}");
    graphical(&error);
    error
}

/// The whole report, as a terminal without colours shows it; it must render.
fn graphical(error: &Error) -> String {
    let mut out = String::new();
    miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
        .with_width(200)
        .render_report(&mut out, error)
        .unwrap();
    out
}

/// Kind, place, marked text, and words that message and help must hold.
#[track_caller]
fn check(error: &Error, kind: Kind, place: &str, marked: &str, message: &str, help: &str) {
    let shown = graphical(error);
    assert_eq!(error.kind(), kind, "{shown}");
    assert_eq!(error.place().as_deref(), Some(place), "{shown}");
    assert_eq!(error.marked(), marked, "{shown}");
    assert!(error.to_string().contains(message), "{shown}");
    assert!(error.remedy().contains(help), "{shown}");
    let (name, rest) = place.split_once(':').unwrap();
    assert!(shown.contains(&format!("[{name}:{rest}]")), "{shown}");
    // The handler breaks long lines.
    let flat = |text: &str| text.split_whitespace().collect::<String>();
    let unframed = flat(&shown).replace('│', "");
    for line in [error.to_string(), error.remedy().to_owned()] {
        assert!(unframed.contains(&flat(&line)), "{line}\n{shown}");
    }
}

#[test]
fn unknown_keys_are_marked_wherever_they_stand() {
    let gate = "did you mean `iterations`?";
    #[rustfmt::skip]
    let cases = [
        ("sed = 1", "x.toml:1:1", "sed", "`sed`", "did you mean `seed`?"),
        ("seed = 1\n[loop]\n  iteration = 1", "x.toml:3:3", "iteration", "`loop.iteration`", gate),
        ("loop.iteration = 1", "x.toml:1:6", "iteration", "`loop.iteration`", gate),
        ("loop = { gate = 1, iteration = 1 }", "x.toml:1:20", "iteration", "`loop.iteration`", gate),
        ("[loop.inner]\ndpeth = 1", "x.toml:2:1", "dpeth", "`loop.inner.dpeth`", "`depth`"),
        ("[loop]\ninner.dpeth = 1", "x.toml:2:7", "dpeth", "`loop.inner.dpeth`", "`depth`"),
        ("[lop.inner]\ndepth = 1", "x.toml:1:2", "lop", "`lop`", "did you mean `loop`?"),
        ("[loop.iner]\ndepth = 1", "x.toml:1:7", "iner", "`loop.iner`", "did you mean `inner`?"),
        ("[[phases]]\ngate = 1\n[[phases]]\ngat = 1", "x.toml:4:1", "gat", "`phases.1.gat`", "did you mean `gate`?"),
        ("phases = [{ gat = 1 }]", "x.toml:1:13", "gat", "`phases.0.gat`", "`gate`"),
        ("[loop]\n\"a b\" = 1", "x.toml:2:1", "\"a b\"", "`loop.\"a b\"`", "gate, inner, iterations"),
        ("[loop]\nxyzzy = 1", "x.toml:2:1", "xyzzy", "`loop.xyzzy`", "the keys of [loop] are: gate,"),
        ("xyzzy = 1", "x.toml:1:1", "xyzzy", "`xyzzy`", "the keys of the top level are: kind, list"),
        // serde buffers tagged enums and forgets the key's place.
        ("[stage]\ntype = \"fixed\"\nstep = 3", "x.toml:3:1", "step", "`stage.step`", "did you mean `steps`?"),
    ];
    for (text, place, marked, path, help) in cases {
        check(
            &fails(text, &[]),
            Kind::UnknownKey,
            place,
            marked,
            path,
            help,
        );
    }
}

#[test]
fn wrong_values_are_marked_and_named_in_plain_words() {
    #[rustfmt::skip]
    let cases = [
        ("[loop]\niterations = \"three\"", "x.toml:2:14", "\"three\"", "`loop.iterations` must be a whole number from 0 to 4294967295, but it is the text \"three\"", "without quotes: `iterations = 3`"),
        ("small = 300", "x.toml:1:9", "300", "from 0 to 255, but it is 300", "whole number"),
        ("loop.iterations = -1", "x.toml:1:19", "-1", "from 0 to 4294967295, but it is -1", "whole"),
        ("seed = -1", "x.toml:1:8", "-1", "from 0 to 9223372036854775807", "whole"),
        ("loop = { iterations = 1.5 }", "x.toml:1:23", "1.5", "but it is 1.5", "whole"),
        ("lr = \"fast\"", "x.toml:1:6", "\"fast\"", "`lr` must be a number", "`lr = 0.5`"),
        ("on = 1", "x.toml:1:6", "1", "must be true or false, but it is 1", "`on = true`"),
        ("on = \"true\"", "x.toml:1:6", "\"true\"", "but it is the text \"true\"", "without quotes"),
        ("name = 1", "x.toml:1:8", "1", "`name` must be text, but it is 1", "in quotes"),
        ("name = 2026-01-01", "x.toml:1:8", "2026-01-01", "but it is a date", "in quotes"),
        ("path = true", "x.toml:1:8", "true", "must be text, but it is true", "in quotes"),
        ("list = 3", "x.toml:1:8", "3", "must be a list, but it is 3", "`list = [...]`"),
        ("list = [1, 2, 'x']", "x.toml:1:15", "'x'", "`list.2` must be a whole number", "without"),
        ("loop = 3", "x.toml:1:8", "3", "`loop` must be a table, but it is 3", "`[loop]`"),
        ("[seed]\nx = 1", "x.toml:1:1", "[seed]", "but it is a table", "whole number"),
        ("loop.gate.x = 1", "x.toml:1:6", "gate", "`loop.gate` must be a number", "0.5"),
        ("kind = 'gsm8'", "x.toml:1:8", "'gsm8'", "`kind` cannot be \"gsm8\"", "did you mean \"gsm8k\"? It can be: countdown, gsm8k"),
        ("kind = 'chess'", "x.toml:1:8", "'chess'", "cannot be \"chess\"", "it can be: countdown"),
        ("[stage]\ntype = \"fixed\"\nsteps = \"all\"", "x.toml:3:9", "\"all\"", "`stage.steps` must be a whole number", "without quotes"),
    ];
    for (text, place, marked, message, help) in cases {
        check(
            &fails(text, &[]),
            Kind::BadValue,
            place,
            marked,
            message,
            help,
        );
    }
}

#[test]
fn missing_keys_mark_their_table() {
    let error = fails("seed = 1\n[model]\n", &[]);
    check(
        &error,
        Kind::MissingKey,
        "x.toml:2:1",
        "[model]",
        "[model] lacks the key `path`",
        "model.path=",
    );
    #[derive(Debug, Deserialize)]
    struct Needs {
        #[serde(rename = "seed")]
        _seed: u64,
    }
    let error = Source::from_text("x.toml", "a = 1")
        .unwrap()
        .parse::<Needs>()
        .unwrap_err();
    check(
        &error,
        Kind::MissingKey,
        "x.toml:1:1",
        "",
        "the top level lacks the key `seed`",
        "--set seed=",
    );
    assert!(load("[model]\n", &["model.path=dir"]).is_ok());
}

#[test]
fn syntax_errors_have_a_place_and_a_remedy() {
    use Kind::{DuplicateKey, Syntax};
    #[rustfmt::skip]
    let cases = [
        ("seed = 1\nseed = 2", DuplicateKey, "x.toml:2:1", "seed", "`seed` is given twice", "keep one"),
        ("[loop]\ngate = 1\n[loop]", DuplicateKey, "x.toml:3:2", "loop", "given twice", "keep one"),
        ("loop = { gate = 1, gate = 2 }", DuplicateKey, "x.toml:1:20", "gate", "given twice", "one"),
        ("seed = ", Syntax, "x.toml:1:8", "", "a value is missing", "after the `=`"),
        ("name = qwen", Syntax, "x.toml:1:8", "qwen", "`qwen` is not a TOML value", "\"qwen\""),
        ("name = \"abc", Syntax, "x.toml:1:12", "", "basic string", "expected here: `\"`"),
        ("\n\nlist = [1, 2", Syntax, "x.toml:3:13", "", "unclosed array", "expected here: `]`"),
        ("[loop\ngate = 1", Syntax, "x.toml:1:6", "", "unclosed table", "`]`"),
        ("= 1", Syntax, "x.toml:1:1", "", "cannot be empty", "expected here"),
        ("seed", Syntax, "x.toml:1:5", "", "not TOML", "expected here"),
        ("seed = 18446744073709551615", Syntax, "x.toml:1:8", "18446744073709551615", "not a number that fits", "9223372036854775807"),
    ];
    for (text, kind, place, marked, message, help) in cases {
        check(&fails(text, &[]), kind, place, marked, message, help);
    }
}

#[test]
fn line_ends_and_byte_order_marks_shift_nothing() {
    let error = fails("\u{feff}seed = 1\r\n[loop]\r\niteration = 1\r\n", &[]);
    check(
        &error,
        Kind::UnknownKey,
        "x.toml:3:1",
        "iteration",
        "`loop.iteration`",
        "`iterations`",
    );
    let error = fails("\u{feff}sed = 1", &["loop.gate=1"]);
    check(
        &error,
        Kind::UnknownKey,
        "x.toml:1:1",
        "sed",
        "`sed`",
        "`seed`",
    );
    let error = fails("name = \"ü\" # é\n loop.gat = 1", &[]);
    check(
        &error,
        Kind::UnknownKey,
        "x.toml:2:7",
        "gat",
        "`loop.gat`",
        "`gate`",
    );
    let recipe = load("\u{feff}name = \"\"\"a\r\nb\"\"\"\r\n", &[]).unwrap();
    assert_eq!(recipe.name, "a\nb");
}
