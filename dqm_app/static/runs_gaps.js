// Runs that are not stored, and what is known about why; see dqm_app/run_gaps.py.

import { count, plural } from "./format.js";
import { asksFor } from "./runs_filter.js";

const USUAL = 0.25; // missing numbers per stored run
const UNKNOWN_NIGHT = -(2 ** 31);
const WORDS = {
  missing: "not here",
  quarantine: "in quarantine",
  deleted: "deleted by hand",
  retried: "failed, will be tried again",
};

export class Gaps {
  /** @param told what the tags of "runs-gaps" say; null: nothing is known yet */
  constructor(told = null) {
    this.camera = told?.camera ?? null;
    this.first = told?.first ?? [];
    this.last = told?.last ?? [];
    this.reason = told?.reason ?? [];
    this.ofNight = told?.night ?? [];
    this.reasons = told?.reasons ?? [];
    this.listed = told?.listed ?? null; // how many runs the list has
    this.unlisted = new Set(told?.unlisted ?? []);
    this.problem = told?.problem ?? "";
    this.watched = told?.watched ?? false;
    this.length = this.first.length;
  }

  /** Where a gap is among the rows, as the row after it; -1 when one of its runs has come meanwhile. */
  place(rows, gap) {
    const after = rows.place(this.first[gap]);
    return rows.run[after] <= this.last[gap] ? -1 : after;
  }

  /** The night of a gap, and whether it lies within it or before it; null when nobody knows. */
  night(rows, gap) {
    if (this.ofNight[gap] !== UNKNOWN_NIGHT) return { night: this.ofNight[gap], within: true };
    const after = this.place(rows, gap);
    const [older, newer] = [rows.night[after - 1], rows.night[after]];
    if (newer === undefined) return Number.isFinite(older) ? { night: older, within: false } : null;
    return Number.isFinite(newer) ? { night: newer, within: newer === older } : null;
  }

  size(gap) {
    return this.last[gap] - this.first[gap] + 1;
  }

  /** Number of runs that are not here. */
  get total() {
    let total = 0;
    for (let gap = 0; gap < this.length; gap += 1) total += this.size(gap);
    return total;
  }

  /** Whether they are worth showing unasked: not where numbers are left out all the time. */
  few(rows) {
    return this.listed !== null || this.total <= USUAL * rows.length;
  }

  /** "Runs 6311–6313: not here" in two parts. */
  words(gap) {
    const [first, last] = [this.first[gap], this.last[gap]];
    const [kind, reason] = this.reasons[this.reason[gap]];
    const listed = kind === "missing" && this.listed !== null ? "on the list, not here" : WORDS[kind];
    return [
      first === last ? `Run ${first}` : `Runs ${first}–${last} (${count(this.size(gap))})`,
      reason ? `${listed}: ${reason}` : listed,
    ];
  }

  /** What is missing in all, in a sentence; empty when nothing is. */
  summary() {
    if (this.listed !== null) {
      const stored = this.unlisted.size ? ` ${plural(this.unlisted.size, "stored run is", "stored runs are")} not on it.` : "";
      const missing = this.total === 0 ? "All are here." : `${count(this.total)} not here.`;
      return `${plural(this.listed, "run is", "runs are")} on the list. ${missing}${stored}`;
    }
    return this.total === 0 ? "" : `${plural(this.total, "run number is", "run numbers are")} missing.`;
  }
}

/** Matching rows and the gaps among them: a row, or -1 - gap; by ascending run, like *matching*.
 *
 * A gap is shown between two runs that follow each other and both match, and when it is asked for.
 */
export function withGaps(rows, matching, all, gaps, filter) {
  const shown = [];
  for (let gap = 0; gap < gaps.length; gap += 1) {
    const after = gaps.place(rows, gap);
    if (after < 0) continue;
    const beside = all[after - 1] !== 0 && all[after] !== 0; // beyond the ends there is nothing that could not match
    const asked = asksFor(filter, gaps.first[gap], gaps.last[gap], gaps.night(rows, gap)?.night);
    if (beside || asked) shown.push(gap);
  }
  const items = new Int32Array(matching.length + shown.length);
  let [at, next] = [0, 0];
  const places = Int32Array.from(shown, (gap) => gaps.place(rows, gap));
  for (const row of matching) {
    while (next < shown.length && places[next] <= row) items[at++] = -1 - shown[next++];
    items[at++] = row;
  }
  while (next < shown.length) items[at++] = -1 - shown[next++];
  return items;
}
