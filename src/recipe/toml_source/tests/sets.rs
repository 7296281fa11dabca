use super::*;

#[test]
fn sets_amend_every_kind_of_place() {
    let text =
        "seed = 1 # kept\nlist = [1, 2]\n[loop]\ngate = 1\n[[phases]]\ngate = 1\n[[phases]]\n";
    let recipe = load(
        text,
        &[
            "seed=7",
            "seed = 8",
            "name=Qwen/Qwen2.5-0.5B",
            "on=true",
            "lr=1e-3",
            "list.1=5",
            "kind=gsm8k",
            "loop.iterations=3",
            "loop.inner.depth=4",
            "model.path=",
            "phases.1.inner.depth=9",
            "path=\"a b\"",
            "stage={type='cosine', floor=0.5}",
            "stage.floor=0.25",
        ],
    )
    .unwrap();
    let cycle = |iterations, gate, depth| Loop {
        iterations,
        gate,
        inner: Inner { depth },
    };
    let expected = Recipe {
        seed: 8,
        name: "Qwen/Qwen2.5-0.5B".into(),
        lr: 1e-3,
        on: true,
        path: Some("a b".into()),
        list: vec![1, 5],
        kind: Plan::Gsm8k,
        cycle: cycle(3, 1.0, 4),
        stage: Stage::Cosine { floor: 0.25 },
        phases: vec![cycle(0, 1.0, 0), cycle(0, 0.0, 9)],
        ..Recipe::default()
    };
    assert_eq!(recipe, expected);
    let inline = load(
        "phases = [{ gate = 1 }]\nloop = { gate = 2 }",
        &["phases.0.gate=3", "loop.inner.depth=1"],
    );
    let inline = inline.unwrap();
    assert_eq!((inline.phases[0].gate, inline.cycle.inner.depth), (3.0, 1));
    assert_eq!(
        load("[loop]\ngate=1", &["loop={gate=2}"])
            .unwrap()
            .cycle
            .gate,
        2.0
    );
}

#[test]
fn errors_from_sets_name_the_argument() {
    let text = "seed = 1\n[loop]\ngate = 1\n[[phases]]\ngate = 1\n";
    #[rustfmt::skip]
    let cases = [
        ("loop.iteration=1", Kind::UnknownKey, 12, "iteration", "`loop.iteration`", "`iterations`"),
        ("lop.gate=1", Kind::UnknownKey, 7, "lop", "`lop`", "did you mean `loop`?"),
        ("model.inner.x=1", Kind::UnknownKey, 13, "inner", "`model.inner`", "keys of [model]"),
        ("phases.0.gat=1", Kind::UnknownKey, 16, "gat", "`phases.0.gat`", "`gate`"),
        ("loop={gat=1}", Kind::UnknownKey, 12, "{gat=1}", "`loop.gat`", "`gate`"),
        ("loop.gate = big", Kind::BadValue, 19, "big", "must be a number", "0.5"),
        ("seed=", Kind::BadValue, 11, "=", "but it is the text \"\"", "whole"),
        ("seed=-3", Kind::BadValue, 12, "-3", "from 0 to", "whole"),
        ("loop=3", Kind::BadValue, 12, "3", "must be a table", "[loop]"),
        ("name=123", Kind::BadValue, 12, "123", "must be text", "--set 'name=\"...\"'"),
        ("stage.steps=1", Kind::MissingKey, 7, "stage", "lacks the key `type`", "stage.type="),
        ("seed.x=1", Kind::BadSet, 7, "seed", "a single value", "check the path"),
        ("phases.1.gate=1", Kind::BadSet, 14, "1", "no entry of the list", "has one entry, 0"),
        ("phases.x.gate=1", Kind::BadSet, 14, "x", "no entry of the list", "one entry"),
        ("phases.0=1", Kind::BadSet, 14, "0", "a table", "check the path"),
        ("seed", Kind::BadSet, 7, "seed", "gives no value", "--set a.b=c"),
        ("=1", Kind::BadSet, 7, "", "names no key", "--set a.b=c"),
        ("a..b=1", Kind::BadSet, 7, "a..b", "names no key", "--set a.b=c"),
        ("list=[1,2", Kind::BadSet, 12, "[1,2", "breaks off", "close"),
        ("name=\"abc", Kind::BadSet, 12, "\"abc", "breaks off", "close"),
        ("seed=18446744073709551615", Kind::BadSet, 12, "18446744073709551615", "too large", "92233"),
    ];
    for (set, kind, column, marked, message, help) in cases {
        let error = fails(text, &["loop.gate=2", set]);
        check(
            &error,
            kind,
            &format!("command line:1:{column}"),
            marked,
            message,
            help,
        );
        assert!(graphical(&error).contains(&format!("--set {set}")));
    }
}

#[test]
fn errors_of_the_file_stay_in_the_file_after_sets() {
    let text = "# head\n[loop]\ngate = 1\niteration = 3 # here\n";
    let error = fails(text, &["seed=3", "name=a", "loop.inner.depth=2"]);
    check(
        &error,
        Kind::UnknownKey,
        "x.toml:4:1",
        "iteration",
        "`loop.iteration`",
        "`iterations`",
    );
    // A set that gives the same wrong value elsewhere takes no blame for it.
    let error = fails("small = 300", &["seed=300"]);
    check(
        &error,
        Kind::BadValue,
        "x.toml:1:9",
        "300",
        "`small`",
        "whole",
    );
    // A set that replaces a wrong value mends it; one that repeats it is blamed.
    assert_eq!(load("small = 300", &["small=3"]).unwrap().small, 3);
    let error = fails("small = 300", &["small=300"]);
    check(
        &error,
        Kind::BadValue,
        "command line:1:13",
        "300",
        "`small`",
        "whole",
    );
    // Nothing is applied where one argument is wrong.
    let mut source = Source::from_text("x.toml", "seed = 1").unwrap();
    assert!(
        source
            .apply_sets(&["seed=2".into(), "seed.x=1".into()])
            .is_err()
    );
    assert_eq!(source.parse::<Recipe>().unwrap().seed, 1);
}
