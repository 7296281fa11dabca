use super::*;
use std::time::Instant;

fn program(script: &str, timeout_s: f64, processes: usize) -> Program {
    let params = Params {
        command: vec!["sh".into(), "-c".into(), script.into()],
        timeout_s,
        processes,
        ..Params::default()
    };
    Program::start(&params).unwrap()
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(future)
}

fn asked(completion: &str) -> Asked<'_> {
    Asked {
        question: "q",
        gold: "7",
        completion,
        finished: true,
    }
}

fn ask(program: &Program, completion: &str) -> Result<f32, String> {
    block(program.ask(&asked(completion))).map_err(|fault| fault.to_string())
}

fn refused(script: &str, parts: &[&str]) {
    let program = program(script, 5.0, 1);
    let message = ask(&program, "text").unwrap_err();
    for part in parts {
        assert!(message.contains(part), "{script}: {message}");
    }
}

#[test]
fn lines_go_out_and_rewards_come_back() {
    // Right texts hold a 7; the program sees the line of JSON as it is documented.
    let script = r#"while read -r line; do
        case "$line" in
            '{"question":"q","gold":"7","completion":"'*7*'","finished":true}') echo '{"reward": 1}';;
            *) echo '{"reward": -0.25}';;
        esac
    done"#;
    let program = program(script, 5.0, 1);
    assert_eq!(ask(&program, "it is 7"), Ok(1.0));
    assert_eq!(ask(&program, "it is 8"), Ok(-0.25));
    assert_eq!(ask(&program, "two lines\n\"quoted\" 7"), Ok(1.0));
}

#[test]
fn bad_answers_are_named_and_the_next_text_has_a_new_child() {
    refused("read x; echo nonsense", &["nonsense", "{\"reward\": x}"]);
    refused("read x; echo '{\"reward\": 1.5}'", &["1.5", "from -1 to 1"]);
    refused("read x; echo '{\"reward\": \"1\"}'", &["from -1 to 1"]);
    refused("read x; echo '{}'", &["{}"]);
    refused(
        "read x; echo '{\"error\": \"too odd\"}'",
        &["says: too odd"],
    );
    refused(
        "read x; echo broken >&2; exit 3",
        &["exit status: 3", "it said: broken"],
    );
    refused("exit 0", &["ended", "exit status: 0"]);
    refused("read x; exec >&-; sleep 30", &["closed its output"]);
    // Every other text kills the child.
    let script = r#"while read -r line; do
        case "$line" in *die*) exit 1;; *) echo '{"reward": 0.5}';; esac
    done"#;
    let program = program(script, 5.0, 1);
    for _ in 0..3 {
        assert_eq!(ask(&program, "fine"), Ok(0.5));
        assert!(ask(&program, "die").unwrap_err().contains("exit status: 1"));
    }
}

#[test]
fn a_hanging_program_is_given_up_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!(
        "echo $$ > {}; read x; sleep 60; echo '{{\"reward\": 1}}'",
        file.display()
    );
    let program = program(&script, 0.3, 1);
    let start = Instant::now();
    let message = ask(&program, "text").unwrap_err();
    assert!(
        message.contains("within 0.3 s") && message.contains("flush"),
        "{message}"
    );
    assert!(start.elapsed() < Duration::from_secs(20));
    let pid: libc::pid_t = std::fs::read_to_string(&file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // SAFETY: signal 0 only asks whether the process is there.
    let there = unsafe { libc::kill(pid, 0) } == 0;
    assert!(!there, "process {pid} is still there");
}

#[test]
fn the_end_of_the_program_does_not_wait_for_an_answer() {
    let program = program("read x; sleep 60", 50.0, 1);
    let start = Instant::now();
    block(async {
        let text = asked("text");
        let given_up = tokio::time::timeout(Duration::from_millis(50), program.ask(&text));
        let _ = tokio::task::unconstrained(given_up).await;
    });
    drop(program);
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn several_children_work_side_by_side() {
    let script = "while read -r line; do sleep 0.4; echo '{\"reward\": 1}'; done";
    let program = program(script, 20.0, 4);
    let start = Instant::now();
    block(async {
        let text = asked("text");
        let ask = || program.ask(&text);
        let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
        assert!(
            [a, b, c, d]
                .into_iter()
                .all(|reward| reward.unwrap() == 1.0)
        );
    });
    assert!(
        start.elapsed() < Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_missing_program_is_found_at_once() {
    let params = Params {
        command: vec!["no-such-program-anywhere".into()],
        ..Params::default()
    };
    let message = match Program::start(&params) {
        Err(fault) => fault.to_string(),
        Ok(_) => panic!("it was started"),
    };
    assert!(
        message.contains("no-such-program-anywhere") && message.contains("installed"),
        "{message}"
    );
}
