//! Bad input of every kind, given to the real binary: one message that says what, where and what to
//! do, exit code 1 or 2, and nothing written. The messages are a snapshot, to be read as a newcomer
//! would: `tests/snapshots/misuse__messages.snap`.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokenzero::trace::table::Table;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One bad input: a folder to break things in, and what is typed there.
struct Bench {
    dir: tempfile::TempDir,
    report: String,
    count: usize,
    wrong: Vec<String>,
}

/// No refusal takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

impl Bench {
    fn new() -> Bench {
        Bench {
            dir: tempfile::tempdir_in("/tmp").unwrap(),
            report: String::new(),
            count: 0,
            wrong: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A copy of the bundled countdown model, changed by `damage`.
    fn model(&self, damage: impl FnOnce(&Path)) -> String {
        let to = self.path(&format!("model-{}", self.count));
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(Path::new(ROOT).join("checkpoints/countdown-tiny")).unwrap()
        {
            let from = entry.unwrap().path();
            std::fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
        }
        damage(&to);
        to.to_str().unwrap().to_owned()
    }

    /// Types `args` and takes down what comes back.
    fn case(&mut self, what: &str, args: &[&str]) {
        self.case_with(what, args, |_| {});
    }

    fn case_with(&mut self, what: &str, args: &[&str], change: impl FnOnce(&mut Command)) {
        self.count += 1;
        let before = listing(self.dir.path());
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokenzero"));
        command
            .current_dir(ROOT)
            .args(args)
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .env("HF_HOME", self.path("hub"))
            .env_remove("HF_TOKEN")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        change(&mut command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        while child.try_wait().unwrap().is_none() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(3));
        }
        // It has ended, or is stopped now and found out below.
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, message) = (text(&output.stdout), text(&output.stderr));
        let code = output.status.code();
        let mut wrong = Vec::new();
        if !matches!(code, Some(1 | 2)) {
            wrong.push(format!("exit code {code:?}"));
        }
        if !out.is_empty() {
            wrong.push("data came out".into());
        }
        for word in ["panicked", "backtrace", "unwrap()", "RUST_"] {
            if message.contains(word) {
                wrong.push(format!("it says {word}"));
            }
        }
        if message.len() < 20 {
            wrong.push("it says nothing".into());
        }
        if listing(self.dir.path()) != before {
            wrong.push("something was written".into());
        }
        if !wrong.is_empty() {
            self.wrong
                .push(format!("{what}: {}\n{message}", wrong.join(", ")));
        }
        let message = self.plain(&message);
        let shown = args
            .join(" ")
            .replace(self.dir.path().to_str().unwrap(), "DIR");
        self.report += &format!(
            "## {}. {what}\n\n$ tokenzero {shown}\nexit {}\n{}\n\n",
            self.count,
            code.unwrap_or_default(),
            message.trim()
        );
    }

    /// `message` as it is on any machine: without the names of folders, and without line breaks that
    /// depend on their length.
    fn plain(&self, message: &str) -> String {
        let message: Vec<&str> = message.lines().map(str::trim_end).collect();
        message
            .join("\n")
            .replace("\n  │ ", " ")
            .replace("\n        ", " ")
            .replace("/ tmp", "/tmp")
            .replace(self.dir.path().to_str().unwrap(), "DIR")
            .replace(ROOT, "ROOT")
            .replace(|c: char| c.is_control() && c != '\n', "?")
    }

    fn recipe(&mut self, what: &str, content: impl AsRef<[u8]>) {
        let path = self.write(&format!("recipe-{}.toml", self.count), content);
        self.case(
            what,
            &[
                "run",
                &path,
                "--run-dir",
                self.path("run").to_str().unwrap(),
            ],
        );
    }

