// The run in front: older, newer, follow the latest, and the searchable list of runs.

import { follows, go, onAsk, shown, wanted } from "./address.js";
import { listen, send } from "./bridge.js";
import { count, date } from "./format.js";
import { badge, mark } from "./verdicts.js";

const get = (id) => document.getElementById(id);
const [button, older, newer, follow, hint] = ["run", "older", "newer", "follow", "new-run"].map(get);
const [picker, input, list, total] = ["picker", "search", "run-list", "run-count"].map(get);

let sequence = 0;
let rows = [];
let active = -1;
let kept = null; // the run that stays highlighted when the list is only brought up to date

/** Go `steps` runs towards newer (positive) or older ones. */
export function step(steps) {
  if (shown === null || shown.run === null) return;
  const line = [...shown.older.slice().reverse(), shown.run, ...shown.newer];
  const here = wanted.run === undefined ? shown.newest : Number(wanted.run);
  const at = line.indexOf(here);
  const next = Math.min(Math.max((at < 0 ? shown.older.length : at) + steps, 0), line.length - 1);
  if (line[next] !== here) go({ run: line[next] });
}

export function latest() {
  go({ run: undefined });
}

export function openPicker() {
  if (!picker.hidden || button.disabled) return;
  const below = button.getBoundingClientRect();
  picker.hidden = false;
  picker.style.top = `${below.bottom + 5}px`;
  picker.style.left = `${Math.max(8, Math.min(below.left, innerWidth - picker.offsetWidth - 8))}px`;
  button.setAttribute("aria-expanded", "true");
  input.value = "";
  input.focus();
  search();
}

function closePicker(focus = true) {
  if (picker.hidden) return;
  picker.hidden = true;
  button.setAttribute("aria-expanded", "false");
  if (focus) button.focus();
}

function search(keep = null) {
  kept = keep;
  sequence += 1;
  list.setAttribute("aria-busy", "true");
  send({ search: JSON.stringify({ seq: sequence, camera: shown.camera, text: input.value }) });
}

listen("runs", (answer) => {
  if (answer.seq !== sequence) return;
  list.removeAttribute("aria-busy");
  rows = answer.rows;
  list.replaceChildren(...rows.map(option));
  const wantedRow = kept ?? (input.value === "" ? shown.run : null);
  activate(Math.max(0, rows.findIndex(([run]) => run === wantedRow)));
  if (answer.matching === 0) {
    total.textContent = `None of ${count(answer.total)} runs matches.`;
  } else if (answer.matching > rows.length) {
    total.textContent = `${count(rows.length)} of ${count(answer.matching)}: type to narrow`;
  } else {
    total.textContent = `${count(answer.matching)} of ${count(answer.total)} runs`;
  }
});

function option([run, start, events, absent, bad, verdict], index) {
  const row = document.createElement("div");
  row.role = "option";
  row.id = `run-option-${index}`;
  row.dataset.run = run;
  for (const text of [run, start === null ? "–" : date(start).slice(0, 16), count(events), count(absent), count(bad)]) {
    const cell = document.createElement("span");
    cell.textContent = text;
    row.append(cell);
  }
  const cell = document.createElement("span");
  cell.append(badge(verdict));
  row.append(cell);
  return row;
}

function activate(index) {
  list.children[active]?.removeAttribute("aria-selected");
  active = rows.length ? Math.min(Math.max(index, 0), rows.length - 1) : -1;
  const row = list.children[active];
  if (row === undefined) {
    input.removeAttribute("aria-activedescendant");
    return;
  }
  row.setAttribute("aria-selected", "true");
  row.scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", row.id);
}

function choose(row) {
  if (row === null || row === undefined) return; // none matches
  closePicker();
  go({ run: row.dataset.run });
}

const MOVES = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };

input.addEventListener("input", () => search());
input.addEventListener("keydown", (event) => {
  if (event.key in MOVES) {
    activate(active + MOVES[event.key]);
    kept = rows[active]?.[0] ?? null;
  } else if (event.key === "Enter") choose(list.children[active]);
  else if (event.key === "Escape") closePicker();
  else return;
  event.preventDefault();
  event.stopPropagation();
});
list.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus in the input
list.addEventListener("click", (event) => choose(event.target.closest("[role=option]")));
picker.addEventListener("focusout", (event) => {
  if (!picker.contains(event.relatedTarget) && event.relatedTarget !== button) closePicker(false);
});
button.addEventListener("click", () => (picker.hidden ? openPicker() : closePicker()));
older.addEventListener("click", () => step(-1));
newer.addEventListener("click", () => step(1));
follow.addEventListener("click", () => (follows() ? go({ run: shown.run }) : latest()));
hint.addEventListener("click", latest);

// at once, before the server has answered
onAsk((address) => {
  const run = address.run ?? shown?.newest;
  if (run !== undefined && run !== null) button.textContent = `Run ${run}`;
  follow.setAttribute("aria-pressed", String(follows(address)));
});

listen("state", (state) => {
  const any = state.run !== null;
  button.disabled = follow.disabled = !any;
  button.textContent = any ? `Run ${state.run}` : "No run";
  older.disabled = state.older.length === 0;
  newer.disabled = state.newer.length === 0;
  follow.setAttribute("aria-pressed", String(any && follows()));
  const news = any && !follows() && state.newest > newestSeen(state);
  hint.hidden = !news;
  if (news) {
    const judged = state.newest_verdict === null ? [] : [mark(state.newest_verdict)];
    hint.replaceChildren(...judged, `Run ${state.newest} is new`);
  }
  if (!picker.hidden) search(kept ?? rows[active]?.[0] ?? null);
});

// the newest run that the user knows of: the one when the camera was first shown, or the last shown
const known = {};
function newestSeen(state) {
  if (follows() || state.run === state.newest) known[state.camera] = state.newest;
  known[state.camera] ??= state.newest;
  return known[state.camera];
}
