//! LaTeX, Markdown and units around an expression, turned into the few signs that the parser knows.

/// Nesting of groups at most.
const MAX_DEPTH: usize = 16;

/// A fraction follows, as two arguments.
pub(super) const FRACTION: char = 'ƒ';
/// A root follows: perhaps a degree in square brackets, then an argument.
pub(super) const ROOT: char = '√';
/// Digits that repeat follow, as an argument.
pub(super) const REPEAT: char = '‾';
/// The braces of a set; those of a group stay as they are.
pub(super) const SET: [char; 2] = ['⦃', '⦄'];

/// Symbols by the names of their commands.
const SYMBOLS: &[(&str, &str)] = &[
    ("pi", "π"),
    ("infty", "∞"),
    ("alpha", "α"),
    ("beta", "β"),
    ("gamma", "γ"),
    ("delta", "δ"),
    ("theta", "θ"),
    ("lambda", "λ"),
    ("mu", "μ"),
    ("omega", "ω"),
    ("phi", "φ"),
    ("rho", "ρ"),
    ("sigma", "σ"),
    ("tau", "τ"),
    ("cdot", "*"),
    ("times", "*"),
    ("div", "/"),
    ("pm", "±"),
    ("cup", "∪"),
    ("in", "∈"),
    ("le", "≤"),
    ("leq", "≤"),
    ("ge", "≥"),
    ("geq", "≥"),
    ("ne", "≠"),
    ("neq", "≠"),
    ("lbrace", "⦃"),
    ("rbrace", "⦄"),
    ("langle", "("),
    ("rangle", ")"),
    ("frac", "ƒ"),
    ("dfrac", "ƒ"),
    ("tfrac", "ƒ"),
    ("cfrac", "ƒ"),
    ("sqrt", "√"),
    ("overline", "‾"),
    ("bar", "‾"),
];

/// Commands that only set how something looks.
const LOOKS: &[&str] = &[
    "left",
    "right",
    "displaystyle",
    "textstyle",
    "big",
    "Big",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "mathbf",
    "mathit",
    "boldsymbol",
    "boxed",
    "fbox",
    "circ",
    "degree",
    "quad",
    "qquad",
];

/// Units that are written in letters which could be variables.
const UNITS: &[&str] = &[
    "cm", "mm", "km", "kg", "mg", "ft", "yd", "lb", "lbs", "ml", "mph", "hr", "hrs", "sq",
];

/// The text in the parser's signs. Cleaning twice is cleaning once.
pub(super) fn clean(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    scan(&chars, &mut out, 0);
    let mut out = out.split_whitespace().collect::<Vec<_>>().join(" ");
    loop {
        let before = out.len();
        let bare = out
            .trim()
            .trim_start_matches("**")
            .trim_end_matches("**")
            .trim_end_matches(['.', ',', ';', ':', '?']);
        out = without_unit(bare.trim()).to_owned();
        if out.len() == before {
            break;
        }
    }
    thousands(&out)
}

fn scan(text: &[char], out: &mut String, depth: usize) {
    let mut at = 0;
    while at < text.len() {
        let c = text[at];
        at += 1;
        match c {
            '\\' => at = command(text, at, out, depth),
            '$' | '%' | '°' | '`' | '€' | '£' => {}
            // `{,}` groups thousands, `^{\circ}` and `^\circ` are degrees.
            '{' if text.get(at..at + 2) == Some(&[',', '}']) => {
                out.push(',');
                at += 2;
            }
            '^' if degrees(text, at) > 0 => at += degrees(text, at),
            '−' | '–' | '﹣' | '－' => out.push('-'),
            '×' | '·' | '⋅' | '∙' => out.push('*'),
            '÷' => out.push('/'),
            '\u{a0}' | '\u{202f}' | '\u{2009}' | '~' | '\n' | '\t' => out.push(' '),
            c if c.is_ascii_alphabetic() => {
                let from = at - 1;
                while text.get(at).is_some_and(char::is_ascii_alphabetic) {
                    at += 1;
                }
                let word: String = text[from..at].iter().collect();
                push_word(&word, out);
            }
            c => out.push(c),
        }
    }
}

fn push_word(word: &str, out: &mut String) {
    match word {
        "sqrt" => out.push(ROOT),
        "pi" => out.push('π'),
        "infinity" | "inf" | "infty" => out.push('∞'),
        "and" | "or" if !out.trim().is_empty() => {
            // An "and" behind a comma is the same separator.
            let end = out.trim_end().trim_end_matches(',').len();
            out.truncate(end);
            out.push_str(", ");
        }
        word => out.push_str(word),
    }
}

/// How many characters `\circ`, `{\circ}` or `\degree` take at `at`.
fn degrees(text: &[char], at: usize) -> usize {
    let rest: String = text[at..].iter().take(10).collect();
    ["{\\circ}", "\\circ", "{\\degree}", "\\degree"]
        .into_iter()
        .find(|form| rest.starts_with(form))
        .map_or(0, str::len)
}

