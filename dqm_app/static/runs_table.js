// The view of all runs: filters, table and calendar, kept in step with the address and with what the
// server sends (see dqm_app/views/runs.py).

import { go, note, onAsk, shown, wanted } from "./address.js";
import { listen, mayFetch } from "./bridge.js";
import { views } from "./controls.js";
import { element, keep, perFrame, recall } from "./html.js";
import { Calendar, nightsOf } from "./runs_calendar.js";
import { Controls } from "./runs_controls.js";
import { format, matches, parse } from "./runs_filter.js";
import { Gaps, withGaps } from "./runs_gaps.js";
import { counted, Grid } from "./runs_grid.js";
import { COLUMNS, plain, Rows } from "./runs_rows.js";
import { words } from "./verdicts.js";

const VIEW = "runs";
const PLACE = "dqm-runs-place"; // in the tab's storage: where the table was scrolled to
const LIST_MS = 20_000; // how often a run list is looked at

class RunTable {
  /** @param taking what is needed to take runs away, for who may */
  constructor(root, document_, taking) {
    this.chosen = taking && new taking.Chosen({ changed: () => this.chose() });
    this.baskets = taking && new taking.Baskets(this.chosen);
    this.model = (name) => document_.get_model_by_name(name);
    this.section = root.closest("section");
    this.controls = new Controls({ changed: (filter) => this.choose(filter), gaps: () => this.turnGaps(), save: () => this.save() });
    this.grid = new Grid({
      open: (run) => go({ run, view: this.grid.target }), sort: (key) => this.sort(key),
      target: views().includes("overview") ? "overview" : views()[0],
      chosen: this.chosen,
    });
    this.calendar = new Calendar({ choose: (night) => this.choose({ ...this.filter, night: this.filter.night === night ? null : night }) });
    this.none = element("p", { class: "none", hidden: true }, ["No run matches."]);
    root.replaceChildren(this.controls.root, element("div", { class: "runs-parts" }, [
      element("div", { class: "runs-main" }, [
        this.controls.result, this.grid.root, this.none, ...(taking ? [this.baskets.root] : []),
      ]), this.calendar.root,
    ]));
    this.gaps = new Gaps();
    this.drawn = []; // what the calendar was drawn from
    this.read(wanted.filter);
    const renew = perFrame(() => this.renew());
    for (const name of ["runs-table", "runs-news", "runs-gaps"]) {
      this.model(name).properties.tags.change.connect(renew);
    }
    this.renew();
    this.locate(shown?.run ?? null);
    this.begin();
    onAsk((address) => {
      if (address.run !== undefined) this.locate(Number(address.run));
      if (address.view === VIEW && (address.filter ?? "") !== this.source) {
        this.read(address.filter);
        this.filtered();
      }
    });
    listen("state", (state) => this.locate(state.run));
    this.watch();
  }

  // ---- from the server ----

  renew() {
    const [table] = this.model("runs-table").tags;
    const [news] = this.model("runs-news").tags;
    const [gaps] = this.model("runs-gaps").tags;
    this.rows = Rows.read(plain(table), news === undefined ? null : plain(news));
    const told = gaps === undefined ? null : plain(gaps);
    this.gaps = new Gaps(told?.camera === this.rows.camera ? told : null);
    this.numbers = new Map();
    for (const status of this.rows.columns.verdict) this.numbers.set(status, (this.numbers.get(status) ?? 0) + 1);
    this.draw(true);
  }

  // what is missing may have changed although there is no new run
  watch() {
    let asked = 0;
    let known = null;
    const ask = () => { this.model("runs-asked").tags = [{ number: ++asked }]; };
    listen("freshness", ({ pull }) => {
      const now = JSON.stringify([pull.failures, pull.quarantined]);
      if (known !== null && known !== now && !this.section.hidden) ask();
      known = now;
    });
    setInterval(() => {
      if (this.gaps.watched && !this.section.hidden && document.visibilityState === "visible") ask();
    }, LIST_MS);
  }

  // ---- the filter ----

