//! Runs that are told to stop, and folders that cannot be gone on with as they are.

use super::*;

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
