// Which runs of the table are chosen, to be taken away together; and how they are chosen.

import { element, keep, recall } from "./html.js";

const KEPT = "dqm-runs-chosen"; // in the tab's storage

export class Chosen {
  /** @param changed called when other runs are chosen */
  constructor({ changed }) {
    this.changed = changed;
    this.camera = null;
    this.runs = new Set();
    this.pivot = null; // the run from which a range goes
    this.box = element("input", {
      type: "checkbox", tabindex: "-1", "aria-label": "Choose all that match",
      title: "Choose all runs that match  Ctrl A", click: (event) => this.all(event.target.checked),
    });
  }

  get size() {
    return this.runs.size;
  }

  has(run) {
    return this.runs.has(run);
  }

  /** The rows that are there now, and those that match; what is not stored any more is let go of. */
  follow(rows, matching) {
    if (rows.camera !== this.camera) {
      const kept = recall(KEPT);
      this.runs = new Set(kept?.camera === rows.camera ? kept.runs : []);
      this.pivot = null;
    }
    [this.camera, this.rows, this.matching] = [rows.camera, rows, matching];
    const gone = [...this.runs].filter((run) => rows.indexOf(run) < 0);
    for (const run of gone) this.runs.delete(run);
    this.tell();
  }

  /** Choose a run or let go of it; with *range* all *runs* from the last one on, which lie between. */
  toggle(run, range = null) {
    const on = range === null ? !this.has(run) : true;
    for (const one of range ?? [run]) this.set(one, on);
    if (range === null) this.pivot = run;
    this.tell();
  }

  all(on) {
    for (const row of this.matching) this.set(this.rows.run[row], on);
    this.tell();
  }

  clear() {
    this.runs.clear();
    this.pivot = null;
    this.tell();
  }

  /** In ascending order. */
  list() {
    return [...this.runs].sort((one, other) => one - other);
  }

  /** Of their original files together. */
  bytes() {
    return this.list().reduce((sum, run) => sum + (this.rows.columns.size[this.rows.indexOf(run)] || 0), 0);
  }

  set(run, on) {
    if (on) this.runs.add(run);
    else this.runs.delete(run);
  }

  tell() {
    const found = this.matching.reduce((sum, row) => sum + (this.has(this.rows.run[row]) ? 1 : 0), 0);
    this.box.checked = found > 0 && found === this.matching.length;
    this.box.indeterminate = found > 0 && found < this.matching.length;
    keep(KEPT, { camera: this.camera, runs: this.list() });
    this.changed();
  }
}
