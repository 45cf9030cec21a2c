// Notices that the server is gone and comes back to the same page when it answers again.
//
// Bokeh's own reconnection gives up after five attempts or when the token has expired, so it is
// switched off. This page asks the server about once a second and then loads itself again: its
// address says all that it showed.

import * as bridge from "./bridge.js";

const POLL_MS = 1000;
const ANSWER_MS = 3000;
const BEAT_MS = 10_000;
const ECHO_MS = 6000;
const SLEPT_MS = 30_000;
const RELOADS = "dqm-reloads";
const RELOADS_AT_ONCE = 3; // reloads in a row that did not help, before it slows down

const banner = document.getElementById("lost");
let since = null; // when the connection was lost, ms
let beat = 0;
let echoed = 0;
let sent = 0;
let looked = Date.now();
let polling = null;

/** Connect; when that fails, keep trying like after a loss. */
export async function start() {
  try {
    await bridge.connect();
  } catch (error) {
    console.error(error);
    lost("The server refused the live connection.");
    return;
  }
  bridge.doc.on_event("connection_lost", () => lost("The connection to the server is lost."));
  bridge.listen("heartbeat", (count) => { echoed = count; });
  setInterval(watch, 2000);
  for (const event of ["online", "focus", "pageshow"]) addEventListener(event, check);
  addEventListener("offline", () => lost("This computer is offline."));
  document.addEventListener("visibilitychange", check);
}

/** The page shows what it should: reloading did help. */
export function settled() {
  sessionStorage.removeItem(RELOADS);
}

function watch() {
  const now = Date.now();
  const slept = now - looked > SLEPT_MS;
  looked = now;
  if (since !== null) return;
  if (beat > echoed && now - sent > ECHO_MS) lost("The server does not answer.");
  else if (slept || now - sent > BEAT_MS) check();
}

function check() {
  if (since !== null) {
    poll();
  } else if (bridge.doc !== null && beat === echoed) {
    beat += 1;
    sent = Date.now();
    bridge.send({ heartbeat: beat });
  }
}

function lost(reason) {
  if (since !== null) return;
  since = Date.now();
  document.documentElement.dataset.connection = "lost";
  const time = new Date(since).toISOString().slice(11, 19);
  banner.textContent =
    `${reason} Since ${time} UTC this page shows what it had; it comes back by itself.`;
  banner.hidden = false;
  polling = setTimeout(poll, POLL_MS); // a server that is just ending may still answer
}

async function poll() {
  clearTimeout(polling);
  const again = () => { clearTimeout(polling); polling = setTimeout(poll, POLL_MS + pause()); };
  polling = setTimeout(poll, ANSWER_MS + POLL_MS + pause()); // should this call hang
  if (Date.now() - since < pause()) return;
  try {
    const answer = await fetch(`${bridge.root}/alive`, {
      cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
  } catch {
    again();
    return;
  }
  sessionStorage.setItem(RELOADS, String(reloads() + 1));
  location.reload();
}

function reloads() {
  return Number(sessionStorage.getItem(RELOADS) ?? 0);
}

/** Milliseconds to wait before a reload, so that a server that refuses us is not stormed. */
function pause() {
  const useless = reloads() - RELOADS_AT_ONCE;
  return useless < 0 ? 0 : Math.min(2 ** useless * 2000, 60_000);
}