/// What follows a backslash; the place behind it.
fn command(text: &[char], at: usize, out: &mut String, depth: usize) -> usize {
    let mut end = at;
    while text.get(end).is_some_and(char::is_ascii_alphabetic) {
        end += 1;
    }
    if end == at {
        match text.get(at) {
            Some('{') => out.push(SET[0]),
            Some('}') => out.push(SET[1]),
            Some(' ' | ';' | ':' | '\\') => out.push(' '),
            // Thin spaces, the delimiters of math, currency and percent.
            _ => {}
        }
        return (at + 1).min(text.len());
    }
    let name: String = text[at..end].iter().take(16).collect();
    if let Some((_, symbol)) = SYMBOLS.iter().find(|(command, _)| *command == name) {
        out.push_str(symbol);
    } else if LOOKS.contains(&name.as_str()) {
        out.push(' ');
    } else if matches!(
        name.as_str(),
        "text" | "textbf" | "textit" | "textrm" | "mathrm" | "mbox" | "operatorname"
    ) {
        return words(text, end, out, depth);
    } else {
        out.push('\\');
        out.push_str(&name);
        out.push(' ');
    }
    end
}

/// The argument of a command for words: a separator, a unit behind a value (left out, with its power),
/// or text.
fn words(text: &[char], at: usize, out: &mut String, depth: usize) -> usize {
    let from = at + text[at..].iter().take_while(|c| **c == ' ').count();
    let Some(length) = text.get(from..).and_then(group) else {
        return at;
    };
    let inside = &text[from + 1..from + length - 1];
    let mut end = from + length;
    let mut plain = String::new();
    if depth < MAX_DEPTH {
        scan(inside, &mut plain, depth + 1);
    }
    let trimmed = plain.trim();
    let behind_value = out
        .trim_end()
        .ends_with(|c: char| c.is_alphanumeric() || ")}∞".contains(c));
    let unit = !trimmed.is_empty()
        && trimmed
            .chars()
            .all(|c| c.is_alphabetic() || " .-/'".contains(c));
    if trimmed.starts_with(',') || !(behind_value && unit) {
        out.push(' ');
        out.push_str(&plain);
        out.push(' ');
        return end;
    }
    if text.get(end) == Some(&'^') {
        let power = text.get(end + 1..).map_or(0, |rest| match rest.first() {
            Some('{') => group(rest).unwrap_or(0),
            Some(c) if c.is_ascii_digit() => 1,
            _ => 0,
        });
        end += if power > 0 { power + 1 } else { 0 };
    }
    out.push(' ');
    end
}

/// Length of the group in braces that `text` starts with.
fn group(text: &[char]) -> Option<usize> {
    let mut open = 0usize;
    for (at, c) in text.iter().enumerate() {
        match c {
            '{' => open += 1,
            '}' => open = open.checked_sub(1)?,
            _ => {}
        }
        if open == 0 {
            return (at > 0).then_some(at + 1);
        }
    }
    None
}

/// The text without words behind a value: `5 apples`, `12 square inches`, `3 cm^2`.
fn without_unit(text: &str) -> &str {
    let bare = ["^2", "^3", "^{2}", "^{3}"]
        .iter()
        .find_map(|power| text.strip_suffix(power))
        .filter(|bare| last_word(bare).is_some_and(is_unit))
        .unwrap_or(text);
    match last_word(bare) {
        Some(word) if is_unit(word) => {
            let rest = bare[..bare.len() - word.len()].trim_end();
            let has_value = rest.contains(|c: char| c.is_ascii_digit());
            let joined = rest.ends_with(|c: char| c.is_alphanumeric() || ")}".contains(c));
            if has_value && joined { rest } else { text }
        }
        _ => text,
    }
}

fn last_word(text: &str) -> Option<&str> {
    let start = text
        .rfind(|c: char| !c.is_ascii_alphabetic())
        .map_or(0, |at| at + 1);
    let word = text.get(start..)?;
    (word.len() > 1 && text.is_char_boundary(start)).then_some(word)
}

fn is_unit(word: &str) -> bool {
    UNITS.contains(&word) || !is_product(word)
}

/// Whether letters in a row are a product of variables, as in `2xy`, and not a word.
pub(super) fn is_product(letters: &str) -> bool {
    letters.len() <= 3 && (letters.len() == 1 || !letters.contains(['e', 'i', 'o', 'u']))
}

/// Takes out the commas between thousands, outside of brackets: `1,000` but not `(1,000)`, where a comma
/// separates.
fn thousands(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let digits = |from: usize| {
        chars[from..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count()
    };
    let mut out = String::with_capacity(text.len());
    let (mut at, mut depth) = (0, 0usize);
    while at < chars.len() {
        let c = chars[at];
        depth = match c {
            '(' | '[' | '⦃' => depth + 1,
            ')' | ']' | '⦄' => depth.saturating_sub(1),
            _ => depth,
        };
        let run = digits(at);
        if run == 0 {
            out.push(c);
            at += 1;
            continue;
        }
        let mut number: String = chars[at..at + run].iter().collect();
        let mut end = at + run;
        while chars.get(end) == Some(&',') && digits(end + 1) == 3 {
            number.extend(&chars[end + 1..end + 4]);
            end += 4;
        }
        let grouped = depth == 0
            && end > at + run
            && run <= 3
            && c != '0'
            && !(chars.get(end) == Some(&',') && digits(end + 1) > 0)
            && !out.ends_with(['.', ',']);
        if grouped {
            out.push_str(&number);
            at = end;
        } else {
            out.extend(&chars[at..at + run]);
            at += run;
        }
    }
    out
}
