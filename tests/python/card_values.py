"""Runs the Python of the model cards of exported value nets.

usage: card_values.py TOKENS DIR...
TOKENS is a JSON list. Prints what each card's code leaves in `value` as a flat JSON list a line.
"""

import json
import sys

tokens = json.loads(sys.argv[1])
for directory in sys.argv[2:]:
    with open(f"{directory}/README.md") as file:
        card = file.read()
    code = card.split("```python\n")[1].split("```")[0]
    scope = {"DIR": directory, "tokens": tokens}
    exec(code, scope)
    print(json.dumps(scope["value"].flatten().tolist()))
