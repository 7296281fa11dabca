use super::*;
use std::collections::HashSet;
use std::time::Instant;

/// One case a line: the verdict, the question, the completion with `/` for a line break. Made with
/// the reference generator in Python from right solutions and damaged ones. `y`: the reference
/// verifier accepts; `n`: it refuses; `m`: it accepts, but the text is malformed or its check line
/// is wrong, which this grader refuses.
const VERIFIED: &str = include_str!("verified.txt");

#[test]
fn grader_agrees_with_the_reference_verifier() {
    let task = Countdown::new(0);
    let mut verdicts = [0; 3];
    for line in VERIFIED.lines() {
        let [verdict, question, completion] = line.split('|').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let gold = question.rsplit(' ').next().unwrap();
        let completion = completion.replace('/', "\n");
        let grade = task.grade(question, gold, &completion);
        assert_eq!(grade.correct, verdict == "y", "{line}");
        assert!(!grade.correct || grade.parsed.as_deref() == Some(gold));
        verdicts["ynm".find(verdict).unwrap()] += 1;
    }
    assert!(verdicts[0] >= 60 && verdicts[1] >= 60, "{verdicts:?}");
}

#[test]
fn splits_are_disjoint_and_unique() {
    let start = Instant::now();
    let task = Countdown::new(7);
    let mut seen: HashSet<String> = pretraining(1, 5000, &Pretraining::default())
        .into_iter()
        .map(|worked| worked.question)
        .collect();
    // Another seed's train questions must not meet the others either.
    let train = [&task, &Countdown::new(8)].map(|t| t.train(0..3000).unwrap());
    let dev = task.dev(500).unwrap();
    let test = task.test(1000).unwrap();
    assert_eq!((train[0].len(), dev.len(), test.len()), (3000, 500, 1000));
    assert_ne!(train[0], train[1]);
    for question in train[0].iter().map(|p| &p.question) {
        assert!(seen.insert(question.clone()), "{question}");
    }
    seen.extend(train[1].iter().map(|p| p.question.clone()));
    for question in dev
        .iter()
        .map(|p| &p.question)
        .chain(test.iter().map(|p| &p.question))
    {
        assert!(seen.insert(question.clone()), "{question}");
    }
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn sequences_do_not_depend_on_how_they_are_asked_for() {
    let task = Countdown::new(3);
    let all = task.train(0..40).unwrap();
    assert_eq!(task.train(25..40).unwrap(), all[25..]);
    assert_eq!(Countdown::new(3).train(0..40).unwrap(), all);
    assert_eq!(all[30].id, 30);
    assert_eq!(Countdown::new(4).test(50).unwrap(), task.test(50).unwrap());
    let end = task.train(0..usize::MAX).unwrap().len();
    assert!(end > 10_000, "{end}");
    assert!(task.train(end..end + 5).unwrap().is_empty());
    assert!(task.train(end + 3..end + 5).unwrap().is_empty());
}

#[test]
fn statistics_are_the_reference_generators() {
    // Reference, 20,000 draws: three numbers 60%; mean target 27.5 (three), 31.9 (four); mean
    // number 6.56 (three), 6.51 (four).
    let task = Countdown::new(0);
    let questions: Vec<Question> = task
        .train(0..1200)
        .unwrap()
        .iter()
        .map(|p| Question::parse(&p.question).unwrap())
        .collect();
    for (size, share, target, number) in [(3, 0.6, 27.5, 6.56), (4, 0.4, 31.9, 6.51)] {
        let of_size: Vec<_> = questions
            .iter()
            .filter(|q| q.numbers.len() == size)
            .collect();
        let n = of_size.len() as f64;
        assert!((n / 1200.0 - share).abs() < 0.04, "{n}");
        let mean = of_size.iter().map(|q| f64::from(q.target)).sum::<f64>() / n;
        assert!((mean - target).abs() < 2.0, "{size}: {mean}");
        let sum: u32 = of_size.iter().flat_map(|q| &q.numbers).sum();
        let mean = f64::from(sum) / n / size as f64;
        assert!((mean - number).abs() < 0.5, "{size}: {mean}");
    }
    let targets = questions.iter().map(|q| q.target);
    assert_eq!(targets.clone().min(), Some(MIN_TARGET));
    assert_eq!(targets.max(), Some(MAX_RESULT));
    assert!(questions.iter().all(|q| q.numbers.is_sorted()));
    assert!(
        questions
            .iter()
            .flat_map(|q| &q.numbers)
            .all(|n| (1..=MAX_NUMBER).contains(n))
    );
}

#[test]
fn a_gold_answer_of_another_question_matches_nothing() {
    let task = Countdown::new(0);
    let completion = "2 + 1 = 3\n3 = 3\n#### 3";
    assert!(task.grade("1 2 make 3", "3", completion).correct);
    assert!(!task.grade("1 2 make 3", "4", completion).correct);
    assert!(!task.grade("gibberish", "3", completion).correct);
}
