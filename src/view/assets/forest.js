// Trees as the file carries them, unpacked when one is opened; tokens as text.

const RIGHT = 1, WRONG = 2, END = 4;
const vocabulary = data.vocabulary;
const special = new Set(vocabulary.special);

/** The text of tokens without special ones. Characters that are spread over several are put together. */
function textOf(tokens) {
  const pieces = [];
  let bytes = [];
  const flush = () => {
    if (bytes.length) pieces.push(new TextDecoder().decode(new Uint8Array(bytes)));
    bytes = [];
  };
  for (const token of tokens) {
    if (vocabulary.bytes[token]) {
      bytes.push(...vocabulary.bytes[token]);
      continue;
    }
    flush();
    if (!special.has(token)) pieces.push(vocabulary.text[token]);
  }
  flush();
  const text = pieces.join("");
  return vocabulary.trims_lines ? text.replace(/\n /g, "\n").replace(/^ /, "") : text;
}

/** The text of tokens, special ones between as chips. */
function marked(tokens) {
  const parts = [];
  let run = [];
  for (const token of [...tokens, null]) {
    if (token != null && !special.has(token)) {
      run.push(token);
      continue;
    }
    if (run.length) parts.push(textOf(run));
    if (token != null) parts.push(chip(token));
    run = [];
  }
  return parts;
}

/** Text with what cannot be seen made visible. */
function visible(text) {
  const signs = { " ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍" };
  return text.split(/([ \n\t\r])/).filter((p) => p).map((part) => (signs[part] ? el("i", { class: "blank" }, signs[part]) : part));
}

/** A token as a chip. */
function chip(token, props) {
  if (special.has(token)) return el("span", { ...props, class: `token special ${props?.class ?? ""}` }, vocabulary.text[token]);
  const bytes = vocabulary.bytes[token];
  const text = bytes ? bytes.map((b) => `‹${b.toString(16).padStart(2, "0")}›`).join("") : vocabulary.text[token];
  return el("span", { ...props, class: `token ${props?.class ?? ""}` }, visible(text));
}

/** The nodes of a tree, with what its columns imply. Node 0 is the root. */
function unpack(tree) {
  const { up, token, visits, sum, value, state, children } = tree.nodes;
  const size = up.length;
  const parent = up.map((u, i) => (i ? i - u : -1));
  const kids = Array.from({ length: size }, () => []);
  const first = new Array(size);
  const depth = new Array(size).fill(0);
  const below = Array.from({ length: size }, () => [0, 0, 0]);
  let offset = 0;
  for (let i = 0; i < size; i++) {
    first[i] = offset;
    offset += children[i];
    if (!i) continue;
    kids[parent[i]].push(i);
    depth[i] = depth[parent[i]] + 1;
  }
  const q = (i) => (visits[i] && sum[i] != null ? sum[i] / 1000 / visits[i] : null);
  for (const list of kids) list.sort((a, b) => visits[b] - visits[a] || (q(b) ?? -2) - (q(a) ?? -2) || a - b);
  // A parent comes before its children, so that going backwards counts what lies below.
  for (let i = size - 1; i >= 0; i--) {
    if (state[i] & END) below[i][state[i] & 3]++;
    if (i) below[i].forEach((count, kind) => (below[parent[i]][kind] += count));
  }
  const main = new Set([0]);
  for (let at = 0; kids[at].length && visits[kids[at][0]] > 0; main.add(at)) at = kids[at][0];
  const offers = (i) => {
    const { child_token, child_log_prob, child_prior } = tree.nodes;
    return Array.from({ length: children[i] }, (_, c) => {
      const at = first[i] + c;
      const prior = child_prior[at], logProb = child_log_prob[at];
      const node = kids[i].find((k) => token[k] === child_token[at]);
      return { token: child_token[at], prior: prior == null ? null : prior / 1e4, logProb: logProb == null ? null : logProb / 1e3, node };
    });
  };
  return {
    tree, size, parent, kids, depth, below, main, token, visits, state, q, offers,
    value: (i) => (value.length && value[i] != null ? value[i] / 1000 : null),
    /** The offer of the parent that led here. */
    offer: (i) => (i ? offers(parent[i]).find((o) => o.token === token[i]) : undefined),
    path(i) {
      const nodes = [];
      for (; i > 0; i = parent[i]) nodes.push(i);
      return nodes.reverse();
    },
  };
}

/** Prompts without the words that all of them begin and end with, such as a chat template's. */
function excerpts(trees) {
  const texts = trees.map((t) => textOf(t.prompt.slice(0, t.prompt.length - t.root_depth)).trim());
  const distinct = [...new Set(texts)];
  const shared = (from) => {
    let count = 0;
    while (distinct.length > 1 && distinct.every((t) => count < t.length && from(t, count) === from(distinct[0], count))) count++;
    return count;
  };
  const head = shared((t, i) => t[i]);
  const start = head < 24 ? 0 : Math.max(distinct[0].lastIndexOf("\n", head - 1), distinct[0].lastIndexOf(" ", head - 1)) + 1;
  const tail = shared((t, i) => t[t.length - 1 - i]);
  return texts.map((text) => {
    const end = tail < 8 ? text.length : text.length - tail;
    return text.slice(start, Math.max(end, start)).trim() || text;
  });
}