  read(source) {
    this.source = source ?? "";
    const { filter, wrong } = parse(this.source);
    this.filter = filter;
    this.wrong = wrong.length ? [`The address says what no filter is: ${wrong.join(" ")}.`] : [];
  }

  choose(filter) {
    this.filter = filter;
    this.wrong = [];
    this.source = format(filter);
    note({ filter: this.source });
    this.filtered();
  }

  sort(key) {
    const { by, down } = this.filter;
    this.choose({ ...this.filter, by: key, down: by === key ? !down : true });
  }

  get showsGaps() {
    return this.filter.gaps ?? this.gaps.few(this.rows);
  }

  turnGaps() {
    const shown = !this.showsGaps;
    this.choose({ ...this.filter, gaps: shown === this.gaps.few(this.rows) ? null : shown });
  }

  filtered() {
    this.draw(false);
  }

  draw(stay) {
    const { rows, filter, gaps } = this;
    const { all, but } = matches(rows, filter);
    this.matching = rows.order(filter.by, filter.down).filter((row) => all[row]);
    this.grid.show(rows, this.items(all), gaps, filter, stay);
    this.none.hidden = this.grid.items.length > 0;
    this.chosen?.follow(rows, this.matching);
    this.controls.show(filter, {
      numbers: this.numbers, gaps: this.showsGaps, counted: counted(this.matching.length, rows.length),
      missing: gaps.summary(), problems: [...this.wrong, gaps.problem].filter(Boolean),
    });
    const about = [rows, gaps, this.showsGaps];
    if (about.some((part, at) => part !== this.drawn[at])) {
      this.calendar.show(nightsOf(rows, gaps), gaps.listed !== null, this.showsGaps);
    }
    this.drawn = about;
    this.calendar.mark(new Set(rows.night.filter((_, row) => but[row])), filter.night);
  }

  items(all) {
    const { rows, filter, gaps, matching } = this;
    if (filter.by !== "run" || !this.showsGaps || gaps.length === 0) return Int32Array.from(matching);
    const items = withGaps(rows, filter.down ? matching.slice().reverse() : matching, all, gaps, filter);
    return filter.down ? items.reverse() : items;
  }

  // ---- runs to take away ----

  chose() {
    this.grid.draw();
    this.baskets.show();
  }

  // ---- where the page is ----

  locate(run) {
    this.grid.locate(run);
  }

  // where it was before a reload, else at the run that the page is at
  begin() {
    const place = recall(PLACE);
    addEventListener("pagehide", () => keep(PLACE, {
      camera: this.rows.camera, filter: format(this.filter), anchor: this.grid.anchor(),
    }));
    const same = place?.camera === this.rows.camera && place?.filter === format(this.filter);
    if (same && place.anchor) this.grid.restore(place.anchor);
    else if (shown?.run) this.grid.reveal(shown.run);
  }

  async save() {
    const { download } = await import("./csv.js");
    const { rows } = this;
    const header = COLUMNS.map(({ key }) => HEADINGS[key] ?? key);
    const lines = Array.from(this.matching, (row) => COLUMNS.map(({ key }) => cell(key, rows.columns[key][row])));
    download(`runs-${rows.camera}.csv`, header, lines);
  }
}

const HEADINGS = { start: "start (UTC)", duration: "duration (s)", ingested_at: "ingested_at (UTC)" };

// as programs read it; empty when it is not known
function cell(key, value) {
  if (key === "verdict") return words(value).word;
  if (!Number.isFinite(value)) return "";
  if (key === "duration") return String(Number(value.toPrecision(7)));
  const moment = new Date(value * 1000);
  if (key !== "start" && key !== "ingested_at") return String(value);
  return Number.isNaN(moment.getTime()) ? "" : moment.toISOString().replace(".000Z", "Z");
}

/** Make the view in *root*. */
export function attach(root, _layout, document_) {
  return new RunTable(root, document_, taking);
}

let taking = null;

/** Load what those need who may take runs away. */
export async function prepare() {
  if (!mayFetch) return;
  const [{ Chosen }, { Baskets }] = await Promise.all([import("./runs_chosen.js"), import("./runs_baskets.js")]);
  taking = { Chosen, Baskets };
}
