// The colour range of a map: percentiles by default, minimum to maximum, or by hand with slider or
// numbers. It changes the colour mapper here in the browser; the server is not asked.
//
// The address has it, unless it is the default one. A range with a `centre` stays symmetric around it.

import { note, onAsk, wanted, whole } from "./address.js";
import { formatSpan, parseSpan, rounded, WHOLE } from "./address_values.js";
import { listen } from "./bridge.js";
import { complain, element, keep, perFrame, recall } from "./html.js";

const STEPS = 1000;
const KEPT = "dqm-colours"; // of each quantity: its range, for when it is looked at again

export class ColourRange {
  /** `key` is that of the address; `kind()` tells apart what a quantity has several ranges for. */
  constructor(document_, view, { mapper = `${view}-mapper`, key = "range", kind = () => "" } = {}) {
    this.document = document_;
    this.view = view;
    this.mapper = mapper;
    this.key = key;
    this.kind = kind;
    this.mode = "auto";
    this.quantity = null;
    this.kept = null; // what the range is kept under: the quantity, and the kind
    const limit = (label) => element("input", {
      type: "number", class: "limit", "aria-label": label, step: "any", change: (event) => this.typed(event.target),
      keydown: (event) => this.leave(event),
    });
    this.low = limit("Lowest colour");
    this.high = limit("Highest colour");
    const slider = (label) => element("input", {
      type: "range", min: 0, max: STEPS, step: 1, "aria-label": label, input: (event) => this.slid(event.target),
      change: () => this.choose(this.mode),
    });
    this.from = slider("Lowest colour");
    this.to = slider("Highest colour");
    this.buttons = {
      auto: this.button("auto", "auto", "Default range: percentiles of the good pixels, or fixed for fractions"),
      full: this.button("full", "min–max", "Colours from the lowest to the highest value"),
    };
    this.label = element("span", { class: "label" }, ["Colours"]);
    this.root = element("span", { class: "colour-range", role: "group", "aria-label": "Colour range" }, [
      this.label,
      this.low,
      element("span", { class: "slider" }, [element("span", { class: "track" }), this.from, this.to]),
      this.high,
      this.buttons.auto,
      this.buttons.full,
    ]);
    this.root.hidden = true;
    this.paint = perFrame((low, high) => this.apply(low, high));
    onAsk((address) => {
      // e.g. gone back to; another quantity takes its range when its data are here
      if (this.inFront && this.kept === kept(address.quantity, this.kind(address)) && address[key] !== this.text) {
        this.restore(address[key]);
        this.repaint();
      }
    });
    listen("state", () => this.tell());
  }

  get inFront() {
    return wanted.view === undefined || wanted.view === this.view;
  }

  // as the address says it
  get text() {
    return { auto: undefined, full: WHOLE, manual: this.current && formatSpan(...this.current) }[this.mode];
  }

  tell() {
    if (this.inFront && this.quantity !== null && this.kept === kept(wanted.quantity, this.kind(wanted))) {
      note({ [this.key]: this.text });
    }
  }

  button(mode, label, title) {
    return element("button", {
      type: "button", title, click: () => {
        this.choose(mode);
        this.use(...this.limits[mode]);
      },
    }, [label]);
  }

  show(info) {
    this.root.hidden = info.range == null;
    if (info.range == null) {
      return;
    }
    this.limits = info.range;
    this.buttons.auto.textContent = info.range.autoText;
    const about = kept(info.quantity, info.kind ?? "");
    if (about !== this.kept) {
      // what was chosen belongs to one quantity, and is kept from run to run; an address that came
      // as a whole and names no range means the default one
      this.quantity = info.quantity;
      this.kept = about;
      const said = this.inFront ? wanted[this.key] : undefined;
      this.restore(said ?? (this.inFront && whole ? undefined : recall(KEPT)?.[this.kept]));
    }
    this.repaint();
    this.tell();
  }

