// Zooming that always ends somewhere and can always be left: the least width of each range is kept,
// a double click shows everything again, and so does a button that is there while something is zoomed.

// Of plots over events, times or runs the address has the horizontal range, and the vertical one where
// that does not follow from it.

import { arrivals, note, pending, wanted } from "./address.js";
import { formatSpan, parseZoom, rounded } from "./address_values.js";
import { listen } from "./bridge.js";
import { element } from "./html.js";

const REST_MS = 300; // browsers count changes of the address: it is told where zooming came to rest
const KEEPERS = new Map([
  ["figures-timelines", ["timelines-plot", "x"]], ["figures-trigger", ["trigger-times", "x"]],
  ["figures-trends", ["trends-plot", "xy"]], ["figures-pixel", ["pixel-history", "xy"]],
]);

export class Zoom {
  constructor(layout) {
    this.layout = layout;
    this.keeper = KEEPERS.get(layout.name);
    this.view = layout.name.slice("figures-".length);
    this.quantity = null;
    this.arrived = 0;
    this.plots = new Set();
    this.touched = new Set();
    this.root = element("button", {
      type: "button", class: "whole", hidden: true, title: "Show everything again (or double click)",
      click: () => this.leave(),
    }, ["Whole range"]);
    this.adopt();
    if (this.keeper !== undefined) {
      listen("state", () => {
        this.follow();
        this.remember();
      });
    }
  }

  // figures may join a layout later
  adopt() {
    for (const plot of this.layout.references()) {
      if (plot.type === "Plot" && !this.plots.has(plot)) {
        this.plots.add(plot);
        plot.on_event("doubletap", () => this.leave());
        for (const range of ranges(plot)) {
          range.change.connect(() => this.touch(range));
        }
      }
    }
    this.show();
  }

  /** Show *quantity*, zoomed as an address that came as a whole says. */
  of(quantity) {
    this.quantity = quantity;
    this.follow();
  }

  get inFront() {
    return wanted.view === this.view && wanted.quantity === this.quantity && this.quantity != null;
  }

  follow() {
    if (this.keeper === undefined || pending() || !this.inFront || this.arrived === arrivals) {
      return;
    }
    this.arrived = arrivals;
    const spans = parseZoom(wanted.zoom ?? "") ?? [];
    this.kept.forEach((range, at) => {
      const [low, high] = spans[at] ?? [-Infinity, Infinity];
      const [start, end] = [Math.max(low, range.reset_start), Math.min(high, range.reset_end)];
      if (start < end) {
        range.setv({ start, end });
      }
    });
    this.remember();
  }

  // the ranges that the address has
  get kept() {
    const [name, axes] = this.keeper;
    return ranges([...this.plots].find((plot) => plot.name === name)).slice(0, axes.length);
  }

  remember() {
    if (this.keeper === undefined) {
      return;
    }
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      if (pending() || !this.inFront || this.arrived !== arrivals) {
        return;
      }
      note({ zoom: this.kept.map(spanOf).join(",").replace(/,$/, "") });
    }, REST_MS);
  }

  // the server sets edges and limits one by one: only what they are in the end counts
  touch(range) {
    if (this.touched.size === 0) {
      queueMicrotask(() => {
        const ranges = [...this.touched];
        this.touched.clear();
        ranges.forEach((one) => this.limit(one));
        this.show();
        this.remember();
      });
    }
    this.touched.add(range);
  }

  // Bokeh itself keeps the least width only where zooming may not glide along the bounds
  limit(range) {
    if (range.type === "DataRange1d") {
      return;
    }
    const [low, high] = Array.isArray(range.bounds) ? range.bounds : [-Infinity, Infinity];
    const least = Math.min(range.min_interval ?? 0, high - low);
    const width = Math.abs(range.end - range.start);
    if (!(width >= 0.999 * least)) {
      const centre = (range.start + range.end) / 2;
      const half = least / 2;
      if (Number.isFinite(centre)) {
        range.setv({ start: centre - half, end: centre + half });
      } else if (Number.isFinite(range.reset_start) && Number.isFinite(range.reset_end)) {
        range.reset();
      }
    }
  }

  show() {
    this.root.hidden = ![...this.plots].some((plot) => plot.visible && ranges(plot).some(zoomed));
  }

  leave() {
    for (const plot of this.plots) {
      if (ranges(plot).some(zoomed)) {
        window.Bokeh.index.find_one(plot)?.reset_range();
        for (const range of ranges(plot)) {
          range.have_updated_interactively = false;
        }
      }
    }
    this.show();
  }
}

function ranges(plot) {
  return [plot.x_range, plot.y_range];
}

// what a range is zoomed to, as the address says it
function spanOf(range) {
  const ends = [range.start, range.end].map((end) => rounded(end, Math.abs(range.end - range.start)));
  return zoomed(range) && ends[0] < ends[1] ? formatSpan(...ends) : "";
}

function zoomed(range) {
  if (range.type === "DataRange1d") {
    return range.have_updated_interactively;
  }
  const [start, end] = [range.reset_start, range.reset_end];
  if (start === null || end === null) {
    return false;
  }
  const tolerance = 1e-6 * Math.abs(end - start);
  return Math.abs(range.start - start) > tolerance || Math.abs(range.end - end) > tolerance;
}
