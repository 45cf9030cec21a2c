// Pixels or modules in the camera maps: the buttons, and that of modules all pixels are picked at once.

import { go } from "./address.js";
import { PER_MODULE } from "./address_values.js";
import { element } from "./html.js";

const LEVELS = [
  ["pixel", "Pixels", "The value of every pixel"],
  ["module", "Modules", "The mean of the good pixels of every module"],
];

export class Level {
  constructor(document_) {
    this.selection = document_.get_model_by_name("picked-pixels");
    this.level = "pixel";
    this.buttons = LEVELS.map(([level, title, words]) => {
      const button = element("button", {
        type: "button", title: words, click: () => go({ level: level === "pixel" ? undefined : level }),
      }, [title]);
      button.dataset.level = level;
      return button;
    });
    this.root = element("span", { class: "choice", role: "group", "aria-label": "Pixels or modules" }, this.buttons);
    [this.before, this.now] = [[], [...this.selection.indices]];
    this.selection.properties.indices.change.connect(() => {
      [this.before, this.now] = [this.now, [...this.selection.indices]];
    });
    for (const figure of ["map", "scatter", "histogram"]) {
      document_.get_model_by_name(`maps-${figure}`).on_event("selectiongeometry", (event) => {
        if (this.level === "module" && event.final) this.complete();
      });
    }
  }

  // what was picked with the mouse, as whole modules
  complete() {
    const lost = this.before.filter((pixel) => !this.now.includes(pixel));
    const gained = this.now.filter((pixel) => !this.before.includes(pixel));
    // a click took one pixel out of those that were picked: it meant its module
    const module = lost.length === 1 && gained.length === 0 ? moduleOf(lost[0]) : null;
    const modules = new Set(this.now.map(moduleOf).filter((one) => one !== module));
    const pixels = [...modules].flatMap((one) => Array.from({ length: PER_MODULE }, (_, at) => one * PER_MODULE + at))
      .sort((a, b) => a - b);
    if (pixels.length !== this.now.length) this.selection.indices = pixels;
  }

  show({ level }) {
    if (level === undefined) return;
    this.level = level;
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.level === level));
  }
}

function moduleOf(pixel) {
  return Math.floor(pixel / PER_MODULE);
}
