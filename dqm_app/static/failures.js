// The dialog behind the sign of the last pull: what the pull did, and the files that could not be
// stored. Loaded when it is first opened; what it shows is asked for each time it is opened, and
// again while it is open when something has changed.

import { listen, send } from "./bridge.js";
import { isLate, pullAge } from "./freshness.js";
import { ago, count, date, duration, plural, UNKNOWN } from "./format.js";
import { element, text } from "./html.js";

const HEADINGS = ["Camera", "Run", "State", "Reason and file", "Attempts", "First (UTC)", "Last (UTC)"];
const STATES = {
  quarantine: () => "In quarantine",
  deleted: () => "Deleted by hand",
  next: () => "Tried again by the next pull",
  later: ({ next_at }) => `Tried again at ${near(next_at)} UTC`,
};

let sequence = 0;
let written = null;

const summary = element("dl", { class: "last-pull" });
const camera = element("select", { id: "failures-camera", change: () => ask() }, [new Option("All cameras", "")]);
const total = element("span", { role: "status", class: "total" });
const problem = element("p", { class: "problem", role: "alert", hidden: true });
const body = element("tbody");
const table = element("table", {}, [
  element("thead", {}, [element("tr", {}, HEADINGS.map((name) => element("th", { scope: "col" }, [name])))]),
  body,
]);
const rows = element("div", { class: "rows", tabindex: "0", role: "region", "aria-label": "Files that were not stored" }, [table]);
const files = element("div", { class: "files" }, [
  element("p", { class: "help" }, [
    "What is in quarantine or deleted is pulled again when its file changes at the source, or after ",
    element("code", {}, ["dqm release RUN --camera CAMERA"]), ".",
  ]),
  element("div", { class: "filter" }, [
    element("label", { class: "field" }, [element("span", {}, ["Camera"]), camera]), total,
  ]),
  rows,
]);
const none = element("p", { class: "help" }, ["All files that were found could be stored."]);
const content = element("div", { class: "content", hidden: true }, [
  element("h2", {}, ["Last pull"]), summary,
  element("h2", {}, ["Files that were not stored"]), none, files,
]);
const waiting = element("p", { class: "help" }, ["Reading…"]);
const dialog = element("dialog", { id: "failures", "aria-label": "Last pull and files that were not stored" }, [
  problem, waiting, content,
  element("form", { method: "dialog" }, [element("button", { autofocus: true }, ["Close"])]),
]);
document.body.append(dialog);

/** Show the dialog and ask for what belongs into it. */
export function open() {
  if (dialog.open) return;
  dialog.showModal();
  ask();
}

function ask() {
  sequence += 1;
  send({ failures: JSON.stringify({ seq: sequence, camera: camera.value }) });
}

for (const property of ["freshness", "health"]) listen(property, () => { if (dialog.open) ask(); });

listen("failures", (answer) => {
  if (answer.seq !== sequence) return;
  waiting.hidden = true;
  problem.hidden = answer.error === undefined;
  text(problem, answer.error ?? "");
  if (answer.error !== undefined) return;
  content.hidden = false;
  summary.replaceChildren(...describe(answer.pull).flatMap(([term, value, alert]) => [
    element("dt", {}, [term]), element("dd", { class: alert ? "alert" : "" }, [].concat(value)),
  ]));
  showFiles(answer);
});

function describe(pull) {
  if (pull === null) return [["Ended", "There was none: files were ingested by name."]];
  const where = pull.host ? ` on ${pull.host}` : "";
  const lines = [["Ended",
    `${date(pull.finished)} UTC, ${ago(pullAge())}; it took ${duration(pull.finished - pull.started)}${where}`]];
  if (isLate()) {
    lines.push(["Late", "No pull has ended since then. Is cron running? Does this copy of the database follow its primary?", true]);
  }
  lines.push(["Result", capital(pull.exit), pull.outcome !== "ok"]);
  if (pull.error) lines.push(["Error", pull.error, true]);
  lines.push(["Files", pull.counts.map(([what, number]) => `${count(number)} ${what}`).join(", ") || "None was found"]);
  if (pull.sources.length) lines.push(["Sources", pull.sources.map((source) => element("div", {}, path(source)))]);
  return lines;
}

function showFiles(answer) {
  const all = Object.values(answer.cameras).reduce((sum, number) => sum + number, 0);
  files.hidden = all === 0 && answer.camera === "";
  none.hidden = !files.hidden;
  const options = [["", `All cameras (${count(all)})`],
    ...Object.entries(answer.cameras).map(([name, number]) => [name, `${name} (${count(number)})`])];
  if (answer.camera !== "" && !(answer.camera in answer.cameras)) options.push([answer.camera, `${answer.camera} (0)`]);
  camera.replaceChildren(...options.map(([value, label]) => new Option(label, value)));
  camera.value = answer.camera;
  const shown = answer.rows.length;
  text(total, shown < answer.matching
    ? `The newest ${count(shown)} of ${plural(answer.matching, "file")}`
    : `${plural(shown, "file")}, the newest first`);
  const now = JSON.stringify(answer.rows);
  if (now === written) return; // the place to which somebody scrolled stays
  written = now;
  body.replaceChildren(...answer.rows.map(line));
}

function line(failure) {
  return element("tr", {}, [
    element("td", {}, [failure.camera]),
    element("td", { class: "number" }, [String(failure.run)]),
    element("td", { class: failure.state === "quarantine" ? "alert" : "" }, [STATES[failure.state](failure)]),
    element("td", { class: "reason" }, [
      element("div", { title: failure.kind }, [failure.reason || failure.kind]),
      element("div", { class: "source" }, path(failure.source)),
    ]),
    element("td", { class: "number" }, [count(failure.attempts)]),
    element("td", { class: "time" }, [minute(failure.first_at)]),
    element("td", { class: "time" }, [minute(failure.last_at)]),
  ]);
}

// may break after slashes; without a mark that would be copied along
function path(source) {
  return source.split(/(?<=\/)/).flatMap((part) => [part, document.createElement("wbr")]);
}

function minute(seconds) {
  return seconds == null ? UNKNOWN : date(seconds).slice(0, 16);
}

// the day is said when it is another one
function near(seconds) {
  const [day, time] = minute(seconds).split(" ");
  return day === date(Date.now() / 1000).slice(0, 10) ? time : `${day} ${time}`;
}

function capital(words) {
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}
