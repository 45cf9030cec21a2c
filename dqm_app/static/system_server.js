// One server as a box: who it is, and a table of what it says of itself.

import { bytes, count, date, plural, UNKNOWN } from "./format.js";
import { element, text } from "./html.js";
import { before, left, title } from "./system_ages.js";

const UNITS = 100; // of a bar

export class ServerBox {
  constructor(words, signs, ages) {
    Object.assign(this, { words, signs, ages });
    this.sign = signs.mark();
    this.role = element("span");
    this.address = element("span", { class: "address" });
    this.note = element("p", { class: "note", hidden: true });
    this.since = element("time");
    this.silence = element("p", { class: "note silence", hidden: true }, ["As it was when it answered last, ", this.since, ":"]);
    this.rows = new Map(words.rows.map((row) => [row.key, this.row(row)]));
    this.root = element("section", { class: "box server" }, [
      element("h3", {}, [this.sign, this.role]), this.address, this.note, this.silence,
      element("table", {}, [element("tbody", {}, [...this.rows.values()].map(({ root }) => root))]),
    ]);
  }

  row({ key, title: name, about, items, rare = false }) {
    const sign = this.signs.mark(true);
    const value = element("td");
    const root = element("tr", { "data-row": key, hidden: rare }, [
      element("th", { scope: "row", title: about }, [name]), value, element("td", { class: "mark-of" }, [sign]),
    ]);
    const parts = { root, sign, value, items: items ?? [], rare };
    if (key === "disk") Object.assign(parts, this.bar(value));
    else if (["transaction", "certificate", "packed", "started"].includes(key)) {
      parts.time = element("time");
      value.append(parts.time);
    }
    return parts;
  }

  bar(value) {
    const filled = element("span");
    const bar = element("span", { class: "bar", role: "meter", "aria-label": "Used", "aria-valuemin": 0, "aria-valuemax": UNITS }, [filled]);
    const said = element("span");
    value.append(bar, said);
    return { bar, filled, said };
  }

  /** Show *server*; *items* are what was judged about it. */
  show(server, items, level) {
    const { roles, unknown } = this.words;
    const silent = !server.answers;
    // what it said before is better than nothing
    this.server = silent && server.before !== null ? { ...server.before, answers: true } : server;
    const older = !silent && server.host === null && Object.keys(server.versions).length === 0;
    this.why = silent ? unknown.silent : unknown.older;
    this.older = older;
    this.root.dataset.status = this.words.levels[level].status;
    this.root.classList.toggle("silent", silent);
    this.signs.set(this.sign, level);
    const role = roles[this.server.role ?? "unknown"] ?? roles.unknown;
    text(this.role, role);
    this.root.setAttribute("aria-label", `${role} ${server.address}`);
    text(this.address, this.server.host === null ? server.address : `${server.address} on ${this.server.host}`);
    this.note.hidden = !silent && !older;
    this.note.classList.toggle("alert", silent);
    text(this.note, silent ? server.error : older ? unknown.older : "");
    this.silence.hidden = !silent || server.before === null;
    if (silent) this.ages.set(this.since, server.answered, { words: before });
    for (const [key, row] of this.rows) this.fill(key, row, items);
  }

  fill(key, row, items) {
    const judged = items.filter((item) => row.items.includes(item.key));
    const level = this.signs.worst(judged.map((item) => item.level));
    this.signs.set(row.sign, level);
    row.root.dataset.status = this.words.levels[level].status;
    title(row.root, level === "ok" ? "" : judged.filter((item) => item.level !== "ok").map((item) => item.text).join("\n"));
    FILL[key](this, row);
  }

  // a value, or why it is not known
  write(row, value, about = "", reason = null) {
    const known = value !== null && value !== undefined;
    text(row.value, known ? value : reason === null || !this.server.answers || this.older ? UNKNOWN : reason);
    title(row.value, known ? about : this.server.answers && !this.older ? about : this.why);
    row.value.classList.toggle("missing", !known);
  }

  age(row, seconds, reason, options = {}) {
    const missing = seconds === null;
    const unknown = this.server.answers && !this.older ? reason : UNKNOWN;
    this.ages.set(row.time, seconds, { unknown, about: missing && unknown === UNKNOWN ? this.why : "", ...options });
    row.value.classList.toggle("missing", missing);
  }
}

const FILL = {
  transaction(box, row) {
    const { last_transaction: tid, last_transaction_time: time, answers } = box.server;
    // stock servers tell this one, too
    const unknown = answers ? box.words.unknown.no_change : UNKNOWN;
    box.ages.set(row.time, time, { unknown, about: answers ? `Transaction ${tid}` : box.why });
    row.value.classList.toggle("missing", time === null);
  },
  data(box, row) {
    const { file_bytes: file, blob_bytes: blobs } = box.server;
    const originals = blobs === null ? `originals ${box.words.unknown.measuring}` : `${bytes(blobs)} originals`;
    box.write(row, file === null ? null : `${bytes(file)} + ${originals}`, `Data.fs ${count(file)} bytes, originals ${count(blobs)} bytes`);
  },
  disk(box, row) {
    const { disk_free_bytes: free, disk_total_bytes: total } = box.server;
    const known = free !== null && total > 0;
    row.bar.hidden = !known;
    row.value.classList.toggle("missing", !known);
    const used = known ? Math.round(UNITS * (1 - Math.min(1, free / total))) : 0;
    row.filled.style.width = `${used}%`;
    row.bar.setAttribute("aria-valuenow", used);
    row.bar.setAttribute("aria-valuetext", `${used} % used`);
    text(row.said, known ? `${bytes(free)} free` : UNKNOWN);
    title(row.value, known ? `${UNITS - used} % are free: ${count(free)} of ${count(total)} bytes` : box.why);
  },
  aside(box, row) {
    const { aside_bytes: aside } = box.server;
    row.root.hidden = !aside;
    box.write(row, aside === null ? null : bytes(aside), `${count(aside)} bytes`);
  },
  source(box, row) {
    const { source } = box.server;
    row.root.hidden = source === null;
    box.write(row, source);
  },
  clients(box, row) {
    const { clients, replicas } = box.server;
    const followers = replicas?.length ? ` + ${plural(replicas.length, "replica")}` : "";
    box.write(row, clients === null ? null : `${count(clients)}${followers}`, followers ? `Followed by ${replicas.map(({ peer }) => peer).join(", ")}` : "");
  },
  epoch(box, row) {
    const { epoch, fence_state: state } = box.server;
    box.write(row, epoch === null ? null : state === "demoted" ? `${epoch}, demoted` : String(epoch));
  },
  certificate(box, row) {
    box.age(row, box.server.certificate_expires, box.words.unknown.no_tls, { words: left });
  },
  release(box, row) {
    const releases = Object.entries(box.server.versions);
    const ours = box.server.versions["nectarcam-dqm"];
    box.write(row, ours ?? null, releases.map((pair) => pair.join(" ")).join("\n"));
  },
  packed(box, row) {
    box.age(row, box.server.packed, box.words.unknown.never);
  },
  started(box, row) {
    const { started, clock } = box.server;
    box.age(row, started, UNKNOWN, { about: clock === null ? "" : `Its clock says ${date(clock)} UTC` });
  },
};
