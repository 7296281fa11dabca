// All that is known of one node.

function details(nodes, node, onselect) {
  const { tree } = nodes;
  const path = nodes.path(node);
  const offer = nodes.offer(node);
  const logProbs = path.map((i) => nodes.offer(i)?.logProb);
  const total = logProbs.every((p) => p != null) ? logProbs.reduce((a, b) => a + b, 0) : null;
  const rollout = { 0: "not known", [RIGHT]: "right", [WRONG]: "wrong" }[nodes.state[node] & 3];
  const facts = [
    ["visits", `${nodes.visits[node]} of ${nodes.visits[0]}`],
    ["Q, the mean return", fixed(nodes.q(node))],
    ["prior", fixed(offer?.prior)],
    ["log-probability", offer?.logProb == null ? "–" : `${fixed(offer.logProb)} (${percent(Math.exp(offer.logProb))}%)`],
    ["… of the whole text", path.length ? fixed(total) : "–"],
    ["value", nodes.value(node) == null ? "not asked" : fixed(nodes.value(node))],
    [nodes.state[node] & END ? "graded" : "greedy rollout from here", rollout],
    ["tokens below the root", nodes.depth[node]],
    ["node", `${node} of ${nodes.size}`],
    ["token id", node ? vocabulary.id[nodes.token[node]] : "–"],
  ];
  const title = node ? chip(nodes.token[node]) : el("span", { class: "token root" }, "root");
  const text = el("pre", { class: "path", id: "path-text", tabIndex: 0 }, path.length ? pathText(nodes, path) : el("i", { class: "none" }, "nothing yet: the prompt is the root's text"));
  return [
    el("h3", null, title, " ", ending(nodes.state[node]), nodes.main.has(node) ? el("span", { class: "on-main" }, "on the main path") : null),
    tree.failure ? el("p", { class: "failure" }, tree.failure) : null,
    el("h4", null, "Text from the root"), text,
    el("dl", null, facts.map(([name, value]) => [el("dt", null, name), el("dd", null, String(value))])),
    el("h4", null, "Continuations"),
    continuations(nodes, node, onselect),
  ];
}

/** The text of a path, the last token marked, line breaks as such. */
function pathText(nodes, path) {
  const tokens = path.map((i) => nodes.token[i]);
  const last = tokens.at(-1);
  const cut = special.has(last) ? tokens.length - 1 : tokens.findLastIndex((t) => special.has(t)) + 1;
  const head = marked(tokens.slice(0, cut));
  if (special.has(last)) return [...head, el("mark", null, chip(last))];
  const whole = textOf(tokens.slice(cut)), before = textOf(tokens.slice(cut, -1));
  // Where the last token completes a character, the text before it has a stand-in for that one.
  if (!whole.startsWith(before)) return [...head, whole];
  return [...head, before, el("mark", null, whole.slice(before.length))];
}

function continuations(nodes, node, onselect) {
  const offers = nodes.offers(node);
  if (!offers.length) return el("p", { class: "none" }, nodes.state[node] & END ? "The text has ended." : "Not expanded.");
  const heads = ["token", "prior", "log-prob.", "visits", "Q"];
  const rows = offers.map((offer) => {
    const there = offer.node != null;
    const cells = [fixed(offer.prior), fixed(offer.logProb), there ? nodes.visits[offer.node] : "–", there ? fixed(nodes.q(offer.node)) : "–"];
    const name = there ? el("button", { class: "jump", onclick: () => onselect(offer.node) }, chip(offer.token)) : chip(offer.token);
    return el("tr", { class: there ? (nodes.main.has(offer.node) ? "main" : null) : "unvisited", title: there ? null : "not visited" }, el("td", null, name), cells.map((c) => el("td", { class: "number" }, String(c))));
  });
  return el("table", { class: "continuations" }, el("thead", null, el("tr", null, heads.map((h, i) => el("th", { class: i ? "number" : null, scope: "col" }, h)))), el("tbody", null, rows));
}
