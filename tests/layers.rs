//! The architecture as a test: imports go down only, heavy crates have one home
//! each, files stay short. The scanner reads tokens, not types: it sees paths
//! that begin with `crate` or climb by `super`, and names of outside crates.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use scan::{Token, blank, is_name, tokens, without_tests};

#[path = "layers/samples.rs"]
mod samples;
#[path = "layers/scan.rs"]
mod scan;

/// Module and floor. A module may import itself and lower floors. `main` and
/// `lib` see everything.
const FLOORS: &[(&str, u32)] = &[
    ("guard", 0),
    ("kernels", 0),
    ("memory", 0),
    ("stop", 0),
    ("task", 0),
    ("tree", 0),
    ("trace", 0),
    ("monitor", 0),
    ("model", 1),
    ("engine", 2),
    ("train", 2),
    ("search", 3),
    ("collect", 4),
    ("evaluate", 4),
    ("recipe", 5),
    ("iterate", 6),
    ("bench", 7),
    ("estimate", 7),
    ("view", 7),
    ("cli", 8),
];
const FREE: &[&str] = &["main", "lib"];

/// The imports allowed within one floor: (from, to).
const SIDEWAYS: &[(&str, &str)] = &[("task", "trace"), ("trace", "guard")];

/// Imports that the floors would allow and the design does not: (from, to).
const FORBIDDEN: &[(&str, &str)] = &[
    ("engine", "task"),
    ("engine", "tree"),
    ("engine", "trace"),
    ("train", "search"),
];

/// Modules that name no module of the crate but themselves.
const ALONE: &[&str] = &["tree"];

/// Outside crates and the only module paths that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("polars", &["trace"]),
    ("tensorboard_rs", &["monitor"]),
    ("hf_hub", &["model", "task"]),
    ("tokenizers", &["model"]),
    ("burn_train", &["train"]),
    ("cubecl", &["kernels::ops"]),
    ("burn_cubecl", &["kernels::ops"]),
];

/// Words after which `::name` is a path of its own, not the rest of one.
const KEYWORDS: &[&str] = &[
    "use", "impl", "dyn", "for", "as", "in", "return", "mut", "const", "where",
];

/// Lines in one file, tests included.
const LONGEST: usize = 500;

#[test]
fn imports_go_down_only() {
    let broken: Vec<Breach> = sources().iter().flat_map(Source::breaches).collect();
    let list: Vec<String> = broken.iter().map(Breach::to_string).collect();
    assert!(
        list.is_empty(),
        "{} breaches of the floors:\n{}",
        list.len(),
        list.join("\n")
    );
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (source.text.lines().count(), source))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, source)| format!("{}: {lines} lines, at most {LONGEST}", source.file))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Every file under `src` that is not wholly test code.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let all: Vec<Source> = paths
        .iter()
        .map(|path| {
            let inside = path.strip_prefix(&root).expect("a file under src");
            let text = fs::read_to_string(path).expect("a readable source file");
            Source::new(&inside.to_string_lossy(), &text)
        })
        .collect();
    assert!(
        all.iter().any(|source| source.file == "src/lib.rs"),
        "nothing was read"
    );
    let tests: Vec<Vec<String>> = all
        .iter()
        .flat_map(|source| source.test_files.clone())
        .collect();
    all.into_iter()
        .filter(|source| !tests.iter().any(|test| source.module.starts_with(test)))
        .collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// A rule broken at a line.
#[derive(Debug, PartialEq)]
struct Breach {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// A source file without comments, strings and test code.
struct Source {
    file: String,
    text: String,
    /// The module that the file is: `["search", "leaf"]`; empty for lib and main.
    module: Vec<String>,
    tokens: Vec<Token>,
    /// Modules declared as `#[cfg(test)] mod x;`: files of their own, test code.
    test_files: Vec<Vec<String>>,
}

impl Source {
    /// `inside` is the path below `src`.
    fn new(inside: &str, text: &str) -> Self {
        let mut module: Vec<String> = inside
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        let last = module.last().map_or("", String::as_str);
        if last == "mod" || module.len() == 1 && FREE.contains(&last) {
            module.pop();
        }
        let (tokens, tests) = without_tests(tokens(&blank(text)));
        let test_files = tests
            .into_iter()
            .map(|name| [&module[..], &[name]].concat())
            .collect();
        Self {
            file: format!("src/{inside}"),
            text: text.to_owned(),
            module,
            tokens,
            test_files,
        }
    }

