// Which runs the table shows, and in which order; how the address says so:
//
//     verdict.bad.warning from.2024-05-01 until.2024-05-31 events.1000- night.2024-05-03
//     sort.events.down gaps.off text.6000-6100
//
// Each part may be missing; the text is the last one, since it may have blanks.

import { WORDS } from "./verdicts.js";
import { COLUMNS } from "./runs_rows.js";

const DAY = 86_400;
const STATUS = new Map([...WORDS].map(([status, { key }]) => [key, status]));
const KEYS = COLUMNS.map(({ key }) => key);
const LONGEST = 200;

export const NOTHING = Object.freeze({
  text: "", verdicts: Object.freeze([]), from: "", until: "", low: null, high: null, night: null,
  by: "run", down: true, gaps: null, // as it fits: see Gaps.few
});

/** A filter from an address; `wrong` are the parts that mean nothing. */
export function parse(source) {
  const filter = { ...NOTHING };
  const wrong = [];
  const found = /(?:^| )text\./.exec(source);
  if (found !== null) filter.text = source.slice(found.index + found[0].length).slice(0, LONGEST).trim();
  const parts = (found === null ? source : source.slice(0, found.index)).split(" ").filter(Boolean);
  for (const part of parts) {
    const [key, ...values] = part.split(".");
    if (!Object.hasOwn(READ, key) || !READ[key](filter, values)) wrong.push(part.slice(0, 40));
  }
  return { filter, wrong };
}

// each sets its part of the filter and tells whether it made sense
const READ = {
  verdict: (filter, keys) => {
    filter.verdicts = [...STATUS.keys()].filter((key) => keys.includes(key)).map((key) => STATUS.get(key));
    return keys.length > 0 && keys.every((key) => STATUS.has(key));
  },
  from: (filter, [day]) => isDay(day) && assign(filter, "from", day),
  until: (filter, [day]) => isDay(day) && assign(filter, "until", day),
  night: (filter, [day]) => isDay(day) && assign(filter, "night", dayNumber(day)),
  events: (filter, [limits]) => {
    const [, low, high] = /^(\d{0,12})-(\d{0,12})$/.exec(limits ?? "") ?? [];
    if (!low && !high) return false;
    filter.low = low ? Number(low) : null;
    filter.high = high ? Number(high) : null;
    return true;
  },
  sort: (filter, [key, direction]) => KEYS.includes(key) && ["up", "down"].includes(direction)
    && assign(filter, "by", key) && assign(filter, "down", direction === "down"),
  gaps: (filter, [state]) => ["on", "off"].includes(state) && assign(filter, "gaps", state === "on"),
};

function assign(filter, name, value) {
  filter[name] = value;
  return true;
}

/** The filter as the address says it; empty for all runs in their usual order. */
export function format(filter) {
  const { text, verdicts, from, until, low, high, night, by, down, gaps } = filter;
  const parts = [];
  if (verdicts.length) parts.push(["verdict", ...verdicts.map((status) => WORDS.get(status).key)].join("."));
  if (from) parts.push(`from.${from}`);
  if (until) parts.push(`until.${until}`);
  if (low !== null || high !== null) parts.push(`events.${low ?? ""}-${high ?? ""}`);
  if (night !== null) parts.push(`night.${day(night)}`);
  if (by !== NOTHING.by || down !== NOTHING.down) parts.push(`sort.${by}.${down ? "down" : "up"}`);
  if (gaps !== null) parts.push(gaps ? "gaps.on" : "gaps.off");
  if (text.trim()) parts.push(`text.${text.trim()}`);
  return parts.join(" ");
}

/** Whether runs are left out. */
export function isFiltering(filter) {
  return format({ ...filter, by: NOTHING.by, down: NOTHING.down, gaps: NOTHING.gaps }) !== "";
}

