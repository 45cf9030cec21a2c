// What the page says and offers beside the figures of a view: numbers, legend, colour range, picked
// pixels, tables. Python describes it as JSON in the first tag of the view's layout (named
// "figures-VIEW", see dqm_app/views/base.py); here it becomes plain HTML in <div id="toolbar-VIEW">.

import { exportMenu } from "./export_menu.js";
import { ColourRange } from "./plots_range.js";
import { PickedPixels } from "./plots_picked.js";
import { Zoom } from "./plots_zoom.js";
import { element, text } from "./html.js";

// controls that only one view has, by its layout
const PARTS = {
  "figures-maps": async () => (await import("./plots_level.js")).Level,
  "figures-compare": async () => (await import("./plots_compare.js")).Compare,
  "figures-trends": async () => (await import("./plots_trends.js")).Trends,
  "figures-pixel": async () => (await import("./plots_pixel.js")).Pixel,
};

const parts = {}; // those that are loaded

/** Load what the toolbar of *view* has beside that of others. */
export async function prepare(view) {
  const layout = `figures-${view}`;
  if (layout in PARTS) parts[layout] = await PARTS[layout]();
}

class Toolbar {
  constructor(root, layout, document_) {
    this.layout = layout;
    this.name = element("code", { class: "plot-name" });
    this.numbers = element("span", { class: "plot-numbers" });
    this.legend = element("span", { class: "plot-legend" });
    const view = root.id.slice("toolbar-".length);
    this.range = new ColourRange(document_, view);
    this.picked = new PickedPixels(document_);
    this.contents = null;
    this.note = element("span", { class: "plot-note" });
    this.lists = element("span", { class: "plot-lists" });
    this.zoom = new Zoom(layout);
    this.bar = element("div", { class: "plot-bar" }, [
      this.name, this.numbers, this.legend, this.lists, this.note, this.zoom.root, exportMenu(layout, document_),
      element("span", { class: "plot-controls" }, [this.range.root, this.picked.root]),
    ]);
    root.replaceChildren(this.bar);
    if (layout.name in parts) {
      this.part = new parts[layout.name](document_, root);
      this.bar.querySelector(".plot-controls").prepend(this.part.root);
    }
    layout.properties.tags.change.connect(() => this.show());
    this.show();
    this.loaded = this.load(root, layout, document_);
  }

  // what most views do without is fetched for those that need it: the first page has less to load
  async load(root, layout, document_) {
    if (layout.name === "figures-contents") {
      const { Contents } = await import("./plots_contents.js");
      this.contents = new Contents(document_);
      root.append(this.contents.root);
      this.show();
    }
    if ([...layout.references()].some((model) => model.name?.endsWith("-picked"))) {
      const { pointOut } = await import("./plots_pointed.js");
      pointOut(document_, layout);
    }
  }

  show() {
    const info = plain(this.layout.tags[0] ?? {});
    this.name.hidden = info.quantity == null;
    text(this.name, info.quantity ?? "");
    this.name.title = [info.title, info.description].filter(Boolean).join("\n");
    this.numbers.replaceChildren(...(info.numbers ?? []).map(([label, value, note]) =>
      element("span", { class: "number", title: note ?? "" }, [
        element("span", { class: "label" }, [label]), " ", element("b", {}, [value]),
      ])));
    this.legend.replaceChildren(...legend(info.legend));
    text(this.note, info.note ?? "");
    this.lists.replaceChildren(...(info.lists ?? []).map(({ title, name, items }) => items.length === 0
      ? element("span", { class: "plot-note", title: name }, [title])
      : element("details", {}, [
        element("summary", { title: name }, [title]),
        element("ul", {}, items.map((item) => element("li", {}, [item]))),
      ])));
    this.picked.root.hidden = info.legend == null;
    this.range.show(info);
    this.contents?.show(info);
    this.part?.show(info);
    this.zoom.adopt();
    this.zoom.of(info.quantity);
    this.picked.connect();
  }
}

function legend(info) {
  const parts = [];
  if (info?.badText) {
    parts.push(element("span", { class: "key", title: `${info.badNote} (${info.mask})` },
      [element("i", { class: "swatch bad" }, ["✕"]), info.badText]));
  } else if (info && info.mask === null && info.noMask) {
    parts.push(element("span", { class: "key" }, [info.noMask]));
  }
  if (info?.absent) {
    parts.push(element("span", { class: "key" },
      [element("i", { class: "swatch absent" }, ["⬡"]), info.absentText]));
  }
  if (info?.noValue) {
    parts.push(element("span", { class: "key", title: "Read out, but the file has no finite number for it" },
      [element("i", { class: "swatch no-value" }, ["⬡"]), info.noValueText]));
  }
  return parts;
}

// tags travel as Bokeh decodes JSON: objects may be Maps
export function plain(value) {
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]));
  }
  if (Array.isArray(value)) {
    return value.map(plain);
  }
  if (value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}

/** Make the toolbar of a view in *root*. */
export function attach(root, layout, document_) {
  return new Toolbar(root, layout, document_).loaded;
}
