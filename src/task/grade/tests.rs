use super::*;
use proptest::prelude::*;
use std::path::PathBuf;
use std::time::Instant;

/// Completion and the answer that must be read from it; `-` for none.
const CASES: &[(&str, &str)] = &[
    // Form 1: ####
    ("#### 18", "18"),
    ("####18", "18"),
    ("#### 18.", "18"),
    ("#### 18...", "18"),
    ("#### 18.0", "18"),
    ("#### 18.00.", "18"),
    ("#### 0018", "18"),
    ("#### $18", "18"),
    ("#### $ 18", "18"),
    ("#### \\$18", "18"),
    ("#### $18.50", "18.5"),
    ("#### €18", "18"),
    ("#### £18", "18"),
    ("#### 18€", "18"),
    ("#### 18 €", "18"),
    ("#### USD 18", "18"),
    ("#### US$18", "18"),
    ("#### 18 USD", "18"),
    ("#### Rs. 18", "18"),
    ("#### 18 dollars", "18"),
    ("#### 18 eggs per day.", "18"),
    ("#### 18kg", "18"),
    ("#### 18 km/h", "18"),
    ("#### $18/hour", "18"),
    ("#### 18 m^2", "18"),
    ("#### 18 m2", "18"),
    ("#### 18m2", "18"),
    ("#### 18th", "18"),
    ("#### 50%", "50"),
    ("#### 50 %", "50"),
    ("#### 50\\%", "50"),
    ("#### 50 percent", "50"),
    ("#### 1,000", "1000"),
    ("#### 1,234,567.25", "1234567.25"),
    ("#### $1,000,", "1000"),
    ("#### 1\u{202f}000", "1000"),
    ("#### 1{,}000", "1000"),
    ("#### 1\\,000", "1000"),
    ("#### -5", "-5"),
    ("#### \u{2212}5", "-5"),
    ("#### \u{2013}5", "-5"),
    ("#### -$5", "-5"),
    ("#### $-5", "-5"),
    ("#### +5", "5"),
    ("#### -0", "0"),
    ("#### .5", "0.5"),
    ("#### -.5", "-0.5"),
    ("#### 1/2", "0.5"),
    ("#### 1 / 2", "0.5"),
    ("#### 1/3", "1/3"),
    ("#### -1/3", "-1/3"),
    ("#### 2/6", "1/3"),
    ("#### 1 1/2", "1.5"),
    ("#### -1 1/2", "-1.5"),
    ("#### 2½", "2.5"),
    ("#### ½", "0.5"),
    ("#### ½ cup", "0.5"),
    ("#### 1 1/2 cups", "1.5"),
    ("#### 1.5/2", "0.75"),
    ("#### 1,000/3", "1000/3"),
    ("#### 1.5e3", "1500"),
    ("#### 2E-2", "0.02"),
    ("#### 2 × 10^3", "2000"),
    ("#### 2 \\times 10^{3}", "2000"),
    ("#### **18**", "18"),
    ("**#### 18**", "18"),
    ("#### `18`", "18"),
    ("#### \"18\"", "18"),
    ("#### (18)", "18"),
    ("#### $18$", "18"),
    ("#### $$18$$", "18"),
    ("#### \\(18\\)", "18"),
    ("#### \\boxed{18}", "18"),
    ("#### $\\boxed{18}$", "18"),
    ("#### x = 18", "18"),
    ("#### 9 * 2 = 18", "18"),
    ("#### $9 \\times 2 = 18$", "18"),
    ("#### = 18", "18"),
    ("#### approximately 18", "18"),
    ("#### ≈ 18", "18"),
    ("#### 18 (eighteen)", "18"),
    ("#### 18 eggs in 2 days", "18"),
    ("She has 9*2=18.\n#### 18\n", "18"),
    ("#### 3\n#### 18", "18"),
    ("#### 18\n\nI hope that helps you in 2025!", "18"),
    ("#### 18\n#### Explanation", "18"),
    ("\\boxed{17} #### 18", "18"),
    ("#### 18\nThe answer is 19.", "18"),
    // Not one number: no answer, and no other form is asked.
    ("It is 7.\n#### 5 or 6", "-"),
    ("#### 5, 6", "-"),
    ("#### 5,6", "-"),
    ("#### 5 and 6", "-"),
    ("#### 5 apples or 6 apples", "-"),
    ("#### 5-6", "-"),
    ("#### 5 - 6", "-"),
    ("#### 5 to 6", "-"),
    ("#### 5 (or 6)", "-"),
    ("#### 2 + 3", "-"),
    ("#### 2*3", "-"),
    ("#### 3 hours and 30 minutes", "-"),
    ("#### 10:30", "-"),
    ("#### 1/2/2024", "-"),
    ("#### 2024-01-05", "-"),
    ("#### 1.2.3", "-"),
    ("#### 1.000,50", "-"),
    ("#### 1,00", "-"),
    ("#### 1000,000", "-"),
    ("#### 1,2,3", "-"),
    ("#### 12,34,567", "-"),
    ("#### 1 000", "-"),
    ("#### 1_000", "-"),
    ("#### 1/0", "-"),
    ("#### 1 / 0", "-"),
    ("#### 5x7", "-"),
    ("#### 2\\pi", "-"),
    ("#### 2\\sqrt{3}", "-"),
    ("#### 2^3", "-"),
    ("#### 1e999", "-"),
    // Headings are not answers.
    ("#### Step 2\nWe get 18", "18"),
    ("#### 3. Add the costs\n\\boxed{18}", "18"),
    ("#### 3) Add\nThe answer is 18.", "18"),
    ("#### 3: Add\nThe answer is 18.", "18"),
    ("####\n18", "18"),
    ("#### The answer is 18", "18"),
    // Form 2: \boxed
    ("\\boxed{18}", "18"),
    ("\\boxed{3} and then \\boxed{18}.", "18"),
    ("$\\boxed{18}$ is more than 17", "18"),
    ("\\boxed{\\$1{,}000}", "1000"),
    ("\\boxed{1\\,000}", "1000"),
    ("\\boxed{18\\text{ apples}}", "18"),
    ("\\boxed{\\text{18}}", "18"),
    ("\\boxed{18\\%}", "18"),
    ("\\boxed{\\frac{1}{2}}", "0.5"),
    ("\\boxed{-\\frac{1}{2}}", "-0.5"),
    ("\\boxed{\\dfrac12}", "0.5"),
    ("\\boxed{1\\frac{1}{2}}", "1.5"),
    ("\\boxed{\\frac{\\text{1}}{{2}}}", "0.5"),
    ("\\boxed {18}", "18"),
    ("\\boxed{x = 18}", "18"),
    ("\\boxed{90^\\circ}", "90"),
    ("\\boxed{90\\degree}", "90"),
    ("\\boxed{\\mathbf{18}}", "18"),
    ("\\boxed{18} or \\boxed{19", "18"),
    ("\\boxed{(3, 4)}", "-"),
    ("18 is not \\boxed{\\text{none}}", "-"),
    ("\\boxed{}", "-"),
    ("\\boxed{2\\sqrt{5}}", "-"),
    ("\\boxed{\\frac{1+2}{3}}", "-"),
    ("\\boxed{5 \\text{ or } 6}", "-"),
    ("\\boxed{\\sqrt{9}}", "-"),
    ("the answer is \\boxed{18}, not 3", "18"),
    // Form 3
    ("A: 18", "18"),
    ("a: 18", "18"),
    ("Answer: 18", "18"),
    ("**Answer:** 18 apples", "18"),
    ("**Final Answer**: $18", "18"),
    ("Final answer: 18. It took 3 steps.", "18"),
    ("So 4 of them.\nA: $1,000", "1000"),
    ("Answer: \\(18\\) in 2 days", "18"),
    ("Answer: she has 5 + 13 = 18", "18"),
    ("Data: 18 rows, 4 more", "4"),
    ("Answer: 5 or 6", "-"),
    // Form 4
    ("The answer is 18.", "18"),
    ("the answer is: 18", "18"),
    ("The final answer is **18**.", "18"),
    ("The answer is $18.50 for 3 days", "18.5"),
    ("The answer is 9 * 2 = 18.", "18"),
    ("The answer is 18. Check: 9 * 2 = 18, in 4 steps.", "18"),
    ("The answer is\n18", "18"),
    ("The answer is 5. No, the answer is 18. Or 19?", "18"),
    ("The answer is that 5 + 13 = 18", "18"),
    ("Answer would be 18 apples and some pears.", "18"),
    ("The answer is about 18", "18"),
    ("The answer is between 5 and 6, so 5.5", "5.5"),
    ("The answer is 5 or 6", "-"),
    ("The answer island has 3 trees", "3"),
    // Form 5: the last number
    ("18", "18"),
    ("She makes $18 a day", "18"),
    ("She makes 9 * 2 = $18.", "18"),
    ("First 9, then 18!", "18"),
    ("So 1,000.", "1000"),
    ("8 - 5", "5"),
    ("8-5=3", "3"),
    ("It is -5.", "-5"),
    ("It is (-5)", "-5"),
    ("It is -$5.", "-5"),
    ("covid-19", "19"),
    ("That is 1/2 of it", "0.5"),
    ("That is 2 1/2 cups.", "2.5"),
    ("That is $\\frac{1}{2}$.", "0.5"),
    ("That is 50%.", "50"),
    ("9 + 9 = <<9+9=18>>18 eggs", "18"),
    ("18 m^2", "18"),
    ("18 of H2O", "18"),
    ("18 for x2", "18"),
    ("18\n\nThat is all.", "18"),
    ("At 10:30", "-"),
    ("Take 3-5", "-"),
    ("On 1/2/2024", "-"),
    ("v1.2.3", "-"),
    ("eighteen", "-"),
    ("", "-"),
    (" \n ", "-"),
    ("$", "-"),
    ("-", "-"),
    ("####", "-"),
    ("\\boxed", "-"),
    ("\\boxed{", "-"),
    ("\\", "-"),
    ("²", "-"),
    ("٣", "-"),
    // Base models go on with the next question.
    ("#### 18\n\nQuestion: how many? #### 4", "18"),
    ("So 18 in all.\n\nQ: how about 3?", "18"),
    ("Question: how many of 3?\n#### 18", "18"),
    ("I see.\nQuestion: how many?\nThe answer is 18.", "18"),
];

