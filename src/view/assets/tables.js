// The evaluation table, and the reliability diagrams of the value head.

const ORDER = ["greedy", "vote", "weighted_vote", "best_of_n"];

function byOrder(a, b) {
  const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return place(a) - place(b) || a.localeCompare(b);
}

function evaluation() {
  const place = body("evaluation");
  if (!data.evaluations.length) return place.append(note("Nothing has been evaluated yet: the first evaluation is that of the model before any training."));
  const base = data.evaluations[0];
  const last = data.evaluations.at(-1);
  place.append(note(
    `${plural(last.questions, "question")} of the ${last.split} split, ${last.samples} draws for votes and best of n. Intervals are Wilson's at 95%; `,
    "p-values are McNemar's exact test on the same questions. Iteration 0 is the model before any training: the hollow mark in every line.",
  ));
  const scale = accuracyScale();
  const heads = ["method", "accuracy %", `${percent(scale.low, 0)}% to ${percent(scale.high, 0)}%`, "95% interval", "change", "tokens/question", "p vs greedy", "p vs vote"];
  const head = el("tr", null, heads.map((h, i) => el("th", { scope: "col", class: i && i !== 2 ? "number" : null }, h)));
  const groups = data.evaluations.map((found) => {
    const title = found.iteration ? `iteration ${found.iteration}` : "iteration 0: before training";
    const rows = Object.keys(found.methods).sort(byOrder).map((name) => methodRow(name, found, base, scale));
    const best = Math.max(...Object.values(found.methods).map((m) => m.accuracy));
    Object.keys(found.methods).sort(byOrder).forEach((name, i) => found.methods[name].accuracy === best && rows[i].classList.add("best"));
    return el("tbody", null, el("tr", { class: "group" }, el("th", { colspan: heads.length, scope: "rowgroup" }, title)), rows);
  });
  place.append(el("div", { class: "scroll" }, el("table", { class: "methods" }, el("thead", null, head), groups.toReversed())));
}

/** Tens of percent that hold all intervals. */
function accuracyScale() {
  const methods = data.evaluations.flatMap((e) => Object.values(e.methods));
  const low = Math.floor(10 * Math.min(...methods.map((m) => m.low)) + 1e-9) / 10;
  const high = Math.ceil(10 * Math.max(...methods.map((m) => m.high)) - 1e-9) / 10;
  return { low, high: Math.max(high, low + 0.1) };
}

function methodRow(name, found, base, scale) {
  const method = found.methods[name];
  const before = found === base ? null : base.methods[name];
  const change = before ? 100 * (method.accuracy - before.accuracy) : null;
  const p = (other) => (method.against[other] ? pValue(method.against[other].p) : "");
  const cell = (text) => el("td", { class: "number" }, text);
  return el("tr", { "data-method": name, "data-iteration": found.iteration },
    el("th", { scope: "row" }, name),
    cell(percent(method.accuracy)),
    el("td", null, interval(method, before, scale)),
    cell(`${percent(method.low)} to ${percent(method.high)}`),
    cell(change == null ? "" : `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(1)}`),
    cell(method.forward_tokens.toFixed(0)),
    cell(p("greedy")),
    cell(p("vote")),
  );
}

/** An accuracy with its interval on a line, a mark every ten percent, and the one before training. */
function interval(method, before, { low, high }) {
  const x = (share) => 6 + (288 * (share - low)) / (high - low);
  const tens = Array.from({ length: Math.round(10 * (high - low)) + 1 }, (_, i) => low + i / 10);
  return svg("svg", { class: "interval", viewBox: "0 0 300 16", role: "img", "aria-label": `${percent(method.accuracy)}%` },
    tens.map((s) => svg("line", { class: "grid", x1: x(s), x2: x(s), y1: 1, y2: 15 })),
    svg("line", { class: "whisker", x1: x(method.low), x2: x(method.high), y1: 8, y2: 8 }),
    before ? svg("circle", { class: "before", cx: x(before.accuracy), cy: 8, r: 3.5 }) : null,
    svg("circle", { class: "now", cx: x(method.accuracy), cy: 8, r: 4 }),
  );
}

