// The controls of the comparison: which run is B, difference or ratio, the colours of that, and the
// pixels worth a look, which a click picks.

import { go, wanted } from "./address.js";
import { date, plural } from "./format.js";
import { complain, element, text } from "./html.js";
import { ColourRange } from "./plots_range.js";
import { badge } from "./verdicts.js";

const MODES = [
  ["difference", "A − B", "Value of A less that of B"],
  ["ratio", "A / B", "Value of A divided by that of B; there is none where B is 0 or negative"],
];
const HOW = { "last good": "the last good run before A", previous: "the run before A: none before it is good" };
const modeOf = (address) => address.mode ?? MODES[0][0];

export class Compare {
  constructor(document_, root) {
    this.selection = document_.get_model_by_name("picked-pixels");
    const step = (label, words) => element("button", { type: "button", "aria-label": words, title: words }, [label]);
    this.back = step("‹", "Earlier run as B");
    this.on = step("›", "Later run as B");
    this.back.addEventListener("click", () => go({ reference: this.info.older }));
    this.on.addEventListener("click", () => go({ reference: this.info.newer }));
    this.entry = element("input", {
      type: "text", class: "entry", size: 7, inputmode: "numeric", autocomplete: "off", "aria-label": "Run B",
      title: "A run number; Enter compares with it",
      keydown: (event) => this.typed(event), input: () => complain(this.entry, ""),
    });
    this.usual = element("button", {
      type: "button", title: "Compare with the last good run before A", click: () => go({ reference: undefined }),
    }, ["Last good"]);
    this.swap = element("button", {
      type: "button", title: "Make B run A, and A run B",
      click: () => go({ run: this.info.other, reference: this.info.run }),
    }, ["⇄ Swap"]);
    this.a = element("b");
    this.verdict = element("span");
    this.modes = MODES.map(([mode, title, words]) => {
      const button = element("button", {
        type: "button", title: words,
        click: () => go({ mode: mode === MODES[0][0] ? undefined : mode, scale: undefined }),
      }, [title]);
      button.dataset.mode = mode;
      return button;
    });
    this.range = new ColourRange(document_, "compare", {
      mapper: "compare-comparison-mapper", key: "scale", kind: modeOf,
    });
    this.range.root.classList.add("symmetric");
    this.root = element("span", { class: "compare-controls" }, [
      element("span", { class: "compare-runs" }, [
        element("span", { class: "label" }, ["Run A"]), this.a, element("span", { class: "label" }, ["B"]),
        element("span", { class: "choice" }, [this.back, this.entry, this.on]), this.verdict, this.usual, this.swap,
      ]),
      element("span", { class: "choice", role: "group", "aria-label": "How to compare" }, this.modes),
      this.range.root,
    ]);
    this.groups = element("span", { class: "compare-groups" });
    this.problem = element("span", { class: "compare-problem", role: "status" });
    root.querySelector(".plot-legend").after(this.groups, this.problem);
  }

  typed(event) {
    if (event.key === "Escape") {
      this.write();
      this.entry.blur();
      event.stopPropagation();
    }
    if (event.key !== "Enter") return;
    const digits = this.entry.value.trim();
    const reason = !/^\d{1,18}$/.test(digits) ? "A run number, for example 6310"
      : Number(digits) === this.info.run ? "That is run A" : "";
    complain(this.entry, reason);
    if (reason !== "") return;
    this.entry.blur(); // the keyboard belongs to the page and its shortcuts again
    go({ reference: digits });
  }

  write() {
    this.entry.value = this.info.other ?? "";
    complain(this.entry, "");
  }

  show({ compare: info, quantity }) {
    if (info === undefined) return;
    this.info = info;
    const { run, other, how, problem, older, newer, start, verdict, missing, mode, sign } = info;
    text(this.a, String(run));
    if (document.activeElement !== this.entry) this.write();
    this.entry.title = [other === null ? "" : `Run ${other}${HOW[how] ? `, ${HOW[how]}` : ""}`,
      start === null ? "" : `started ${date(start)} UTC`, "A run number and Enter compare with another one"]
      .filter(Boolean).join("\n");
    this.verdict.replaceChildren(...(other === null ? [] : [badge(verdict)]));
    this.back.disabled = older === null;
    this.on.disabled = newer === null;
    this.swap.disabled = other === null;
    this.usual.setAttribute("aria-pressed", String(other !== null && wanted.reference === undefined));
    text(this.usual, how === "previous" ? "Run before" : "Last good");
    for (const button of this.modes) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    text(this.range.label, sign);
    this.range.show({ quantity, kind: mode, range: info.range });
    const shown = { "last good": "the last good run is shown", previous: "the run before is shown" }[how];
    text(this.problem, [
      problem === "" ? "" : [problem, shown].filter(Boolean).join("; "),
      missing === null ? "" : missing.replace(/\.$/, ""),
      info.judged ? "" : "Only one of the runs says which pixels are bad",
    ].filter(Boolean).map((words) => `${words}.`).join(" "));
    this.groups.replaceChildren(
      ...(info.outliers === null ? [] : [this.group(info.outliers[0], info.outliers[1])]),
      ...info.changes.map(([words, pixels]) => this.group(`${pixels.length} ${words}`, pixels)),
      ...(info.outliers !== null && info.changes.length === 0 && info.judged
        ? [element("span", { class: "plot-note" }, ["every pixel in the same state in A and B"])] : []));
  }

  // pixels that a click picks
  group(words, pixels) {
    return element("button", {
      type: "button", class: "group", disabled: pixels.length === 0,
      title: pixels.length === 0 ? "" : `Pick ${pixels.length === 1 ? "it" : `these ${plural(pixels.length, "pixel")}`}`,
      click: () => { this.selection.indices = pixels; },
    }, [words]);
  }
}
