// The calendar of nights, the newest month first, coloured by the worst verdict of each night.

import { count, plural } from "./format.js";
import { element, text } from "./html.js";
import { day } from "./runs_filter.js";
import { words, WORDS } from "./verdicts.js";

const WEEK = 7;
const MOST_MONTHS = 240; // with runs; clocks that have gone mad could make many more
const MONTH_NAME = new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric", timeZone: "UTC" });
const DAY_NAME = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
const WEEKDAYS = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];
const RANK = new Map([...WORDS.keys()].map((status, at) => [status, at])); // the worst first

/** What is known of each night, by its number: runs, verdicts, and what is missing. */
export function nightsOf(rows, gaps) {
  const nights = new Map();
  const of = (night) => {
    if (!nights.has(night)) {
      nights.set(night, {
        night, runs: 0, unlisted: 0, verdicts: new Map(), worst: -1,
        first: null, last: null, within: 0, before: 0,
      });
    }
    return nights.get(night);
  };
  for (let row = 0; row < rows.length; row += 1) {
    if (!Number.isFinite(rows.night[row])) continue;
    const found = of(rows.night[row]);
    const status = rows.columns.verdict[row];
    found.worst = found.runs === 0 || RANK.get(status) < RANK.get(found.worst) ? status : found.worst;
    found.runs += 1;
    found.unlisted += gaps.unlisted.has(rows.run[row]) ? 1 : 0;
    found.verdicts.set(status, (found.verdicts.get(status) ?? 0) + 1);
    found.first ??= rows.run[row];
    found.last = rows.run[row];
  }
  for (let gap = 0; gap < gaps.length; gap += 1) {
    if (gaps.place(rows, gap) < 0) continue;
    const place = gaps.night(rows, gap);
    if (place !== null) of(place.night)[place.within ? "within" : "before"] += gaps.size(gap);
  }
  return nights;
}

export class Calendar {
  /** @param choose called with the night that was pressed */
  constructor({ choose }) {
    this.choose = choose;
    this.months = element("div", {
      class: "months", role: "group", "aria-label": "Nights, arrows move between them",
      keydown: (event) => this.press(event),
      click: (event) => this.clicked(event),
      focusin: (event) => this.focused(event.target),
    });
    this.root = element("section", { class: "runs-calendar", "aria-label": "Calendar of nights" }, [
      element("h2", { title: "From noon to noon UTC, by the day on which the night begins; coloured by the worst verdict" }, [
        "Nights", element("small", {}, ["noon to noon UTC, worst verdict"]),
      ]),
      this.months,
    ]);
    this.totals = new Map(); // of the months
    this.cells = new Map();
    this.built = "";
    this.chosen = null;
  }

  /** Show the `nights`; `listed`: against a run list; `gaps`: with what is missing. */
  show(nights, listed, gaps) {
    [this.nights, this.listed, this.gaps] = [nights, listed, gaps];
    const months = monthsOf(nights.keys());
    const key = JSON.stringify([this.listed, months]);
    if (key !== this.built) this.build(months);
    this.built = key;
    for (const [night, cell] of this.cells) this.fill(cell, night, nights.get(night));
    const totals = new Map();
    for (const { night, runs } of nights.values()) totals.set(monthOf(night), (totals.get(monthOf(night)) ?? 0) + runs);
    for (const [month, total] of this.totals) text(total, plural(totals.get(month) ?? 0, "run"));
  }

