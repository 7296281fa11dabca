// Elements are made of text nodes only: nothing that comes from data is ever read as markup.

const data = JSON.parse(document.getElementById("data").textContent);

/** An element. Properties are set as such; `class`, `aria-*`, `data-*` and `role` as attributes. */
function el(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same in SVG, where all properties are attributes. */
function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes ?? {})) node.setAttribute(name, value);
  node.append(...children.flat().filter((c) => c != null));
  return node;
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value == null) continue;
    if (/^(class|role|for|colspan|scope|aria-.*|data-.*)$/.test(name)) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.flat(Infinity).filter((c) => c != null));
  return node;
}

const body = (section) => document.querySelector(`#${section} .body`);
const note = (...text) => el("p", { class: "note" }, ...text);

/** A drop-down; `options` are [value, text] pairs. */
function picker(label, options, onchange, id) {
  const list = options.map(([value, text]) => el("option", { value }, text));
  const select = el("select", { id, onchange: () => onchange(select.value) }, list);
  return { node: el("label", { class: "field" }, el("span", null, label), select), select };
}

const percent = (share, digits = 1) => (100 * share).toFixed(digits);
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** A p-value as papers print it. */
const pValue = (p) => (p < 0.001 ? "< .001" : p.toFixed(3).replace(/^0/, ""));

/** A number at a length that a label can bear. */
function short(x) {
  if (x == null || !Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return signs(x.toExponential(2).replace(/\.?0+e/, "e"));
  if (size >= 1000) return Math.round(x).toLocaleString("en");
  return signs(String(+x.toPrecision(size >= 100 ? 4 : 3)));
}

/** A number of two decimals. */
const fixed = (x) => (x == null ? "–" : signs(x.toFixed(2).replace(/^-0\.00$/, "0.00")));

const signs = (number) => number.replace("-", "−");

document.getElementById("standing").textContent = data.standing;
