// What the page should show, in step with the address bar.

import { listen, send } from "./bridge.js";

const KEYS = ["camera", "run", "follow", "view", "quantity"];

/** The address that was asked for last; with `follow`, or without `run`, of the newest run. */
export let wanted = read();

/** Whether the page stays on the newest run. */
export function follows(address = wanted) {
  return address.follow !== undefined || address.run === undefined;
}

/** What the server said last about what it shows, see dqm_app/session.py. */
export let shown = null;

let sequence = 0;
const quantities = {}; // the quantity looked at last in each view
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
  const next = { ...wanted, ...change };
  if ("run" in change) next.follow = change.run === undefined ? "1" : undefined;
  if (change.view !== undefined && change.view !== wanted.view && !("quantity" in change)) {
    next.quantity = quantities[change.view];
  }
  const held = pending(); // a burst, e.g. a key held down, makes one entry in the history
  wanted = clean(next);
  history[held ? "replaceState" : "pushState"](SEEN, "", href(wanted));
  opened = false;
  ask();
}

/** Ask again for what the page shows, e.g. in another theme. */
export function ask() {
  sequence += 1;
  const theme = document.documentElement.dataset.theme;
  for (const listener of starting) listener(wanted);
  send({ address: JSON.stringify({ seq: sequence, query: wanted, theme, opened }) });
}

export function href(address) {
  return `?${new URLSearchParams(clean(address))}`;
}

function read() {
  const query = new URLSearchParams(location.search);
  return clean(Object.fromEntries(KEYS.map((key) => [key, query.get(key) ?? undefined])));
}

function clean(address) {
  const kept = KEYS.filter((key) => address[key] !== undefined && address[key] !== null);
  return Object.fromEntries(kept.map((key) => [key, String(address[key])]));
}

listen("state", (state) => {
  shown = state;
  if (pending()) return; // an answer to something that is no longer wanted
  wanted = clean(state.address);
  if (wanted.view && wanted.quantity) quantities[wanted.view] = wanted.quantity;
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