#[test]
fn table_of_completions() {
    assert!(CASES.len() >= 200, "{}", CASES.len());
    let mut wrong = Vec::new();
    for (text, expected) in CASES {
        let found = answer(text).map_or("-".to_owned(), |gold| gold.to_string());
        if found != *expected {
            wrong.push(format!("{text:?}: read {found}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn equal_values_are_right_and_near_ones_are_not() {
    for (gold, completion, correct) in [
        ("1000", "#### 1,000.00", true),
        ("0.5", "\\boxed{\\frac{1}{2}}", true),
        ("1/3", "#### 2/6", true),
        ("1/3", "#### 0.3333333333", false),
        ("50", "#### 50%", true),
        ("0.5", "#### 50%", false),
        ("18", "#### 18.0000000000000000000000001", false),
        (
            "12345678901234567890123",
            "#### 12345678901234567890124",
            false,
        ),
        (
            "12345678901234567890123",
            "#### 12,345,678,901,234,567,890,123",
            true,
        ),
        ("she has 4.\n#### 18", "#### 18", true),
        ("5", "#### -5", false),
        ("1", "#### 1,000", false),
        ("0", "no number here", false),
        ("gibberish", "gibberish", false),
        ("", "", false),
    ] {
        assert_eq!(
            numeric(gold, completion).correct,
            correct,
            "{gold} / {completion}"
        );
    }
}

#[test]
fn gold_answers_are_read_strictly() {
    let read = |text: &str| Gold::parse(text).map(|gold| gold.to_string());
    assert_eq!(read(" 1,000 ").as_deref(), Some("1000"));
    assert_eq!(read("$18").as_deref(), Some("18"));
    assert_eq!(read("work 5\n#### 18").as_deref(), Some("18"));
    assert_eq!(read("\\boxed{18}").as_deref(), Some("18"));
    // The last number of free text is no gold answer.
    for text in [
        "",
        "none",
        "she has 18",
        "5 or 6",
        "5\n6",
        "10:30",
        "1/0",
        "#### none",
    ] {
        assert_eq!(read(text), None, "{text:?}");
    }
}

#[test]
fn canonical_forms() {
    for (text, shown) in [
        ("-0.250", "-0.25"),
        ("0.05", "0.05"),
        ("-1/8", "-0.125"),
        ("10/4", "2.5"),
        ("1/7", "1/7"),
        ("1e-13", "1/10000000000000"),
    ] {
        assert_eq!(Gold::parse(text).unwrap().to_string(), shown);
    }
}

#[test]
fn hostile_texts_take_linear_time() {
    let start = Instant::now();
    let n = 300_000;
    for unit in [
        "#",
        "####",
        "#### ",
        "#### 1 ",
        "####\n",
        "\\boxed{",
        "\\boxed{1} ",
        "\\boxed",
        "{",
        "\\frac{",
        "\\boxed{\\frac{1}{",
        "9",
        "1,",
        "1,000,",
        "1/",
        "1:",
        "1-",
        "-",
        "$",
        ".",
        "1.",
        "1e",
        "1 ",
        "answer is ",
        "answer is 1 or ",
        "A:\n",
        "A: 1 ",
        "answer: ",
        "answer ",
        "Question:",
        "\nQ:",
        "½",
        "\u{2212}",
        "*",
        "**",
        "\\",
        "\\$",
        "a1",
        "1a",
        "(",
        "=",
        "1=",
        "x=",
        " ",
        "\n",
        "é",
    ] {
        let text = unit.repeat(n / unit.len());
        answer(&text);
        answer(&format!("{text} 5"));
        Gold::parse(&text);
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    assert_eq!(answer(&"9".repeat(5000)), None);
    assert_eq!(answer(&format!("#### {}", "9".repeat(5000))), None);
    let buried = format!(
        "{}\nSo 18 eggs. {}",
        "x 5 ".repeat(1000),
        "blah ".repeat(1000)
    );
    assert_eq!(answer(&buried).unwrap().to_string(), "18");
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "\\PC*") {
        answer(&text);
        Gold::parse(&text);
    }

    #[test]
    fn any_text_of_nasty_pieces_is_read_without_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "####", " ", "\\boxed{", "}", "{", "1", "23", ",", ".", "/", "-", "\u{2212}", "$", "e", "\\frac", "½",
            "\\text{", "answer is", "A:", "Answer:", "\n", "=", "%", "or", "x", "^", ":", "é", "0", "\\", "*", "10^",
            "×", "\u{202f}", "Question:", "(", "\\,", "000", "about", "us",
        ]), 0..60)
    ) {
        let text = pieces.concat();
        if let Some(gold) = answer(&text) {
            // What is shown can be read back.
            prop_assert_eq!(Gold::parse(&gold.to_string()), Some(gold));
        }
        Gold::parse(&text);
    }

    #[test]
    fn grouped_numbers_round_trip(number in any::<i64>()) {
        let digits = number.unsigned_abs().to_string();
        let mut grouped = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i) % 3 == 0 {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        let sign = if number < 0 { "-" } else { "" };
        for text in [
            format!("#### {sign}{grouped}"),
            format!("#### {sign}${grouped}.00"),
            format!("\\boxed{{{sign}{}}}", grouped.replace(',', "{,}")),
            format!("the answer is {sign}{grouped}."),
            format!("so it is {sign}{grouped} apples."),
        ] {
            prop_assert_eq!(answer(&text).map(|gold| gold.to_string()), Some(number.to_string()));
        }
    }

    #[test]
    fn fractions_round_trip(n in -10_000i64..10_000, d in 1i64..10_000) {
        let exact = Gold(BigRational::new(n.into(), d.into()));
        for text in [format!("#### {n}/{d}"), format!("\\boxed{{\\frac{{{n}}}{{{d}}}}}"), exact.to_string()] {
            prop_assert_eq!(answer(&text), Some(exact.clone()));
        }
    }
}

