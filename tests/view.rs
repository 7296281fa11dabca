//! The page of a run: what `tokenzero view` writes, and what a browser makes of it.

#[path = "view/browser.rs"]
mod browser;
#[path = "view/made_up.rs"]
mod made_up;
mod small;

use assert_cmd::Command;
use browser::Browser;
use predicates::str::contains;
use serde_json::json;
use std::path::Path;

fn tokenzero() -> Command {
    let mut command = Command::cargo_bin("tokenzero").unwrap();
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn view(run: &Path, out: &Path) -> Command {
    let mut command = tokenzero();
    command.arg("view").arg(run).arg("--out").arg(out);
    command
}

/// Why the command refuses.
fn refusal(command: &mut Command) -> String {
    let output = command.assert().failure().code(1).stdout("");
    let message = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    let message = message.replace("\n  │ ", " ");
    assert!(message.matches('×').count() == 1, "one message: {message}");
    message
}

#[test]
fn bad_input_is_refused_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let says = |command: &mut Command, words: [&str; 2]| {
        // Lines end anywhere, within a word with a hyphen too.
        let unbroken = |text: &str| text.split_whitespace().collect::<String>();
        let message = refusal(command);
        for word in words {
            let there = unbroken(&message).contains(&unbroken(word));
            assert!(there, "{word} is missing: {message}");
        }
    };
    let no_run = ["holds no run", "`tokenzero run` printed"];
    says(&mut view(dir.path(), &page), no_run);
    says(&mut view(&dir.path().join("nowhere"), &page), no_run);
    let (run, tokenizer) = made_up::run(dir.path());
    let out = dir.path().join("none/page.html");
    says(&mut view(&run, &out), ["is no folder", "create it"]);
    says(&mut view(&run, dir.path()), ["is a folder", "run.html"]);
    let mut question = view(&run, &page);
    question.args(["--question", "123456", "--tokenizer"]);
    let words = ["no recorded tree of question 123456", "from 7 to 8"];
    says(question.arg(&tokenizer), words);
    // The folder's recipe names a model that is not here.
    std::fs::write(run.join("recipe.toml"), "[model]\npath = \"nowhere\"\n").unwrap();
    says(&mut view(&run, &page), ["--tokenizer", "nowhere"]);
    let shard = run.join("iter-0001/traces/shard-00000.parquet");
    std::fs::write(&shard, "torn").unwrap();
    says(
        &mut view(&run, &page),
        ["shard-00000.parquet", "torn or was changed"],
    );
    assert!(shard.exists(), "a look from outside moves nothing");
    assert!(!page.exists());
}

