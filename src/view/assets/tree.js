// One tree as an outline. A row is a node, or a chain of nodes without a choice between them. Only the
// rows in sight are in the document, so that ten thousand nodes scroll like ten.

const ROW = 26;

class TreeView {
  constructor(onselect) {
    this.onselect = onselect;
    this.zoom = 1;
    this.join = true;
    this.rows = [];
    this.inner = el("div", { class: "rows", role: "presentation" });
    this.list = el("div", { class: "outline", id: "outline", role: "tree", "aria-label": "Search tree", tabIndex: 0, onkeydown: (e) => this.key(e), onscroll: () => this.paint() }, this.inner);
    this.list.addEventListener("wheel", (e) => {
      if (!e.ctrlKey) return;
      e.preventDefault();
      this.scale(this.zoom * (e.deltaY < 0 ? 1.1 : 1 / 1.1));
    }, { passive: false });
    new ResizeObserver(() => this.paint()).observe(this.list);
    const button = (text, id, onclick, title) => el("button", { id, onclick, title }, text);
    this.level = el("output", { class: "level" }, "100%");
    const chains = el("input", { type: "checkbox", id: "chains", checked: true, onchange: () => this.setJoin(chains.checked) });
    this.bar = el("div", { class: "toolbar", role: "toolbar", "aria-label": "Tree" },
      button("Unfold all", "unfold-all", () => this.foldAll(false)),
      button("Unfold main path", "unfold-main", () => this.unfoldMain(), "Show the most visited path down to its end"),
      button("Fold all", "fold-all", () => this.foldAll(true)),
      el("label", { class: "check", title: "Nodes without a choice between them share a row" }, chains, "join chains"),
      el("span", { class: "zoom" }, button("−", "zoom-out", () => this.scale(this.zoom / 1.15), "Smaller (ctrl and wheel)"), this.level, button("+", "zoom-in", () => this.scale(this.zoom * 1.15), "Larger (ctrl and wheel)"), button("1:1", "zoom-reset", () => this.scale(1), "Original size")),
    );
    const columns = [["visits", "Simulations that passed through"], ["Q", "Mean return: the sum of what was backed up, over the visits"], ["prior", "The prior that the search used for the first token of the row"], ["value", "The value head's estimate; – where the search did not ask it"], ["grade", "How a finished text was graded"]];
    this.head = el("div", { class: "heads" }, el("span", { class: "nums" }, columns.map(([name, title]) => el("span", { class: `num ${name}`, title }, name === "grade" ? "" : name))), el("span", null, "tokens"));
    this.node = el("div", { class: "treeview" }, this.bar, el("div", { class: "frame" }, this.head, this.list));
  }

  /** Shows a tree: the main path, and the first levels where the search went. */
  open(nodes) {
    this.nodes = nodes;
    this.unfolded = new Uint8Array(nodes.size);
    this.selected = 0;
    this.setRows();
    this.unfoldFirst();
    this.refresh();
    this.list.scrollTop = this.list.scrollLeft = 0;
    this.select(0);
  }

  /** Cuts the tree into rows: `row[i]` is the first node of the row that holds node i. */
  setRows() {
    const { size, kids, parent } = this.nodes;
    this.row = new Int32Array(size);
    this.tail = new Int32Array(size);
    for (let i = 1; i < size; i++) this.row[i] = this.join && kids[parent[i]].length === 1 ? this.row[parent[i]] : i;
    for (let i = 0; i < size; i++) this.tail[this.row[i]] = i;
  }

  kidsOf(row) {
    return this.nodes.kids[this.tail[row]];
  }

  unfoldFirst() {
    const { visits, main } = this.nodes;
    const least = Math.max(2, visits[0] * 0.05);
    let level = [0];
    for (let depth = 0; depth < 2; depth++) {
      for (const row of level) this.unfolded[row] = 1;
      level = level.flatMap((row) => this.kidsOf(row)).filter((i) => visits[i] >= least);
    }
    for (const i of main) this.unfolded[this.row[i]] = 1;
  }

  unfoldMain() {
    for (const i of this.nodes.main) this.unfolded[this.row[i]] = 1;
    this.refresh();
    this.select([...this.nodes.main].at(-1));
  }

