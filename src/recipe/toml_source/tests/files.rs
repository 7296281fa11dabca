use sha2::{Digest, Sha256};

use super::*;

#[test]
fn files_that_cannot_be_read_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let read = |name: &str| Source::read(&path(name)).expect_err(name);
    std::fs::write(path("latin.toml"), b"seed = 1\nname = \"caf\xe9\"\n").unwrap();
    std::fs::write(path("utf16.toml"), b"\xff\xfes\0e\0e\0d\0").unwrap();
    std::fs::write(path("empty.toml"), b"").unwrap();
    std::fs::write(path("comment.toml"), b"\xef\xbb\xbf# nothing\r\n\n").unwrap();
    #[rustfmt::skip]
    let cases = [
        ("absent.toml", Kind::Missing, "there is no file `", "check the path"),
        (".", Kind::Directory, "is a directory", "name a file"),
        ("empty.toml", Kind::Empty, "sets no key", "recipes/"),
        ("comment.toml", Kind::Empty, "sets no key", "recipes/"),
        ("utf16.toml", Kind::NotUtf8, "byte 0 is 0xFF", "save the file as UTF-8"),
        ("latin.toml", Kind::NotUtf8, "byte 20 is 0xE9", "save the file as UTF-8"),
    ];
    for (name, kind, message, help) in cases {
        let error = read(name);
        graphical(&error);
        assert_eq!(error.kind(), kind, "{name}");
        let text = error.to_string();
        assert!(text.contains(message) && text.contains(name), "{text}");
        assert!(error.remedy().contains(help), "{}", error.remedy());
    }
    assert!(
        read("latin.toml")
            .place()
            .unwrap()
            .ends_with("latin.toml:2:12")
    );
    std::fs::write(path("good.toml"), b"\xef\xbb\xbfseed = 3\r\n").unwrap();
    assert_eq!(
        Source::read(&path("good.toml"))
            .unwrap()
            .parse::<Recipe>()
            .unwrap()
            .seed,
        3
    );
}

#[test]
fn callers_complaints_point_at_their_key() {
    let mut source = Source::from_text("x.toml", "[loop]\ngate = 7\n").unwrap();
    let complain =
        |source: &Source| source.invalid("loop.gate", "the gate is too high", "lower it");
    check(
        &complain(&source),
        Kind::Invalid,
        "x.toml:2:8",
        "7",
        "the gate is too high",
        "lower it",
    );
    // Left at its default: the table that should hold it.
    let error = source.invalid("loop.iterations", "too few", "raise it");
    check(
        &error,
        Kind::Invalid,
        "x.toml:1:2",
        "loop",
        "too few",
        "raise it",
    );
    source.apply_sets(&["loop.gate=9".into()]).unwrap();
    check(
        &complain(&source),
        Kind::Invalid,
        "command line:1:17",
        "9",
        "too high",
        "lower it",
    );
}

#[test]
fn the_report_reads_as_intended() {
    let shown = graphical(&fails("seed = 1\n[loop]\niteration = 1\n", &[]));
    for part in [
        "unknown key `loop.iteration`",
        "x.toml:3:1",
        "iteration = 1",
        "did you mean `iterations`?",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    let shown = graphical(&fails("seed = 1", &["loop.iteration=1"]));
    for part in [
        "command line:1:12",
        "unknown key, from `--set loop.iteration=1`",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn rendering_is_read_back_and_fingerprints_tell_values_apart() {
    let recipe = load(
        "lr = 0.3\nlist = [1]\n[loop]\ngate = 1\n[[phases]]\n[stage]\ntype = 'cosine'\nfloor = 0.1",
        &[],
    );
    let recipe = recipe.unwrap();
    let text = render(&recipe);
    assert!(
        text.contains("lr = 0.3\n") && text.contains("floor = 0.1\n"),
        "{text}"
    );
    assert_eq!(load(&text, &[]).unwrap(), recipe);
    let print = fingerprint(&recipe);
    assert!(print.len() == 64 && print.chars().all(|c| c.is_ascii_hexdigit()));
    assert_eq!(print, fingerprint(&load(&text, &[]).unwrap()));
    assert_ne!(
        print,
        fingerprint(&Recipe {
            seed: 1,
            ..recipe.clone()
        })
    );
    assert_ne!(
        print,
        fingerprint(&Recipe {
            lr: 0.300_000_1,
            ..recipe
        })
    );
}

#[test]
fn the_fingerprint_is_that_of_the_sorted_rendering() {
    #[derive(Serialize)]
    struct One {
        b: u32,
        a: Vec<Two>,
    }
    #[derive(Serialize)]
    struct Two {
        d: bool,
        c: &'static str,
    }
    #[derive(Serialize)]
    struct Moved {
        a: Vec<MovedTwo>,
        b: u32,
    }
    #[derive(Serialize)]
    struct MovedTwo {
        c: &'static str,
        d: bool,
    }
    let one = fingerprint(&One {
        b: 1,
        a: vec![Two { d: true, c: "x" }],
    });
    let moved = fingerprint(&Moved {
        b: 1,
        a: vec![MovedTwo { d: true, c: "x" }],
    });
    assert_eq!(one, moved);
    let text = "b = 1\n\n[[a]]\nc = \"x\"\nd = true\n";
    let digest: String = Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(one, digest);
}
