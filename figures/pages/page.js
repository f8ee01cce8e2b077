"use strict";
// Helps on top of a page that is complete without them: tables that sort, values read off the charts, dots that say what they are.

// --- tables: each head becomes a button; the first press sorts one way, the second the other, the third restores the order --------

const numeric = /^[^\d\u2212-]{0,3}([\u2212-]?[\d,]*\.?\d+)/;

function sortKey(cell) {
  const told = cell.querySelector(".ci") ? cell.firstChild : cell;  // a value before its interval
  const text = (cell.dataset.value ?? told.textContent).trim();
  const found = numeric.exec(text);
  return { text, known: text !== "" && text !== "\u2013", number: found ? parseFloat(found[1].replace(/,/g, "").replace("\u2212", "-")) : NaN };
}

// Which way a head sorts when it is pressed, of all the heads that sort the same.
function turned(table, head) {
  const next = { none: "descending", descending: "ascending", ascending: "none" }[head.getAttribute("aria-sort") ?? "none"];
  for (const other of table.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", next);
  return next;
}

// Places of cells in the order of what they say; the unknown last.
function ordered(cells, way) {
  const keys = cells.map((cell, place) => ({ place, ...sortKey(cell) }));
  if (way === "none") return keys.map(({ place }) => place);
  const asNumbers = keys.every(key => !key.known || !isNaN(key.number));
  const sign = way === "ascending" ? 1 : -1;
  keys.sort((a, b) => {
    if (a.known !== b.known) return a.known ? -1 : 1;
    if (!a.known) return 0;
    return sign * (asNumbers ? a.number - b.number : a.text.localeCompare(b.text, "en", { numeric: true }));
  });
  return keys.map(({ place }) => place);
}

function sortBy(table, head, column) {
  const body = table.tBodies[0];
  body.original ??= [...body.rows];
  const order = ordered(body.original.map(row => row.cells[column]), turned(table, head));
  body.append(...order.map(place => body.original[place]));
}

function pressable(head, press) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  head.setAttribute("aria-sort", "none");
  button.addEventListener("click", press);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.tagName === "TH" && !head.classList.contains("unsorted")) pressable(head, () => sortBy(table, head, column));
  });
}

// A table of metrics sorts the other way round: a row's head puts the columns in order, behind the first two.
const FIXED = 2;
for (const table of document.querySelectorAll("table.across")) {
  const rows = [...table.rows].filter(row => row.cells.length > FIXED);
  rows.forEach(row => { row.original = [...row.cells].slice(FIXED); });
  for (const row of rows.filter(row => row.parentElement.tagName === "TBODY")) {
    const head = row.cells[0];
    pressable(head, () => {
      const order = ordered(row.original, turned(table, head));
      for (const other of rows) other.append(...order.map(place => other.original[place]));
    });
  }
}

// --- charts: the values under the pointer, or under a rule that the arrow keys move ------------------------------------------------

const ACROSS = 2000, DOWN = 1000;  // the grid of the drawings, see figures/svg.py
const told = "circle[aria-label]";  // dots that say what they are

function axis(told) {
  const [lo, hi, scale, kind] = told.split(" ");
  const low = Number(lo), high = Number(hi);
  return { kind, at: share => scale === "log" ? low * (high / low) ** share : low + share * (high - low) };
}

const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const compact = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });
const digits = value => (Math.abs(value) < 1e4 ? plain : compact).format(value);
const scaled = (value, units) => {  // units: from which value on, how many seconds it has, its sign
  const [, factor, unit] = units.find(([least]) => Math.abs(value) >= least) ?? units[units.length - 1];
  return `${digits(value / factor)} ${unit}`;
};
const written = {
  number: digits,
  share: value => `${(100 * value).toFixed(1)} %`,
  seconds: value => scaled(value, [[1, 1, "s"], [1e-3, 1e-3, "ms"], [1e-6, 1e-6, "µs"]]),
  clock: value => scaled(value, [[259200, 86400, "d"], [10800, 3600, "h"], [180, 60, "min"], [1, 1, "s"], [1e-3, 1e-3, "ms"]]),
};

// The strokes of a path of M, L, H and V, and those after the first L of an area: its lower edge, drawn backwards.
function strokes(path, area) {
  const edges = [[], []];
  let x = 0, y = 0, edge = 0;
  for (const [, command, numbers] of path.matchAll(/([MLHV])([-\d. ]+)/g)) {
    const [a, b] = numbers.trim().split(" ").map(Number);
    const from = [x, y];
    if (command === "H") x = a; else if (command === "V") y = a; else [x, y] = [a, b];
    if (command === "L" && area && edge === 0) edge = 1;
    else if (command !== "M" && x !== from[0]) edges[edge].push([...from, x, y]);
  }
  return edges;
}

function level(edge, x) {
  for (const [x0, y0, x1, y1] of edge) {
    if (x >= Math.min(x0, x1) && x <= Math.max(x0, x1)) return 1 - (y0 + (y1 - y0) * (x - x0) / (x1 - x0)) / DOWN;
  }
  return null;
}

// A small panel beside a place of a chart's box, as far as the window has room for it.
class Readout {
  constructor(box, kind) {
    this.box = box;
    this.panel = document.createElement(kind);
    this.panel.className = "readout";
    this.panel.hidden = true;
    box.append(this.panel);
  }

  show(lines, x, y, onTheLeft) {
    this.panel.replaceChildren(...lines);
    this.panel.hidden = false;
    const box = this.box.getBoundingClientRect(), width = this.panel.offsetWidth;
    const most = document.documentElement.clientWidth - box.left - width - 4;
    const left = Math.max(4 - box.left, Math.min(onTheLeft ? x - 10 - width : x + 10, most));
    this.panel.style.cssText = `left:${left}px;top:${y}px`;
  }