  repaint() {
    if (this.mode === "manual") {
      this.use(...this.current);
    } else {
      this.use(...this.limits[this.mode]);
    }
  }

  restore(said) {
    const span = typeof said === "string" ? parseSpan(said) : null;
    if (span !== null) {
      this.current = span;
    }
    this.choose(span !== null ? "manual" : said === WHOLE ? "full" : "auto");
  }

  choose(mode) {
    this.mode = mode;
    keep(KEPT, { ...recall(KEPT), [this.kept]: this.text });
    this.tell();
  }

  // the slider covers all values, and the chosen range where that is wider
  get span() {
    const [low, high] = this.limits.full;
    const start = Math.min(low, this.current[0]);
    const end = Math.max(high, this.current[1]);
    return end > start ? [start, end] : [start - 0.5, start + 0.5];
  }

  // Enter and Esc give the keyboard back to the page and its shortcuts
  leave(event) {
    if (event.key === "Enter" || event.key === "Escape") {
      if (event.key === "Escape") {
        this.write();
      }
      event.target.blur();
      event.stopPropagation();
    }
  }

  typed(changed) {
    const { centre } = this.limits;
    const ends = [this.low.valueAsNumber, this.high.valueAsNumber];
    const [low, high] = centre === undefined ? ends : around(centre, changed.valueAsNumber);
    const right = Number.isFinite(low) && Number.isFinite(high) && low < high;
    this.root.classList.toggle("wrong", !right);
    for (const entry of [this.low, this.high]) {
      complain(entry, right || entry !== changed ? ""
        : "The colours need two numbers, the lower one on the left");
    }
    if (right) {
      this.current = [low, high];
      this.choose("manual");
      this.use(low, high);
    }
  }

  slid(moved) {
    const [start, end] = this.shown;
    const { centre } = this.limits;
    const at = (slider) => rounded(start + (end - start) * slider.valueAsNumber / STEPS, end - start);
    if (centre !== undefined) {
      const other = moved === this.from ? this.to : this.from;
      other.value = String(Math.round(STEPS * (2 * centre - at(moved) - start) / (end - start)));
    }
    if (this.from.valueAsNumber >= this.to.valueAsNumber) {
      return;
    }
    this.current = centre === undefined ? [at(this.from), at(this.to)] : around(centre, at(moved));
    this.mode = "manual"; // told when the slider is let go: browsers count changes of the address
    this.write();
    this.paint(...this.current);
  }

  use(low, high) {
    this.current = high > low ? [low, high] : [low - 0.5, low + 0.5];
    this.shown = this.span;
    const [start, end] = this.shown;
    const place = (value) => String(Math.round(STEPS * (value - start) / (end - start)));
    this.from.value = place(this.current[0]);
    this.to.value = place(this.current[1]);
    this.write();
    this.apply(...this.current);
  }

  write() {
    const [start, end] = this.shown;
    const [low, high] = this.current;
    this.low.value = String(rounded(low, end - start));
    this.high.value = String(rounded(high, end - start));
    this.root.classList.remove("wrong");
    complain(this.low, "");
    complain(this.high, "");
    this.root.style.setProperty("--from", (low - start) / (end - start));
    this.root.style.setProperty("--to", (high - start) / (end - start));
    for (const [mode, button] of Object.entries(this.buttons)) {
      button.setAttribute("aria-pressed", String(mode === this.mode));
    }
  }

  apply(low, high) {
    const mapper = this.document.get_model_by_name(this.mapper);
    if (mapper !== null && (mapper.low !== low || mapper.high !== high)) {
      mapper.setv({ low, high }, { sync: false });
    }
  }
}

function kept(quantity, kind) {
  return kind === "" ? quantity : `${quantity} ${kind}`;
}

// the range around *centre* that reaches to *end*
function around(centre, end) {
  const reach = Math.abs(end - centre);
  return [centre - reach, centre + reach];
}
