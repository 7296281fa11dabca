//! Questions that the policy writes for itself.

use super::*;

/// Arithmetic whose written questions are made of what the policy wrote: the model at hand cannot write any.
struct Writes(Arc<dyn Task>);

impl Task for Writes {
    fn name(&self) -> &str {
        "writes"
    }
    fn train(&self, range: Range<usize>) -> Result<Vec<Problem<Train>>, task::Error> {
        self.0.train(range)
    }
    fn dev(&self, limit: usize) -> Result<Vec<Problem<Dev>>, task::Error> {
        self.0.dev(limit)
    }
    fn test(&self, limit: usize) -> Result<Vec<Problem<Test>>, task::Error> {
        self.0.test(limit.min(50))
    }
    fn prompt(&self, question: &str) -> Prompt {
        self.0.prompt(question)
    }
    fn grade(&self, question: &str, gold: &str, completion: &str) -> Grade {
        self.0.grade(question, gold, completion)
    }
    fn answer(&self, completion: &str) -> Option<String> {
        self.0.answer(completion)
    }
    fn imagine(&self, examples: &[&str]) -> Option<Prompt> {
        self.0.imagine(examples)
    }
    fn imagined(&self, completion: &str, finished: bool) -> Option<String> {
        let sum: usize = completion.bytes().map(usize::from).sum();
        match sum % 5 {
            0 => None,
            // A question of the test split, which must be refused.
            1 => Some(self.0.test(1).ok()?[0].question.clone()),
            _ if !finished => None,
            _ => Some(format!(
                "Tom has {} coins. Then Tom finds {} coins. Tom sells {} of the coins. How many coins does Tom \
                 have now?",
                9 + sum % 7,
                2 + sum % 11,
                1 + sum % 6
            )),
        }
    }
}

#[test]
fn imagined_questions_are_voted_on_and_none_is_of_the_test_split() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/arithmetic-tiny");
    let checkpoint = Checkpoint::load(Path::new(dir), &device::open("cpu").unwrap()).unwrap();
    let arithmetic = task::open(&task::Params {
        kind: task::Kind::Arithmetic,
        ..Default::default()
    });
    let task: Arc<dyn Task> = Arc::new(Writes(arithmetic.unwrap()));
    let tokenizer = Arc::new(checkpoint.tokenizer);
    let engine = Engine::start(checkpoint.policy, None, Default::default()).unwrap();
    let policy = Policy::new(engine.handle(), &tokenizer);
    let problems = task.train(0..12).unwrap();
    let imagine = |workers| {
        let mut how = params(workers);
        how.questions = 12;
        how.imagine.share = 1.0;
        how.imagine.votes = 6;
        how.imagine.agreement = 0.5;
        how.sampling.temperature = 0.5;
        how.sampling.max_new_tokens = 100;
        let setting = Setting {
            policy: &policy,
            tokenizer: &tokenizer,
            task: &task,
            rewards: &Arc::new(Rewards::correctness(task.clone())),
            monitor: &Monitor::silent(),
            iteration: 1,
            seed: 3,
            stop: &Stop::default(),
        };
        collect::imagined(&setting, &problems, &how, 12)
            .unwrap()
            .unwrap()
    };
    let made = imagine(1);
    assert_eq!(made, imagine(32));
    let report = &made.report;
    let refused: u64 = report.refused.values().sum();
    assert_eq!((report.wanted, report.kept + refused), (12, report.written));
    assert!(
        report.kept > 0 && report.kept as usize == made.questions.len(),
        "{report:?}"
    );
    assert!(
        report.refused.contains_key(&Refusal::Resembling),
        "{report:?}"
    );
    let forbidden = &task.test(1).unwrap()[0].question;
    for written in &made.questions {
        assert_ne!(&written.question, forbidden);
        assert!(written.gold.parse::<u32>().is_ok(), "{written:?}");
    }
}
