// The overview: the verdict and its reasons, key numbers, what changed, and a small map of everything.
//
// dqm_app/views/overview.py says it all in tags: those of the view's layout have what belongs to the
// run (JSON, and the codes of the maps), those of "overview-frame" what never changes, and those of
// "overview-words" what the maps are called.

import { go, href, inView, pending, wanted } from "./address.js";
import { listen } from "./bridge.js";
import { views } from "./controls.js";
import { ago, count, date, plural } from "./format.js";
import { complain, element, isOurs } from "./html.js";
import { Painter, Thumbnails } from "./thumbnails.js";
import { badge, mark, words } from "./verdicts.js";

const [OK, UNKNOWN] = [0, 4];
const LINES = 8; // of what changed, before the rest is folded
const PIXELS = 24; // named one by one

class Overview {
  constructor(root, layout, document_) {
    this.layout = layout;
    this.words = document_.get_model_by_name("overview-words");
    const frame = document_.get_model_by_name("overview-frame").tags[0];
    const get = (key) => field(frame, key);
    const painter = new Painter({ x: get("x"), y: get("y"), radius: get("radius"), palette: get("palette") });
    this.maps = new Thumbnails(painter, link);
    this.verdict = element("section", { class: "card judged", "aria-label": "Verdict" });
    this.entry = this.chooser();
    this.automatic = element("button", {
      type: "button", title: "Compare with the last good run before this one", click: () => go({ reference: undefined }),
    }, ["Last good run"]);
    this.counted = element("div");
    this.numbers = element("section", { class: "card", "aria-label": "Key numbers" }, [
      element("header", {}, [element("h2", {}, ["Key numbers"]), this.automatic, this.entry]), this.counted,
    ]);
    this.changes = element("section", { class: "card", "aria-label": "What changed" });
    this.legend = element("p", { class: "legend" });
    this.checks = element("details", { class: "checks" });
    this.folded = element("details", { class: "folded" });
    root.replaceChildren(element("div", { class: "overview" }, [
      element("div", { class: "words" }, [this.verdict, this.numbers, this.changes]),
      element("section", { class: "card all-maps", "aria-label": "All camera maps" }, [this.maps.root, this.legend]),
    ]));
    this.root = root;
    this.left = null; // the link by which the keyboard went away
    root.addEventListener("click", (event) => {
      const followed = follow(event);
      if (event.detail === 0) this.left = followed === null ? null : placeOf(followed);
    });
    listen("state", () => this.back());
    this.layout.properties.tags.change.connect(() => this.show());
    this.show();
  }

  show() {
    const held = this.root.contains(document.activeElement) ? placeOf(document.activeElement) : null;
    const said = this.layout.tags[0];
    const page = JSON.parse(field(said, "page"));
    this.verdict.dataset.status = words(page.verdict?.status ?? null).key;
    this.verdict.replaceChildren(...this.judge(page));
    this.counted.replaceChildren(...this.count(page));
    this.automatic.hidden = wanted.reference === undefined;
    this.changes.replaceChildren(...this.compare(page));
    const called = JSON.parse(this.words.tags[0]);
    const maps = page.maps.map((map) => ({ ...called[map.quantity], ...map }));
    this.maps.show(maps, field(said, "codes"), page.changes?.strong ?? [], page.reference.run);
    this.legend.replaceChildren(...legend(page));
    if (held !== null && document.activeElement === document.body) this.focus(held);
  }

  // the keyboard goes on where it was
  back() {
    if (this.left === null || pending() || !this.root.checkVisibility()) return;
    if (document.activeElement === document.body) this.focus(this.left);
    this.left = null;
  }

  focus(place) {
    const parts = [...this.root.querySelectorAll("a, summary")];
    parts.find((part) => placeOf(part) === place)?.focus({ preventScroll: true });
  }

  // ---- the verdict

  judge({ verdict }) {
    if (verdict === null) {
      return [
        element("h2", {}, [badge(null)]),
        element("p", {}, ["This run has not been checked: ", element("code", {}, ["dqm recheck"]), " does it."]),
      ];
    }
    const { status, results, checkedAt, thresholds } = verdict;
    // what could not be judged is a reason where nothing could
    const wrong = results.filter((result) => result.status !== OK && (result.status !== UNKNOWN || status === UNKNOWN));
    const when = `Checked ${date(checkedAt)} UTC, thresholds ${thresholds}`;
    return [
      element("h2", { title: when }, [badge(status), element("span", { class: "sum" }, [meaning(status, results)])]),
      wrong.length ? element("ul", { class: "reasons" }, wrong.map(reason)) : "",
      this.all(results, when),
    ];
  }

