"""Runs exported policies and value nets in transformers, f32.

usage: transformers_logits.py TOKENS KIND DIR [KIND DIR]...
TOKENS is a JSON list, KIND policy, linear or mlp. Prints the logits of each model as one flat JSON
list a line.
"""

import json
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTokenClassification

tokens = torch.tensor([json.loads(sys.argv[1])])


def load(auto, directory):
    model, info = auto.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info.get(problem), (problem, info[problem])
    return model.eval()


def logits(kind, directory):
    if kind == "policy":
        return load(AutoModelForCausalLM, directory)(tokens).logits
    if kind == "linear":
        model = load(AutoModelForTokenClassification, directory)
        return model(tokens).logits
    hidden = load(AutoModel, directory)(tokens).last_hidden_state
    head = load_file(f"{directory}/head.safetensors")
    hidden = hidden @ head["inner.weight"] + head["inner.bias"]
    hidden = torch.nn.functional.gelu(hidden)
    # An ensemble's members read a part of the hidden layer each.
    width = head["score.weight"].shape[1]
    members = hidden.shape[-1] // width
    score = head["score.weight"].unflatten(0, (members, -1))
    logits = torch.einsum("btmw,mnw->btmn", hidden.unflatten(-1, (members, width)), score)
    return logits.flatten(-2) + head["score.bias"]


with torch.no_grad():
    for kind, directory in zip(sys.argv[2::2], sys.argv[3::2]):
        print(json.dumps(logits(kind, directory).flatten().tolist()))
