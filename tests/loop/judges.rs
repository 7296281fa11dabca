//! Rubrics: a language model that is asked whether a solution is right.

use super::*;
use burn::tensor::{Int, Tensor, TensorData};
use tokenzero::model::Decoder;
use tokenzero::search::Judge;

/// In words that the bundled model has.
const PROMPT: &str = "make {{ question }}\n{{ solution }} left\n";

fn rubric(prompt: &str, path: &str) -> Judge {
    Judge::Rubric {
        prompt: prompt.into(),
        yes: "= 1".into(),
        no: "-".into(),
        path: path.into(),
        weight: 1.0,
    }
}

/// `2 p - 1` by a plain forward pass over `tokens`.
fn directly(decoder: &Decoder, tokens: &[u32], [yes, no]: [u32; 2]) -> f64 {
    let ids: Vec<i32> = tokens.iter().map(|&t| t as i32).collect();
    let count = ids.len();
    let device = device::open("cpu").unwrap();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, count]), &device);
    let last = decoder.hidden(ids).narrow(1, count - 1, 1).squeeze_dim(0);
    let logits: Vec<f32> = decoder.logits(last).into_data().try_to_vec().unwrap();
    let [yes, no] = [yes, no].map(|token| f64::from(logits[token as usize]).exp());
    2.0 * yes / (yes + no) - 1.0
}

/// The bundled model with a chat template.
fn chatting() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(TINY).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let template = "{% for m in messages %}left {{ m.content }}{% endfor %}{% if add_generation_prompt %}\n#### {% endif %}";
    std::fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
    dir
}

#[test]
fn a_rubric_says_what_a_plain_forward_pass_of_its_prompt_says() {
    let bench = Bench::new(true);
    let decoder = checkpoint(false).policy;
    let chat = chatting();
    let other = chat.path().to_str().unwrap();
    for (path, before, after) in [
        ("", "make QUESTION\n", "left\n"),
        // A line break behind a tag is no part of what a chat template writes.
        (other, "left make QUESTION\n", "left\n####"),
    ] {
        let mut how = params(16);
        how.questions = 6;
        how.search.judges = vec![rubric(PROMPT, path)];
        how.search.memoise = false;
        let encode = |text: &str| bench.tokenizer.encode(text).unwrap();
        let answers = ["=", "-"].map(|word| encode(word)[0]);
        let problems = bench.task.train(0..how.questions).unwrap();
        let trees = trace::read_dir(bench.collect(&how).path()).unwrap();
        let (mut compared, mut found) = (0, Vec::new());
        for (tree, problem) in trees.iter().zip(&problems) {
            let before = encode(&before.replace("QUESTION", &problem.question));
            for (n, node) in tree.nodes.iter().enumerate() {
                let below = |c: &&trace::NodeRecord| c.parent == Some(n as u32);
                let below: Vec<_> = tree.nodes.iter().filter(below).collect();
                let ended = node.visits - below.iter().map(|c| c.visits).sum::<u32>();
                if ended == 0 {
                    continue;
                }
                let returns = node.return_sum - below.iter().map(|c| c.return_sum).sum::<f64>();
                let mut text = tree.path(n);
                if text.last() == Some(&0) {
                    text.pop();
                }
                let tokens = [before.as_slice(), &text, &encode(after)].concat();
                let expected = directly(&decoder, &tokens, answers);
                let opinion = returns / f64::from(ended);
                assert!((opinion - expected).abs() < 1e-4, "{opinion}, {expected}");
                compared += 1;
                found.push(opinion);
            }
        }
        assert!(compared > 60, "{compared}");
        let spread = found
            .iter()
            .fold(0.0, |most: f64, x| most.max((x - found[0]).abs()));
        assert!(spread > 0.01, "all opinions are {}", found[0]);
    }
}