  all(results, when) {
    const passed = results.filter(({ status }) => status === OK).length;
    const unknown = results.filter(({ status }) => status === UNKNOWN);
    const parts = [`${plural(passed, "check")} passed`];
    if (unknown.length) parts.push(`${count(unknown.length)} could not be judged${because(unknown)}`);
    const rows = results.map((result) => element("tr", {}, [
      element("td", {}, [mark(result.status)]),
      element("th", { scope: "row" }, [link(result.address, [result.title], { title: result.name })]),
      ...(result.reason === null ? [
        element("td", { class: "number" }, [over(result, result.value ?? "")]),
        element("td", { class: "limits" }, [result.limits]),
      ] : [element("td", { class: "why", colspan: 2 }, [result.reason])]),
    ]));
    const head = [["", ""], ["Check", ""], ["Value", "number"], ["Allowed", ""]]
      .map(([title, kind]) => element("th", { class: kind }, [title]));
    this.checks.replaceChildren(element("summary", {}, [parts.join(", ")]), element("div", { class: "table" }, [
      element("table", {}, [element("thead", {}, [element("tr", {}, head)]), element("tbody", {}, rows)]),
    ]), element("p", { class: "note" }, [`${when}.`]));
    return this.checks;
  }

  // ---- key numbers, and the run they are compared with

  count({ numbers, reference, camera }) {
    return [
      ...this.reference(reference, camera),
      element("table", { class: "numbers" }, [element("tbody", {}, numbers.map((number, at) => {
        const same = numbers[at - 1]?.title === number.title;
        return element("tr", { class: same ? "same" : "" }, [
          element("th", { scope: "row", title: number.name }, [
            link(number.address, [element("span", { class: same ? "again" : "" }, [number.title]), number.part && `, ${number.part}`]),
          ]),
          number.value === null
            ? element("td", { class: "why", colspan: 2 }, [number.reason])
            : element("td", { class: "number" }, [element("b", {}, [number.value]), number.unit && ` ${number.unit}`]),
          number.value === null ? "" : change(number, reference.run),
        ]);
      }))]),
    ];
  }

  chooser() {
    const entry = element("input", {
      type: "text", inputmode: "numeric", size: 7, placeholder: "another run", autocomplete: "off",
      "aria-label": "Compare with another run", title: "A run number; Enter compares with it",
      input: () => complain(entry, ""),
      keydown: (event) => {
        if (event.key === "Escape") entry.value = "";
        if (event.key === "Escape" || event.key === "Enter") entry.blur();
        if (event.key !== "Enter" || entry.value.trim() === "") return;
        const digits = entry.value.trim();
        const right = /^\d{1,18}$/.test(digits);
        complain(entry, right ? "" : "A run number, for example 6310");
        if (!right) return;
        entry.value = "";
        go({ reference: digits });
      },
    });
    return entry;
  }

  reference({ run, chosen, problem, start, earlier }, camera) {
    const sentence = run === null ? ["There is no good run before this one to compare with."] : [
      "Change since ", anchor({ run: String(run), camera, reference: undefined }, [`run ${run}`], { title: `Started ${date(start)} UTC` }),
      chosen ? "" : ", the last good one", earlier === null ? "" : ` (${apart(earlier)})`,
    ];
    return [
      problem === "" ? "" : element("p", { class: "problem" }, [`${problem}.`]),
      element("p", { class: "reference" }, sentence),
    ];
  }

  // ---- what changed

  compare({ changes, reference }) {
    if (changes === null) return [element("h2", {}, ["What changed"]), element("p", { class: "note" }, ["Nothing to compare with."])];
    const { quantities, quiet, unpaired, states, judged, outlier } = changes;
    const row = (line) => changed(line, reference.run);
    const parts = [element("h2", {}, [`What changed since run ${reference.run}`])];
    if (states.length) parts.push(element("ul", { class: "states" }, states.map(state)));
    else parts.push(element("p", {}, [judged ? "No pixel became bad, absent, or the other way round." : "No pixel became absent or came back."]));
    if (!judged) parts.push(element("p", { class: "note" }, ["The two runs have no bad-pixel data in common."]));
    if (quantities.length) {
      parts.push(table(quantities.slice(0, LINES).map(row)));
      const rest = quantities.slice(LINES);
      if (rest.length) {
        this.folded.replaceChildren(element("summary", {}, [plural(rest.length, "more quantity", "more quantities")]), table(rest.map(row)));
        parts.push(this.folded);
      }
    }
    const quietly = [];
    if (quiet) quietly.push(`${plural(quiet, "quantity", "quantities")} hardly changed.`);
    if (unpaired) quietly.push(`${plural(unpaired, "quantity", "quantities")} in one of the runs only.`);
    parts.push(element("p", { class: "note" }, [
      `${quietly.join(" ")} Shift: of the camera’s median, in σ, the spread from pixel to pixel. `
      + `Pixels: those whose change is further than ${outlier} robust σ of all changes from that of the camera.`,
    ]));
    return parts;
  }
}

function meaning(status, results) {
  const partly = status === OK && results.some((result) => result.status === UNKNOWN);
  return partly ? "All that could be checked is good" : words(status).meaning;
}

// the sentence names one limit: both are told where there are two
function reason(result) {
  const allowed = result.between ? ` Allowed: ${result.limits}. ` : " ";
  return element("li", {}, [
    mark(result.status),
    element("span", {}, [
      link(result.address, [result.text], { title: result.name }),
      element("span", { class: "told" }, [allowed, over(result, result.trend ? "Since when?" : "")]),
    ]),
  ]);
}

