"""Tokenises, decodes and renders as transformers does.

usage: transformers_text.py MODEL_DIR < requests.jsonl
A request has `text` and perhaps `messages`; the answer has `ids`, `decoded` and, with messages,
`rendered` and `rendered_ids`.
"""

import json
import sys

from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
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