  hide() {
    this.panel.hidden = true;
  }
}

class Reader {
  constructor(box) {
    this.box = box;
    this.chart = box.querySelector("svg.chart");
    this.plot = this.chart.querySelector("svg.plot");
    this.x = axis(this.chart.dataset.x);
    this.y = axis(this.chart.dataset.y);
    this.series = [...this.plot.querySelectorAll("path[data-label]")].map(path => {
      const edges = strokes(path.getAttribute("d"), !path.classList.contains("line"));
      const stacked = path.classList.contains("layer") || edges[1].every(([, y0, , y1]) => y0 === DOWN && y1 === DOWN);
      return { label: path.dataset.label, tone: path.getAttribute("class"), stacked, edges };
    });
    this.at = null;
    this.rule = document.createElement("div");
    this.rule.className = "rule";
    this.rule.hidden = true;
    box.append(this.rule);
    this.readout = new Readout(box, "output");
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `${this.chart.querySelector("title").textContent}: left and right arrow keys read its values`);
    for (const kind of ["pointermove", "pointerdown"]) box.addEventListener(kind, event => {
      if (event.target.matches(told)) { this.hide(); return; }  // a dot speaks for itself
      const area = this.chart.getBoundingClientRect();
      this.show((event.clientX - area.left) / area.width);
    });
    box.addEventListener("pointerleave", () => this.hide());
    box.addEventListener("blur", () => this.hide());
    box.addEventListener("keydown", event => this.press(event));
  }

  press(event) {
    const step = event.shiftKey ? 0.1 : 0.01, now = this.at ?? (event.key === "ArrowLeft" ? 1 + step : -step);
    const to = { ArrowLeft: now - step, ArrowRight: now + step, Home: 0, End: 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.show(to);
  }

  show(share) {
    this.at = Math.min(1, Math.max(0, share));
    const x = this.at * ACROSS, rows = [];
    for (const { label, tone, stacked, edges } of this.series) {
      const [high, low] = edges.map(edge => level(edge, x));
      if (high === null) continue;
      const tell = place => written[this.y.kind](this.y.at(place));
      const value = low === null ? tell(high) : stacked ? written[this.y.kind](this.y.at(high) - this.y.at(low)) : `${tell(low)} to ${tell(high)}`;
      rows.push({ label, tone, value });
    }
    const head = document.createElement("strong");
    head.textContent = written[this.x.kind](this.x.at(this.at));
    const lines = rows.map(({ label, tone, value }) => {
      const line = document.createElement("span");
      line.className = `key ${tone.split(" ").slice(1).join(" ")}`;
      line.textContent = `${label}: ${value}`;
      return line;
    });
    const area = this.plot.getBoundingClientRect(), box = this.box.getBoundingClientRect(), top = area.top - box.top;
    const place = area.left - box.left + this.at * area.width;
    this.rule.hidden = false;
    this.rule.style.cssText = `left:${place}px;top:${top}px;height:${area.height}px`;
    this.readout.show([head, ...lines], place, top + 6, this.at >= 0.5);
  }

  hide() {
    this.at = null;
    this.rule.hidden = true;
    this.readout.hide();
  }
}

// --- dots: one stop of the Tab key for all of a chart, arrow keys from one to the next, from left to right -----------------------

class Dots {
  constructor(box) {
    this.dots = [...box.querySelectorAll(told)].sort((a, b) => parseFloat(a.getAttribute("cx")) - parseFloat(b.getAttribute("cx")));
    this.box = box;
    this.readout = new Readout(box, "div");
    this.readout.panel.setAttribute("aria-hidden", "true");  // a dot's own name says it
    this.dots.forEach((dot, place) => {
      dot.querySelector("title").remove();  // the readout takes its place
      dot.tabIndex = place ? -1 : 0;
      dot.addEventListener("focus", () => this.show(dot));
      dot.addEventListener("blur", () => this.hide());
      dot.addEventListener("pointerenter", () => this.show(dot));
      dot.addEventListener("pointerleave", () => document.activeElement === dot || this.hide());
      dot.addEventListener("keydown", event => this.press(event, place));
    });
  }

  press(event, place) {
    const last = this.dots.length - 1;
    const to = { ArrowLeft: place - 1, ArrowUp: place - 1, ArrowRight: place + 1, ArrowDown: place + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();  // the chart's rule stays where it is
    const next = this.dots[Math.min(last, Math.max(0, to))];
    this.dots.forEach(dot => { dot.tabIndex = dot === next ? 0 : -1; });
    next.focus();
  }

  show(dot) {
    const line = document.createElement("span");
    line.className = `key ${[...dot.classList].slice(1).join(" ")}`;
    line.textContent = dot.getAttribute("aria-label");
    const at = dot.getBoundingClientRect(), box = this.box.getBoundingClientRect(), middle = at.left + at.width / 2 - box.left;
    this.readout.show([line], middle, at.bottom - box.top + 6, middle >= box.width / 2);
  }

  hide() {
    this.readout.hide();
  }
}

const boxes = [...document.querySelectorAll(".plotbox")];
const readers = boxes.filter(box => box.querySelector("svg.chart path[data-label]")).map(box => new Reader(box));
const dotted = boxes.filter(box => box.querySelector(told)).map(box => new Dots(box));
addEventListener("keydown", event => { if (event.key === "Escape") [...readers, ...dotted].forEach(help => help.hide()); });
for (const help of document.querySelectorAll(".scripted[hidden]")) help.hidden = false;
