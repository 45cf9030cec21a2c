// The table itself: only the rows in sight are in the page. It is one stop of the Tab key; arrows
// move within it, as `aria-activedescendant` tells.

import { href, inView } from "./address.js";
import { count } from "./format.js";
import { element, isOurs, perFrame } from "./html.js";
import { COLUMNS } from "./runs_rows.js";
import { badge } from "./verdicts.js";

const ROW = 26; // px, as in runs_table.css
const THIN = 20; // a gap
const BEYOND = 8; // rows above and below those in sight
const STEPS = { ArrowDown: 1, ArrowUp: -1 };

export class Grid {
  /**
   * @param open called with the run that was chosen
   * @param sort called with the key of the column whose heading was pressed
   * @param chosen the runs to take away; null: none can be
   */
  constructor({ open, sort, target, chosen }) {
    this.chosen = chosen;
    this.open = open;
    this.target = target; // the view that a run leads to
    this.items = new Int32Array(0);
    this.tops = new Float64Array(1);
    this.lines = []; // those in the page, from item `first` on
    this.first = 0;
    this.spare = [];
    this.version = 0; // of what the lines show
    this.front = null;
    this.active = 0; // index of the item that has the focus
    this.top = 0;
    this.left = false; // whether a run was opened by key, so that the focus belongs here on return
    this.headings = new Map(COLUMNS.map(({ key, label, unit, title, right }) => [key, element("div", {
      role: "columnheader", class: right ? "right" : "", title,
    }, [element("button", { type: "button", click: () => sort(key) }, [
      label, unit && element("small", {}, [unit]), element("span", { class: "arrow", "aria-hidden": "true" }),
    ].filter(Boolean))])]));
    const pick = chosen === null ? [] : [element("div", { role: "columnheader", class: "pick" }, [chosen.box])];
    this.body = element("div", { role: "rowgroup", class: "body" });
    this.root = element("div", {
      role: "grid", class: chosen === null ? "runs-grid" : "runs-grid picking", tabindex: "0", "aria-label": "Runs",
      "aria-colcount": COLUMNS.length + pick.length, "aria-multiselectable": chosen === null ? null : "true",
      keydown: (event) => this.press(event), scroll: () => this.scrolled(), click: (event) => this.clicked(event),
    }, [
      element("div", { role: "rowgroup", class: "head" }, [
        element("div", { role: "row", class: "row", "aria-rowindex": "1" }, [...pick, ...this.headings.values()]),
      ]),
      this.body,
    ]);
    this.draw = perFrame(() => this.render());
    new ResizeObserver(() => this.resized()).observe(this.root);
  }

  /** Show *items* (rows, and -1 - gap); `keep`: what is in sight stays where it is. */
  show(rows, items, gaps, { by, down }, keep) {
    const anchor = keep ? this.anchor() : null;
    const focused = this.keyOf(this.active);
    [this.rows, this.items, this.gaps] = [rows, items, gaps];
    this.version += 1;
    this.tops = new Float64Array(items.length + 1);
    for (let at = 0; at < items.length; at += 1) this.tops[at + 1] = this.tops[at] + (items[at] < 0 ? THIN : ROW);
    for (const [key, heading] of this.headings) {
      if (key === by) heading.ariaSort = down ? "descending" : "ascending";
      else heading.removeAttribute("aria-sort");
    }
    this.root.ariaRowCount = String(items.length + 1);
    this.body.style.height = `${this.tops.at(-1)}px`;
    const again = keep ? this.indexOf(focused) : 0;
    this.active = Math.max(0, Math.min(again < 0 ? this.active : again, items.length - 1));
    this.scrollTo(anchor === null ? 0 : this.topOf(anchor));
    this.render();
  }

  /** Mark the run that the page is at. */
  locate(run) {
    this.front = run;
    this.draw();
  }

  /** Bring a run into sight, and let the keys begin there. */
  reveal(run) {
    const at = this.indexOf({ run });
    if (at < 0) return;
    this.active = at;
    const height = this.height();
    if (this.tops[at] < this.top || this.tops[at + 1] > this.top + height) {
      this.scrollTo(this.tops[at] - height / 2);
    }
    this.render();
  }

  /** The first item in sight and by how much it is scrolled out; null at the very top. */
  anchor() {
    if (this.top <= 0 || this.items.length === 0) return null;
    const at = this.at(this.top);
    return { ...this.keyOf(at), over: this.top - this.tops[at] };
  }

