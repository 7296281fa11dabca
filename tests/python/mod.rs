//! Runs the scripts beside this file with a Python that has the package they need.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// `TOKENZERO_PYTHON`, else a `python3` that can import `package`; `None`, with a
/// line that says so, where there is neither.
pub fn with(package: &str) -> Option<OsString> {
    if let Some(python) = std::env::var_os("TOKENZERO_PYTHON") {
        return Some(python);
    }
    let imports = Command::new("python3")
        .args(["-c", &format!("import {package}")])
        .output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some("python3".into());
    }
    eprintln!("skipped: no python3 with {package}; name one in TOKENZERO_PYTHON");
    None
}

/// What `script` prints when it is called with `args`.
pub fn json(python: &OsString, script: &str, args: &[&OsStr]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/python")
        .join(script);
    let output = Command::new(python)
        .arg(&script)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", script.display());
    serde_json::from_slice(&output.stdout).unwrap()
}
