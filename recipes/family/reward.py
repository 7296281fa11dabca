"""Rewards countdown solutions by how near they come: a line of JSON in, a line of JSON out.

1 for a right solution as the task has it would need the task's grader; this one trusts the steps and
looks at the last line alone: 1 where it states the target, else from -1 up to 0 as it comes nearer.
"""

import json
import sys

for line in sys.stdin:
    text = json.loads(line)
    target = int(text["gold"])
    try:
        reached = int(text["completion"].split("####")[1])
    except (IndexError, ValueError):
        reached = None
    if not text["finished"] or reached is None:
        reward = -1.0
    elif reached == target:
        reward = 1.0
    else:
        reward = -min(1.0, abs(reached - target) / target)
    print(json.dumps({"reward": reward}), flush=True)