  /** Scroll to what `anchor` said. */
  restore(anchor) {
    this.scrollTo(this.topOf(anchor));
    this.render();
  }

  topOf(anchor) {
    const at = this.indexOf(anchor);
    return at < 0 ? this.top : this.tops[at] + anchor.over;
  }

  keyOf(at) {
    const item = this.items[at];
    if (item === undefined) return null;
    return item < 0 ? { gap: this.gaps.first[-1 - item] } : { run: this.rows.run[item] };
  }

  indexOf(key) {
    if (key === null) return -1;
    const item = key.run !== undefined ? this.rows.indexOf(key.run) : -1 - this.gaps.first.indexOf(key.gap);
    return key.run !== undefined && item < 0 ? -1 : this.items.indexOf(item);
  }

  /** Index of the item at a height. */
  at(height) {
    let low = 0;
    let high = this.items.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= height) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // of the rows: the heading covers the upper end
  height() {
    return Math.max(ROW, this.root.clientHeight - this.body.offsetTop);
  }

  scrollTo(top) {
    this.top = Math.max(0, Math.min(top, this.tops.at(-1) - this.height()));
    this.root.scrollTop = this.top;
  }

  scrolled() {
    if (this.root.clientHeight === 0) return; // hidden: nobody has scrolled
    this.top = this.root.scrollTop;
    this.draw();
  }

  // also when it comes back from being hidden, which forgets where it was
  resized() {
    if (this.root.clientHeight === 0) return;
    this.root.scrollTop = this.top;
    if (this.left && document.activeElement === document.body) this.root.focus({ preventScroll: true });
    this.left = false;
    this.draw();
  }

  render() {
    const first = Math.max(0, this.at(this.top) - BEYOND);
    const last = Math.min(this.items.length - 1, this.at(this.top + this.height()) + BEYOND);
    this.slide(first, last);
    this.lines.forEach((line, at) => this.fill(line, first + at));
    const active = this.lines[this.active - first];
    if (active !== undefined) this.root.setAttribute("aria-activedescendant", active.node.id);
    else this.root.removeAttribute("aria-activedescendant");
  }

  // a line that stays in sight stays the line of its item
  slide(first, last) {
    const { lines, spare, body } = this;
    const leave = (line) => { line.node.remove(); spare.push(line); };
    for (; lines.length > 0 && this.first < first; this.first += 1) leave(lines.shift());
    while (lines.length > 0 && this.first + lines.length - 1 > last) leave(lines.pop());
    if (lines.length === 0) this.first = first;
    while (this.first > first) {
      lines.unshift(spare.pop() ?? new Line(this.chosen !== null));
      body.prepend(lines[0].node);
      this.first -= 1;
    }
    while (this.first + lines.length <= last) {
      lines.push(spare.pop() ?? new Line(this.chosen !== null));
      body.append(lines.at(-1).node);
    }
  }

  fill(line, index) {
    const item = this.items[index];
    line.node.classList.toggle("active", index === this.active);
    const run = item < 0 ? null : this.rows.run[item];
    if (this.chosen !== null) line.pick(run === null ? null : this.chosen.has(run));
    const said = `${this.version} ${index} ${run !== null && run === this.front}`;
    if (line.said === said) return;
    line.said = said;
    line.place(index, this.tops[index]);
    if (run === null) line.showGap(this.gaps.words(-1 - item));
    else line.showRun(this.rows, item, run === this.front, href({ ...inView(this.target), run, follow: undefined }));
  }

  press(event) {
    if (this.chosen !== null && event.target === this.root && this.pressedToChoose(event)) {
      event.preventDefault();
      return;
    }
    if (event.target !== this.root || event.ctrlKey || event.altKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.height() / ROW) - 1);
    const steps = { ...STEPS, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (steps !== undefined) this.move(this.active + steps);
    else if (event.key === "Enter") {
      this.left = true;
      this.choose(this.active);
    }
    else return;
    event.preventDefault();
  }

  // whether the key was one that chooses runs
  pressedToChoose(event) {
    const { key, shiftKey } = event;
    if (event.altKey || event.metaKey) return false;
    if (event.ctrlKey) {
      if (key === "a") this.chosen.all(true);
      return key === "a";
    }
    if (key === " ") this.pick(this.active, shiftKey);
    else if (key === "Escape" && this.chosen.size > 0) this.chosen.clear();
    else if (shiftKey && key in STEPS) {
      if (!this.chosen.has(this.runAt(this.active))) this.pick(this.active, false);
      this.move(this.active + STEPS[key]);
      this.pick(this.active, true);
    }
    else return false;
    return true;
  }