    fn set(&mut self, what: &str, sets: &[&str]) {
        let run = self.path("run");
        let mut args = vec![
            "run",
            "recipes/quickstart.toml",
            "--run-dir",
            run.to_str().unwrap(),
        ];
        for set in sets {
            args.extend(["--set", set]);
        }
        self.case(what, &args);
    }

    fn damaged_model(&mut self, what: &str, damage: impl FnOnce(&Path)) {
        let model = self.model(damage);
        self.case(what, &["generate", "--model", &model, "1 2 3 make 6"]);
    }

    fn data(&mut self, what: &str, files: &[(&str, &str)]) {
        let folder = format!("data-{}", self.count);
        for (name, content) in files {
            self.write(&format!("{folder}/{name}"), content);
        }
        let path = format!("task.path={}", self.path(&folder).display());
        self.set(what, &["task.kind=jsonl", &path]);
    }
}

/// Files below `dir`, with their sizes.
fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            }
            found.push((entry.path(), meta.len()));
        }
    }
    found.retain(|(path, _)| !path.starts_with(dir.join("hub")));
    found.sort();
    found
}

/// Changes a JSON file.
fn edit(path: PathBuf, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

/// Replaces `from` in a safetensors file's header by `to`, which is as long.
fn edit_header(path: PathBuf, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    std::fs::write(path, bytes).unwrap();
}

/// Lets the process write no byte to any file, as on a full disk.
fn no_more_bytes(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are made.
    unsafe {
        command.pre_exec(|| {
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            match libc::setrlimit(libc::RLIMIT_FSIZE, &none) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

/// A server that answers every request with `response`.
fn server(response: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A client that hangs up early is no concern of the server's.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(response.as_bytes());
        }
    });
    address
}

const ROW: &str = "{\"question\": \"1 + 1?\", \"answer\": \"#### 2\"}\n";

#[test]
fn bad_input_gets_one_clear_message() {
    let mut bench = Bench::new();
    let b = &mut bench;
    recipes(b);
    models(b);
    data(b);
    run_folders(b);
    flags(b);
    hub(b);
    assert!(bench.wrong.is_empty(), "{}", bench.wrong.join("\n\n"));
    assert!(bench.count >= 60, "{}", bench.count);
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("misuse__messages", bench.report);
    });
}

fn recipes(b: &mut Bench) {
    b.case("no such recipe", &["run", "recipes/quikstart.toml"]);
    b.case("a folder for a recipe", &["run", "recipes"]);
    b.recipe("an empty recipe", "");
    b.recipe("a recipe of spaces", " \n\n ");
    b.recipe("a binary recipe", [0u8, 159, 146, 150, 255, 0, 1]);
    b.recipe("a recipe that is no TOML", "[loop\niterations = 3\n");
    b.recipe("a recipe of 100 MB", vec![b'#'; 100 << 20]);
    b.recipe("a typo in a section", "[colect]\nquestions = 3\n");
    b.recipe("a typo in a key", "[collect]\nqestions = 3\n");
    b.recipe("a key twice", "[loop]\niterations = 1\niterations = 2\n");
    b.recipe("a text for a number", "[collect]\nquestions = \"many\"\n");
    b.recipe("a fraction for a count", "[collect]\nquestions = 1.5\n");
    b.recipe("a negative count", "[collect]\nquestions = -5\n");
    b.recipe("a number for a section", "collect = 5\n");
    b.recipe("an unknown task", "[task]\nkind = \"countdwn\"\n");
    b.recipe("an unknown mode", "[learn]\nmode = \"joined\"\n");
    b.set("no questions", &["collect.questions=0"]);
    b.set(
        "more questions than there are",
        &["collect.questions=1000000"],
    );
    b.set("a pool that no question fits in", &["engine.kv_slots=100"]);
    b.set("lambda above 1", &["collect.search.tree.lambda=1.5"]);
    b.set(
        "a temperature of 0 for draws",
        &["evaluate.sampling.temperature=0"],
    );
    b.set("a negative learning rate", &["joint.lr=-1"]);
    b.set("a learning rate that is no number", &["joint.lr=nan"]);
    b.set("no simulations", &["collect.search.simulations=0"]);
    b.set("--set without a value", &["loop.iterations"]);
    b.set("--set of an unknown key", &["loop.iteration=2"]);
    b.set("a generated task with data", &["task.path=/tmp"]);
    b.set(
        "a search that no evaluation knows",
        &["evaluate.search.searched.simulatons=3"],
    );
    b.set("a share above 1", &["joint.validation=1.5"]);
}

