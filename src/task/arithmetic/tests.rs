use super::*;
use std::collections::HashSet;

#[test]
fn splits_are_disjoint_and_unique() {
    let task = Arithmetic::new(7);
    let mut seen = HashSet::new();
    for rare in [0.0, 0.005] {
        let params = Pretraining {
            rare,
            ..Pretraining::default()
        };
        let worked = pretraining(1, 5000, &params);
        assert_eq!(worked.len(), 5000);
        seen.extend(worked.into_iter().map(|w| w.question));
    }
    let questions: Vec<String> = (task.train(0..3000).unwrap().into_iter().map(|p| p.question))
        .chain(task.dev(500).unwrap().into_iter().map(|p| p.question))
        .chain(task.test(1000).unwrap().into_iter().map(|p| p.question))
        .collect();
    assert_eq!(questions.len(), 4500);
    for question in questions {
        assert!(seen.insert(question.clone()), "{question}");
    }
}

#[test]
fn sequences_do_not_depend_on_how_they_are_asked_for() {
    let task = Arithmetic::new(3);
    let late = task.train(25..40).unwrap();
    let all = Arithmetic::new(3).train(0..40).unwrap();
    assert_eq!(late, all[25..]);
    assert_eq!(late[0].id, 25);
    assert_ne!(Arithmetic::new(4).train(0..40).unwrap(), all);
    assert_eq!(Arithmetic::new(4).test(40).unwrap(), task.test(40).unwrap());
    assert_eq!(task.dev(usize::MAX).unwrap().len(), HELD_OUT_SIZE);
    assert!(
        task.dev
            .lock()
            .unwrap()
            .problems::<Dev>(HELD_OUT_SIZE + 1..HELD_OUT_SIZE + 2)
            .is_empty()
    );
}

#[test]
fn step_counts_follow_their_weights() {
    let steps = |solution: &str| solution.matches('=').count();
    let share = |params: &Pretraining, n: usize| {
        let worked = pretraining(5, 4000, params);
        worked.iter().filter(|w| steps(&w.solution) == n).count() as f64 / 4000.0
    };
    let first = Pretraining::default();
    assert!((share(&first, 1) - 5.0 / 11.3).abs() < 0.03);
    assert!((share(&first, 3) - 1.0 / 11.3).abs() < 0.02);
    let second = Pretraining {
        step_weights: [1.0; MAX_STEPS],
        rare: 0.005,
    };
    for n in 1..=MAX_STEPS {
        assert!((share(&second, n) - 0.2).abs() < 0.03);
    }
}

#[test]
fn the_tokenizer_text_has_no_rare_word() {
    let text = tokenizer_text(7, 500);
    assert_eq!(text.len(), 500);
    assert!(text.iter().all(|t| t.contains(".\n") || t.contains("?\n")));
    assert!(
        !text
            .iter()
            .any(|t| RARE_WORDS.iter().any(|word| t.contains(word)))
    );
}

#[test]
fn grader_reads_the_text_after_the_last_marker() {
    let task = Arithmetic::new(0);
    for (completion, parsed) in [
        ("Then Tom has 12 + 5 = 17 coins. #### 17", Some("17")),
        ("#### 3 #### 17", Some("17")),
        ("#### 017 \n", Some("17")),
        ("####17", Some("17")),
        ("#### 00", Some("0")),
        ("#### 17.", None),
        ("#### 17 coins", None),
        ("#### -17", None),
        ("#### +17", None),
        ("#### 1,7", None),
        ("#### 1 7", None),
        ("#### ²", None),
        ("#### 17 ####", None),
        ("#### ", None),
        ("17", None),
        ("", None),
        ("#### 123456789012345678901", None),
    ] {
        let grade = task.grade("", "17", completion);
        assert_eq!(grade.parsed.as_deref(), parsed, "{completion:?}");
        assert_eq!(grade.correct, parsed == Some("17"), "{completion:?}");
    }
    assert!(!task.grade("", "not a number", "no answer").correct);
}

#[test]
fn worked_solutions_grade_as_right() {
    let task = Arithmetic::new(0);
    for worked in pretraining(2, 300, &Pretraining::default()) {
        let gold = worked.solution.rsplit(' ').next().unwrap();
        assert!(task.grade(&worked.question, gold, &worked.solution).correct);
    }
}

#[test]
fn ten_thousand_questions_take_less_than_a_second_or_so() {
    let start = std::time::Instant::now();
    assert_eq!(Arithmetic::new(1).train(0..10_000).unwrap().len(), 10_000);
    // Wide, for loaded machines without optimisation.
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn bad_pretraining_parameters_do_no_harm() {
    let params = Pretraining {
        step_weights: [f64::NAN; MAX_STEPS],
        rare: f64::NAN,
    };
    assert_eq!(pretraining(1, 3, &params).len(), 3);
}