  foldAll(fold) {
    this.unfolded.fill(fold ? 0 : 1);
    if (fold) this.selected = 0;
    this.refresh();
    this.select(this.selected);
  }

  setJoin(join) {
    this.join = join;
    const open = this.unfolded.slice();
    const before = this.row.slice();
    this.setRows();
    // What was in sight stays so: every node of a row that was unfolded.
    for (let i = 0; i < this.nodes.size; i++) if (open[before[i]]) this.unfolded[this.row[i]] = 1;
    this.refresh();
    this.select(this.selected);
  }

  scale(zoom) {
    this.zoom = Math.min(2.5, Math.max(0.5, zoom));
    this.level.textContent = `${Math.round(100 * this.zoom)}%`;
    this.node.style.setProperty("--zoom", this.zoom);
    const at = this.list.scrollTop / this.height();
    this.refresh();
    this.list.scrollTop = at * this.height();
  }

  height() {
    return Math.round(ROW * this.zoom);
  }

  /** Lists the rows that are unfolded, in order. */
  refresh() {
    this.rows = [];
    const open = [[0, 0]];
    while (open.length) {
      const [row, level] = open.pop();
      this.rows.push({ row, level });
      if (!this.unfolded[row]) continue;
      const kids = this.kidsOf(row);
      // An only child stays below its parent: where chains are not joined, these are long.
      const next = level + (kids.length > 1 ? 1 : 0);
      for (let k = kids.length - 1; k >= 0; k--) open.push([kids[k], next]);
    }
    this.inner.style.height = `${this.rows.length * this.height()}px`;
    this.painted = null;
    this.paint();
  }

