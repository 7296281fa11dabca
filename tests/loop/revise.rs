//! Solutions that are put in question and written anew.

use super::*;
use tokenzero::search::{Actions, Options, ReviseParams, When, seed_of};
use tokenzero::trace::NodeRecord;

/// Words of the model's, in an order that it never writes.
const REFLECT: &str = "\nleft make\n";
const CRITIQUE: &str = "\nmake\n";
const REWRITE: &str = "\nmake left\n";

fn whole() -> Actions {
    Actions::Step {
        stop: Vec::new(),
        max_tokens: 0,
        options: Options::default(),
    }
}

fn revise(phrases: &[&str], times: usize, when: When) -> ReviseParams {
    ReviseParams {
        phrases: phrases.iter().map(|phrase| phrase.to_string()).collect(),
        times,
        count: 2,
        when,
    }
}

/// Searches by whole solutions, revised up to twice.
fn solutions(phrases: &[&str], when: When) -> collect::Params {
    let mut how = params(16);
    how.questions = 16;
    how.search.simulations = 40;
    how.search.max_new_tokens = 150;
    how.search.actions = whole();
    how.search.revise = revise(phrases, 2, when);
    how
}

/// Searches by spans, with everything on that is drawn.
fn spans(phrases: &[&str], when: When) -> collect::Params {
    let mut how = solutions(phrases, when);
    how.search.simulations = 80;
    how.search.max_new_tokens = 120;
    how.search.actions = Actions::Span {
        tokens: 12,
        options: Options::default(),
    };
    actions::everything_drawn(&mut how.search, 0.3);
    how
}

/// What was put into a text, and the tokens behind it.
fn parts(tree: &TreeRecord, end: usize) -> (Vec<u32>, Vec<u32>) {
    let up = |&index: &usize| tree.nodes[index].parent.map(|p| p as usize);
    let mut path: Vec<usize> = std::iter::successors(Some(end), up).collect();
    path.pop();
    path.reverse();
    let (mut given, mut last) = (Vec::new(), tree.prompt[tree.prompt_len()..].to_vec());
    for index in path {
        let node = &tree.nodes[index];
        match node.given {
            true => {
                given.push(node.token);
                last.clear();
            }
            false => last.push(node.token),
        }
    }
    (given, last)
}

/// All that must hold of a trace with revisions, from its rows, the grader and the phrases alone: how many
/// texts were revised, and how many right ones lie behind wrong ones.
fn sound(bench: &Bench, how: &collect::Params, tree: &TreeRecord) -> (usize, usize) {
    let problems = bench.task.train(0..how.questions).unwrap();
    let problem = problems.iter().find(|p| p.id == tree.problem).unwrap();
    let revise = &how.search.revise;
    let phrases: Vec<Vec<u32>> = revise
        .phrases
        .iter()
        .map(|phrase| bench.tokenizer.encode(phrase).unwrap())
        .collect();
    let below = |index: usize| {
        let nodes = tree.nodes.iter().enumerate();
        nodes.filter(move |(_, node)| node.parent == Some(index as u32))
    };
    let graded = |end: usize| {
        let (_, last) = parts(tree, end);
        let text = bench.tokenizer.decode(&last);
        let right = bench.task.grade(&problem.question, &problem.gold, &text);
        let finished = last.last() == Some(&0);
        if right.correct && finished { 1.0 } else { -1.0 }
    };
    let (mut revised, mut mended) = (0, 0);
    for (index, node) in tree.nodes.iter().enumerate() {
        let through: u32 = below(index).map(|(_, child)| child.visits).sum();
        assert!(node.visits >= through, "node {index}");
        assert!(node.return_sum.abs() <= f64::from(node.visits) + 1e-6);
        let (given, _) = parts(tree, index);
        if let [only] = &phrases[..] {
            // As often as allowed, and never in part where something is written behind.
            assert!(only.repeat(revise.times).starts_with(&given), "{given:?}");
            assert!(node.given || given.len().is_multiple_of(only.len()));
        }
        if node.terminal {
            assert_eq!(through, 0);
            let last = phrases.last().unwrap();
            assert!(given.is_empty() || given.ends_with(last), "{given:?}");
            assert!(tree.path(index).len() + tree.root_depth as usize <= how.search.max_new_tokens);
            if let Some(outcome) = node.outcome {
                assert_eq!(outcome, graded(index), "node {index}");
            }
            mended += usize::from(!given.is_empty() && node.outcome == Some(1.0));
        }
        let parent = node.parent.map_or(0, |parent| parent as usize);
        if node.given && !tree.nodes[parent].given {
            let mut beside = below(parent).map(|(_, child)| child);
            let end: Option<&NodeRecord> = beside.find(|child| child.terminal && child.token == 0);
            let Some(end) = end else {
                // The next phrase, behind a critique.
                assert!(phrases.len() > 1);
                continue;
            };
            assert_eq!(end.visits, 1, "an answer is backed up once");
            if revise.when == When::Wrong {
                assert_eq!(end.outcome, Some(-1.0));
            }
            revised += 1;
        }
    }
    assert_eq!(tree.nodes[0].visits, tree.simulations);
    (revised, mended)
}