function reliability() {
  const place = body("value");
  const iterations = [...new Set(data.reliability.map((r) => r.iteration))];
  if (!iterations.length) return place.append(note("No value head has made a prediction yet. The model before training has none: its values are all 0, which says nothing."));
  const figures = el("div", { class: "diagrams" });
  const show = (iteration) => {
    const found = data.reliability.filter((r) => r.iteration === +iteration).sort((a, b) => !a.method - !b.method || byOrder(a.method, b.method));
    figures.replaceChildren(...found.map(diagram));
  };
  const choice = picker("Iteration", iterations.map((i) => [i, String(i)]), show, "value-iteration");
  choice.select.value = iterations.at(-1);
  place.append(
    note(
      "A value v in [−1, 1] states the probability p = (v + 1)/2 of being right. ", el("b", null, "Answers: "),
      "for every held-out question that a method answered, v is the head's estimate at the end of that answer (before its stop token), and right means that the finished text was graded right; answers cut off at the token limit count as wrong. ",
      "weighted_vote, best_of_n and searched prefer texts of high value, so their predictions are chosen to be high; those of greedy and vote are not. ",
      data.reliability.some((r) => !r.method)
        ? "Tree nodes: all open nodes of all recorded trees whose greedy rollout was graded; v is what the head said during the search, right is the rollout's grade. "
        : "The recorded trees hold no values: these searches went by rollouts and did not ask the head. ",
      "Each disc is one of ten bins, its area grows with the number of predictions; on the diagonal the head is to be believed.",
    ),
    el("div", { class: "controls" }, choice.node), figures,
  );
  show(iterations.at(-1));
}

function diagram(found) {
  const SIZE = 180, PAD = 30, TOP = 14, BARS = 34;
  const x = (p) => PAD + p * SIZE, y = (p) => TOP + (1 - p) * SIZE;
  const most = Math.max(...found.bins.map((b) => b.count));
  const foot = TOP + SIZE + 20 + BARS;
  const parts = [svg("rect", { class: "frame", x: x(0), y: y(1), width: SIZE, height: SIZE }), svg("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) })];
  for (const p of [0, 0.5, 1]) {
    parts.push(svg("text", { class: "tick", x: x(p), y: y(0) + 13, "text-anchor": "middle" }, String(p)));
    parts.push(svg("text", { class: "tick", x: x(0) - 5, y: y(p) + 4, "text-anchor": "end" }, String(p)));
  }
  const full = found.bins.map((bin) => ({ ...bin, i: Math.min(9, Math.floor(bin.predicted * 10)) }));
  parts.push(svg("path", { class: "line c0", d: `M${full.map((b) => `${x(b.predicted)} ${y(b.share)}`).join("L")}` }));
  for (const bin of full) {
    const words = `${bin.i / 10} to ${(bin.i + 1) / 10}: ${plural(bin.count, "prediction")}, ${percent(bin.predicted)}% predicted, ${percent(bin.share)}% right`;
    parts.push(svg("circle", { class: "disc", cx: x(bin.predicted), cy: y(bin.share), r: 2.5 + 8 * Math.sqrt(bin.count / most) }, svg("title", {}, words)));
    const height = Math.max(1, (BARS * bin.count) / most);
    parts.push(svg("rect", { class: "count", x: x(bin.i / 10) + 1, y: foot - height, width: SIZE / 10 - 2, height }, svg("title", {}, words)));
  }
  parts.push(svg("text", { class: "tick", x: x(0) - 5, y: foot - BARS + 9, "text-anchor": "end" }, most.toLocaleString("en", { notation: "compact" })), svg("text", { class: "tick unit", x: x(0) - 5, y: foot, "text-anchor": "end" }, "n"));
  const rows = full.map((bin) => el("tr", null, [`${(bin.i / 10).toFixed(1)} to ${((bin.i + 1) / 10).toFixed(1)}`, bin.count, percent(bin.predicted), percent(bin.share)].map((t) => el("td", { class: "number" }, String(t)))));
  const table = el("table", null, el("thead", null, el("tr", null, ["p", "count", "predicted %", "right %"].map((h) => el("th", { class: "number", scope: "col" }, h)))), el("tbody", null, rows));
  const name = found.method ? `answers of ${found.method}` : "nodes of search trees";
  return el("figure", { class: "diagram", "data-method": found.method ?? "nodes" },
    el("figcaption", null, name),
    svg("svg", { viewBox: `0 0 ${SIZE + PAD + 12} ${foot + 4}`, role: "img", "aria-label": `Reliability of ${name}` }, parts),
    el("p", { class: "scores" }, el("span", null, "ECE ", el("b", { class: "ece" }, found.ece.toFixed(3))), el("span", null, "Brier ", el("b", { class: "brier" }, found.brier.toFixed(3))), el("span", null, `${percent(found.right)}% of ${found.count.toLocaleString("en")} right`)),
    el("details", null, el("summary", null, "Bins"), table),
  );
}
