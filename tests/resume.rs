//! A run that is killed, stopped or short of disk goes on as if nothing had been.
//!
//! `cargo test --test resume` kills a small run a few times. The long form counts the kills in each
//! phase: `TOKENZERO_KILLS=200 cargo test --test resume -- --ignored --nocapture`.

#[allow(dead_code, reason = "shared with tests that run other scripts")]
#[path = "python/mod.rs"]
mod python;

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

/// The scalars of a run, the values of those that measure time left out, and those that only say what
/// was expected; each tag and step once.
fn scalars(dir: &Path) -> BTreeMap<(String, u64), String> {
    let mut found = BTreeMap::new();
    for line in std::fs::read_to_string(dir.join("events.jsonl"))
        .unwrap()
        .lines()
    {
        let event: Value = serde_json::from_str(line).unwrap();
        let tag = event["tag"].as_str().unwrap().to_owned();
        let step = event["step"].as_u64().unwrap();
        if tag.starts_with("perf/estimate_") {
            continue;
        }
        let value = match tag.starts_with("perf/") {
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
    assert_eq!(scalars(dir), scalars(whole()));
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

#[test]
fn tensorboard_shows_a_killed_run_as_an_undisturbed_one() {
    let Some(python) = python::with("tensorboard") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for patience in [900, 1500] {
        let mut child = command(dir.path()).spawn().unwrap();
        wait(&mut child, Duration::from_millis(patience));
        // It may have finished.
        let _ = child.kill();
        child.wait().unwrap();
    }
    finish(dir.path());
    let steps = |dir: &Path| {
        let found = python::json(
            &python,
            "read_events.py",
            &[dir.join("tensorboard").as_os_str()],
        );
        let scalars = found["scalars"].as_object().unwrap().clone();
        let kept = scalars
            .into_iter()
            .filter(|(tag, _)| !tag.starts_with("perf/"));
        kept.collect::<BTreeMap<_, _>>()
    };
    let (ours, expected) = (steps(dir.path()), steps(whole()));
    assert!(expected.len() > 10);
    assert_eq!(ours, expected);
}

#[test]
fn runs_are_shown_and_compared() {
    let verb = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tokenzero"))
            .args(args)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{message}");
        String::from_utf8(output.stdout).unwrap()
    };
    let one = whole().to_str().unwrap();
    let shown = verb(&["show", one]);
    for part in [
        "finished after iteration 2",
        "checkpoints ",
        "searched",
        "best_of_n",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    let same = verb(&["diff", one, one]);
    assert!(same.contains("the recipes are the same"), "{same}");
    assert!(same.contains("1.000"), "{same}");

    let dir = tempfile::tempdir().unwrap();
    let child = command(dir.path()).args(["--set", "seed=4"]).spawn();
    let mut child = child.unwrap();
    while !dir.path().join("state.json").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let start = Instant::now();
    let shown = verb(&["show", dir.path().to_str().unwrap()]);
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(
        shown.contains(&format!("process {}", child.id())),
        "{shown}"
    );
    let other = verb(&["diff", one, dir.path().to_str().unwrap()]);
    assert!(
        other.contains("seed: 0 in the first, 4 in the second"),
        "{other}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let shown = verb(&["show", dir.path().to_str().unwrap()]);
    assert!(shown.contains("stopped while"), "{shown}");
}

/// What a run said on stderr, on one line as far as the message goes.
fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).replace("\n  │ ", " ")
}

/// Sends `signal` after `delay`; returns the exit code and how long the process took to heed it.
fn stop(dir: &Path, signal: i32, delay: Duration) -> (Option<i32>, Duration, String) {
    let mut child = command(dir).spawn().unwrap();
    if wait(&mut child, delay).is_none() {
        // SAFETY: a plain system call on a child that has not been waited for.
        unsafe { libc::kill(child.id() as i32, signal) };
    }
    let asked = Instant::now();
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), asked.elapsed(), message)
}

#[test]
fn a_run_that_is_told_to_stop_can_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let mut stopped = 0;
    for (signal, code) in [(libc::SIGTERM, 75), (libc::SIGINT, 130)].repeat(3) {
        let delay = Duration::from_millis(700 + 200 * stopped);
        let (found, time, message) = stop(dir.path(), signal, delay);
        if found == Some(0) {
            break;
        }
        stopped += 1;
        assert_eq!(found, Some(code), "{message}");
        assert!(time < Duration::from_secs(5), "{time:?}");
        assert!(message.contains("the same command goes on"), "{message}");
        assert!(!message.contains("panicked"), "{message}");
    }
    assert!(stopped > 1, "{stopped}");
    finish(dir.path());
    assert_undisturbed(dir.path());
}

