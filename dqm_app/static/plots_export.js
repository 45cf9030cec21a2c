// What of a view can be saved: the data of each of its plots as CSV, and its picture. Python says
// what there is in the tags of the figures (dqm_app/plots/export.py); the data are those on the page.

import { shown } from "./address.js";
import { formatPixels } from "./address_values.js";
import { download, save, tabled } from "./csv.js";
import { element } from "./html.js";
import { picture } from "./png.js";
import { plain } from "./plots.js";

/** Fill *list* with what the figures of *layout* show now; *done* is called when one was chosen. */
export function fill(list, layout, document_, done) {
  const saving = new Saving(layout, document_);
  const { plots } = saving;
  const button = (label, title, act) => element("button", {
    type: "button", title, "aria-label": title, click: async () => {
      await act();
      done();
    },
  }, [label]);
  const rows = plots.map((plot) => [
    plot.title,
    ...plot.tables.map((table) => button(table.title ? `CSV: ${table.title}` : "CSV",
      `${[plot.title, table.title].filter(Boolean).join(": ")} as CSV`, () => saving.table(plot, table))),
    ...(plot.tables.length === 0 ? [element("span", { class: "plot-note" }, ["no data"])] : []),
    button("PNG", `${plot.title} as PNG`, () => saving.picture([plot])),
  ]);
  if (plots.length > 1) {
    const files = saving.files.length;
    rows.push(["All of the view",
      ...(files > 0 ? [button(`CSV (${files} files)`, "All data of the view as CSV", () => saving.tables())] : []),
      button("PNG", "All plots of the view as one PNG", () => saving.picture(plots))]);
  }
  list.replaceChildren(...rows.map(([title, ...buttons]) => element("div", { class: "export-row" }, [
    element("span", { class: "title", title }, [title]), element("span", { class: "buttons" }, buttons),
  ])));
  if (rows.length === 0) list.replaceChildren(element("span", { class: "plot-note" }, ["Nothing to save"]));
}

class Saving {
  constructor(layout, document_) {
    this.document = document_;
    this.info = plain(layout.tags[0] ?? {});
    this.view = layout.name.slice("figures-".length);
    this.plots = [...layout.references()]
      .filter((model) => model.type === "Plot" && model.visible && window.Bokeh.index.find_one(model) !== null)
      .map((model) => {
        const { title, tables = [], quantity, notes = [] } = plain(model.tags[0] ?? {}).export ?? {};
        return { model, title: title ?? model.title?.text ?? model.name, tables, quantity, notes };
      });
    const place = ({ model }) => window.Bokeh.index.find_one(model).el.getBoundingClientRect();
    this.plots.sort((a, b) => place(a).left - place(b).left || place(a).top - place(b).top);
  }

  // plots that share a source need not be saved twice
  get files() {
    const seen = new Set();
    return this.plots.flatMap((plot) => plot.tables.map((table) => [plot, table])).filter(([, table]) => {
      const key = JSON.stringify([table.source, table.columns]);
      return !seen.has(key) && seen.add(key);
    });
  }

  tables() {
    for (const [plot, table] of this.files) this.table(plot, table);
  }

  table(plot, { source, title, columns, skip }) {
    const { data } = this.document.get_model_by_id(source);
    const [header, rows] = tabled(data, columns, skip);
    download(`${this.name(plot, title)}.csv`, header, rows, this.comments(plot, title));
  }

  async picture(plots) {
    const one = plots.length === 1 ? plots[0] : null;
    const quantity = this.quantity(one);
    const caption = [
      shown.camera,
      this.ofRun ? `run ${shown.run}` : null,
      one === null ? document.querySelector(`[data-view="${this.view}"]`).textContent : one.title,
      this.info.about,
      quantity,
      ...(one?.notes ?? []),
      `saved ${now()}`,
    ].filter(Boolean);
    save(`${this.name(one)}.png`, await picture(plots.map((plot) => plot.model), caption));
  }

  get ofRun() {
    return this.info.ofRun !== false;
  }

  quantity(plot) {
    return plot?.quantity ?? this.info.quantity ?? null;
  }

  name(plot, part = "") {
    const figure = plot?.model.name?.replace(new RegExp(`^${this.view}-`), "");
    const run = this.ofRun ? `Run${shown.run}` : null;
    return [shown.camera, run, this.view, this.quantity(plot), this.info.about, figure, part]
      .filter(Boolean).map((word) => word.replace(/[^\w.-]+/g, "-")).join("_");
  }

  comments(plot, part) {
    const { header } = shown;
    const quantity = this.quantity(plot);
    const named = {
      plot: [plot.title, part].filter(Boolean).join(": "),
      title: plot.model.title?.text?.trim(),
      camera: shown.camera,
      run: this.ofRun ? shown.run : null,
      quantity,
      about: this.info.about,
      description: quantity === this.info.quantity ? this.info.description : null,
      note: this.info.note,
      "picked pixels": formatPixels([...this.document.get_model_by_name("picked-pixels")?.indices ?? []].sort((a, b) => a - b)),
      source: this.ofRun ? header.source : null,
      "results file": this.ofRun ? header.results_name : null,
      "SHA-256": this.ofRun ? header.sha256 : null,
      address: location.href,
      saved: now(),
    };
    return ["NectarCAM DQM", ...plot.notes,
      ...Object.entries(named).filter(([, value]) => value != null && value !== "").map(([key, value]) => `${key}: ${value}`)];
  }
}

function now() {
  return `${new Date().toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
