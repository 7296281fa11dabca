//! Recipes, flags and the Hub.

use super::*;

pub(super) fn recipes(b: &mut Bench) {
    b.case("no such recipe", &["run", "recipes/quikstart.toml"]);
    b.case("a folder for a recipe", &["run", "recipes"]);
    b.recipe("an empty recipe", "");
    b.recipe("a recipe of spaces", " \n\n ");
    b.recipe("a binary recipe", [0u8, 159, 146, 150, 255, 0, 1]);
    b.recipe("a recipe that is no TOML", "[loop\niterations = 3\n");
    b.recipe("a recipe of 100 MB", vec![b'#'; 100 << 20]);
    b.recipe("a typo in a section", "[colect]\nquestions = 3\n");
    b.recipe("a typo in a key", "[collect]\nqestions = 3\n");
    b.recipe("a key twice", "[loop]\niterations = 1\niterations = 2\n");
    b.recipe("a text for a number", "[collect]\nquestions = \"many\"\n");
    b.recipe("a fraction for a count", "[collect]\nquestions = 1.5\n");
    b.recipe("a negative count", "[collect]\nquestions = -5\n");
    b.recipe("a number for a section", "collect = 5\n");
    b.recipe("an unknown task", "[task]\nkind = \"countdwn\"\n");
    b.recipe("an unknown mode", "[learn]\nmode = \"joined\"\n");
    b.set("no questions", &["collect.questions=0"]);
    b.set(
        "more questions than there are",
        &["collect.questions=1000000"],
    );
    b.set("a pool that no question fits in", &["engine.kv_slots=100"]);
    b.set("lambda above 1", &["collect.search.tree.lambda=1.5"]);
    b.set(
        "a temperature of 0 for draws",
        &["evaluate.sampling.temperature=0"],
    );
    b.set("a negative learning rate", &["joint.lr=-1"]);
    b.set("a learning rate that is no number", &["joint.lr=nan"]);
    b.set("no simulations", &["collect.search.simulations=0"]);
    b.set("--set without a value", &["loop.iterations"]);
    b.set("--set of an unknown key", &["loop.iteration=2"]);
    b.set("a generated task with data", &["task.path=/tmp"]);
    b.set(
        "a search that no evaluation knows",
        &["evaluate.search.searched.simulatons=3"],
    );
    b.set("a share above 1", &["joint.validation=1.5"]);
}

pub(super) fn flags(b: &mut Bench) {
    let bench =
        |b: &mut Bench, what: &str, args: &[&str]| b.case(what, &[&["bench"], args].concat());
    bench(b, "nothing to measure", &[]);
    bench(b, "an unknown shape", &["--shape", "gpt-5"]);
    bench(b, "a folder without a model", &["--model", "src"]);
    bench(
        b,
        "a context beyond the model's",
        &[
            "--model",
            "checkpoints/countdown-tiny",
            "--what",
            "decode",
            "--context",
            "5000",
        ],
    );
    b.case("no verb", &[]);
    b.case("an unknown verb", &["rum"]);
    b.case(
        "an unknown flag",
        &["run", "recipes/quickstart.toml", "--itertions", "3"],
    );
    b.case("no recipe", &["run"]);
    b.case(
        "two flags that exclude each other",
        &[
            "run",
            "recipes/quickstart.toml",
            "--fresh",
            "--accept-changes",
        ],
    );
    b.case(
        "a dashboard without a terminal",
        &["run", "recipes/quickstart.toml", "--tui"],
    );
    b.case(
        "a dashboard and JSON",
        &["run", "recipes/quickstart.toml", "--tui", "--json"],
    );
    let quickstart = ["check", "recipes/quickstart.toml", "--device"];
    let device = |b: &mut Bench, what: &str, name: &str| {
        let args: Vec<&str> = quickstart.iter().copied().chain([name]).collect();
        b.case(what, &args);
    };
    device(b, "an unknown device", "gpu");
    device(b, "a build without CUDA", "cuda");
    device(b, "a device number that is none", "cuda:x");
    device(b, "a build without WebGPU", "wgpu");
    let tiny = "checkpoints/countdown-tiny";
    b.case(
        "no new tokens",
        &[
            "generate",
            "--model",
            tiny,
            "--max-new-tokens",
            "0",
            "1 2 3 make 6",
        ],
    );
    b.case(
        "a negative temperature",
        &[
            "generate",
            "--model",
            tiny,
            "--temperature=-1",
            "1 2 3 make 6",
        ],
    );
}

pub(super) fn hub(b: &mut Bench) {
    let remote = |b: &mut Bench, what: &str, repo: &str, endpoint: &str| {
        let (run, repo) = (b.path("run"), format!("model.repo={repo}"));
        let recipe = b.write("hub.toml", "[loop]\niterations = 1\n");
        let args = [
            "run",
            &recipe,
            "--set",
            &repo,
            "--run-dir",
            run.to_str().unwrap(),
        ];
        b.case_with(what, &args, |command| {
            command.env("HF_ENDPOINT", endpoint);
        });
    };
    remote(b, "no network", "some/model", "http://127.0.0.1:9");
    remote(
        b,
        "a name that is no repository",
        "some model",
        "http://127.0.0.1:9",
    );
    let empty = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    remote(
        b,
        "a repository that is closed",
        "some/model",
        &server(empty),
    );
    let file = "HTTP/1.1 206 Partial\r\nETag: \"abc\"\r\nX-Repo-Commit: abc\r\n\
                Content-Range: bytes 0-1/2\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    let endpoint = server(file);
    let run = b.path("run");
    let recipe = b.write("hub.toml", "[loop]\niterations = 1\n");
    let args = [
        "run",
        &recipe,
        "--set",
        "model.repo=some/model",
        "--run-dir",
        run.to_str().unwrap(),
    ];
    b.case_with("a Hub cache without space", &args, |command| {
        command.env("HF_ENDPOINT", &endpoint);
        no_more_bytes(command);
    });
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    remote(
        b,
        "a revision that is not there",
        "some/model",
        &server(missing),
    );
}