#[test]
fn a_run_that_has_only_begun_has_a_page_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    std::fs::write(dir.path().join("recipe.toml"), "").unwrap();
    std::fs::write(&page, "an older page").unwrap();
    view(dir.path(), &page)
        .assert()
        .success()
        .stdout(format!("{}\n", page.display()))
        .stderr(contains("MB, with 0 of 0 recorded trees"));
    assert!(std::fs::read_to_string(&page).unwrap().len() > 20_000);
    let message = refusal(view(dir.path(), &page).args(["--question", "3"]));
    assert!(message.contains("leave out --question"), "{message}");
    let Some(mut browser) = Browser::start() else {
        return;
    };
    browser.open(&page);
    for part in ["trees", "curves", "evaluation"] {
        let words = browser.js(&format!(
            "document.querySelector('#{part} .note').textContent"
        ));
        let words = words.as_str().unwrap();
        assert!(words.contains("yet"), "{words}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn hostile_words_stay_words_and_a_large_tree_stays_quick() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let (run, tokenizer) = made_up::run(dir.path());
    view(&run, &page)
        .arg("--tokenizer")
        .arg(&tokenizer)
        .assert()
        .success();
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(!html.contains("<img"), "only as text");
    assert!(html.len() < 1_500_000, "{} bytes", html.len());
    let Some(mut browser) = Browser::start() else {
        return;
    };
    browser.open(&page);
    let harm = "document.images.length + (typeof hacked == 'undefined' ? 0 : 1)";
    assert_eq!(browser.js(harm), 0);
    let title = browser.js("document.querySelector('h1').textContent");
    assert_eq!(title, "run<img src=x onerror=hacked=1>%20");
    let words = browser.js("document.querySelector('#prompt pre').textContent");
    assert!(
        words.as_str().unwrap().contains(made_up::HOSTILE),
        "{words}"
    );
    let tag = browser.js("document.querySelector('#curves figcaption').textContent");
    assert!(tag.as_str().unwrap().contains("<img"), "{tag}");
    let failed = "[...document.querySelectorAll('.item')].find(i => i.dataset.question == 8)";
    let failed = browser.js(&format!("{failed}.textContent"));
    assert!(
        failed.as_str().unwrap().contains(made_up::HOSTILE),
        "{failed}"
    );

    let opened = browser.timed("document.querySelector('.item').click()");
    assert!(rows(&mut browser) < 100.0, "folded at first");
    let unfolded = browser.timed("document.getElementById('unfold-all').click()");
    assert_eq!(rows(&mut browser), 10_000.0);
    let end = "const list = document.getElementById('outline'); list.scrollTop = list.scrollHeight";
    let scrolled = browser.timed(end);
    let in_document = browser
        .js("document.querySelectorAll('.row').length")
        .as_u64()
        .unwrap();
    assert!(
        (10..200).contains(&in_document),
        "{in_document} rows in the document"
    );
    let selected = browser.timed("[...document.querySelectorAll('.row .token')].at(-1).click()");
    let text = browser.js("document.getElementById('path-text').textContent");
    assert!(text.as_str().unwrap().contains("alpha"), "{text}");
    eprintln!(
        "10,000 nodes: opened in {opened:.0} ms, unfolded in {unfolded:.0} ms, scrolled in \
         {scrolled:.0} ms, a node selected in {selected:.0} ms"
    );
    // Each takes some tens of milliseconds; a tree that is drawn whole takes many seconds.
    for time in [opened, unfolded, scrolled, selected] {
        assert!(time < 5000.0, "{time} ms");
    }
    assert_eq!(browser.js(harm), 0);
    assert_eq!(browser.complaints(), [""; 0]);
    assert_eq!(browser.files(), 1);
}

#[test]
fn a_small_run_can_be_walked_through() {
    let dir = tempfile::tempdir().unwrap();
    let (run, page) = (dir.path().join("run"), dir.path().join("page.html"));
    small::run(&run).arg("--quiet").assert().success();
    let before = std::fs::read(run.join("state.json")).unwrap();
    view(&run, &page)
        .assert()
        .success()
        .stdout(format!("{}\n", page.display()))
        .stderr(contains("with 24 of 24 recorded trees"));
    let html = std::fs::read(&page).unwrap();
    view(&run, &page).assert().success();
    assert_eq!(
        std::fs::read(&page).unwrap(),
        html,
        "the same run, the same page"
    );
    assert_eq!(std::fs::read(run.join("state.json")).unwrap(), before);
    view(&run, &page)
        .args(["--trees", "5"])
        .assert()
        .success()
        .stderr(contains("with 5 of 24"));
    let one = dir.path().join("one.html");
    view(&run, &one)
        .args(["--question", "3", "--question", "9"])
        .assert()
        .success()
        .stderr(contains("with 2 of 24"));
    std::fs::write(&page, html).unwrap();
    let Some(mut browser) = Browser::start() else {
        return;
    };
    browser.open(&page);
    tables_and_curves(&mut browser);
    choosing(&mut browser);
    walking(&mut browser);
    assert_eq!(browser.complaints(), [""; 0]);
    assert_eq!(browser.files(), 1);
}

fn tables_and_curves(browser: &mut Browser) {
    let count = |browser: &mut Browser, what: &str| {
        let found = browser.js(&format!("document.querySelectorAll('{what}').length"));
        found.as_u64().unwrap()
    };
    assert_eq!(
        count(browser, ".methods tr[data-method]"),
        12,
        "two iterations, six methods"
    );
    assert!(count(browser, "#curves .chart path.line") > 15);
    assert_eq!(count(browser, "#value .diagram"), 6, "one for each method");
    let box_of = "(b => [b.x + b.width / 2, b.y + b.height / 2])";
    let chart = "const c = document.querySelector('#curves .chart svg'); c.scrollIntoView({block: 'center'});";
    let at = browser.js(&format!("{chart} {box_of}(c.getBoundingClientRect())"));
    let params = json!({"type": "mouseMoved", "x": at[0], "y": at[1]});
    browser.call("Input.dispatchMouseEvent", params);
    let tip = browser.js("document.querySelector('.tip:not([hidden])').textContent");
    assert!(tip.as_str().unwrap().contains("iteration"), "{tip}");
}

fn choosing(browser: &mut Browser) {
    let mut shown = |change: &str, what: &str| -> Vec<String> {
        browser.js(change);
        let list =
            format!("[...document.querySelectorAll('#tree-list {what}')].map(n => n.textContent)");
        let list = browser.js(&list);
        list.as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_str().unwrap().to_owned())
            .collect()
    };
    let set = |id: &str, value: &str, event: &str| {
        format!(
            "(n => {{ n.value = '{value}'; n.dispatchEvent(new Event('{event}')); }})(document.getElementById('{id}'))"
        )
    };
    assert_eq!(shown("0", ".item").len(), 24);
    assert_eq!(
        shown(&set("tree-iteration", "1", "change"), ".item").len(),
        24
    );
    let unsolved = shown(&set("tree-outcome", "unsolved", "change"), ".sign");
    assert!(
        unsolved.iter().all(|sign| sign.contains("not solved")),
        "{unsolved:?}"
    );
    let solved = shown(&set("tree-outcome", "solved", "change"), ".sign");
    assert_eq!(solved.len() + unsolved.len(), 24);
    assert!(!solved.is_empty() && !solved.iter().any(|sign| sign.contains("not")));
    shown(&set("tree-outcome", "", "change"), ".sign");
    let found = shown(&set("tree-search", "#7", "input"), ".where");
    assert_eq!(found, ["#7"]);
    assert_eq!(
        shown(&set("tree-search", "no such words", "input"), ".item").len(),
        0
    );
    shown(&set("tree-search", "make", "input"), ".item");
}

