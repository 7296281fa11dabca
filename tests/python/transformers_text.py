"""Tokenises, decodes and renders as transformers does.

usage: transformers_text.py CLASS MODEL_DIR < requests.jsonl
CLASS is AutoTokenizer or PreTrainedTokenizerFast. transformers 5 gives every model of type qwen2
Qwen's own pre-tokenizer through AutoTokenizer; the other class reads tokenizer.json as it is.
A request has `text` and perhaps `messages`; the answer has `ids`, `decoded` and, with messages,
`rendered` and `rendered_ids`.
"""

import json
import sys

import transformers

tokenizer = getattr(transformers, sys.argv[1]).from_pretrained(sys.argv[2])
for line in sys.stdin:
    request = json.loads(line)
    ids = tokenizer(request["text"], add_special_tokens=False)["input_ids"]
    answer = {"ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True)}
    if request.get("messages"):
        options = dict(add_generation_prompt=True)
        answer["rendered"] = tokenizer.apply_chat_template(
            request["messages"], tokenize=False, **options
        )
        answer["rendered_ids"] = tokenizer.apply_chat_template(
            request["messages"], tokenize=True, return_dict=False, **options
        )
    print(json.dumps(answer))
