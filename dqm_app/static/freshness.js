// How fresh what is shown is: the last run, how far the database is behind the primary, the last pull
// and what is in quarantine. And what a shift must hear of: a bad run that came by itself.

import { follows, go, href, inView, onAsk, pending, wanted } from "./address.js";
import { listen } from "./bridge.js";
import { ago, clock, count, date, lasting } from "./format.js";
import { isOurs } from "./html.js";
import { words } from "./verdicts.js";

const MINUTE = 60;
const VERBS = { ok: "Pulled", partly: "Pulled in part", stopped: "Pull stopped", failed: "Pull failed" };
const SERIOUS = new Set(["warning", "bad"]);
const get = (id) => document.getElementById(id);
const [group, last, replica, sign, alarm, news] = ["fresh", "last-run", "replica", "pull", "alarm", "news"].map(get);
const [stored, age] = sign.children; // each a number or time and words, which narrow pages hide
let newestAt = null; // when the newest run ended, Unix seconds
let pull = null;
let lag = null;
let ahead = 0; // seconds by which the server's clock is ahead of this one
let timer;

/** Seconds since the last pull ended, by the server's clock. */
export function pullAge() {
  return since(pull.at);
}

/** Whether there was no pull for too long. */
export function isLate() {
  return pull.at !== null && pullAge() > pull.stale;
}

/** Seconds since *time*, Unix seconds by the server's clock: clocks differ from host to host. Nothing
 * is from the future. */
export function since(time) {
  return Math.max(0, Date.now() / 1000 + ahead - time);
}

function show() {
  clearTimeout(timer);
  const parts = [showLast(), showReplica(), showPull()];
  hide(group, [last, replica, sign].every((part) => part.hidden));
  const times = parts.filter((time) => time !== null);
  if (times.length === 0) return;
  // when a text may change
  timer = setTimeout(show, Math.min(...times.map((time) => 1000 * (MINUTE - since(time) % MINUTE))));
}

// each shows a part and returns the time whose age it shows, or null

function showLast() {
  hide(last, newestAt === null);
  if (newestAt === null) return null;
  write(last, false, "Last run", ago(since(newestAt)));
  entitle(last, `The newest run of the camera is from ${date(newestAt)} UTC`);
  return newestAt;
}

function showReplica() {
  hide(replica, lag === null);
  grade(document.documentElement, "fresh", lag?.level ?? "ok");
  if (lag === null) return null;
  const { level, behind_since: behind, silent_since: silent, changed_at: changed } = lag;
  const silence = silent === null ? "" : `The primary does not answer since ${date(silent)} UTC. `;
  grade(replica, "level", level);
  if (behind !== null) {
    const length = since(behind) < MINUTE ? "" : `${lasting(since(behind))} `;
    write(replica, level !== "ok", "Replica", `${length}behind`);
    entitle(replica, `${silence}Since ${date(behind)} UTC the primary has what is missing here: newer runs may exist`);
    return behind;
  }
  if (silent !== null) {
    write(replica, level !== "ok", "Primary silent", `since ${clock(silent).slice(0, 5)}`);
    entitle(replica, `${silence}What is new since then may be missing here`);
    return null;
  }
  if (changed !== null) {
    write(replica, level !== "ok", "Data changed", ago(since(changed)));
    entitle(replica, `The last change of the database that is shown was at ${date(changed)} UTC`);
    return changed;
  }
  write(replica, false, "Replica", "in step");
  entitle(replica, "The database that is shown has everything that the primary has");
  return null;
}

function showPull() {
  const { at, outcome, failures, quarantined } = pull;
  hide(sign, at === null && failures === 0);
  hide(age, at === null);
  hide(stored, quarantined === 0 && at !== null);
  write(stored, quarantined > 0, count(quarantined || failures), quarantined ? "in quarantine" : "not stored");
  if (at !== null) write(age, outcome !== "ok" || isLate(), VERBS[outcome], ago(pullAge()));
  return at;
}

// only what changes, so that no frame is drawn for nothing
function hide(part, hidden) {
  if (part.hidden !== hidden) part.hidden = hidden;
}

function write(part, alert, ...texts) {
  part.classList.toggle("alert", alert);
  texts.forEach((text, at) => {
    const { [at]: child } = part.children;
    if (child.textContent !== text) child.textContent = text;
  });
}

function grade(part, name, level) {
  if (part.dataset[name] !== level) part.dataset[name] = level;
}

function entitle(part, title) {
  if (part.title !== title) part.title = title;
}

listen("freshness", (state) => {
  const before = lag?.level ?? "ok";
  pull = state.pull;
  lag = state.replica;
  ahead = state.now - Date.now() / 1000;
  show();
  if (before !== lag?.level && (lag?.level ?? "ok") !== "ok") news.textContent = replica.title;
  showAlarm(state.alarm);
});

// ---- what is critical in the system ----

const SYSTEM = "system"; // the view that says more

function showAlarm(critical) {
  const is = critical !== null;
  if (is) {
    const { title, subject, count: number } = critical;
    const more = number > 1 ? `, and ${number - 1} more` : "";
    entitle(alarm, `Critical: ${title}${subject ? ` ${subject}` : ""}${more}. This leads to what to do`);
    // the view says it itself
    if (alarm.hidden && wanted.view !== SYSTEM) news.textContent = alarm.title;
  }
  hide(alarm, !is);
}

onAsk(() => { alarm.href = href(inView(SYSTEM)); });

alarm.addEventListener("click", (event) => {
  if (!isOurs(event)) return;
  event.preventDefault();
  go({ view: SYSTEM });
});

// ---- the runs that come by themselves ----

let seen = null; // the last state that was shown

listen("state", (state) => {
  if (state.newest_at !== newestAt) {
    newestAt = state.newest_at;
    if (pull !== null) show();
  }
  if (pending()) return;
  const itself = seen !== null && seen.seq === state.seq; // nobody asked for another page
  const other = itself && (seen.run !== state.run || seen.verdict !== state.verdict);
  seen = state;
  const { key, word } = words(state.verdict);
  if (other && follows() && SERIOUS.has(key)) news.textContent = `Run ${state.run}: ${word}`;
});

sign.addEventListener("click", async () => {
  const { open } = await import("./failures.js"); // which few look at
  open();
});
