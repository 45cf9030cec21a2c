// The other controls: camera, views, quantity, theme; and the words for what is wrong.

import { ask, go, href, inView, onAsk, pending, remarks, shown, wanted } from "./address.js";
import { listen } from "./bridge.js";
import { clock } from "./format.js";
import { isOurs } from "./html.js";
import { words } from "./verdicts.js";

const get = (id) => document.getElementById(id);
const [camera, quantity, field, links] = ["camera", "quantity", "quantity-field", "view-list"].map(get);
const [busy, message, database, health, nothing] = ["busy", "message", "database", "health", "nothing"].map(get);
const [main, loading] = ["views", "loading"].map(get);
let choices = [];

export function views() {
  return [...links.querySelectorAll("a")].map((link) => link.dataset.view);
}

export function toggleTheme() {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("dqm-theme", theme); } catch { /* storage is off: until the reload */ }
  setTheme(theme);
}

/** Go to the next or previous quantity that the run has. */
export function stepQuantity(steps) {
  const available = choices.filter((choice) => choice.available);
  const at = available.findIndex((choice) => choice.name === wanted.quantity);
  const next = available[at + steps];
  if (next !== undefined) go({ quantity: next.name });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  ask();
}

/** Fill a select with options, grouped by `group`; leaves it alone when nothing changed. */
function fill(select, options) {
  const text = JSON.stringify(options);
  if (select.dataset.filled === text) return;
  select.dataset.filled = text;
  select.replaceChildren();
  const groups = new Map();
  for (const { value, text: label, group, disabled } of options) {
    if (!groups.has(group)) {
      const made = document.createElement("optgroup");
      made.label = group;
      groups.set(group, made);
      select.append(made);
    }
    const option = new Option(label, value);
    option.title = value;
    option.disabled = disabled;
    groups.get(group).append(option);
  }
}

const places = new Map(); // how far each view was scrolled when it was left
let front;

// in a narrow window the row of the tabs is scrolled
new ResizeObserver(() => showTab(links.querySelector("[aria-current]"))).observe(links);

function showTab(link) {
  link?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function showView(name) {
  if (front !== undefined && front !== name) places.set(front, main.scrollTop);
  for (const link of links.querySelectorAll("a")) {
    if (link.dataset.view === name) {
      link.setAttribute("aria-current", "page");
      if (front !== name) showTab(link);
    } else {
      link.removeAttribute("aria-current");
    }
    link.href = href(inView(link.dataset.view));
  }
  for (const section of main.querySelectorAll(".view")) section.hidden = section.id !== `view-${name}`;
  if (front !== name) main.scrollTop = places.get(name) ?? 0;
  front = name;
}

const LATE_MS = 250;
let late;

function setBusy(on) {
  // what is still shown belongs to what was asked for before: dimmed, unless the answer is quick
  clearTimeout(late);
  if (on) late = setTimeout(() => document.body.classList.add("stale"), LATE_MS);
  else document.body.classList.remove("stale");
  busy.classList.toggle("on", on);
  main.setAttribute("aria-busy", String(on));
  document.body.setAttribute("aria-busy", String(on));
}

onAsk((address) => {
  setBusy(true);
  if (address.view !== undefined) showView(address.view);
});

listen("quantities", (list) => {
  choices = list;
  field.hidden = list.length === 0;
  fill(quantity, list.map(({ name, title, section, available, reason }) => ({
    value: name,
    text: available ? title : `${title} (${reason || "no data"})`,
    group: section,
    disabled: !available,
  })));
});

listen("state", (state) => {
  if (state.cameras.length) {
    camera.replaceChildren(...state.cameras.map((name) => new Option(name, name)));
  }
  camera.disabled = state.cameras.length === 0;
  if (pending()) return;
  setBusy(false);
  camera.value = state.camera ?? "";
  quantity.value = state.quantity ?? "";
  message.textContent = [state.message?.text, ...remarks].filter(Boolean).join(" ");
  message.hidden = message.textContent === "";
  message.classList.toggle("alert", state.message?.level === "error");
  if (state.view !== null) {
    showView(state.view);
    const section = get(`view-${state.view}`);
    const reason = section.querySelector(".unavailable");
    reason.hidden = state.unavailable === null;
    reason.textContent = state.unavailable ?? "";
    section.classList.toggle("empty", state.unavailable !== null);
    // in front, where it is seen in the tab of another page
    const { key, sign } = words(state.verdict);
    const alarm = key === "bad" || key === "warning" ? `${sign} ` : "";
    const run = state.run === null ? section.ariaLabel : `Run ${state.run} · ${state.camera}`;
    document.title = `${alarm}${run} · NectarCAM DQM`;
  }
  nothing.hidden = state.view !== null;
});

const WORDS = { starting: "Opening the database…", ok: "Live", waiting: "Waiting for the database…", empty: "No data yet", down: "Database down", fault: "Database unusable" };

listen("health", ({ state, since, text }) => {
  health.dataset.state = state;
  health.textContent = WORDS[state];
  health.title = text;
  loading.textContent = state === "waiting" ? WORDS.waiting : "Loading…";
  const down = state === "down" || state === "fault";
  database.hidden = !down;
  const kept = shown !== null && shown.run !== null ? " Shown is what was loaded before." : "";
  const when = state === "down" ? ` Since ${clock(since)} UTC.` : "";
  database.textContent = down ? `${text}${when}${kept} The page goes on by itself when it can.` : "";
  nothing.textContent = text || "Nothing to show yet.";
});

// ---- what the controls do ----

camera.addEventListener("change", () => go({ camera: camera.value, run: undefined }));
quantity.addEventListener("change", () => go({ quantity: quantity.value }));
for (const select of [camera, quantity]) {
  let keys = false; // whether it is being used with the keyboard, e.g. to type the start of a name
  select.addEventListener("focus", () => { keys = false; });
  select.addEventListener("pointerdown", () => { keys = false; });
  select.addEventListener("keydown", (event) => {
    keys = true;
    if (event.key === "Enter" || event.key === "Escape") select.blur();
  });
  select.addEventListener("change", () => { if (!keys) select.blur(); }); // shortcuts work again
}
links.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (link === null || !isOurs(event)) return;
  event.preventDefault();
  go({ view: link.dataset.view });
});
get("theme").addEventListener("click", toggleTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
  let chosen = null;
  try { chosen = localStorage.getItem("dqm-theme"); } catch { /* storage is off */ }
  if (chosen === null) setTheme(event.matches ? "dark" : "light");
});