#[test]
fn revised_texts_are_graded_by_their_last_solution_and_leave_sound_traces() {
    let bench = Bench::new(true);
    for (how, certain) in [
        (solutions(&[REFLECT], When::Wrong), false),
        (solutions(&[REFLECT], When::Always), true),
        (solutions(&[CRITIQUE, REWRITE], When::Always), true),
        (solutions(&[CRITIQUE, REWRITE], When::Below(0.0)), false),
        (spans(&[REFLECT], When::Wrong), false),
        (spans(&[CRITIQUE, REWRITE], When::Always), true),
    ] {
        let trees = trace::read_dir(bench.collect(&how).path()).unwrap();
        let mut found = (0, 0);
        for tree in &trees {
            assert_eq!(tree.failure, None);
            let (revised, mended) = sound(&bench, &how, tree);
            found.0 += revised;
            found.1 += mended;
            assert!(!certain || revised > 0, "a tree without a revision");
        }
        eprintln!("{:?}: {found:?}", how.search.revise);
        assert!(found.0 > 16, "{found:?}");
    }
}

#[test]
fn revisions_do_not_depend_on_the_number_of_workers() {
    for many in [
        solutions(&[CRITIQUE, REWRITE], When::Wrong),
        spans(&[REFLECT], When::Always),
    ] {
        let one = collect::Params {
            workers: 1,
            ..many.clone()
        };
        let bench = Bench::new(true);
        let (a, b) = (bench.collect(&many), bench.collect(&one));
        assert_eq!(files(a.path()), files(b.path()));
    }
}

#[test]
fn revisions_under_pressure_leave_the_tree_as_it_is() {
    let bench = Bench::new(true);
    let mut how = spans(&[CRITIQUE, REWRITE], When::Always);
    how.questions = 6;
    how.search.leaves = 1;
    how.search.noise.fraction = 0.0;
    // A text, and two revisions of it that may be as long.
    same_under_pressure(&bench, &how, 3 * 120);
}

#[test]
fn answers_are_last_solutions_and_every_token_is_charged() {
    let bench = Bench::new(true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (mut revised, mut kept) = (0, 0);
    for (phrases, pick, leaves) in [
        (&[REFLECT][..], Pick::Visits, 1),
        (&[CRITIQUE, REWRITE], Pick::Visits, 3),
        (&[CRITIQUE, REWRITE], Pick::MeanReturn, 1),
    ] {
        let plain = GuidedParams {
            simulations: 25,
            max_new_tokens: 120,
            actions: whole(),
            pick,
            leaves,
            ..GuidedParams::default()
        };
        let how = GuidedParams {
            revise: revise(phrases, 2, When::Always),
            ..plain.clone()
        };
        let bare = bench.policy();
        let policy = bare.with_phrases(&how.revise.phrases, &bench.tokenizer);
        let policy = policy.unwrap();
        let tokens: Vec<Vec<u32>> = phrases
            .iter()
            .map(|phrase| bench.tokenizer.encode(phrase).unwrap())
            .collect();
        for problem in bench.task.test(6).unwrap() {
            let prompt = bench.task.prompt(&problem.question);
            let prompt = bench.tokenizer.prompt(&prompt.plain, &prompt.messages);
            let prompt = prompt.unwrap();
            let run = |seed| {
                let before = policy.engine.load().tokens;
                let found = runtime
                    .block_on(policy.guided(&prompt, &how, seed))
                    .unwrap();
                assert_eq!(policy.engine.load().tokens - before, found.ledger.total());
                found
            };
            let (a, b) = (run(7), run(7));
            assert_eq!(a, b);
            let text = &a.completion;
            assert_eq!(text.finished, text.tokens.last() == Some(&0));
            for phrase in &tokens {
                let has = text.tokens.windows(phrase.len()).any(|w| w == phrase);
                assert!(!has, "{}", bench.tokenizer.decode(&text.tokens));
            }
            let own = runtime.block_on(policy.guided(&prompt, &plain, 7)).unwrap();
            match own.completion.tokens == text.tokens {
                true => kept += 1,
                false => revised += 1,
            }
            assert!(
                runtime
                    .block_on(bare.guided(&prompt, &how, seed_of(7, &[])))
                    .is_err()
            );
        }
    }
    eprintln!("{revised} answers differ, {kept} are those without revisions");
    assert!(revised > 2);
    let unknown = bench
        .policy()
        .with_phrases(&["Wait!".into()], &bench.tokenizer);
    let error = unknown.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(
        error.contains("`Wait!` is not in the vocabulary"),
        "{error}"
    );
}
