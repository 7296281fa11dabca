//! Prompts and their tokens are those of transformers and of Python's tokenizers.

use super::*;
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use tokenzero::task::{Message, arithmetic};

/// Compares tokens, decoded text and rendered chats of `requests` with transformers'.
fn compare_text(python: &OsStr, class: &str, dir: &Path, tokenizer: &Tokenizer, requests: &[Json]) {
    let input: String = requests.iter().map(|r| format!("{r}\n")).collect();
    let output = run(
        python,
        "transformers_text.py",
        &[class, dir.to_str().unwrap()],
        input,
    );
    let answers: Vec<Json> = output
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(answers.len(), requests.len());
    for (request, answer) in requests.iter().zip(&answers) {
        let text = request["text"].as_str().unwrap();
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(json!(ids), answer["ids"], "{text}");
        assert_eq!(json!(tokenizer.decode(&ids)), answer["decoded"], "{text}");
        if let Some(messages) = request.get("messages") {
            let messages: Vec<Message> = serde_json::from_value(messages.clone()).unwrap();
            let rendered = tokenizer.render(&messages).unwrap().unwrap();
            assert_eq!(json!(rendered), answer["rendered"]);
            let ids = tokenizer.prompt("", &messages).unwrap();
            assert_eq!(json!(ids), answer["rendered_ids"], "{rendered}");
        }
    }
}

#[test]
fn chats_of_real_models_equal_transformers() {
    let Some(python) = python::with("transformers") else {
        return;
    };
    let models = match (
        std::env::var_os("TOKENZERO_MODELS"),
        std::env::var_os("HOME"),
    ) {
        (Some(dir), _) => PathBuf::from(dir),
        (None, Some(home)) => Path::new(&home).join(".cache/tokenzero/models"),
        (None, None) => PathBuf::new(),
    };
    let questions = questions();
    assert_eq!(questions.len(), 200);
    for (model, stop) in [
        ("qwen2.5-coder-0.5b-instruct", vec![151_645, 151_643]),
        ("smollm2-135m-instruct", vec![2, 0]),
    ] {
        let dir = models.join(model);
        if !dir.join("tokenizer.json").exists() {
            println!(
                "skipped: {model} is not in {} (set TOKENZERO_MODELS)",
                models.display()
            );
            continue;
        }
        let tokenizer = Tokenizer::load(&dir).unwrap();
        assert_eq!(tokenizer.stop_tokens(), stop);
        let mut requests: Vec<Json> = Vec::new();
        for (i, question) in questions.iter().enumerate() {
            let user = json!({"role": "user", "content": question});
            let system = json!({"role": "system", "content": "Answer with 1,000 or “#### n”.\n"});
            let said = json!({"role": "assistant", "content": "  12 é\n\n"});
            let messages = match i % 3 {
                0 => json!([user]),
                1 => json!([system, user]),
                _ => json!([user, said, user]),
            };
            requests.push(json!({"text": question, "messages": messages}));
        }
        compare_text(&python, "AutoTokenizer", &dir, &tokenizer, &requests);
    }
}

/// 200 questions: of GSM8K's test split where `TOKENZERO_GSM8K` names its folder, else generated.
fn questions() -> Vec<String> {
    let Some(folder) = std::env::var_os("TOKENZERO_GSM8K") else {
        println!("TOKENZERO_GSM8K does not name a folder: generated questions instead");
        return arithmetic::tokenizer_text(1, 200);
    };
    let text = std::fs::read_to_string(Path::new(&folder).join("test.jsonl")).unwrap();
    let question = |line: &str| {
        let row: Json = serde_json::from_str(line).unwrap();
        row["question"].as_str().unwrap().to_string()
    };
    text.lines().take(200).map(question).collect()
}

#[test]
fn tiny_tokenizers_equal_pythons() {
    let Some(python) = python::with("transformers") else {
        return;
    };
    let class = "PreTrainedTokenizerFast";
    let save = |tokenizer: &Tokenizer| {
        let dir = tempfile::tempdir().unwrap();
        tokenizer.save(dir.path()).unwrap();
        dir
    };
    let request = |text: &str| json!({ "text": text });

    let tokenizer = words();
    let texts = [
        "1 4 9 11 make 35\n",
        "11 * 1 = 11 left 4 9 11\n35 = 35\n#### 35",
        "35 > 12 <eos>",
    ];
    let requests: Vec<Json> = texts.into_iter().map(request).collect();
    compare_text(
        &python,
        class,
        save(&tokenizer).path(),
        &tokenizer,
        &requests,
    );

    let texts = arithmetic::tokenizer_text(7, 5000);
    let tokenizer = make_tokenizer::byte_level(texts, &arithmetic::RARE_WORDS).unwrap();
    let mut texts = arithmetic::tokenizer_text(8, 100);
    texts.push(" Tom wins 12 beads; he doubles them.\n\n Ünïcode 3½ <|endoftext|>".into());
    let requests: Vec<Json> = texts.iter().map(|t| request(t)).collect();
    compare_text(
        &python,
        class,
        save(&tokenizer).path(),
        &tokenizer,
        &requests,
    );
}