// a link to the trend of what a check looked at, where there is one
function over({ trend, title }, words) {
  return trend === null ? words : link(trend, [words], { title: `${title} over all runs` });
}

// most often many checks lack the same thing
function because(unknown) {
  const reasons = [...new Set(unknown.map(({ reason: why }) => why))];
  return reasons.length === 1 ? ` (${reasons[0]})` : "";
}

const ARROWS = new Map([[1, ["▲", "up"]], [-1, ["▼", "down"]], [0, ["=", "unchanged"]]]);

function change({ change: made, trend, title }, run) {
  const cell = (children) => element("td", { class: "change" }, [
    link(trend, children, { title: `${made ? `${made.before} in run ${run}; ` : ""}${title} over all runs` }),
  ]);
  if (made === undefined) return cell(["trend"]);
  if (made === null) return cell([element("span", { class: "why" }, [`not in run ${run}`])]);
  const [arrow, word] = ARROWS.get(made.direction);
  return cell([
    element("span", { role: "img", "aria-label": word }, [arrow]),
    made.absolute && ` ${made.absolute}`, made.relative && element("span", { class: "per-cent" }, [` (${made.relative})`]),
  ]);
}

/** How long before this run another one was, in words. */
function apart(seconds) {
  const size = Math.abs(seconds);
  const words = size < 60 ? "less than a minute ago" : ago(size);
  return words.replace("ago", seconds < 0 ? "later" : "earlier");
}

const SIGNS = { bad: "✕", absent: "⬡", back: "✓", recovered: "✓" };

function state({ kind, title, modules, pixels, picks }) {
  const parts = [];
  if (modules.length) {
    parts.push(`${plural(modules.length, "module")} `, ...named(modules, "m"));
  }
  if (pixels.length) {
    parts.push(`${modules.length ? " and " : ""}${plural(pixels.length, "pixel")} `, ...named(pixels, ""));
  }
  return element("li", { class: kind }, [
    element("span", { class: "sign", "aria-hidden": "true" }, [SIGNS[kind]]),
    element("span", {}, [link({ view: "maps", pixels: picks }, [element("b", {}, [title])]), ": ", ...parts]),
  ]);
}

function named(ids, prefix) {
  const links = ids.slice(0, PIXELS).flatMap((id, at) => [
    at ? ", " : "", link({ view: "maps", pixels: `${prefix}${id}` }, [String(id)]),
  ]);
  return ids.length > PIXELS ? [...links, `, and ${count(ids.length - PIXELS)} more`] : links;
}

function changed({ quantity, title, unit, before, after, shift, strong, count: number, picks }, run) {
  const compared = views().includes("compare") ? { view: "compare", quantity, reference: String(run) } : { view: "maps", quantity };
  return element("tr", { class: strong ? "strong" : "" }, [
    element("th", { scope: "row" }, [link(compared, [title], { title: quantity })]),
    element("td", { class: "number", title: `Median ${before} → ${after} ${unit}` }, [shift && `${shift} σ`]),
    element("td", { class: "number" }, number === 0 ? [] : [
      picks === "" ? plural(number, "pixel") : link({ view: "maps", quantity, pixels: picks }, [plural(number, "pixel")]),
    ]),
  ]);
}

function table(rows) {
  const head = [["Quantity", ""], ["Shift", "number"], ["Pixels", "number"]];
  return element("table", { class: "quantities" }, [
    element("thead", {}, [element("tr", {}, head.map(([title, kind]) => element("th", { class: kind }, [title])))]),
    element("tbody", {}, rows),
  ]);
}

function legend({ changes, reference }) {
  const key = (kind, label) => element("span", { class: "key" }, [element("i", { class: `swatch-map ${kind}` }), label]);
  const parts = [key("colours", "low to high, each map by itself"), key("bad", "bad pixel"), key("absent", "absent"), key("valueless", "no value")];
  if (changes !== null) {
    parts.push(element("span", { class: "key" }, [element("i", { class: "differs" }, ["Δ"]), `differs much from run ${reference.run}`]));
  }
  return parts;
}

// ---- links to other pages: real ones, which go there without a load

const addresses = new WeakMap();

// where a link leads to, whichever run is in front; or what unfolds
function placeOf(part) {
  return JSON.stringify(addresses.get(part) ?? part.parentElement?.className);
}

function link(address, children, attributes = {}) {
  return anchor({ ...address, view: views().includes(address.view) ? address.view : "maps" }, children, attributes);
}

function anchor(change, children, attributes = {}) {
  const made = element("a", { ...attributes, href: href({ ...inView(change.view ?? wanted.view), ...change }) }, children);
  addresses.set(made, change);
  return made;
}

// returns the link that was followed
function follow(event) {
  const clicked = event.target.closest("a");
  if (clicked === null || !isOurs(event)) return null;
  event.preventDefault();
  go(addresses.get(clicked));
  return clicked;
}

function field(value, key) {
  return value instanceof Map ? value.get(key) : value[key];
}

/** Make the overview in *root*. */
export function attach(root, layout, document_) {
  new Overview(root, layout, document_);
}