  /** Puts the rows in sight into the document. */
  paint() {
    if (!this.nodes) return;
    const height = this.height();
    const from = Math.max(0, Math.floor(this.list.scrollTop / height) - 8);
    const to = Math.min(this.rows.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / height) + 8);
    const key = `${from} ${to} ${this.selected}`;
    if (key === this.painted) return;
    this.painted = key;
    this.inner.replaceChildren(...this.rows.slice(from, to).map((r, i) => this.draw(r, (from + i) * height)));
    this.list.setAttribute("aria-activedescendant", `row-${this.row[this.selected]}`);
  }

  draw({ row, level }, top) {
    const { nodes } = this;
    const kids = this.kidsOf(row);
    const chosen = this.row[this.selected] === row;
    const fold = kids.length ? (this.unfolded[row] ? "▾" : "▸") : "";
    const chain = [];
    for (let i = this.tail[row]; ; i = nodes.parent[i]) {
      chain.push(i);
      if (i === row) break;
    }
    const tokens = chain.reverse().map((i) => {
      const marks = `${i === this.selected ? "selected" : ""} ${nodes.main.has(i) ? "main" : ""}`;
      if (!i) return el("span", { class: `token root ${marks}`, "data-node": 0 }, "root");
      return chip(nodes.token[i], { class: marks, "data-node": i, title: this.words(i) });
    });
    const line = el("div", {
      class: `row ${nodes.main.has(row) ? "main" : ""} ${chosen ? "selected" : ""}`, id: `row-${row}`, role: "treeitem", "data-row": row,
      "aria-level": level + 1, "aria-selected": chosen, "aria-expanded": kids.length ? !!this.unfolded[row] : null,
      onclick: (e) => this.click(e, row),
    }, this.numbers(row), el("span", { class: "indent" }), el("span", { class: "fold", title: kids.length ? "Fold or unfold" : null }, fold), !this.unfolded[row] && kids.length ? this.hidden(row) : null, el("span", { class: "text" }, tokens), ending(nodes.state[this.tail[row]]));
    line.style.top = `${top}px`;
    line.style.setProperty("--level", level);
    return line;
  }

  numbers(row) {
    const { nodes } = this;
    const q = nodes.q(row), value = nodes.value(row), offer = nodes.offer(row);
    const share = nodes.visits[0] ? nodes.visits[row] / nodes.visits[0] : 0;
    const visits = el("span", { class: "num visits" }, el("i", { class: "bar" }), String(nodes.visits[row]));
    visits.style.setProperty("--share", share);
    return el("span", { class: "nums" }, visits, signed("Q", q), el("span", { class: "num prior" }, row ? fixed(offer?.prior) : ""), signed("value", value), el("span", { class: "num grade" }, this.grade(row)));
  }

  /** The sign of a finished text, where it is seen however long the text is. */
  grade(row) {
    const state = this.nodes.state[this.tail[row]];
    if (!(state & END)) return null;
    return state & RIGHT ? el("b", { class: "right" }, "✓") : state & WRONG ? el("b", { class: "wrong" }, "✗") : "■";
  }

  /** What a folded row hides. */
  hidden(row) {
    const [open, right, wrong] = this.nodes.below[row];
    const texts = [right && `${right} ✓`, wrong && `${wrong} ✗`, open && `${open} ■`].filter(Boolean).join("  ");
    return el("span", { class: "hides", title: "finished texts in what is folded here" }, texts || "…");
  }

  /** A node in a line, for its tooltip. */
  words(i) {
    const { nodes } = this;
    const offer = nodes.offer(i);
    return `visits ${nodes.visits[i]}, Q ${short(nodes.q(i))}, prior ${short(offer?.prior)}, value ${short(nodes.value(i))}`;
  }

  click(event, row) {
    const token = event.target.closest(".token");
    if (token) this.select(+token.dataset.node);
    else {
      if (this.kidsOf(row).length) this.toggle(row, !this.unfolded[row]);
      this.select(row);
    }
    this.list.focus({ preventScroll: true });
  }

  toggle(row, unfold) {
    this.unfolded[row] = unfold ? 1 : 0;
    this.refresh();
  }

  /** Selects a node, unfolding what lies above it, and brings it into sight. */
  select(node) {
    let changed = false;
    for (let at = this.row[node]; at > 0; ) {
      at = this.row[this.nodes.parent[at]];
      if (!this.unfolded[at]) changed = this.unfolded[at] = 1;
    }
    this.selected = node;
    if (changed) this.refresh();
    const index = this.rows.findIndex((r) => r.row === this.row[node]);
    const top = index * this.height();
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    else if (top + this.height() > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = top + this.height() - this.list.clientHeight;
    this.paint();
    this.onselect(this.nodes, node);
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.nodes) return;
    const row = this.row[this.selected];
    const index = this.rows.findIndex((r) => r.row === row);
    const kids = this.kidsOf(row);
    const go = (i) => this.select(this.rows[Math.min(this.rows.length - 1, Math.max(0, i))].row);
    const page = Math.floor(this.list.clientHeight / this.height()) - 1;
    const along = (step) => {
      const next = step > 0 ? this.nodes.kids[this.selected][0] : this.nodes.parent[this.selected];
      if (next >= 0) this.select(next);
    };
    const moves = {
      ArrowDown: () => go(index + 1), ArrowUp: () => go(index - 1), PageDown: () => go(index + page), PageUp: () => go(index - page),
      Home: () => go(0), End: () => go(this.rows.length - 1),
      ArrowRight: () => (event.shiftKey ? along(1) : kids.length && !this.unfolded[row] ? this.toggle(row, true) : kids.length && this.select(kids[0])),
      ArrowLeft: () => (event.shiftKey ? along(-1) : kids.length && this.unfolded[row] ? this.toggle(row, false) : row > 0 && this.select(this.row[this.nodes.parent[row]])),
      Enter: () => kids.length && this.toggle(row, !this.unfolded[row]),
      " ": () => kids.length && this.toggle(row, !this.unfolded[row]),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  }
}

/** A number in [-1, 1] over a bar from the middle. */
function signed(name, number) {
  if (number == null) return el("span", { class: `num ${name} none` }, "–");
  const cell = el("span", { class: `num ${name} ${number < 0 ? "below" : "above"}` }, el("i", { class: "bar" }), fixed(number));
  cell.style.setProperty("--share", Math.min(1, Math.abs(number)));
  return cell;
}

/** How a finished text was graded, by sign, word and colour. */
function ending(state) {
  if (!(state & END)) return null;
  if (state & RIGHT) return el("span", { class: "end right" }, "✓ right");
  if (state & WRONG) return el("span", { class: "end wrong" }, "✗ wrong");
  return el("span", { class: "end" }, "■ ended");
}