  runAt(index) {
    const item = this.items[index];
    return item === undefined || item < 0 ? null : this.rows.run[item];
  }

  /** Choose the run of an item, or let go of it; `range`: all from the last one on. */
  pick(index, range) {
    const run = this.runAt(index);
    const from = range && this.chosen.pivot !== null ? this.indexOf({ run: this.chosen.pivot }) : -1;
    if (from < 0) {
      if (run !== null) this.chosen.toggle(run);
      return;
    }
    const between = this.items.subarray(Math.min(from, index), Math.max(from, index) + 1);
    this.chosen.toggle(run, Array.from(between.filter((item) => item >= 0), (item) => this.rows.run[item]));
  }

  move(to) {
    if (this.items.length === 0) return;
    this.active = Math.max(0, Math.min(to, this.items.length - 1));
    const [above, below] = [this.tops[this.active], this.tops[this.active + 1] - this.height()];
    if (this.top > above) this.scrollTo(above);
    else if (this.top < below) this.scrollTo(below);
    this.render();
  }

  clicked(event) {
    const line = event.target.closest("[data-index]");
    if (line !== null && event.target.closest(".pick") !== null) {
      this.active = Number(line.dataset.index);
      this.pick(this.active, event.shiftKey);
      this.render(); // also when nothing has changed: the browser has marked the box
      return;
    }
    if (line === null || !isOurs(event) || String(getSelection())) return;
    event.preventDefault();
    this.active = Number(line.dataset.index);
    this.choose(this.active);
  }

  choose(at) {
    const item = this.items[at];
    if (item === undefined || item < 0) return;
    this.locate(this.rows.run[item]);
    this.open(this.rows.run[item]);
  }
}

let lines = 0;

/** One line of the table, used again for other rows as they come into sight. */
class Line {
  /** @param picks whether its run can be chosen */
  constructor(picks) {
    this.cells = COLUMNS.map(({ key, right }) => element("span", { role: "gridcell", class: right ? `right of-${key}` : `of-${key}` }));
    this.link = element("a", { tabindex: "-1" });
    this.cells[COLUMNS.findIndex(({ key }) => key === "run")].append(this.link);
    this.gap = element("span", { role: "gridcell", class: "words", "aria-colspan": COLUMNS.length });
    this.box = element("input", { type: "checkbox", tabindex: "-1" });
    this.picking = picks ? [element("span", { role: "gridcell", class: "pick" }, [this.box])] : [];
    this.node = element("div", { role: "row", class: "row", id: `runs-line-${lines++}` });
    this.shown = null;
  }

  place(index, top) {
    const { node } = this;
    node.dataset.index = index;
    node.ariaRowIndex = String(index + 2);
    node.style.top = `${top}px`;
  }

  /** Whether its run is chosen; null: it is of no run. */
  pick(on) {
    this.box.checked = on === true;
    this.node.classList.toggle("picked", on === true);
    if (on !== null) this.node.setAttribute("aria-selected", String(on));
    else this.node.removeAttribute("aria-selected");
  }

  showGap([runs, why]) {
    this.become("gap", [this.gap]);
    this.node.removeAttribute("aria-current");
    this.gap.replaceChildren(element("b", {}, [runs]), ` ${why}`);
    this.gap.title = `${runs}: ${why}`;
  }

  showRun(rows, row, front, link) {
    this.become("run", [...this.picking, ...this.cells]);
    if (front) this.node.setAttribute("aria-current", "true");
    else this.node.removeAttribute("aria-current");
    COLUMNS.forEach(({ key, show }, at) => {
      const value = rows.columns[key][row];
      const cell = this.cells[at];
      if (key === "run") {
        this.link.textContent = show(value);
        this.link.href = link;
        this.box.setAttribute("aria-label", `Choose run ${show(value)}`);
      } else if (key === "verdict") {
        if (cell.dataset.value !== String(value)) cell.replaceChildren(badge(value));
        cell.dataset.value = value;
      } else {
        cell.textContent = show(value);
        cell.classList.toggle("some", value > 0);
      }
    });
  }

  become(kind, cells) {
    if (this.shown === kind) return;
    this.shown = kind;
    this.node.classList.toggle("gap", kind === "gap");
    this.node.replaceChildren(...cells);
  }
}

/** "213 of 10,000 runs" */
export function counted(matching, total) {
  return matching === total ? `${count(total)} runs` : `${count(matching)} of ${count(total)} runs`;
}
