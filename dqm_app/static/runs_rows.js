// The rows of the run table in typed arrays, one entry per run, by ascending run. The server sends
// all of them once, then what has changed since; see dqm_app/views/runs.py.

import { count, date, duration } from "./format.js";
import { words, WORDS } from "./verdicts.js";

const DAY = 86_400;
const TIMES = new Set(["start", "ingested_at"]); // 0 is unknown
const COUNTS = new Set(["events", "pedestal_events", "absent_modules", "bad_pixels"]); // so is -1
const RANKS = new Map([...WORDS.keys()].reverse().map((status, rank) => [status, rank])); // the worst is the highest

/** The columns: key, heading, unit, what it means, value as text; numbers stand at the right. */
export const COLUMNS = [
  { key: "verdict", label: "Verdict", unit: "", title: "The worst of what the checks say", show: (status) => words(status).word },
  { key: "run", label: "Run", unit: "", title: "Run number", show: String, right: true },
  { key: "start", label: "Start", unit: "UTC", title: "Start of the run, else its first event", show: time },
  { key: "duration", label: "Duration", unit: "s", title: "From the start to the last event", show: (value) => duration(known(value)), right: true },
  { key: "events", label: "Events", unit: "", title: "Events of all classes", show: number, right: true },
  { key: "pedestal_events", label: "Pedestals", unit: "", title: "Pedestal events", show: number, right: true },
  { key: "absent_modules", label: "Absent", unit: "modules", title: "Modules that were not read out", show: number, right: true },
  { key: "bad_pixels", label: "Bad", unit: "pixels", title: "Pixels flagged bad in more than 50 % of the events, in any gain or event class", show: number, right: true },
  { key: "ingested_at", label: "Stored", unit: "UTC", title: "When the run was stored here", show: time },
];

export class Rows {
  /** @param columns typed arrays by name, NaN where a value is not known */
  constructor(camera, columns, nightBegins) {
    this.camera = camera;
    this.columns = columns;
    this.run = columns.run;
    this.start = columns.start;
    this.length = columns.run.length;
    this.nightBegins = nightBegins;
    this.night = Float64Array.from(columns.start, (start) => Math.floor((start - nightBegins) / DAY));
    this.orders = new Map();
  }

  /** From the tags of "runs-table" and "runs-news". */
  static read(table, news) {
    const all = decoded(table.columns);
    const changed = news !== null && news.base === table.number;
    const columns = changed ? merged(all, decoded(news.columns), news.gone) : all;
    return new Rows(table.camera, columns, table.night_begins);
  }

  /** Row of the first run that is not below *run*; `length` when all are. */
  place(run) {
    return lowerBound(this.run, run);
  }

  /** Row of *run*, or -1. */
  indexOf(run) {
    const at = this.place(run);
    return this.run[at] === run ? at : -1;
  }

  /** Rows sorted by a column; those without a value are last, equal ones by descending run. */
  order(key, down) {
    const name = `${key} ${down}`;
    if (!this.orders.has(name)) this.orders.set(name, this.sorted(key, down));
    return this.orders.get(name);
  }

  sorted(key, down) {
    const rows = Uint32Array.from({ length: this.length }, (_, row) => row).reverse();
    if (key === "run") return down ? rows : rows.reverse();
    const column = this.columns[key];
    const values = key === "verdict" ? Float64Array.from(column, (status) => RANKS.get(status) ?? 0) : column;
    const sign = down ? -1 : 1;
    const order = rows.filter((row) => values[row] === values[row]);
    order.sort((one, other) => sign * (values[one] - values[other]) || other - one);
    const all = new Uint32Array(this.length);
    all.set(order);
    all.set(rows.filter((row) => values[row] !== values[row]), order.length);
    return all;
  }
}

/** Index of the first of ascending *values* that is not below *value*. */
export function lowerBound(values, value) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** An object from what Bokeh made of one: a Map or an object. */
export function plain(value) {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]));
  return value;
}

function decoded(columns) {
  return Object.fromEntries(Object.entries(columns).map(([name, values]) => {
    const decoded = Float64Array.from(values);
    if (TIMES.has(name)) for (let at = 0; at < decoded.length; at += 1) if (decoded[at] === 0) decoded[at] = NaN;
    if (COUNTS.has(name)) for (let at = 0; at < decoded.length; at += 1) if (decoded[at] < 0) decoded[at] = NaN;
    return [name, decoded];
  }));
}

/** *all* without the runs *gone*, and with those *changed* in their places. */
function merged(all, changed, gone) {
  const replaced = new Set([...gone, ...changed.run]);
  const picks = []; // [columns, row]
  let next = 0;
  for (let row = 0; row <= all.run.length; row += 1) {
    const run = row < all.run.length ? all.run[row] : Infinity;
    while (next < changed.run.length && changed.run[next] <= run) picks.push([changed, next++]);
    if (row < all.run.length && !replaced.has(run)) picks.push([all, row]);
  }
  return Object.fromEntries(Object.keys(all).map((name) =>
    [name, Float64Array.from(picks, ([columns, row]) => columns[name][row])]));
}

function known(value) {
  return Number.isFinite(value) ? value : null;
}

function number(value) {
  return count(known(value));
}

function time(seconds) {
  return date(known(seconds)).slice(0, 16);
}
