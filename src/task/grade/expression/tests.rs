use super::super::Answers;
use super::*;
use proptest::prelude::*;

/// Two writings of the same answer.
const EQUAL: &[(&str, &str)] = &[
    // Rational numbers.
    ("\\frac{3}{4}", "0.75"),
    ("\\dfrac34", "3/4"),
    ("\\tfrac{6}{8}", "3/4"),
    ("-\\frac{1}{2}", "\\frac{-1}{2}"),
    ("\\frac{1}{-2}", "-.5"),
    ("0.\\overline{3}", "1/3"),
    ("0.1\\overline{6}", "1/6"),
    ("0.\\overline{142857}", "\\frac17"),
    ("1\\frac{4}{5}", "9/5"),
    ("1 4/5", "\\frac{9}{5}"),
    ("2½", "2.5"),
    ("1,000", "1000"),
    ("1{,}234{,}567", "1234567"),
    ("10,\\!000", "10000"),
    ("2^{10}", "1024"),
    ("2^{-3}", "0.125"),
    ("3 \\times 10^3", "3000"),
    ("8^{2/3}", "4"),
    ("7!", "7!"),
    ("\\frac{\\frac12}{3}", "1/6"),
    // What is around a value.
    ("$18$", "18"),
    ("\\$18.50", "18.5"),
    ("50\\%", "50"),
    ("45^\\circ", "45"),
    ("45^{\\circ}", "45\\text{ degrees}"),
    ("5\\text{ cm}", "5"),
    ("5\\text{ cm}^2", "5"),
    ("5\\mbox{ cm}^{2}", "5 cm^2"),
    ("12 square inches", "12"),
    ("3 apples", "3"),
    ("\\text{3}", "3"),
    ("18.", "18"),
    ("**18**", "18"),
    ("\\boxed{18}", "18"),
    ("x = 5", "5"),
    ("x=5", "5"),
    ("f(x) = 2x+1", "2x+1"),
    ("x \\in [1,2]", "[1,2]"),
    ("\\left(\\frac{1}{2}\\right)", "0.5"),
    // Roots.
    ("\\sqrt{8}", "2\\sqrt{2}"),
    ("\\sqrt8", "2\\sqrt2"),
    ("sqrt(12)", "2*sqrt(3)"),
    ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}"),
    ("\\sqrt{\\frac{1}{2}}", "\\sqrt2/2"),
    ("\\sqrt{0.25}", "1/2"),
    ("\\sqrt{2}\\sqrt{6}", "2\\sqrt{3}"),
    ("\\sqrt{2}\\cdot\\sqrt{3}", "\\sqrt{6}"),
    ("\\frac{1}{1+\\sqrt2}", "\\sqrt{2}-1"),
    ("\\frac{1}{\\sqrt2+\\sqrt3}", "\\sqrt3-\\sqrt2"),
    ("(1+\\sqrt{5})^2", "6+2\\sqrt5"),
    ("\\sqrt[3]{27}", "3"),
    ("\\sqrt[3]{16}", "2\\sqrt[3]{2}"),
    ("\\sqrt[3]{-8}", "-2"),
    ("16^{1/4}", "2"),
    ("2^{1/2}", "\\sqrt{2}"),
    ("\\frac{3\\sqrt{2}}{2}", "\\frac{3}{2}\\sqrt{2}"),
    // Pi and variables.
    ("2\\pi", "\\pi \\cdot 2"),
    ("\\frac{\\pi}{4}", "\\pi/4"),
    ("\\frac{1}{4}\\pi", "0.25\\pi"),
    ("4π", "4 pi"),
    ("2x+1", "1+2x"),
    ("2(x+1)", "2x+2"),
    ("(x+1)(x-1)", "x^2-1"),
    ("(x+1)^2", "x^2+2x+1"),
    ("xy", "yx"),
    ("\\frac{x}{2}+\\frac{x}{2}", "x"),
    ("x\\cdot x", "x^2"),
    ("x^{-1}", "\\frac{1}{x}"),
    ("\\frac{2x^2}{4x}", "x/2"),
    ("-x^2", "-(x^2)"),
    ("a_1+b", "b+a_{1}"),
    ("\\sqrt{x}+1", "1+\\sqrt x"),
    ("\\frac{\\sqrt{3}}{2}x", "x\\sqrt{3}/2"),
    ("n(n+1)/2", "\\frac{n^2+n}{2}"),
    // Tuples, intervals, sets.
    ("(1,2)", "(1, 2)"),
    ("(\\frac12, \\sqrt4)", "(0.5,2)"),
    ("\\left(3, \\frac{\\pi}{2}\\right)", "(3,\\pi/2)"),
    ("[0,\\infty)", "[0, \\infty)"),
    ("(-\\infty, 2]", "(-infinity,2]"),
    (
        "(-\\infty,1)\\cup(2,\\infty)",
        "(2,\\infty) \\cup (-\\infty,1)",
    ),
    ("\\{1,2,3\\}", "\\{3, 2, 1\\}"),
    ("1, -2", "-2,1"),
    ("1 and -2", "-2, 1"),
    ("x=1 or x=-2", "-2, 1"),
    ("1, 2, and 3", "3,2,1"),
    ("1,2", "\\{1,2\\}"),
    ("1 \\pm \\sqrt{2}", "1-\\sqrt2, 1+\\sqrt2"),
    ("\\pm 3", "3,-3"),
    ("(1,2),(3,4)", "(3,4), (1,2)"),
    // Text.
    ("\\text{Evelyn}", "evelyn"),
    ("\\text{ even }", "even"),
    ("\\text{(C)}", "C"),
    ("y \\le 2x", "y\\leq 2x"),
    ("x^2+y^2=1", "x^2 + y^2 = 1"),
    (
        "\\begin{pmatrix} 1 & 2 \\end{pmatrix}",
        "\\begin{pmatrix}1&2\\end{pmatrix}",
    ),
    ("12_8", "12_{8}"),
    ("\\sin x", "\\sin{x}"),
];

