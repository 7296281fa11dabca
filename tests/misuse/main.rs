//! Bad input of every kind, given to the real binary: one message that says what, where and what to
//! do, exit code 1 or 2, and nothing written. The messages are a snapshot, to be read as a newcomer
//! would: `tests/misuse/snapshots/misuse__messages.snap`.

mod data;
mod flags;
mod folders;
mod models;

use data::data;
use flags::{flags, hub, recipes};
use folders::run_folders;
use models::models;
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
