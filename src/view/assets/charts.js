// Line charts: SVG, with a legend that switches lines and a tooltip that reads them.

const PLOT = { width: 420, height: 220, left: 48, right: 10, top: 10, bottom: 26 };
/** What is the same in all names of a chart goes without saying. */
const AFFIX = /^ranking_|_tokens$/;
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "4 2", "1 2", "10 4", "3 6"];

/** About `count` round numbers from `low` to `high`. */
function ticks(low, high, count, whole) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) found.push(+(at * step).toPrecision(12));
  return found;
}

/** Where a step stands on the axis, and how it is called. */
function horizontal(chart) {
  const steps = [...new Set(chart.series.flatMap((s) => s.step))].sort((a, b) => a - b);
  if (chart.axis !== "shard") {
    const unit = chart.axis;
    const marks = ticks(steps[0], steps.at(-1), 5, true).map((s) => [s, s.toLocaleString("en")]);
    return { at: (s) => s, name: (s) => `${unit} ${s.toLocaleString("en")}`, marks, breaks: () => false, label: unit };
  }
  // Every iteration gets the same room, however many shards it has written.
  const iteration = (s) => Math.floor(s / 1000);
  const shards = new Map();
  // The evaluation reports once, behind all shards.
  const evaluated = (s) => s % 1000 === 999;
  for (const s of steps) shards.set(iteration(s), Math.max(shards.get(iteration(s)) ?? 1, evaluated(s) ? 1 : s % 1000));
  const every = Math.ceil(shards.size / 8);
  return {
    at: (s) => iteration(s) + (evaluated(s) ? shards.get(iteration(s)) + 0.5 : s % 1000) / (shards.get(iteration(s)) + 1),
    name: (s) => `step ${s}: iteration ${iteration(s)}, ${evaluated(s) ? "evaluated" : plural(s % 1000, "shard")}`,
    marks: [...shards.keys()].filter((_, i) => i % every === 0).map((i) => [i + 0.5, String(i)]),
    breaks: (a, b) => iteration(a) !== iteration(b),
    label: "iteration",
  };
}

/** The least and the greatest of the lines that are shown, with some air. */
function vertical(series) {
  const values = series.flatMap((s) => [...s.mean, ...s.low, ...s.high]).filter((v) => v != null);
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) [low, high] = [0, 1];
  if (low >= 0 && low < 0.4 * high) low = 0;
  const air = (high - low) * 0.06 || Math.abs(high) * 0.1 || 0.5;
  return [low === 0 ? 0 : low - air, high + air];
}

