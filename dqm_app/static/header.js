// The strip with the facts of the run, always visible above the views.

import { go, href, inView } from "./address.js";
import { listen, mayFetch, root } from "./bridge.js";
import { UNKNOWN, bytes, clock, count, date, duration, plural } from "./format.js";
import { busyWhile, element, isOurs, text } from "./html.js";
import { badge, words } from "./verdicts.js";

const strip = document.getElementById("facts");
const REASONS = "overview"; // the view that says why
const UNJUDGED = new Set(["none", "unknown"]);
let written = null;

listen("state", (state) => {
  const text = JSON.stringify([state.camera, state.run, state.header, state.verdict]);
  if (text === written) return;
  written = text;
  const facts = state.header === null ? [] : [judged(state.verdict), ...describe(state, UNJUDGED.has(words(state.verdict).key))];
  strip.replaceChildren(...facts);
});

// leads to the reasons
function judged(verdict) {
  const open = (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    go({ view: REASONS });
  };
  return element("div", { class: "fact judged" }, [
    part("label", "Verdict"),
    element("a", { id: "verdict", href: href(inView(REASONS)), click: open }, [badge(verdict)]),
  ]);
}

// what the checks judge is marked here only where they did not
function describe({ camera, run, header }, mark) {
  const { events } = header;
  const facts = [
    ...times(header),
    titled(fact("Events", total(events), classes(events)), counted(events)),
    absent(header, mark),
    titled(
      fact("Bad pixels", count(header.bad_pixels),
        header.bad_pixels === null ? "no bad-pixel data" : "in any gain or event class",
        mark && header.bad_pixels > 0),
      "Flagged in more than 50 % of the events, in at least one gain or event class"),
    provenance(header, mayFetch ? `${root}/originals/${encodeURIComponent(camera)}/${run}` : null),
  ];
  if (header.notes.length) facts.push(notes(header.notes));
  return facts;
}

// the run is started some time before the first event, so that both matter
function times({ start, first_event: first, last_event: last }) {
  const length = first === null || last === null ? null : `${duration(last - first)} of events`;
  const begun = start ?? first;
  return [
    fact("Start", utc(begun), first === null ? null
      : start === null ? "first event" : `first event ${utc(first, start)}`),
    fact("Last event", utc(last, begun), length),
  ];
}

// the date is left out where it is that of another time beside it
function utc(time, beside = null) {
  if (time === null) return UNKNOWN;
  const same = beside !== null && date(time).slice(0, 10) === date(beside).slice(0, 10);
  return `${same ? clock(time) : date(time)} UTC`;
}

function classes(events) {
  const parts = [[events.physical, "physics"], [events.pedestal, "pedestal"], [events.other, "other"]];
  const known = parts.filter(([value]) => value !== null);
  return known.length ? known.map(([value, name]) => `${count(value)} ${name}`).join(" · ") : null;
}

function total(events) {
  return events.wrong_time > 0 ? `${count(events.total)} + ${count(events.wrong_time)} wrong time` : count(events.total);
}

// the file's counts leave out what its per-event quantities contain
function counted(events) {
  if (!(events.total > 0)) return "";
  const wrong = events.wrong_time ?? 0;
  const all = count(events.total + wrong + 1);
  return `${count(events.total)} counted by TRIGGER-STATISTICS, which leaves out the first event`
    + ` and ${plural(wrong, "event")} with a wrong time. Timelines contain all ${all}.`;
}

function absent(header, mark) {
  const modules = header.absent_modules;
  const pixels = plural(header.absent_pixels, "pixel");
  if (modules.length === 0) return fact("Absent modules", "0", header.absent_pixels ? pixels : null, mark && header.absent_pixels > 0);
  return more("Absent modules", count(modules.length), pixels, [
    element("p", {}, [`Modules ${modules.join(", ")}`]),
  ], mark ? "alert" : "");
}

function provenance(header, original) {
  const name = header.source.split("/").at(-1);
  const rows = [
    ["Source", header.source],
    ...(header.results_name === "" ? [["Results file", "none: imported from a database that keeps no files"]] : [
      ["Size", bytes(header.source_size)],
      ["Results file", `${header.results_name}, ${bytes(header.results_size)}`],
    ]),
    ["SHA-256", header.sha256], ["Ingested", `${date(header.ingested_at)} UTC`],
    ["Parser version", String(header.parser_version)],
  ];
  const list = element("dl", {}, rows.flatMap(([label, value]) => [element("dt", {}, [label]), element("dd", {}, [value])]));
  const file = original !== null && header.results_name !== "";
  const link = file ? [taking(original)] : [];
  return more("Source", name, `ingested ${date(header.ingested_at)} UTC`, [list, ...link], "long");
}

/** The link to the file at *address*, which says why when it cannot be had. */
function taking(address) {
  const wrong = element("span", { class: "wrong", role: "alert" });
  const link = element("a", { class: "original", href: address, click: (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    busyWhile(link, async () => {
      try {
        const { take } = await import("./downloads.js");
        await take(address);
        text(wrong, "");
      } catch (error) {
        text(wrong, ` ${"lost" in error ? error.message : "The server does not answer."}`);
      }
    });
  } }, ["Original file"]);
  return element("p", {}, [link, wrong]);
}

function notes(texts) {
  const list = element("ul", {}, texts.map((text) => element("li", {}, [text])));
  return more("Notes", count(texts.length), texts[0], [list], "long alert");
}

function fact(label, value, detail = null, alert = false) {
  return element("div", { class: alert ? "fact alert" : "fact" }, parts(label, value, detail));
}

function titled(box, title) {
  box.title = title;
  return box;
}

function more(label, value, detail, content, classNames) {
  return element("details", { class: `fact ${classNames}` }, [
    element("summary", {}, parts(label, value, detail)), element("div", { class: "body" }, content),
  ]);
}

function parts(label, value, detail) {
  const shown = [part("label", label), part("value", value)];
  return detail === null ? shown : [...shown, part("detail", detail)];
}

function part(kind, text) {
  return element("span", { class: kind }, [text]);
}

// what unfolds is placed below its fact, inside the window
strip.addEventListener("toggle", ({ target: box }) => {
  if (!box.open) {
    box.classList.remove("placed");
    return;
  }
  const body = box.querySelector(".body");
  const below = box.getBoundingClientRect();
  body.style.top = `${below.bottom + 4}px`;
  body.style.maxHeight = `${innerHeight - below.bottom - 16}px`;
  body.style.left = "8px"; // so that its width does not depend on where it was
  body.style.left = `${Math.max(8, Math.min(below.left, innerWidth - body.offsetWidth - 8))}px`;
  box.classList.add("placed"); // until then it is hidden, not seen to jump
}, true);

function close(except = null) {
  for (const open of strip.querySelectorAll("details[open]")) {
    if (!open.contains(except)) open.open = false;
  }
}

document.addEventListener("click", (event) => close(event.target));
document.addEventListener("keydown", (event) => {
  const open = strip.querySelector("details[open]");
  if (event.key !== "Escape" || open === null) return;
  open.querySelector("summary").focus();
  close();
  event.preventDefault(); // Esc means this, and nothing for the plots
});
addEventListener("resize", () => close());
