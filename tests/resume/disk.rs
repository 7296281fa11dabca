//! Disks that are full.

use super::*;

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
        // The estimate would refuse what is to be tried here.
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
