//! What is seen of a run that was killed.

use super::*;

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
        let kept = scalars.into_iter().filter(|(tag, _)| !of_time(tag));
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
