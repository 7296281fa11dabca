//! What a monitor writes, read back as TensorBoard reads it: the record framing and
//! its checksums here, the contents with TensorBoard's own Python package.

mod python;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokenzero::monitor::Monitor;

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

fn event_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// CRC-32C, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// As event files store it.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The records of an event file; panics on a length, checksum or end that is wrong.
fn records(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_at(8);
        let (length_crc, after) = after.split_at(4);
        assert_eq!(length_crc, masked_crc(length).to_le_bytes());
        let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let (record, after) = after.split_at(length);
        let (record_crc, after) = after.split_at(4);
        assert_eq!(record_crc, masked_crc(record).to_le_bytes());
        records.push(record.to_vec());
        rest = after;
    }
    records
}

fn wall_time(record: &[u8]) -> f64 {
    assert_eq!(record[0], 0x09, "wall_time is the first field");
    f64::from_le_bytes(record[1..9].try_into().unwrap())
}

fn contains(record: &[u8], part: &[u8]) -> bool {
    record.windows(part.len()).any(|window| window == part)
}

#[test]
fn records_are_framed_timed_and_written_at_once() {
    assert_eq!(crc(b"123456789"), 0xe306_9283, "the published check value");
    let dir = tempfile::tempdir().unwrap();
    let before = now();
    let monitor = Monitor::builder().tensorboard(dir.path()).build().unwrap();
    monitor.scalar("value/loss", 7, 0.25);
    monitor.text("eval/sample", 300, "**6 * 7**");
    monitor.histogram("collect/depth", u64::MAX >> 1, &[1.0, 2.0, 4.0]);

    // Neither flushed nor dropped: what a kill would leave.
    let files = event_files(dir.path());
    assert_eq!(files.len(), 1);
    let name = files[0].file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("events.out.tfevents."), "{name}");
    let records = records(&files[0]);
    assert_eq!(records.len(), 4);
    assert!(contains(&records[0], b"brain.Event:2"));
    assert!(contains(&records[1], b"value/loss"));
    assert!(contains(&records[1], &0.25f32.to_le_bytes()));
    assert!(contains(&records[2], "**6 * 7**".as_bytes()));
    assert!(contains(&records[3], &21.0f64.to_le_bytes()), "1 + 4 + 16");
    let times: Vec<f64> = records.iter().map(|record| wall_time(record)).collect();
    assert!(times.is_sorted());
    assert!(before <= times[0] && times[3] <= now());
    monitor.flush().unwrap();
}

#[test]
fn a_resumed_run_goes_on_in_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let lines = dir.path().join("run/events.jsonl");
    let tensorboard = dir.path().join("run/tensorboard");
    let open = || {
        Monitor::builder()
            .tensorboard(&tensorboard)
            .json_lines(&lines)
            .build()
            .unwrap()
    };
    let before = now();
    let first = open();
    first.scalars(&[("a", 0.5), ("b", 1e300)], 1);
    let second = open();
    second.text("note", 2, "two\nlines");
    second.histogram("h", 3, &[1.0, 3.0]);
    assert_eq!(event_files(&tensorboard).len(), 1);

    let text = fs::read_to_string(lines).unwrap();
    let mut found: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for event in &mut found {
        let time = event.as_object_mut().unwrap().remove("time").unwrap();
        assert!((before..=now()).contains(&time.as_f64().unwrap()));
    }
    let spread = json!({"count": 2, "mean": 2.0, "std": 1.0, "min": 1.0, "max": 3.0});
    assert_eq!(
        found,
        [
            json!({"tag": "a", "step": 1, "value": 0.5}),
            json!({"tag": "b", "step": 1, "value": 1e300}),
            json!({"tag": "note", "step": 2, "value": "two\nlines"}),
            json!({"tag": "h", "step": 3, "value": spread}),
        ]
    );
}

#[test]
fn tensorboard_finds_every_value() {
    let Some(python) = python::with("tensorboard") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let before = now();
    // Two processes, as in a resumed run.
    for steps in [0..40u64, 40..100] {
        let monitor = Monitor::builder().tensorboard(dir.path()).build().unwrap();
        for step in steps {
            let loss = 1.0 / (step + 1) as f64;
            monitor.scalars(&[("value/loss", loss), ("perf/rows", step as f64)], step);
        }
        monitor.text("eval/sample", 1, "# Größe\n\n| a | b |\n|---|---|\n");
        monitor.histogram("collect/depth", 5, &[1.0, 2.0, 2.5, 4.0]);
    }
    let found = python::json(&python, "read_events.py", &[dir.path().as_os_str()]);

    assert_eq!(
        found["plugins"],
        json!({
            "histograms": ["collect/depth"],
            "scalars": ["perf/rows", "value/loss"],
            "text": ["eval/sample"],
        })
    );
    let expected: Vec<(u64, f32)> = (0..100u64)
        .map(|step| (step, (1.0 / (step + 1) as f64) as f32))
        .collect();
    let pair =
        |step: &Value, value: &Value| (step.as_u64().unwrap(), value.as_f64().unwrap() as f32);
    let scalars = found["scalars"]["value/loss"].as_array().unwrap();
    let plain: Vec<_> = scalars.iter().map(|e| pair(&e[0], &e[1])).collect();
    assert_eq!(plain, expected);
    let events = found["tensors"]["value/loss"].as_array().unwrap();
    let served: Vec<_> = events
        .iter()
        .map(|e| pair(&e["step"], &e["value"]))
        .collect();
    assert_eq!(served, expected);
    for event in events {
        assert!((before..=now()).contains(&event["time"].as_f64().unwrap()));
    }
    let text = &found["tensors"]["eval/sample"][0];
    assert_eq!(
        text["value"],
        json!(["# Größe\n\n| a | b |\n|---|---|\n"]),
        "{text}"
    );
    // Rows of [left, right, count].
    let buckets = found["tensors"]["collect/depth"][0]["value"]
        .as_array()
        .unwrap();
    let count = |row: &Value| row[2].as_f64().unwrap();
    assert_eq!(buckets.iter().map(count).sum::<f64>(), 4.0);
    assert_eq!(buckets[0][0], 1.0);
    assert_eq!(buckets[buckets.len() - 1][1], 4.0);
}

/// Run by the test below in a process of its own.
#[test]
#[ignore = "prints; started by off_a_terminal_only_lines_are_printed"]
fn print_to_stderr() {
    let monitor = Monitor::builder().console().build().unwrap();
    let bar = monitor.progress("collect", 2);
    bar.inc(1);
    monitor.line("half-way");
    std::io::Write::write_all(&mut monitor.stderr(), b"logged\n").unwrap();
    bar.message("almost");
    bar.inc(1);
}

#[test]
fn off_a_terminal_only_lines_are_printed() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["print_to_stderr", "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "half-way\nlogged\n"
    );
}
