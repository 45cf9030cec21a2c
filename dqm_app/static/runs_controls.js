// The filters above the run table. They show a filter and say when somebody has changed it.

import { count, plural } from "./format.js";
import { busyWhile, element, text } from "./html.js";
import { day, format, isDay, isFiltering, NOTHING, search } from "./runs_filter.js";
import { mark, WORDS } from "./verdicts.js";

export class Controls {
  /**
   * @param changed called with the new filter
   * @param gaps called to show or hide what is missing
   * @param save called to save what the table shows
   */
  constructor({ changed, gaps, save }) {
    this.changed = changed;
    this.filter = NOTHING;
    this.text = element("input", {
      id: "runs-text", type: "search", class: "entry words", autocomplete: "off", spellcheck: "false",
      placeholder: "6310, 6000-6100, 2024-05", "aria-label": "Runs, ranges or dates", "aria-describedby": "runs-wrong",
      title: "Numbers or parts of them, ranges, months or days (UTC), separated by blanks  /",
      input: () => this.change({ text: this.text.value }),
    });
    this.verdicts = new Map([...WORDS].map(([status, { word, meaning }]) => {
      const number = element("span", { class: "number" });
      const button = element("button", {
        type: "button", title: meaning, click: () => this.toggle(status),
      }, [mark(status), element("span", { class: "word" }, [word]), number]);
      return [status, { button, number, word }];
    }));
    // text, since the entry of the browser writes dates in the order of its country
    const dates = (name, label) => element("input", {
      type: "text", class: "entry date", maxlength: "10", autocomplete: "off", placeholder: "YYYY-MM-DD",
      "aria-label": `${label}, YYYY-MM-DD`, title: `${label}: start of the run, UTC; this day included`,
      input: (event) => this.date(name, event.target),
    });
    [this.from, this.until] = [dates("from", "From"), dates("until", "Until")];
    const limits = (name, label) => element("input", {
      type: "number", class: "entry limit", min: "0", step: "1", placeholder: label, "aria-label": `Events, ${label}`,
      title: `Events, ${label}`,
      input: (event) => this.limit(name, event.target),
    });
    [this.low, this.high] = [limits("low", "at least"), limits("high", "at most")];
    this.gaps = element("button", {
      type: "button", title: "Show which runs are missing: in the calendar, and in the table while it is sorted by run",
      click: gaps,
    }, ["Gaps"]);
    this.night = element("button", { type: "button", class: "chosen", title: "Let go of this night", click: () => this.change({ night: null }) });
    this.count = element("span", { class: "count", role: "status" });
    this.missing = element("span", { class: "missing" });
    this.wrong = element("span", { class: "wrong", id: "runs-wrong", role: "status" });
    this.clear = element("button", { type: "button", title: "All runs again", click: () => this.reset() }, ["Clear"]);
    this.save = element("button", { type: "button", title: "Save the matching runs in this order as a CSV file", click: () => busyWhile(this.save, save) }, ["CSV"]);
    const group = (label, children) => element("span", { class: "group", role: "group", "aria-label": label }, children);
    this.root = element("div", { class: "runs-controls", role: "search", "aria-label": "Filter the runs" }, [
      this.text,
      group("Verdict", [...this.verdicts.values()].map(({ button }) => button)),
      group("Date", [this.from, "–", this.until]),
      group("Events", [element("span", { class: "label" }, ["Events"]), this.low, "–", this.high]),
      this.wrong,
    ]);
    // stands above the table
    this.result = element("div", { class: "runs-result" }, [
      this.count, this.night, this.clear, this.missing, element("span", { class: "end" }, [this.gaps, this.save]),
    ]);
  }

  /**
   * Show a filter and what it leaves.
   *
   * @param numbers runs of each verdict
   * @param gaps whether they are shown
   * @param counted, missing, problems texts
   */
  show(filter, { numbers, gaps, counted, missing, problems }) {
    this.filter = filter;
    for (const [entry, value] of [
      [this.text, filter.text], [this.from, filter.from], [this.until, filter.until],
      [this.low, filter.low ?? ""], [this.high, filter.high ?? ""],
    ]) {
      // what is being typed stays as it is typed
      if (entry !== document.activeElement && entry.value !== String(value)) entry.value = value;
    }
    for (const [status, { button, number, word }] of this.verdicts) {
      const runs = numbers.get(status) ?? 0;
      button.setAttribute("aria-pressed", String(filter.verdicts.includes(status)));
      button.setAttribute("aria-label", `${word}: ${plural(runs, "run")}`);
      button.classList.toggle("none", runs === 0);
      text(number, count(runs));
    }
    this.gaps.setAttribute("aria-pressed", String(gaps));
    this.night.hidden = filter.night === null;
    if (filter.night !== null) text(this.night, `Night ${day(filter.night)} ✕`);
    this.clear.hidden = format(filter) === "";
    this.result.classList.toggle("filtering", isFiltering(filter));
    text(this.count, counted);
    text(this.missing, missing);
    const { wrong } = search(filter.text);
    this.refuse(this.text, wrong !== null);
    const words = wrong === null ? [] : [`“${wrong.slice(0, 40)}” is no run number, range or date (2024-05-03).`];
    text(this.wrong, [...words, ...problems].join(" "));
    this.wrong.hidden = this.wrong.textContent === "";
  }

  change(parts) {
    this.changed({ ...this.filter, ...parts });
  }

  toggle(status) {
    const chosen = this.filter.verdicts;
    const others = chosen.includes(status) ? chosen.filter((other) => other !== status) : [...chosen, status];
    this.change({ verdicts: [...WORDS.keys()].filter((key) => others.includes(key)) });
  }

  date(name, entry) {
    const { value } = entry;
    const wrong = value !== "" && !isDay(value);
    const ended = wrong && (value.length === 10 || !"0000-00-00".startsWith(value.replaceAll(/\d/g, "0")));
    this.refuse(entry, ended);
    if (!wrong) this.change({ [name]: value });
  }

  refuse(entry, wrong) {
    entry.classList.toggle("wrong", wrong);
    entry.setAttribute("aria-invalid", String(wrong));
  }

  limit(name, entry) {
    const value = entry.value === "" ? null : Number(entry.value);
    const wrong = entry.validity.badInput || (value !== null && !(Number.isInteger(value) && value >= 0 && value < 1e12));
    this.refuse(entry, wrong);
    if (!wrong) this.change({ [name]: value });
  }

  reset() {
    for (const entry of [this.text, this.from, this.until, this.low, this.high]) {
      entry.value = "";
      this.refuse(entry, false);
    }
    this.changed(NOTHING);
    this.text.focus();
  }
}
