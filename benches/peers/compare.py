"""Runs two commands in turn and compares a figure of their JSON.

    compare.py tokens_per_s 5 "tokenzero bench ... --json" "python decode.py ..."

Each command should measure once or twice (`--repeats`): the turns make the pairs. Prints the medians,
the ranges, and the median and range of the ratios of neighbours, first to second.
"""

import json
import shlex
import statistics
import subprocess
import sys


def figure(command, key):
    done = subprocess.run(shlex.split(command), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])[key]


def line(name, values):
    middle = statistics.median(values)
    print(f"{name}: {middle:.4g} ({min(values):.4g} to {max(values):.4g})", flush=True)


def main():
    key, turns, first, second = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    pairs = [(figure(first, key), figure(second, key)) for _ in range(turns)]
    line("first ", [a for a, _ in pairs])
    line("second", [b for _, b in pairs])
    line("ratio ", [a / b for a, b in pairs])


main()