fn models(b: &mut Bench) {
    let missing = b.path("nowhere");
    b.case(
        "no such model",
        &[
            "generate",
            "--model",
            missing.to_str().unwrap(),
            "1 2 3 make 6",
        ],
    );
    let remove =
        |name: &'static str| move |dir: &Path| std::fs::remove_file(dir.join(name)).unwrap();
    b.damaged_model("no config.json", remove("config.json"));
    b.damaged_model("no tokenizer.json", remove("tokenizer.json"));
    b.damaged_model("no weights", remove("model.safetensors"));
    b.damaged_model("a config that is no JSON", |dir| {
        std::fs::write(dir.join("config.json"), "{\"model_type\": \"qwen2\",").unwrap();
    });
    b.damaged_model("an unknown model type", |dir| {
        edit(dir.join("config.json"), |c| {
            c["model_type"] = json!("mamba")
        });
    });
    b.damaged_model("a config without a field", |dir| {
        edit(dir.join("config.json"), |c| {
            c.as_object_mut().unwrap().remove("hidden_size");
        });
    });
    b.damaged_model("a config of impossible sizes", |dir| {
        edit(dir.join("config.json"), |c| {
            c["num_hidden_layers"] = json!(4_000_000_000u64)
        });
    });
    b.damaged_model("a config with no heads", |dir| {
        edit(dir.join("config.json"), |c| {
            c["num_key_value_heads"] = json!(0)
        });
    });
    b.damaged_model("weights of other shapes", |dir| {
        edit(dir.join("config.json"), |c| {
            c["intermediate_size"] = json!(128)
        });
    });
    b.damaged_model("more layers than weights", |dir| {
        edit(dir.join("config.json"), |c| {
            c["num_hidden_layers"] = json!(6)
        });
    });
    b.damaged_model("truncated weights", |dir| {
        let path = dir.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
    b.damaged_model("empty weights", |dir| {
        std::fs::write(dir.join("model.safetensors"), "").unwrap();
    });
    b.damaged_model("a header of impossible length", |dir| {
        let path = dir.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        std::fs::write(path, bytes).unwrap();
    });
    b.damaged_model("weights of integers", |dir| {
        edit_header(dir.join("model.safetensors"), "\"F32\"", "\"I32\"");
    });
    b.damaged_model("an index that names a missing shard", |dir| {
        std::fs::remove_file(dir.join("model.safetensors")).unwrap();
        let index =
            json!({"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}});
        std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    });
    b.damaged_model("an index that leaves the folder", |dir| {
        std::fs::remove_file(dir.join("model.safetensors")).unwrap();
        let index = json!({"weight_map": {"model.norm.weight": "../../secret.safetensors"}});
        std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    });
    b.damaged_model("a tokenizer that is no JSON", |dir| {
        std::fs::write(dir.join("tokenizer.json"), "not json").unwrap();
    });
    b.damaged_model("a tokenizer without a stop token", |dir| {
        edit(dir.join("tokenizer_config.json"), |c| {
            c["eos_token"] = Value::Null
        });
        edit(dir.join("config.json"), |c| c["eos_token_id"] = Value::Null);
        edit(dir.join("generation_config.json"), |c| {
            c["eos_token_id"] = Value::Null
        });
    });
    b.damaged_model("a vocabulary larger than the embedding", |dir| {
        edit(dir.join("tokenizer.json"), |t| {
            t["added_tokens"].as_array_mut().unwrap().push(json!({
                "id": 5000, "content": "<far>", "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true
            }));
        });
    });
    b.damaged_model("a chat template that does not parse", |dir| {
        edit(dir.join("tokenizer_config.json"), |c| {
            c["chat_template"] = json!("{% for message in messages %}{{ message.content }}");
        });
    });
    b.damaged_model("a chat template that never ends", |dir| {
        edit(dir.join("tokenizer_config.json"), |c| {
            c["chat_template"] = json!(
                "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"
            );
        });
    });
    let tiny = "checkpoints/countdown-tiny";
    b.case(
        "a search without a value net",
        &[
            "generate",
            "--model",
            tiny,
            "--simulations",
            "4",
            "1 2 3 make 6",
        ],
    );
    b.case(
        "words the model has no tokens for",
        &["generate", "--model", tiny, "hello there"],
    );
    b.case(
        "a prompt longer than the model",
        &["generate", "--model", tiny, &"7 ".repeat(600)],
    );
}

fn data(b: &mut Bench) {
    b.data("an empty folder of data", &[("notes.txt", "nothing")]);
    b.data(
        "a line that is no JSON",
        &[("train.jsonl", "{\"question\": \n")],
    );
    b.data(
        "a row without its answer",
        &[("train.jsonl", "{\"question\": \"1 + 1?\"}\n")],
    );
    b.data(
        "fewer rows than are held out",
        &[(
            "train.jsonl",
            "{\"question\": \"3?\", \"answer\": \"#### 2\"}\n",
        )],
    );
    b.data(
        "an answer without a number",
        &[(
            "train.jsonl",
            "{\"question\": \"1 + 1?\", \"answer\": \"two\"}\n",
        )],
    );
    b.data(
        "an empty split",
        &[("train.jsonl", ""), ("test.jsonl", ROW)],
    );
    let rows: String = (0..600)
        .map(|i| {
            format!(
                "{{\"question\": \"{i} + 1?\", \"answer\": \"{}\"}}\n",
                i + 1
            )
        })
        .collect();
    b.data(
        "fewer questions than the recipe wants",
        &[("train.jsonl", &rows)],
    );
    let folder = b.path(&format!("data-{}", b.count - 1));
    let path = format!("task.path={}", folder.display());
    b.set(
        "data without a test split",
        &["task.kind=jsonl", &path, "collect.questions=20"],
    );
    b.data(
        "the same question in two splits",
        &[("train.jsonl", ROW), ("test.jsonl", ROW)],
    );
    b.data(
        "Parquet that is none",
        &[("train.parquet", "PAR1 but not really")],
    );
    let folder = b.path(&format!("data-{}", b.count));
    std::fs::create_dir_all(&folder).unwrap();
    Table::new()
        .column_str("problem", vec!["1 + 1?".to_owned()])
        .column_u64("solution", vec![2])
        .write(&folder.join("train.parquet"))
        .unwrap();
    let path = format!("task.path={}", folder.display());
    b.set("Parquet with other columns", &["task.kind=jsonl", &path]);
    let nowhere = format!("task.path={}", b.path("nowhere").display());
    b.set("no such folder of data", &["task.kind=gsm8k", &nowhere]);
    let file = b.write("grade.jsonl", "{\"answer\": \"#### 2\"}\n");
    b.case("grading a row without a completion", &["grade", &file]);
    let file = b.write(
        "gold.jsonl",
        "{\"answer\": \"two\", \"completion\": \"2\"}\n",
    );
    b.case("grading against no number", &["grade", &file]);
    b.case(
        "an unknown task to grade",
        &["grade", "--task", "gsm8", &file],
    );
    let file = b.write("prompts.jsonl", "{\"question\": \"1 2 3 make 6\"}\n");
    b.case(
        "prompts without the field",
        &[
            "generate",
            "--model",
            "checkpoints/countdown-tiny",
            "--prompts",
            &file,
        ],
    );
}

fn run_folders(b: &mut Bench) {
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

fn flags(b: &mut Bench) {
    let bench =
        |b: &mut Bench, what: &str, args: &[&str]| b.case(what, &[&["bench"], args].concat());
    bench(b, "nothing to measure", &[]);
    bench(b, "an unknown shape", &["--shape", "gpt-5"]);
    bench(b, "a folder without a model", &["--model", "src"]);
    bench(
        b,
        "a context beyond the model's",
        &[
            "--model",
            "checkpoints/countdown-tiny",
            "--what",
            "decode",
            "--context",
            "5000",
        ],
    );
    b.case("no verb", &[]);
    b.case("an unknown verb", &["rum"]);
    b.case(
        "an unknown flag",
        &["run", "recipes/quickstart.toml", "--itertions", "3"],
    );
    b.case("no recipe", &["run"]);
    b.case(
        "two flags that exclude each other",
        &[
            "run",
            "recipes/quickstart.toml",
            "--fresh",
            "--accept-changes",
        ],
    );
    b.case(
        "a dashboard without a terminal",
        &["run", "recipes/quickstart.toml", "--tui"],
    );
    b.case(
        "a dashboard and JSON",
        &["run", "recipes/quickstart.toml", "--tui", "--json"],
    );
    let quickstart = ["check", "recipes/quickstart.toml", "--device"];
    let device = |b: &mut Bench, what: &str, name: &str| {
        let args: Vec<&str> = quickstart.iter().copied().chain([name]).collect();
        b.case(what, &args);
    };
    device(b, "an unknown device", "gpu");
    device(b, "a build without CUDA", "cuda");
    device(b, "a device number that is none", "cuda:x");
    device(b, "a build without WebGPU", "wgpu");
    let tiny = "checkpoints/countdown-tiny";
    b.case(
        "no new tokens",
        &[
            "generate",
            "--model",
            tiny,
            "--max-new-tokens",
            "0",
            "1 2 3 make 6",
        ],
    );
    b.case(
        "a negative temperature",
        &[
            "generate",
            "--model",
            tiny,
            "--temperature=-1",
            "1 2 3 make 6",
        ],
    );
}

fn hub(b: &mut Bench) {
    let remote = |b: &mut Bench, what: &str, repo: &str, endpoint: &str| {
        let (run, repo) = (b.path("run"), format!("model.repo={repo}"));
        let recipe = b.write("hub.toml", "[loop]\niterations = 1\n");
        let args = [
            "run",
            &recipe,
            "--set",
            &repo,
            "--run-dir",
            run.to_str().unwrap(),
        ];
        b.case_with(what, &args, |command| {
            command.env("HF_ENDPOINT", endpoint);
        });
    };
    remote(b, "no network", "some/model", "http://127.0.0.1:9");
    remote(
        b,
        "a name that is no repository",
        "some model",
        "http://127.0.0.1:9",
    );
    let empty = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    remote(
        b,
        "a repository that is closed",
        "some/model",
        &server(empty),
    );
    let file = "HTTP/1.1 206 Partial\r\nETag: \"abc\"\r\nX-Repo-Commit: abc\r\n\
                Content-Range: bytes 0-1/2\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    let endpoint = server(file);
    let run = b.path("run");
    let recipe = b.write("hub.toml", "[loop]\niterations = 1\n");
    let args = [
        "run",
        &recipe,
        "--set",
        "model.repo=some/model",
        "--run-dir",
        run.to_str().unwrap(),
    ];
    b.case_with("a Hub cache without space", &args, |command| {
        command.env("HF_ENDPOINT", &endpoint);
        no_more_bytes(command);
    });
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    remote(
        b,
        "a revision that is not there",
        "some/model",
        &server(missing),
    );
}
