// Which pixels are picked, in words; picking by number; and letting go of them (button or Esc).

import { complain, element, keep, recall, text } from "./html.js";

const PIXELS = 1855;
const PER_MODULE = 7;
const NAMED = 12;
const KEPT = "dqm-picked"; // in the tab's storage, so that a reloaded page comes back with them

let restored = false;

export class PickedPixels {
  constructor(document_) {
    this.document = document_;
    this.selection = null;
    this.words = element("span", { class: "words", "aria-live": "polite" });
    this.clear = element("button", {
      type: "button", title: "Let go of the picked pixels (Esc)", click: () => this.pick([]),
    }, ["Clear"]);
    this.entry = element("input", {
      type: "text", class: "entry", placeholder: "pick: 12, 20-26, m5",
      title: "Pixel ids, ranges of them, or m and a module; Enter picks them",
      "aria-label": "Pick pixels by number", size: 17,
      keydown: (event) => this.typed(event), input: () => complain(this.entry, ""),
    });
    this.root = element("span", { class: "picked" }, [this.words, this.clear, this.entry]);
    this.connect();
  }

  // a view may have no pixels at first
  connect() {
    if (this.selection !== null) {
      return;
    }
    this.selection = this.document.get_model_by_name("picked-pixels");
    if (this.selection === null) {
      return;
    }
    this.selection.properties.indices.change.connect(() => this.show());
    window.addEventListener("keydown", (event) => {
      const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement
        || event.target instanceof HTMLTextAreaElement;
      if (event.key === "Escape" && !typing && !event.defaultPrevented && this.picked.length > 0) {
        this.pick([]);
      }
    });
    this.restore();
    this.show();
  }

  restore() {
    if (restored) {
      return;
    }
    restored = true;
    const kept = recall(KEPT);
    if (Array.isArray(kept) && kept.length > 0 && this.selection.indices.length === 0) {
      this.pick(kept);
    }
  }

  get picked() {
    return [...new Set(this.selection.indices)].sort((a, b) => a - b);
  }

  pick(pixels) {
    this.selection.indices = pixels;
  }

  typed(event) {
    if (event.key === "Escape") {
      this.entry.value = "";
      complain(this.entry, "");
      this.entry.blur();
      event.stopPropagation();
    }
    if (event.key !== "Enter") {
      return;
    }
    const pixels = parsePixels(this.entry.value);
    complain(this.entry, pixels === null
      ? `Pixels are 0–${PIXELS - 1}, modules m0–m${PIXELS / PER_MODULE - 1}: for example 12, 20-26, m5` : "");
    if (pixels !== null) {
      this.pick(pixels);
      this.entry.value = "";
      this.entry.blur(); // the keyboard belongs to the page and its shortcuts again
    }
  }

  show() {
    const { picked } = this;
    this.clear.hidden = picked.length === 0;
    this.words.classList.toggle("some", picked.length > 0);
    const listed = picked.slice(0, NAMED).join(", ") + (picked.length > NAMED ? ", …" : "");
    const noun = picked.length === 1 ? "pixel" : "pixels";
    text(this.words, picked.length === 0
      ? "No pixels picked: click or drag over a plot"
      : `${picked.length} ${noun} picked: ${listed}`);
    this.words.title = picked.length > NAMED ? picked.join(", ") : "";
    keep(KEPT, picked);
  }
}

// "12, 20-26, m5" -> ids, sorted; null when it is not understood
export function parsePixels(entry) {
  const found = new Set();
  for (const part of entry.split(/[\s,;]+/).filter(Boolean)) {
    const match = /^(m)?(\d+)(?:[-–](\d+))?$/i.exec(part);
    if (match === null) {
      return null;
    }
    const scale = match[1] === undefined ? 1 : PER_MODULE;
    const first = Number(match[2]) * scale;
    const last = (Number(match[3] ?? match[2]) + 1) * scale - 1;
    if (last < first || last >= PIXELS) {
      return null;
    }
    for (let pixel = first; pixel <= last; pixel += 1) {
      found.add(pixel);
    }
  }
  return [...found].sort((a, b) => a - b);
}
