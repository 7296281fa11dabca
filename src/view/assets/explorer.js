// Choosing a tree, and the three panes that show it.

const OUTCOMES = {
  greedy: ["◉", "greedy right", "Greedy decoding is right by itself"],
  solved: ["✓", "solved by search", "Greedy decoding is not right; the search found a right text"],
  unsolved: ["✗", "not solved", "The search found no right text"],
  failed: ["!", "failed", "The question could not be searched"],
};

const FILTERS = [
  ["", "all outcomes", () => true],
  ["solved", "solved", (t) => t.solved],
  ["search", "solved by search only", (t) => t.outcome === "solved"],
  ["greedy", "greedy right", (t) => t.outcome === "greedy"],
  ["unsolved", "not solved", (t) => t.outcome === "unsolved"],
  ["failed", "failed", (t) => t.outcome === "failed"],
];

function explorer() {
  const place = body("trees");
  if (!data.iterations.length) return place.append(note("No search tree has been recorded yet: the first shard of the first collection is not written."));
  place.append(howMany());
  if (!data.trees.length) return;
  const texts = excerpts(data.trees);
  const view = new TreeView((nodes, node) => panel.replaceChildren(...details(nodes, node, (i) => view.select(i)).filter(Boolean)));
  const panel = el("aside", { class: "details", id: "details", "aria-label": "Selected node", "aria-live": "off" });
  const prompt = el("div", { class: "prompt", id: "prompt" });
  const list = el("ul", { class: "trees", id: "tree-list", "aria-label": "Trees" });
  const count = el("p", { class: "count", "aria-live": "polite" });

  const open = (tree, item) => {
    list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    item.setAttribute("aria-current", "true");
    prompt.replaceChildren(...question(tree));
    view.open(unpack(tree));
  };
  const items = data.trees.map((tree, i) => {
    const [sign, words, title] = OUTCOMES[tree.outcome];
    const item = el("button", { class: "item", "data-question": tree.question, onclick: () => open(tree, item) },
      el("span", { class: `sign ${tree.outcome}`, title }, `${sign} ${words}`),
      el("span", { class: "where" }, `#${tree.question}${tree.tree ? `/${tree.tree}` : ""}`),
      el("span", { class: "words" }, texts[i]),
      el("span", { class: "size" }, `iteration ${tree.iteration} · ${tree.failure ?? `${plural(tree.nodes.up.length, "node")} · ${plural(tree.simulations, "simulation")}`}`));
    return { tree, item, words: `${texts[i]}\n${textOf(tree.prompt)}`.toLowerCase(), row: el("li", null, item) };
  });

  const filter = () => {
    const words = search.value.trim().toLowerCase();
    const ofOutcome = FILTERS.find((f) => f[0] === outcome.select.value)[2];
    const found = items.filter(({ tree, words: text }) => (!iteration.select.value || tree.iteration === +iteration.select.value) && ofOutcome(tree) && (!words || `#${tree.question}` === words || text.includes(words)));
    list.replaceChildren(...found.map((i) => i.row));
    count.textContent = found.length ? plural(found.length, "tree") : "No tree here answers to these filters.";
    return found;
  };
  const iteration = picker("Iteration", [["", "all"], ...data.iterations.map((i) => [i.iteration, String(i.iteration)])], filter, "tree-iteration");
  const outcome = picker("Outcome", FILTERS.map(([value, text]) => [value, text]), filter, "tree-outcome");
  const search = el("input", { type: "search", id: "tree-search", placeholder: "text, or #id", oninput: filter });
  const controls = el("div", { class: "controls" }, iteration.node, outcome.node, el("label", { class: "field wide" }, el("span", null, "Question"), search));
  place.append(legend(), el("div", { class: "explorer" }, el("div", { class: "chooser" }, controls, count, list), el("div", { class: "middle" }, prompt, view.node), panel));
  const found = filter();
  // A search that found something is what most people want to see first.
  const first = found.find((i) => i.tree.outcome === "solved") ?? found[0];
  open(first.tree, first.item);
}

/** How many of the recorded trees are here, and how they were chosen. */
function howMany() {
  const recorded = data.iterations.reduce((sum, i) => sum + i.trees.reduce((a, [, count]) => a + count, 0), 0);
  const how = data.chosen ? "those of the questions that were asked for" : data.trees.length === recorded ? "all of them" : "drawn at random, evenly over iterations and outcomes";
  const rows = data.iterations.map((i) => {
    const kinds = i.trees.map(([outcome, count]) => `${count.toLocaleString("en")} ${OUTCOMES[outcome][1]}`).join(", ");
    return el("li", null, `iteration ${i.iteration}: ${i.shown} of ${plural(i.trees.reduce((a, [, count]) => a + count, 0), "tree")} (${kinds})`);
  });
  return el("div", null,
    el("p", { class: "note", id: "how-many" }, `This page holds ${data.trees.length.toLocaleString("en")} of ${recorded.toLocaleString("en")} recorded trees, ${how}. `, data.trees.length < recorded ? ["More with ", el("code", null, "--trees N"), ", given ones with ", el("code", null, "--question ID"), "."] : null),
    el("details", { class: "counts" }, el("summary", null, "Recorded trees by iteration"), el("ul", null, rows)));
}

function legend() {
  return el("p", { class: "note signs" },
    el("span", { class: "token main" }, "most visited path"), " ", ending(END | RIGHT), " ", ending(END | WRONG), " ",
    el("span", { class: "token special" }, "<special>"), " ", el("span", { class: "token" }, el("i", { class: "blank" }, "·"), "space"), " ", el("span", { class: "token" }, el("i", { class: "blank" }, "⏎"), "line break"),
    el("span", null, "A row is a chain of tokens without a choice; its numbers are those of its first token (the others' show when pointed at). Arrow keys walk the rows, shift and arrows the tokens."));
}

/** The root's context, the part that was generated before the search marked. */
function question(tree) {
  const split = tree.prompt.length - tree.root_depth;
  return [
    el("div", { class: "where" }, `question ${tree.question}, iteration ${tree.iteration}: ${OUTCOMES[tree.outcome][1]}, ${plural(tree.forward_tokens, "forward token")}`),
    el("pre", { tabIndex: 0 }, marked(tree.prompt.slice(0, split)), tree.root_depth ? el("span", { class: "given", title: "generated before the search began" }, marked(tree.prompt.slice(split))) : null),
  ];
}

evaluation();
curves();
reliability();
explorer();
