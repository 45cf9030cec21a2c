// Which pixels are picked, in words; picking by number; and letting go of them (button or Esc).
// The address has them, too.

import { forget, go, href, inView, note, onAsk, wanted } from "./address.js";
import { formatPixels, parsePixels, PER_MODULE, PIXELS } from "./address_values.js";
import { complain, element, isOurs, text } from "./html.js";

const NAMED = 12;

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
    this.biography = element("a", {
      class: "run-link", title: "All quantities of the pixel over all runs", click: (event) => this.tell(event),
    }, ["Biography"]);
    this.root = element("span", { class: "picked" }, [this.words, this.biography, this.clear, this.entry]);
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
    // also what is picked in another way than by this toolbar; then what an address says that the
    // user goes back to
    this.follow(wanted);
    onAsk((address) => this.follow(address));
    this.selection.properties.indices.change.connect(() => this.show());
    window.addEventListener("keydown", (event) => {
      const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement
        || event.target instanceof HTMLTextAreaElement;
      if (event.key === "Escape" && !typing && !event.defaultPrevented && this.picked.length > 0) {
        this.pick([]);
      }
    });
    this.show();
  }

  follow(address) {
    if (address.pixels !== formatPixels(this.picked)) {
      this.pick(parsePixels(address.pixels ?? ""));
    }
  }

  get picked() {
    return [...new Set(this.selection.indices)].sort((a, b) => a - b);
  }

  pick(pixels) {
    this.selection.indices = pixels;
  }

  // what this pixel was like in other runs
  tell(event) {
    if (!isOurs(event)) return;
    event.preventDefault();
    go({ view: "pixel", pixel: this.picked[0], level: undefined });
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
    this.clear.hidden = this.biography.hidden = picked.length === 0;
    this.biography.href = href({ ...inView("pixel"), pixel: picked[0], level: undefined });
    this.biography.textContent = picked.length > 1 ? `Biography of ${picked[0]}` : "Biography";
    this.words.classList.toggle("some", picked.length > 0);
    const listed = picked.slice(0, NAMED).join(", ") + (picked.length > NAMED ? ", …" : "");
    const noun = picked.length === 1 ? "pixel" : "pixels";
    text(this.words, picked.length === 0
      ? "No pixels picked: click or drag over a plot"
      : `${picked.length} ${noun} picked: ${listed}`);
    this.words.title = picked.length > NAMED ? picked.join(", ") : "";
    const pixels = formatPixels(picked);
    // whoever has picked another pixel means that one when the biography is opened the next time
    if (pixels !== undefined && pixels !== wanted.pixels) forget("pixel", ["pixel", "level"]);
    note({ pixels });
  }
}