/** Which rows match: `all` of the filter, and `but` for its night; one byte per row. */
export function matches(rows, filter) {
  const { run, start, night, columns } = rows;
  const { find } = search(filter.text);
  const from = filter.from ? dayNumber(filter.from) * DAY : -Infinity;
  const until = filter.until ? (dayNumber(filter.until) + 1) * DAY : Infinity;
  const timed = filter.from !== "" || filter.until !== "";
  const low = filter.low ?? -Infinity;
  const high = filter.high ?? Infinity;
  const counted = filter.low !== null || filter.high !== null;
  const verdicts = filter.verdicts.length ? new Set(filter.verdicts) : null;
  const all = new Uint8Array(rows.length);
  const but = new Uint8Array(rows.length);
  for (let row = 0; row < rows.length; row += 1) {
    if (verdicts !== null && !verdicts.has(columns.verdict[row])) continue;
    if (timed && !(start[row] >= from && start[row] < until)) continue;
    if (counted && !(columns.events[row] >= low && columns.events[row] <= high)) continue;
    if (find !== null && !find(run[row], start[row])) continue;
    but[row] = 1;
    if (filter.night === null || night[row] === filter.night) all[row] = 1;
  }
  return { all, but };
}

/** Whether a gap from *first* to *last* is asked for by its numbers, or by its *night*. */
export function asksFor(filter, first, last, night) {
  const { verdicts, low, high, from, until } = filter;
  if (verdicts.length || low !== null || high !== null || from || until) return false;
  const { ranges } = search(filter.text);
  if (filter.night !== null && filter.night !== night) return false;
  if (filter.text.trim() === "") return filter.night !== null;
  return ranges.some(([lowest, highest]) => lowest <= last && highest >= first);
}

/** What a text looks for: words, each a number, a range of numbers, a month or a day. One of the
 * numbers must match, and one of the dates.
 *
 * `find(run, start)` is null for an empty text; `ranges` are the numbers named; `wrong` is the first
 * word that is none of these, or null.
 */
export function search(text) {
  const words = text.toLowerCase().replaceAll("–", "-").split(/[\s,;]+/).filter((word) => word && word !== "run" && word !== "runs");
  const dates = [];
  const numbers = [];
  const ranges = [];
  let wrong = null;
  for (const word of words) {
    const [, month, of] = /^((?:19|20)\d\d-(?:0[1-9]|1[0-2]))(?:-(\d{1,2}))?-?$/.exec(word) ?? [];
    const [, first, last] = /^(\d{1,15})-(\d{0,15})$/.exec(word) ?? [];
    if (month !== undefined) {
      dates.push(during(month, of));
    } else if (first !== undefined) {
      const range = [Number(first), last === "" ? Infinity : Number(last)];
      ranges.push(range);
      numbers.push((run) => run >= range[0] && run <= range[1]);
    } else if (/^\d{1,15}$/.test(word)) {
      ranges.push([Number(word), Number(word)]);
      numbers.push((run) => String(run).includes(word));
    } else {
      wrong ??= word;
    }
  }
  const any = (tests, value) => tests.length === 0 || tests.some((test) => test(value));
  let find = (run, start) => any(numbers, run) && any(dates, start);
  if (words.length === 0) find = null;
  else if (numbers.length + dates.length === 0) find = () => false;
  return { find, ranges, wrong };
}

// "2024-05" or "2024-05-03"; "2024-05-0" on the way there is the days from 1 to 9
function during(month, of) {
  const first = dayNumber(`${month}-01`);
  const starts = Array.from({ length: 31 }, (_, at) => first + at).filter((at) => {
    const text = day(at);
    return text.startsWith(`${month}-`) && (of === undefined || text.slice(8).startsWith(of));
  });
  const low = starts[0] * DAY;
  const high = (starts.at(-1) + 1) * DAY;
  return (start) => start >= low && start < high;
}

/** Whether this is a day of the calendar, YYYY-MM-DD. */
export function isDay(text) {
  return /^\d{4}-\d\d-\d\d$/.test(text ?? "") && day(dayNumber(text)) === text;
}

/** Days since 1970-01-01. */
export function dayNumber(text) {
  return Math.floor(Date.parse(`${text}T00:00Z`) / (1000 * DAY));
}

/** The day of such a number as YYYY-MM-DD; empty when it is none. */
export function day(at) {
  const moment = new Date(at * DAY * 1000);
  return Number.isNaN(moment.getTime()) ? "" : moment.toISOString().slice(0, 10);
}