#[test]
fn damaged_files_are_named_kept_aside_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    finish(dir.path());
    let flip = |name: &str| {
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        std::fs::write(&path, bytes).unwrap();
    };
    let damaged = [
        "iter-0001/traces/shard-00001.parquet",
        "iter-0001/collect.json",
        "iter-0002/checkpoint/model.safetensors",
        "iter-0002/evaluation.json",
        "state.json",
    ];
    for name in damaged {
        flip(name);
        let message = message(&finish(dir.path()));
        assert!(message.contains(name), "{name}: {message}");
        let path = dir.path().join(name);
        // A checkpoint is kept as a whole.
        if path.parent().unwrap().ends_with("checkpoint") {
            let aside = path.parent().unwrap().with_file_name("checkpoint.damaged");
            std::fs::remove_dir_all(aside).unwrap();
        } else {
            let file = path.file_name().unwrap().to_str().unwrap();
            std::fs::remove_file(path.with_file_name(format!("{file}.damaged"))).unwrap();
        }
        assert_undisturbed(dir.path());
    }
}

/// Runs with files of at most `bytes`: a write beyond that fails.
fn run_with_file_limit(dir: &Path, bytes: u64) -> Output {
    let mut command = command(dir);
    // SAFETY: both calls are allowed between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit {
                rlim_cur: bytes,
                rlim_max: bytes,
            };
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    command.output().unwrap()
}

#[test]
fn a_write_that_fails_ends_the_run_with_its_cause_and_the_next_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut failures = 0;
    for limit in [10, 2_000, 6_000, 20_000, 60_000, 200_000, 1_000_000] {
        let output = run_with_file_limit(dir.path(), limit);
        let message = message(&output);
        if output.status.success() {
            continue;
        }
        failures += 1;
        assert_eq!(output.status.code(), Some(1), "{limit}: {message}");
        assert!(message.contains("File too large"), "{limit}: {message}");
        assert!(!message.contains("panicked"), "{limit}: {message}");
    }
    assert!(failures >= 5, "{failures}");
    finish(dir.path());
    assert_undisturbed(dir.path());
}

#[test]
fn a_full_disk_ends_the_run_with_its_cause_and_the_next_run_goes_on() {
    let mount = tempfile::tempdir().unwrap();
    let mounted = |size: &str, option: &str| {
        Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("{option}size={size}"),
                "tmpfs",
            ])
            .arg(mount.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !mounted("64k", "") {
        eprintln!("skipped: a small disk cannot be mounted here");
        return;
    }
    let dir = mount.path().join("run");
    let mut failures = 0;
    for size in ["64k", "128k", "256k", "1m", "3m", "6m"] {
        assert!(mounted(size, "remount,"));
        // The estimate would refuse the disk before it is full.
        let output = command(&dir).arg("--no-estimate").output().unwrap();
        let message = message(&output);
        if !output.status.success() {
            failures += 1;
            assert_eq!(output.status.code(), Some(1), "{size}: {message}");
            assert!(message.contains("No space left"), "{size}: {message}");
            assert!(!message.contains("panicked"), "{size}: {message}");
        }
    }
    assert!(mounted("100m", "remount,"));
    finish(&dir);
    let undisturbed = std::panic::catch_unwind(|| assert_undisturbed(&dir));
    let unmounted = Command::new("umount").arg(mount.path()).status().unwrap();
    assert!(unmounted.success());
    assert!(failures >= 2, "{failures}");
    undisturbed.unwrap();
}

#[test]
fn a_folder_in_use_or_of_another_recipe_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path()).spawn().unwrap();
    while !dir.path().join("recipe.toml").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = command(dir.path()).output().unwrap();
    let said = message(&second);
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains(&child.id().to_string()), "{said}");
    child.kill().unwrap();
    child.wait().unwrap();

    let other = command(dir.path())
        .args(["--set", "seed=9", "--set", "collect.workers=3"])
        .output()
        .unwrap();
    let said = message(&other);
    assert_eq!(other.status.code(), Some(1));
    assert!(said.contains("seed: 0 in the run, 9 now"), "{said}");
    assert!(!said.contains("workers"), "{said}");

    let fresh = command(dir.path())
        .args(["--set", "seed=9", "--set", "loop.iterations=1", "--fresh"])
        .output()
        .unwrap();
    let said = message(&fresh);
    assert!(fresh.status.success(), "{said}");
    assert!(said.contains("deleting"), "{said}");
    assert!(!dir.path().join("iter-0002").exists());

    // More iterations are no other recipe: the run goes on.
    let more = command(dir.path())
        .args(["--set", "seed=9"])
        .output()
        .unwrap();
    assert!(more.status.success());
    assert!(dir.path().join("iter-0002/evaluation.json").exists());
}