function lineChart(chart) {
  chart.series.sort((a, b) => byOrder(a.name.replace(AFFIX, ""), b.name.replace(AFFIX, "")));
  const axis = horizontal(chart);
  const hidden = new Set();
  const all = chart.series.flatMap((s) => s.step.map(axis.at));
  let [first, last] = [Math.min(...all), Math.max(...all)];
  if (chart.axis === "shard") [first, last] = [Math.floor(first), Math.floor(last) + 1];
  if (first === last) [first, last] = [first - 0.5, last + 0.5];
  const x = (step) => PLOT.left + ((axis.at(step) - first) / (last - first)) * (PLOT.width - PLOT.left - PLOT.right);
  const picture = svg("svg", { viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": `${chart.group}: ${chart.title}` });
  const tip = el("div", { class: "tip", hidden: true });
  let readers = () => [];

  const draw = () => {
    const shown = chart.series.filter((s) => !hidden.has(s));
    const [low, high] = vertical(shown);
    const y = (value) => PLOT.top + ((high - value) / (high - low)) * (PLOT.height - PLOT.top - PLOT.bottom);
    const parts = [];
    for (const value of ticks(low, high, 4)) {
      parts.push(svg("line", { class: "grid", x1: PLOT.left, x2: PLOT.width - PLOT.right, y1: y(value), y2: y(value) }));
      parts.push(svg("text", { class: "tick", x: PLOT.left - 6, y: y(value) + 3.5, "text-anchor": "end" }, short(value)));
    }
    for (const [at, name] of axis.marks) {
      const place = PLOT.left + ((at - first) / (last - first)) * (PLOT.width - PLOT.left - PLOT.right);
      parts.push(svg("text", { class: "tick", x: place, y: PLOT.height - PLOT.bottom + 15, "text-anchor": "middle" }, name));
    }
    parts.push(svg("text", { class: "tick unit", x: PLOT.width - PLOT.right, y: PLOT.height - 3, "text-anchor": "end" }, axis.label));
    // Sparse lines go on top of dense ones.
    const order = chart.series.map((series, index) => ({ series, index })).sort((a, b) => b.series.step.length - a.series.step.length);
    for (const { series, index } of order) {
      if (!hidden.has(series)) parts.push(...line(series, index % DASHES.length, axis, x, y));
    }
    const cursor = svg("line", { class: "cursor", y1: PLOT.top, y2: PLOT.height - PLOT.bottom, visibility: "hidden" });
    parts.push(cursor);
    picture.replaceChildren(...parts);
    readers = (place) => {
      const steps = shown.flatMap((s) => s.step);
      if (!steps.length) return null;
      const step = steps.reduce((a, b) => (Math.abs(x(b) - place) < Math.abs(x(a) - place) ? b : a));
      cursor.setAttribute("x1", x(step));
      cursor.setAttribute("x2", x(step));
      cursor.setAttribute("visibility", "visible");
      return step;
    };
    cursor.hide = () => cursor.setAttribute("visibility", "hidden");
    picture.onpointerleave = () => {
      tip.hidden = true;
      cursor.hide();
    };
  };

  picture.onpointermove = (event) => {
    const box = picture.getBoundingClientRect();
    const step = readers(((event.clientX - box.left) / box.width) * PLOT.width);
    if (step == null) return;
    tip.replaceChildren(el("b", null, axis.name(step)), ...chart.series.map((s, i) => readout(s, i, step, hidden)).filter(Boolean));
    tip.hidden = false;
    const right = event.clientX - box.left > box.width / 2;
    tip.style.left = right ? "auto" : `${event.clientX - box.left + 14}px`;
    tip.style.right = right ? `${box.right - event.clientX + 14}px` : "auto";
  };

  const legend = chart.series.length < 2 ? [] : chart.series.map((series, index) => {
    const toggle = () => {
      if (!hidden.delete(series)) hidden.add(series);
      button.setAttribute("aria-pressed", !hidden.has(series));
      draw();
    };
    const merged = series.recorded > series.step.length ? `${series.recorded} points, shown as ${series.step.length} means with their range` : plural(series.recorded, "point");
    const button = el("button", { class: "key", "aria-pressed": "true", title: merged, onclick: toggle }, swatch(index), series.name.replace(AFFIX, ""));
    return button;
  });
  draw();
  return el("figure", { class: "chart" }, el("figcaption", null, chart.title), el("div", { class: "plot" }, picture, tip), el("div", { class: "legend" }, legend));
}

/** The shapes of one line: a band, strokes between gaps, dots where there are few points. */
function line(series, index, axis, x, y) {
  const runs = [];
  series.step.forEach((step, i) => {
    if (series.mean[i] == null) return void runs.push([]);
    if (!runs.length || (i > 0 && axis.breaks(series.step[i - 1], step))) runs.push([]);
    runs.at(-1).push(i);
  });
  const shapes = [];
  for (const run of runs.filter((r) => r.length)) {
    const point = (list) => (i) => `${x(series.step[i]).toFixed(1)} ${y(list[i]).toFixed(1)}`;
    if (series.low.length) {
      const edge = [...run.map(point(series.high)), ...run.toReversed().map(point(series.low))];
      shapes.push(svg("path", { class: `band c${index}`, d: `M${edge.join("L")}Z` }));
    }
    const path = `M${run.map(point(series.mean)).join("L")}`;
    shapes.push(svg("path", { class: `line c${index}`, d: path, "stroke-dasharray": series.step.length > 60 ? "" : DASHES[index] }));
    if (series.step.length <= 60) {
      for (const i of run) shapes.push(svg("circle", { class: `dot c${index}`, cx: x(series.step[i]), cy: y(series.mean[i]), r: 2.6 }));
    }
  }
  return shapes;
}

function swatch(index) {
  const i = index % DASHES.length;
  const stroke = svg("line", { class: `line c${i}`, x1: 0, x2: 22, y1: 5, y2: 5, "stroke-dasharray": DASHES[i] });
  return svg("svg", { class: "swatch", viewBox: "0 0 22 10", "aria-hidden": "true" }, stroke);
}

/** What a line says at a step; a sparse one only where it has a point. */
function readout(series, index, step, hidden) {
  const at = series.step.indexOf(step);
  if (at < 0 || hidden.has(series)) return null;
  const range = series.low.length ? ` (${short(series.low[at])} to ${short(series.high[at])})` : "";
  return el("div", null, swatch(index), `${series.name.replace(AFFIX, "")} ${short(series.mean[at])}${range}`);
}

function curves() {
  const place = body("curves");
  if (!data.charts.length) return place.append(note("Nothing has been reported yet: events.jsonl has no scalars."));
  const names = {
    eval: "eval: held-out questions, all methods", value: "value: the fit of the value head", policy: "policy: the fit of the policy",
    collect: "collect: search on train questions", perf: "perf: speed and memory", time: "time: seconds of each phase",
  };
  for (const group of new Set(data.charts.map((c) => c.group))) {
    const charts = data.charts.filter((c) => c.group === group).map(lineChart);
    place.append(el("h3", null, names[group]), el("div", { class: "charts" }, charts));
  }
}
