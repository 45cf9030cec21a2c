// What the page should show, in step with the address bar.
//
// Beside the keys that every view has there are options: those of the view in front, which its server
// side knows (`View.options` in dqm_app/views/base.py), and those below, which only the page uses.

import { checked } from "./address_values.js";
import { listen, send } from "./bridge.js";

const FIXED = ["camera", "run", "follow", "view", "quantity"];
const OURS = ["pixels", "range", "scale", "zoom", "filter"];
const OF_QUANTITY = ["range", "scale", "zoom"]; // of these, what means nothing for another quantity
const OF_RUN = ["zoom"]; // and what means nothing for another run
const GENERAL = ["camera", "run", "follow", "pixels"]; // what means the same in every view

/** What could not be understood of the address, in words, until something else is asked for. */
export let remarks = [];
/** Whether the address came as a whole, opened or gone back to: then it says all that it does not name. */
export let whole = true;
/** How many addresses came so. */
export let arrivals = 0;

/** The address that was asked for last; with `follow`, or without `run`, of the newest run. */
export let wanted = read();

/** Whether the page stays on the newest run. */
export function follows(address = wanted) {
  return address.follow !== undefined || address.run === undefined;
}

/** What the server said last about what it shows, see dqm_app/session.py. */
export let shown = null;

let sequence = 0;
const left = {}; // how each view was left: its quantity and options, and what is ours
const starting = [];
// an entry of the history that we have seen goes on following; a link from elsewhere shows its run
const SEEN = "seen";
let opened = history.state !== SEEN;

/** Call `listener(wanted)` whenever something is asked for. */
export function onAsk(listener) {
  starting.push(listener);
}

export function pending() {
  return shown === null || shown.seq !== sequence;
}

/** Ask for another page: `change` replaces keys of the address; undefined removes one. */
export function go(change) {
  const next = { ...inView(change.view ?? wanted.view), ...change };
  if ("run" in change) next.follow = change.run === undefined ? "1" : undefined;
  if (wanted.view !== undefined) left[wanted.view] = omit(wanted, GENERAL);
  if ("quantity" in change && change.quantity !== wanted.quantity) {
    for (const key of OF_QUANTITY) if (!(key in change)) next[key] = undefined;
  }
  if ("run" in change || "camera" in change) {
    for (const one of [next, ...Object.values(left)]) {
      for (const key of OF_RUN) if (!(key in change)) delete one[key];
    }
  }
  remarks = [];
  whole = false;
  const held = pending(); // a burst, e.g. a key held down, makes one entry in the history
  wanted = clean(next);
  history[held ? "replaceState" : "pushState"](SEEN, "", href(wanted));
  opened = false;
  ask();
}

/** Let *view* be opened the next time as if these options of it had never been chosen. */
export function forget(view, keys) {
  if (left[view] !== undefined) left[view] = omit(left[view], keys);
}

/** The address of a view for what is in front now, as the view was left. */
export function inView(view) {
  return view === wanted.view ? wanted : { ...pick(wanted, GENERAL), ...left[view], view };
}

/** Write what only the page uses, such as the picked pixels, into the address bar. */
export function note(change) {
  const next = clean({ ...wanted, ...change });
  if (href(next) === href(wanted)) return;
  wanted = next;
  history.replaceState(history.state, "", href(wanted));
}

/** Ask again for what the page shows, e.g. in another theme. */
export function ask() {
  sequence += 1;
  const theme = document.documentElement.dataset.theme;
  for (const listener of starting) listener(wanted);
  const query = omit(wanted, OURS);
  send({ address: JSON.stringify({ seq: sequence, query, theme, opened }) });
}

export function href(address) {
  return `?${new URLSearchParams(clean(address))}`.replaceAll("%2C", ","); // lists stay readable
}

function read() {
  const found = clean(Object.fromEntries(new URLSearchParams(location.search)));
  remarks = checked(found);
  whole = true;
  arrivals += 1;
  return found;
}

/** As texts, in the order of an address: what every view has, what this one has, what is ours. */
function clean(address) {
  const options = Object.keys(address).filter((key) => !FIXED.includes(key) && !OURS.includes(key));
  const keys = [...FIXED, ...options.sort(), ...OURS];
  const kept = keys.filter((key) => address[key] !== undefined && address[key] !== null && address[key] !== "");
  return Object.fromEntries(kept.map((key) => [key, String(address[key])]));
}

function pick(address, keys) {
  return Object.fromEntries(keys.filter((key) => key in address).map((key) => [key, address[key]]));
}

function omit(address, keys) {
  return Object.fromEntries(Object.entries(address).filter(([key]) => !keys.includes(key)));
}

listen("state", (state) => {
  shown = state;
  if (pending()) return; // an answer to something that is no longer wanted
  wanted = clean({ ...state.address, ...pick(wanted, OURS) });
  opened = false;
  if (href(wanted) !== location.search || history.state !== SEEN) {
    history.replaceState(SEEN, "", href(wanted));
  }
});

addEventListener("popstate", () => {
  wanted = read();
  opened = history.state !== SEEN;
  ask();
});
