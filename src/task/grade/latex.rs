//! LaTeX and Markdown around a number, turned into plain text. Inputs are short (the callers cap
//! them); nesting is capped here.

/// Deeper nesting is left out.
const MAX_DEPTH: usize = 8;

/// Plain text for a piece of LaTeX or Markdown: `\frac{1}{2}` becomes `1/2`, `\text{ kg}` its
/// content, `1{,}000` becomes `1,000`, bold marks go. Commands that change a value (`\sqrt`,
/// `\pi`) stay, with their backslash, so that no number can be read across them.
pub(in crate::task) fn plain(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    Cleaner {
        text: &chars,
        at: 0,
    }
    .run(&mut out, 0);
    out
}

struct Cleaner<'a> {
    text: &'a [char],
    at: usize,
}

impl<'a> Cleaner<'a> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn run(&mut self, out: &mut String, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '\\' => self.command(out, depth),
                '{' | '}' | '`' => {}
                '*' if self.peek() == Some('*') => self.at += 1,
                _ => out.push(c),
            }
        }
    }

    /// The text after a backslash.
    fn command(&mut self, out: &mut String, depth: usize) {
        let from = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            self.at += 1;
        }
        if self.at == from {
            match self.peek() {
                Some(',') => out.push('\u{2009}'),
                Some(';' | ':' | ' ' | '\\') => out.push(' '),
                Some(c @ ('$' | '%' | '#' | '&' | '_')) => out.push(c),
                // Negative space and the delimiters of math: nothing to see.
                _ => {}
            }
            self.at += usize::from(self.at < self.text.len());
            return;
        }
        let name: String = self.text[from..self.at].iter().take(16).collect();
        match name.as_str() {
            "frac" | "dfrac" | "tfrac" | "cfrac" => {
                if out.ends_with(|c: char| c.is_ascii_digit()) {
                    out.push(' ');
                }
                self.argument(out, depth);
                out.push('/');
                self.argument(out, depth);
            }
            "text" | "textbf" | "textit" | "textrm" | "mathrm" | "mathbf" | "mathit" | "mbox"
            | "boxed" | "fbox" | "bf" | "rm" | "operatorname" => self.argument(out, depth),
            "left" | "right" | "displaystyle" | "big" | "Big" | "bigl" | "bigr" => {}
            "quad" | "qquad" => out.push(' '),
            "times" | "cdot" => out.push('×'),
            "div" => out.push('÷'),
            "approx" | "simeq" => out.push('≈'),
            "degree" | "circ" => out.push('°'),
            "pounds" => out.push('£'),
            "euro" => out.push('€'),
            _ => {
                out.push('\\');
                out.push_str(&name);
            }
        }
    }

    /// A group in braces, or one character.
    fn argument(&mut self, out: &mut String, depth: usize) {
        while self.peek() == Some(' ') {
            self.at += 1;
        }
        match self.peek() {
            Some('{') => {
                let from = self.at + 1;
                let mut open = 0usize;
                while let Some(c) = self.peek() {
                    self.at += 1;
                    match c {
                        '{' => open += 1,
                        '}' => open -= 1,
                        _ => {}
                    }
                    if open == 0 {
                        break;
                    }
                }
                let to = if open == 0 { self.at - 1 } else { self.at };
                let text: &'a [char] = self.text;
                Cleaner {
                    text: &text[from..to],
                    at: 0,
                }
                .run(out, depth + 1);
            }
            Some(c) if c.is_alphanumeric() => {
                self.at += 1;
                out.push(c);
            }
            _ => {}
        }
    }
}