#[test]
fn what_a_rubric_reads_is_charged() {
    let bench = Bench::new(true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for form in [GuidedForm::Whole, GuidedForm::PerToken] {
        let params = |judges| GuidedParams {
            form,
            simulations: 12,
            leaves: 3,
            max_new_tokens: 38,
            judges,
            ..GuidedParams::default()
        };
        let own = params(vec![Judge::Value { weight: 0.5 }, rubric(PROMPT, "")]);
        let other = params(vec![Judge::Value { weight: 0.5 }, rubric(PROMPT, TINY)]);
        let policy = bench.policy();
        let asks = policy.with_rubrics(&own.judges).unwrap();
        let aided = policy
            .with_aides(vec![(TINY.into(), false)], &bench.tokenizer)
            .and_then(|policy| policy.with_rubrics(&other.judges))
            .unwrap();
        for problem in bench.task.test(4).unwrap() {
            let prompt = bench.task.prompt(&problem.question);
            let prompt = bench.tokenizer.prompt(&prompt.plain, &prompt.messages);
            let prompt = prompt.unwrap();
            let before = policy.engine.load().tokens;
            let asks = asks.about(&problem.question);
            let a = runtime.block_on(asks.guided(&prompt, &own, 1)).unwrap();
            assert_eq!(policy.engine.load().tokens - before, a.ledger.total());
            // The question between a word and a line break, but for the last token.
            let read = 2 + problem.question.split(' ').count() as u64 - 1;
            assert_eq!(a.ledger.prefill, prompt.len() as u64 + read);
            assert!(
                a.ledger.value >= 12 * 3,
                "each leaf is read: {:?}",
                a.ledger
            );
            let aided = aided.about(&problem.question);
            let b = runtime.block_on(aided.guided(&prompt, &other, 1)).unwrap();
            assert_eq!(a, b, "the same weights elsewhere");
        }
    }
}

#[test]
fn rubrics_do_not_depend_on_the_number_of_workers_nor_wait_for_each_other() {
    let mut many = params(64);
    many.questions = 16;
    many.search.leaves = 3;
    many.search.random_root.share = 0.5;
    many.search.judges = vec![
        Judge::Rollout { weight: 1.0 },
        rubric(PROMPT, ""),
        rubric("{{ question }}\n{{ solution }}", ""),
        rubric(PROMPT, TINY),
    ];
    let one = collect::Params {
        workers: 1,
        ..many.clone()
    };
    // Not enough for two questions at once.
    let kv_slots = 2200;
    let narrow = engine::Params {
        kv_slots,
        ..engine::Params::default()
    };
    let bench = Bench::with(true, narrow);
    let wide = Bench::new(true);
    let (a, b) = (bench.collect(&many), wide.collect(&one));
    assert_eq!(files(a.path()), files(b.path()));
    assert_eq!(files(a.path()), files(wide.collect(&many).path()));
    let trees = trace::read_dir(a.path()).unwrap();
    assert!(trees.iter().all(|tree| tree.failure.is_none()));
}

#[test]
fn a_rubric_that_cannot_be_asked_is_refused_before_any_work() {
    let bench = Bench::new(true);
    let words = |yes: &str, no: &str, prompt: &str| Judge::Rubric {
        prompt: prompt.into(),
        yes: yes.into(),
        no: no.into(),
        path: String::new(),
        weight: 1.0,
    };
    let policy = bench.policy();
    for (judge, why) in [
        (words("1 2", "1 3", PROMPT), "begin with the same token"),
        (words("Yes", "No", PROMPT), "`Yes` is not in the vocabulary"),
        (words(" ", "1", PROMPT), "`yes` (\" \") has no token"),
        (words("1", "2", "Right? {{ solution }}"), "`Right?` is not"),
        (
            words("1", "2", "{{ solution }} make"),
            "begins with the solution",
        ),
        (rubric(PROMPT, TINY), "was not opened"),
    ] {
        let refused = policy.with_rubrics(&[Judge::Value { weight: 1.0 }, judge]);
        let error = refused.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(why), "{why}: {error}");
        assert!(error.contains("judge 1"), "{error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let params = GuidedParams {
        judges: vec![rubric(PROMPT, "")],
        ..GuidedParams::default()
    };
    for (policy, why) in [
        (policy.about("1 2 make 3"), "was not opened"),
        (
            policy.with_rubrics(&params.judges).unwrap(),
            "what the question is",
        ),
    ] {
        let error = runtime.block_on(policy.guided(&[10, 1], &params, 1));
        let error = error.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(why), "{error}");
    }
}
