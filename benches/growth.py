"""Time a simulation or token and peak memory against the number of trees, of simulations, and the
length of the context. Draws growth.svg and prints one JSON object.

    python benches/growth.py target/release/tokenzero checkpoints/quickstart/iter-0003/checkpoint --out DIR

Run it on a machine that does nothing else. Lengths are measured on random weights in the shape of
SmolLM2-135M, which takes 2,048 positions.
"""

import argparse
import json
import math
import os
import subprocess
import tempfile


def run(command):
    """The figure that `tokenzero bench` prints, and the most memory it held meanwhile in MB."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        if process.wait() != 0:
            raise SystemExit(f"failed: {' '.join(command)}")
        out.seek(0)
        figure = json.load(out)
        return figure, figure["peak_bytes"] / 1e6


def series(name, unit, values, command, microseconds):
    points = []
    for value in values:
        figure, peak = run(command(value))
        points.append({"x": value, "us": microseconds(figure), "mb": peak})
        print(f"{name} {value}: {points[-1]['us']:.1f} us {unit}, {peak:.0f} MB", flush=True)
    return {"name": name, "unit": unit, "points": points}


WIDTH, HEIGHT, LEFT, TOP = 300, 220, 52, 30


def axis(values):
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def panel(x0, y0, title, points, key):
    xs, ys = [math.log2(p["x"]) for p in points], [p[key] for p in points]
    low, high = axis(ys)
    left, right = min(xs), max(xs)
    width, height = WIDTH - LEFT - 14, HEIGHT - TOP - 34
    across = lambda x: x0 + LEFT + (x - left) / (right - left) * width
    down = lambda y: y0 + TOP + (high - math.log10(y)) / (high - low) * height
    out = [f'<text x="{x0 + LEFT}" y="{y0 + 18}" font-size="10">{title}</text>']
    for power in range(low, high + 1):
        y = down(10.0**power)
        out.append(f'<line x1="{x0 + LEFT}" x2="{x0 + LEFT + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{x0 + LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for point, x in zip(points, xs):
        out.append(
            f'<text x="{across(x):.1f}" y="{y0 + HEIGHT - 16}" text-anchor="middle">{point["x"]}</text>'
        )
    path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in zip(xs, ys))
    out.append(f'<polyline points="{path}" fill="none" stroke="#0072b2" stroke-width="2"/>')
    out += [f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3" fill="#0072b2"/>' for x, y in zip(xs, ys)]
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tokenzero")
    parser.add_argument("model")
    parser.add_argument("--out", default=".")
    parser.add_argument("--shape", default="smollm2-135m")
    args = parser.parse_args()
    bench = lambda *more: [args.tokenzero, "bench", "--repeats", "1", "--json", *map(str, more)]
    collect = lambda trees, simulations: bench(
        "--model", args.model, "--what", "collect",
        "--rows", trees, "--questions", max(trees, 64), "--simulations", simulations,
    )
    per_second = lambda unit: lambda figure: 1e6 / figure[unit]
    simulations = per_second("simulations_per_s")
    tokens = per_second("tokens_per_s")
    all_series = [
        series("trees at once", "a simulation", [1, 4, 16, 64, 256, 1024], lambda n: collect(n, 30), simulations),
        series("simulations a tree", "a simulation", [8, 32, 128, 512], lambda n: collect(256, n), simulations),
        series(
            "tokens of context", "a decoded token of 8 rows", [64, 128, 256, 512, 1024, 2000],
            lambda n: bench("--shape", args.shape, "--what", "decode", "--rows", 8, "--context", n),
            tokens,
        ),
    ]
    rows = []
    for column, one in enumerate(all_series):
        title = f"microseconds {one['unit']}, by {one['name']}"
        rows.append(panel(column * WIDTH, 0, title, one["points"], "us"))
        rows.append(panel(column * WIDTH, HEIGHT, f"peak memory in MB, by {one['name']}", one["points"], "mb"))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * WIDTH} {2 * HEIGHT}" '
        'font-family="sans-serif" font-size="10"><rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(rows) + "\n</svg>\n"
    )
    with open(os.path.join(args.out, "growth.svg"), "w") as file:
        file.write(svg)
    print(json.dumps(all_series))


if __name__ == "__main__":
    main()