  /** Mark the `chosen` night, if any, and those that have none of the `matching` nights' runs. */
  mark(matching, chosen) {
    for (const [night, cell] of this.cells) {
      cell.classList.toggle("out", this.nights.get(night)?.runs > 0 && !matching.has(night));
      const pressed = String(night === chosen);
      if (cell.getAttribute("aria-pressed") !== pressed) cell.setAttribute("aria-pressed", pressed);
    }
    const first = this.cells.get(chosen) ?? this.reachable ?? [...this.cells.values()].findLast((cell) => !cell.disabled);
    this.reach(first ?? null);
    if (chosen !== this.chosen && !this.months.contains(document.activeElement)) {
      this.cells.get(chosen)?.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    this.chosen = chosen;
  }

  build(months) {
    this.cells.clear();
    this.totals.clear();
    this.reachable = null;
    const parts = [];
    let newer = null;
    for (const month of months.slice(0, MOST_MONTHS)) {
      if (newer !== null && newer - month > 2) {
        parts.push(element("p", { class: "pause" }, [`${count(newer - month - 1)} months without runs`]));
      } else if (newer !== null && newer - month === 2) {
        parts.push(this.month(month + 1));
      }
      parts.push(this.month(month));
      newer = month;
    }
    if (months.length > MOST_MONTHS) parts.push(element("p", { class: "pause" }, ["Older nights are in the table only"]));
    this.months.replaceChildren(...parts);
  }

  month(month) {
    const first = Math.round(Date.UTC(Math.floor(month / 12), month % 12, 1) / 86_400_000);
    const next = Math.round(Date.UTC(Math.floor((month + 1) / 12), (month + 1) % 12, 1) / 86_400_000);
    const cells = Array.from({ length: next - first }, (_, at) => {
      const cell = element("button", { type: "button", class: "night", tabindex: "-1", "data-night": first + at }, [
        element("span", { class: "day" }, [String(at + 1)]),
        element("span", { class: "missing" }), element("span", { class: "runs" }),
      ]);
      this.cells.set(first + at, cell);
      return cell;
    });
    cells[0].style.gridColumn = weekday(first) + 1;
    this.totals.set(month, element("small"));
    return element("section", { class: "month", "aria-label": MONTH_NAME.format(first * 86_400_000) }, [
      element("h3", {}, [MONTH_NAME.format(first * 86_400_000), this.totals.get(month)]),
      element("div", { class: "days" }, [
        ...WEEKDAYS.map((name) => element("span", { class: "weekday", "aria-hidden": "true" }, [name])), ...cells,
      ]),
    ]);
  }

  fill(cell, night, found) {
    const signature = JSON.stringify([found, found && [...found.verdicts], this.gaps]);
    if (cell.dataset.said === signature) return;
    cell.dataset.said = signature;
    const [, missing, runs] = cell.children;
    const held = found?.runs ?? 0;
    const absent = this.gaps ? found?.within ?? 0 : 0;
    cell.disabled = found === undefined;
    const incomplete = this.listed && absent > 0;
    const { sign } = words(found?.worst);
    cell.dataset.status = held === 0 && !incomplete ? "" : words(found.worst).key;
    const listed = held - (found?.unlisted ?? 0);
    cell.classList.toggle("incomplete", incomplete);
    missing.textContent = incomplete ? sign : absent === 0 ? "" : `−${few(absent)}`;
    runs.textContent = incomplete ? `${few(listed)}/${few(listed + absent)}` : held === 0 ? "" : `${sign} ${few(held)}`;
    cell.title = this.describe(night, found);
    cell.ariaLabel = cell.title;
  }

  describe(night, found) {
    const name = `Night of ${DAY_NAME.format(night * 86_400_000)}`;
    if (found === undefined) return `${name}: no runs`;
    const { runs, first, last, within, before, unlisted, verdicts } = found;
    const numbers = first === last ? `${first}` : `${first}–${last}`;
    const lines = [runs === 0 ? `${name}: no runs stored` : `${name}: ${plural(runs, "run")} (${numbers})`];
    if (runs > 0) lines.push([...WORDS].filter(([status]) => verdicts.has(status)).map(([status, { word }]) => `${count(verdicts.get(status))} ${word}`).join(", "));
    if (this.listed) lines.push(`${count(runs - unlisted)} of ${plural(runs - unlisted + within, "listed run")}${unlisted ? `, ${count(unlisted)} not on the list` : ""}`);
    else if (within > 0) lines.push(`${plural(within, "run number is", "run numbers are")} missing`);
    if (before > 0) lines.push(`${plural(before, "run number is", "run numbers are")} missing between it and its neighbour`);
    return lines.join("\n");
  }

  clicked(event) {
    const cell = event.target.closest("[data-night]");
    if (cell !== null && !cell.disabled) this.choose(Number(cell.dataset.night));
  }

  // one of the nights is reached by the Tab key, the others from there
  reach(cell) {
    if (this.reachable === cell) return;
    this.reachable?.setAttribute("tabindex", "-1");
    cell?.setAttribute("tabindex", "0");
    this.reachable = cell;
  }

  focused(cell) {
    if (cell.dataset.night !== undefined) this.reach(cell);
  }

  press(event) {
    const here = Number(event.target.dataset.night);
    if (Number.isNaN(here) || event.ctrlKey || event.altKey || event.metaKey) return;
    const nights = [...this.nights.keys()].filter((night) => this.cells.has(night)).sort((one, other) => one - other);
    const at = nights.indexOf(here);
    const later = (least) => nights.find((night) => night >= here + least) ?? nights.at(-1);
    const earlier = (least) => nights.findLast((night) => night <= here - least) ?? nights[0];
    const next = {
      ArrowRight: () => nights[at + 1], ArrowLeft: () => nights[at - 1],
      ArrowDown: () => later(WEEK), ArrowUp: () => earlier(WEEK),
      PageDown: () => earlier(28), PageUp: () => later(28), // as they lie: newer months above
      Home: () => nights[0], End: () => nights.at(-1),
    }[event.key]?.();
    if (next === undefined) return;
    event.preventDefault();
    this.cells.get(next).focus();
  }
}

/** Months (12 × year + month) of nights, the newest first. */
function monthsOf(nights) {
  const months = new Set([...nights].map(monthOf));
  months.delete(null);
  return [...months].sort((one, other) => other - one);
}

// null beyond the years that are written with four digits
function monthOf(night) {
  const [, year, month] = /^(\d{4})-(\d\d)/.exec(day(night)) ?? [];
  return year === undefined ? null : 12 * Number(year) + Number(month) - 1;
}

function weekday(night) {
  return (((night + 3) % WEEK) + WEEK) % WEEK; // 1970-01-01 was a Thursday
}

// a cell has room for three digits
function few(number) {
  return number < 1000 ? String(number) : `${Math.min(99, Math.floor(number / 1000))}k`;
}
