//! Rust text to tokens, without comments, strings and test code.

/// A name, `::`, or one other sign, and its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub line: usize,
    pub text: String,
}

/// The text with comments, strings and characters blanked, line by line as before.
pub fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut index = 0;
    while index < chars.len() {
        let c = chars[index];
        let starts_word = index == 0 || !is_letter(chars[index - 1]);
        let end = if c == '/' && at(index + 1) == '/' {
            (index..chars.len())
                .find(|i| at(*i) == '\n')
                .unwrap_or(chars.len())
        } else if c == '/' && at(index + 1) == '*' {
            comment_end(&chars, index)
        } else if let Some(quote) = raw_quote(&chars, index).filter(|_| starts_word) {
            raw_end(&chars, index, quote)
        } else if c == '"' {
            quoted_end(&chars, index, '"')
        } else if c == '\'' && (at(index + 1) == '\\' || at(index + 2) == '\'') {
            quoted_end(&chars, index, '\'')
        } else {
            out.push(c);
            index += 1;
            continue;
        };
        out.push(' ');
        out.extend(chars[index..end].iter().filter(|c| **c == '\n'));
        index = end;
    }
    out
}

fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut index, mut depth) = (start, 0);
    while index < chars.len() {
        match (chars[index], chars.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index.min(chars.len())
}

/// The position of the quote of a raw string (`r"`, `br##"`, `cr"`) that starts here.
fn raw_quote(chars: &[char], start: usize) -> Option<usize> {
    let prefix = usize::from(matches!(chars[start], 'b' | 'c'));
    let after = (start + prefix + 1..chars.len()).find(|i| chars[*i] != '#')?;
    (chars.get(start + prefix) == Some(&'r') && chars[after] == '"').then_some(after)
}

fn raw_end(chars: &[char], start: usize, quote: usize) -> usize {
    let hashes = chars[start..quote].iter().filter(|c| **c == '#').count();
    (quote + 1..chars.len())
        .find(|i| chars[*i] == '"' && (1..=hashes).all(|hash| chars.get(i + hash) == Some(&'#')))
        .map_or(chars.len(), |i| i + hashes + 1)
}

fn quoted_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut index = start + 1;
    while index < chars.len() && chars[index] != quote {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    (index + 1).min(chars.len())
}

/// Names, `::`, and all other signs one by one. A lifetime is a sign and a name.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    for (number, content) in text.lines().enumerate() {
        let mut rest = content.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_letter(first) {
                rest.find(|c| !is_letter(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (word, after) = rest.split_at(length);
            let text = word.to_owned();
            let line = number + 1;
            found.push(Token { line, text });
            rest = after.trim_start();
        }
    }
    found
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub fn is_name(text: &str) -> bool {
    text.chars().next().is_some_and(is_letter)
}

/// Takes out every item under `#[cfg(test)]` or `#[test]`. Returns the names of
/// such modules that lie in files of their own.
pub fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<String>) {
    let text = |index: usize| tokens.get(index).map_or("", |token: &Token| &token.text);
    let (mut kept, mut files) = (Vec::new(), Vec::new());
    let mut index = 0;
    while index < tokens.len() {
        if text(index) != "#" || text(index + 1) != "[" {
            kept.push(tokens[index].clone());
            index += 1;
            continue;
        }
        let mut end = closing(&tokens, index + 1);
        let words: Vec<&str> = (index + 2..end).map(text).collect();
        let is_test = words.starts_with(&["cfg", "(", "test", ")"])
            || words.starts_with(&["cfg", "(", "all", "(", "test"])
            || words == ["test"];
        if is_test {
            while text(end + 1) == "#" && text(end + 2) == "[" {
                end = closing(&tokens, end + 2);
            }
            let mut start = end + 1;
            if text(start) == "pub" {
                start += 1;
            }
            if text(start) == "mod" && text(start + 2) == ";" {
                files.push(text(start + 1).to_owned());
            }
            end = item_end(&tokens, start);
        } else {
            kept.extend(tokens[index..=end.min(tokens.len() - 1)].iter().cloned());
        }
        index = end + 1;
    }
    (kept, files)
}

/// The last token of the item, field or entry that starts here.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut index = start;
    let is_use = tokens.get(start).is_some_and(|token| token.text == "use");
    while index < tokens.len() {
        match tokens[index].text.as_str() {
            "{" if !is_use => return closing(tokens, index),
            "(" | "[" | "{" => index = closing(tokens, index),
            ";" => return index,
            // The end of the surrounding item: a last field without a comma.
            "}" => return index - 1,
            _ => {}
        }
        index += 1;
    }
    index
}

/// The bracket that closes the one at `start`.
fn closing(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}