    fn breaches(&self) -> Vec<Breach> {
        let mut broken = Vec::new();
        let mut tell = |line: usize, rule: String| {
            let file = self.file.clone();
            let breach = Breach { file, line, rule };
            if !broken.contains(&breach) {
                broken.push(breach);
            }
        };
        let home = self.module.join("::");
        if let Some(own) = self.module.first() {
            if floor(own).is_none() {
                tell(1, format!("`{own}` is no module of the floor table"));
            }
            for (line, name) in self.imports() {
                if let Some(rule) = forbids(own, &name) {
                    tell(line, rule);
                }
            }
        }
        for (index, token) in self.tokens.iter().enumerate() {
            let Some((name, homes)) = HOMES.iter().find(|(name, _)| *name == token.text) else {
                continue;
            };
            let at_home = homes
                .iter()
                .any(|h| home == *h || home.starts_with(&format!("{h}::")));
            if self.names_a_crate(index) && !at_home {
                tell(
                    token.line,
                    format!("only {} may name `{name}`", homes.join(" and ")),
                );
            }
        }
        broken
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    /// Whether the identifier stands where a crate's name does: at the head of a
    /// path, or alone in a `use`.
    fn names_a_crate(&self, index: usize) -> bool {
        let before = |back: usize| index.checked_sub(back).map_or("", |at| self.text(at));
        let global = !is_name(before(2)) || KEYWORDS.contains(&before(2));
        let head = before(1) != "." && (before(1) != "::" || global);
        let alone = ["use", "crate", "{", ",", "::"].contains(&before(1))
            && [";", "as", ",", "}"].contains(&self.text(index + 1))
            && self.in_use(index);
        head && (self.text(index + 1) == "::" || alone)
    }

    fn in_use(&self, index: usize) -> bool {
        let start = (0..index)
            .rev()
            .find(|at| self.text(*at) == ";")
            .map_or(0, |at| at + 1);
        let head = &self.tokens[start..index];
        head.iter()
            .any(|token| ["use", "extern"].contains(&token.text.as_str()))
            && head
                .iter()
                .all(|token| is_name(&token.text) || "::{},()#[]*".contains(&token.text))
    }

    /// The modules of the crate's root that the file names, with their lines.
    fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut inner: Vec<(usize, String)> = Vec::new();
        let mut depth = 0;
        for index in 0..self.tokens.len() {
            match self.text(index) {
                "{" => {
                    if index >= 2 && self.text(index - 2) == "mod" {
                        inner.push((depth, self.text(index - 1).to_owned()));
                    }
                    depth += 1;
                }
                "}" => {
                    depth = usize::saturating_sub(depth, 1);
                    if inner.last().is_some_and(|(at, _)| *at == depth) {
                        inner.pop();
                    }
                }
                head @ ("crate" | "super") => {
                    let mid_path = index > 0 && self.text(index - 1) == "::";
                    if mid_path || self.text(index + 1) != "::" && self.text(index + 1) != "as" {
                        continue;
                    }
                    let mut base = Vec::new();
                    if head == "super" {
                        base.extend(self.module.iter().cloned());
                        base.extend(inner.iter().map(|(_, name)| name.clone()));
                        base.pop();
                    }
                    self.follow(index + 1, base, &mut found);
                }
                _ => {}
            }
        }
        found
    }

    /// Follows a path from the token after its head and notes what it names at the
    /// root. Returns the token after it.
    fn follow(&self, index: usize, base: Vec<String>, found: &mut Vec<(usize, String)>) -> usize {
        let line = self.tokens.get(index).map_or(0, |token| token.line);
        if self.text(index) != "::" {
            if base.is_empty() {
                found.push((line, "the crate's root".into()));
            }
            return index;
        }
        if !base.is_empty() && self.text(index + 1) != "super" && self.text(index + 1) != "{" {
            found.push((line, base[0].clone()));
            return index + 2;
        }
        self.part(index + 1, base, found)
    }

    /// One part of a path, or of a group in braces.
    fn part(&self, index: usize, mut base: Vec<String>, found: &mut Vec<(usize, String)>) -> usize {
        let line = self.tokens.get(index).map_or(0, |token| token.line);
        match self.text(index) {
            "super" => {
                base.pop();
                self.follow(index + 1, base, found)
            }
            "self" => self.follow(index + 1, base, found),
            "{" => {
                let mut at = index + 1;
                while !["}", ""].contains(&self.text(at)) {
                    let next = self.part(at, base.clone(), found);
                    at = self.skip_to_comma(next.max(at + 1));
                }
                at + 1
            }
            name => {
                let named = match base.first() {
                    Some(first) => first.clone(),
                    None if name == "*" => "the crate's root".into(),
                    None => name.to_owned(),
                };
                found.push((line, named));
                index + 1
            }
        }
    }

    /// The token after the next comma of this group, or the brace that ends it.
    fn skip_to_comma(&self, mut index: usize) -> usize {
        let mut depth = 0;
        loop {
            match self.text(index) {
                "" => return index,
                "," if depth == 0 => return index + 1,
                "}" if depth == 0 => return index,
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            index += 1;
        }
    }
}

fn floor(module: &str) -> Option<u32> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

/// The rule that an import breaks.
fn forbids(from: &str, to: &str) -> Option<String> {
    if from == to {
        return None;
    }
    let Some(target) = floor(to) else {
        return Some(format!(
            "`{from}` names {to}, which is no module of the floor table"
        ));
    };
    let own = floor(from)?;
    if ALONE.contains(&from) {
        return Some(format!(
            "`{from}` imports `{to}`; it may import no module of the crate"
        ));
    }
    if FORBIDDEN.contains(&(from, to)) {
        return Some(format!("`{from}` must not import `{to}`"));
    }
    let allowed = target < own || SIDEWAYS.contains(&(from, to));
    (!allowed).then(|| {
        let way = if target == own { "sideways" } else { "upwards" };
        format!("`{from}` (floor {own}) imports {way}: `{to}` (floor {target})")
    })
}