/// Two answers that are not the same, however near.
const DIFFERENT: &[(&str, &str)] = &[
    ("0.333", "\\frac13"),
    ("0.33333333333333333333", "1/3"),
    ("3.14", "\\pi"),
    ("3.14159265358979", "\\pi"),
    ("22/7", "\\pi"),
    ("1.414", "\\sqrt2"),
    ("\\sqrt{2}", "\\sqrt{3}"),
    ("\\sqrt2+\\sqrt3", "\\sqrt5"),
    ("\\sqrt[3]{2}", "\\sqrt{2}"),
    ("2x", "x^2"),
    ("x+1", "y+1"),
    ("x", "X"),
    ("(x+1)^2", "x^2+1"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "[1,2)"),
    ("(1,2)", "1,2"),
    ("\\{1,2\\}", "(1,2)"),
    ("\\{1,2\\}", "\\{1,2,3\\}"),
    ("1,000", "1, 000"),
    ("(1,000)", "1000"),
    ("x=1, y=2", "1,2"),
    ("x=1, y=2", "x=2, y=1"),
    ("23", "2 3"),
    ("2 3", "6"),
    ("1/2x", "\\frac{1}{2x}"),
    ("1/2x", "\\frac12x"),
    ("evil", "live"),
    ("\\text{odd}", "\\text{even}"),
    ("5", "-5"),
    ("5!", "5"),
    ("12_8", "12"),
    ("1:2", "1/2"),
    ("10:30", "1030"),
    ("1\\pm\\sqrt2", "1+\\sqrt2"),
    ("\\infty", "-\\infty"),
    ("-2^2", "4"),
    ("2^{0.5}", "1.41421356237"),
    ("10^{100}", "10^{99}"),
];

#[test]
fn equal_answers_have_one_form() {
    assert!(EQUAL.len() + DIFFERENT.len() >= 80);
    for (one, other) in EQUAL {
        assert_eq!(canonical(one), canonical(other), "{one} and {other}");
        assert!(canonical(one).is_some(), "{one}");
    }
}

#[test]
fn different_answers_have_different_forms() {
    for (one, other) in DIFFERENT {
        assert_ne!(canonical(one), canonical(other), "{one} and {other}");
    }
}

#[test]
fn forms_are_short_and_say_what_they_are() {
    for (text, form) in [
        ("\\frac{1}{4}", "0.25"),
        ("\\frac{1}{3}", "1/3"),
        ("\\frac{\\sqrt{12}}{4}", "1/2*sqrt(3)"),
        ("1+2x-x^2", "-x^2+2*x+1"),
        ("2\\pi r", "2*r*π"),
        ("\\sqrt[3]{16}", "2*root3(2)"),
        ("2,1", "\\{1, 2\\}"),
        ("[0,\\infty)", "[0, ∞)"),
        ("\\text{Monday}", "monday"),
        ("0", "0"),
    ] {
        assert_eq!(canonical(text).as_deref(), Some(form), "{text}");
    }
    assert_eq!(canonical(" $$ "), None);
    assert_eq!(canonical(&"1+".repeat(2000)), None);
}