/// The real data, where it is: `TOKENZERO_GSM8K` names its folder.
#[test]
fn every_gold_answer_of_gsm8k_is_read() {
    let folder = std::env::var_os("TOKENZERO_GSM8K").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/datasets/gsm8k"),
        PathBuf::from,
    );
    if !folder.join("train.jsonl").is_file() {
        println!(
            "skipped: no GSM8K in {}; set TOKENZERO_GSM8K",
            folder.display()
        );
        return;
    }
    let mut rows = 0;
    for split in ["train", "test"] {
        let text = std::fs::read_to_string(folder.join(format!("{split}.jsonl"))).unwrap();
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let solution = row["answer"].as_str().unwrap();
            let stated = solution
                .rsplit("####")
                .next()
                .unwrap()
                .trim()
                .replace(',', "");
            assert_eq!(
                Gold::parse(solution).unwrap().to_string(),
                stated.parse::<i64>().unwrap().to_string()
            );
            assert!(numeric(solution, solution).correct);
            rows += 1;
        }
    }
    assert_eq!(rows, 8792);
    let params = crate::task::Params {
        kind: crate::task::Kind::Gsm8k,
        path: Some(folder),
        ..crate::task::Params::default()
    };
    let task = crate::task::open(&params).unwrap();
    assert_eq!(task.test(usize::MAX).unwrap().len(), 1319);
    let (train, dev) = (
        task.train(0..usize::MAX).unwrap(),
        task.dev(usize::MAX).unwrap(),
    );
    assert_eq!((train.len(), dev.len()), (6973, 500));
}