fn walking(browser: &mut Browser) {
    browser.js("[...document.querySelectorAll('.item')][3].click()");
    let question = browser.js("document.querySelector('#prompt pre').textContent");
    assert!(question.as_str().unwrap().contains("make"), "{question}");
    let first = rows(browser);
    browser.js("document.getElementById('fold-all').click()");
    assert_eq!(rows(browser), 1.0);
    browser.js("document.querySelector('.row .fold').click()");
    assert!(rows(browser) > 1.0, "a click unfolds");
    browser.js("document.getElementById('unfold-main').click()");
    let end = browser.js("document.querySelector('.row.main.selected .end').textContent");
    assert!(end.as_str().unwrap().contains("right") || end.as_str().unwrap().contains("wrong"));
    browser.js("document.getElementById('unfold-all').click()");
    assert!(rows(browser) >= first);
    browser.js("document.getElementById('chains').click()");
    let apart = rows(browser);
    assert!(apart > 40.0, "{apart} nodes in rows of their own");
    browser.js("document.getElementById('chains').click()");

    browser.js("document.querySelectorAll('.row')[2].querySelector('.token').click()");
    let details = browser.js("document.getElementById('details').textContent");
    for fact in [
        "Text from the root",
        "visits",
        "Q, the mean return",
        "prior",
        "log-probability",
        "Continuations",
    ] {
        assert!(
            details.as_str().unwrap().contains(fact),
            "{fact} is missing in {details}"
        );
    }
    let current = "document.getElementById('outline').getAttribute('aria-activedescendant')";
    let chosen = browser.js(current);
    browser.press("ArrowDown");
    assert_ne!(browser.js(current), chosen);
    browser.press("ArrowUp");
    assert_eq!(browser.js(current), chosen);
    let folded = rows(browser);
    browser.press("Home");
    browser.press("ArrowLeft");
    assert!(rows(browser) < folded);
    browser.press("ArrowRight");
    assert_eq!(rows(browser), folded);

    browser.js("document.getElementById('zoom-in').click()");
    let zoom = "document.querySelector('.level').textContent";
    browser.js("document.querySelector('.explorer').scrollIntoView()");
    assert_eq!(browser.js(zoom), "115%");
    let at = browser.js(
        "(b => [b.x + 300, b.y + 50])(document.getElementById('outline').getBoundingClientRect())",
    );
    let wheel = json!({"type": "mouseWheel", "x": at[0], "y": at[1], "deltaX": 0, "deltaY": 120, "modifiers": 2});
    browser.call("Input.dispatchMouseEvent", wheel);
    assert_eq!(browser.js(zoom), "105%");
}

/// Rows that are unfolded, in sight or not.
fn rows(browser: &mut Browser) -> f64 {
    let height = "document.querySelector('.rows').offsetHeight / document.querySelector('.row').offsetHeight";
    browser.js(height).as_f64().unwrap().round()
}