#[test]
fn the_form_of_a_form_is_itself() {
    for (one, other) in EQUAL.iter().chain(DIFFERENT) {
        for text in [one, other] {
            let form = canonical(text).unwrap();
            assert_eq!(canonical(&form).as_ref(), Some(&form), "{text}");
        }
    }
}

#[test]
fn huge_and_hostile_texts_are_texts() {
    for text in [
        "9^{9^{9}}",
        "(1+x)^{9999}",
        "2^{9999999}",
        "(((((((((((((((((((((((((((((((1)))))))))))))))))))))))))))))))",
        "1/0",
        "\\frac{1}{x-x}",
        "0^{-1}",
        "\\sqrt{-1}",
        "\\frac{1}{x+1}",
        "((",
        "\\frac",
        "\\sqrt[",
        "x_",
        "^2",
        "{,}",
    ] {
        assert_eq!(canonical_value(text), None, "{text}");
    }
}

/// Where the answer stands, by completion.
#[test]
fn answers_are_read_from_completions() {
    for (completion, expected) in [
        ("So it is $\\boxed{\\frac{3}{4}}$.", Some("0.75")),
        ("\\boxed{12} and then \\boxed{\\sqrt{8}}", Some("2*sqrt(2)")),
        ("\\boxed{\\left(1, \\frac{2}{3}\\right)}", Some("(1, 2/3)")),
        ("We get 3.\n#### 2x+1", Some("2*x+1")),
        ("#### $\\boxed{2\\pi}$", Some("2*π")),
        ("Final Answer: $x = \\frac{1}{2}$", Some("0.5")),
        ("The answer is $\\sqrt{2}$ because it is.", Some("sqrt(2)")),
        ("The answer is 5 apples because he ate 2.", Some("5")),
        ("The answer is 2x + 1.", Some("2*x+1")),
        ("The answer is Monday.", Some("monday")),
        ("Step 1. Add.\nIt makes 12.", Some("12")),
        ("\\boxed{}", None),
        ("", None),
        (
            "\\boxed{1}\n\nQuestion: another?\nAnswer: \\boxed{2}",
            Some("1"),
        ),
    ] {
        let found = Answers::Expression.answer(completion);
        assert_eq!(found.as_deref(), expected, "{completion}");
    }
    let right = |gold, completion| Answers::Expression.grade("", gold, completion).correct;
    assert!(right("Thus $\\boxed{\\frac{1}{2}}$.", "\\boxed{0.5}"));
    assert!(right("2\\sqrt{3}", "\\boxed{\\sqrt{12}}"));
    assert!(!right("\\pi", "\\boxed{3.14159}"));
    assert!(!right("", ""));
}

proptest! {
    #[test]
    fn nothing_panics_and_forms_are_stable(text in "[0-9a-zA-Z\\\\{}()\\[\\]^_+*/=,. ±√ƒ∪$-]{0,40}") {
        if let Some(form) = canonical(&text) {
            prop_assert_eq!(canonical(&form), Some(form));
        }
    }

    /// Expanding a product of two linear factors by hand gives the same form.
    #[test]
    fn products_are_expanded(a in -9i32..10, b in -9i32..10, c in -9i32..10, d in -9i32..10) {
        let product = format!("({a}x+{b})({c}x+{d})");
        let expanded = format!("{}x^2+{}x+{}", a * c, a * d + b * c, b * d);
        prop_assert_eq!(canonical(&product), canonical(&expanded));
        let other = format!("{}x^2+{}x+{}", a * c, a * d + b * c, b * d + 1);
        prop_assert_ne!(canonical(&product), canonical(&other));
    }

    /// A root is simplified so that its square is the radicand, and its form decides equality.
    #[test]
    fn roots_are_roots(n in 1u32..5000, k in 1u32..20) {
        let squared = format!("(\\sqrt{{{n}}})^2");
        prop_assert_eq!(canonical(&squared), canonical(&n.to_string()));
        let (outside, inside) = (format!("{k}\\sqrt{{{n}}}"), format!("\\sqrt{{{}}}", u64::from(k * k) * u64::from(n)));
        prop_assert_eq!(canonical(&outside), canonical(&inside));
    }
}
