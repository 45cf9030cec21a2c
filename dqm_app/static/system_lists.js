// What needs somebody, the worst first; and what is done from time to time: pulls, backups, packs.

import { count } from "./format.js";
import { busyWhile, element, text } from "./html.js";

export class Attention {
  constructor(signs) {
    this.signs = signs;
    this.known = new Map(); // by key and subject
    this.none = element("p", { class: "none" }, ["Nothing."]);
    this.list = element("ol");
    this.root = element("section", { class: "card attention", "aria-labelledby": "system-attention" }, [
      element("h2", { id: "system-attention" }, ["Needs attention"]), this.none, this.list,
    ]);
  }

  show({ items }) {
    const wrong = items.filter((item) => item.level !== "ok");
    this.none.hidden = wrong.length > 0;
    const keys = new Set(wrong.map(keyOf));
    for (const [key, entry] of this.known) {
      if (keys.has(key)) continue;
      entry.root.remove();
      this.known.delete(key);
    }
    wrong.forEach((item, at) => {
      const entry = this.entry(keyOf(item));
      this.signs.set(entry.sign, item.level);
      entry.root.dataset.status = entry.sign.dataset.status;
      text(entry.title, item.subject ? `${item.title}, ${item.subject}` : item.title);
      text(entry.words, item.text);
      if (this.list.children[at] !== entry.root) this.list.insertBefore(entry.root, this.list.children[at] ?? null);
    });
  }

  entry(key) {
    if (!this.known.has(key)) {
      const [sign, title, words] = [this.signs.mark(), element("b"), element("p")];
      this.known.set(key, { sign, title, words, root: element("li", {}, [sign, element("div", {}, [title, words])]) });
    }
    return this.known.get(key);
  }
}

function keyOf({ key, subject }) {
  return `${key} ${subject}`;
}

export class Care {
  constructor(words, signs, ages) {
    Object.assign(this, { words, signs, ages });
    this.rows = new Map(words.care.map((row) => [row.key, this.row(row)]));
    const head = ["", "What", "Ended", "Result"].map((name) => element("th", { scope: "col" }, [name]));
    this.root = element("section", { class: "card care", "aria-labelledby": "system-care" }, [
      element("h2", { id: "system-care" }, ["From time to time"]),
      element("table", {}, [
        element("thead", {}, [element("tr", {}, head)]),
        element("tbody", {}, [...this.rows.values()].map(({ root }) => root)),
      ]),
    ]);
  }

  row({ key, title }) {
    const [sign, time, said, host] = [this.signs.mark(), element("time"), element("span"), element("span", { class: "address" })];
    const result = element("td", {}, [said, host]);
    if (key === "quarantine") result.append(filesButton());
    const root = element("tr", { "data-care": key }, [
      element("td", { class: "mark-of" }, [sign]), element("th", { scope: "row" }, [title]),
      element("td", { class: "when" }, [time]), result,
    ]);
    return { root, sign, time, said, host };
  }

  show({ database, items }) {
    const { unknown } = this.words;
    for (const [key, row] of this.rows) {
      const item = items.find((one) => one.key === key);
      const done = key === "pull" ? database.last_pull : database.operations[key] ?? null;
      const level = item?.level ?? (database.readable ? "ok" : "unknown");
      this.signs.set(row.sign, level);
      row.sign.hidden = item === undefined && database.readable; // nothing was judged
      row.root.dataset.status = row.sign.dataset.status;
      this.ages.set(row.time, done?.finished ?? null, { unknown: "" });
      text(row.host, done?.host ? ` on ${done.host}` : "");
      text(row.said, database.readable ? this.result(key, done, item) : unknown.unread);
    }
  }

  result(key, done, item) {
    const { unknown } = this.words;
    if (key === "quarantine") return item?.text ?? unknown.none;
    if (key === "pull" && done !== null) return pulled(done);
    if (done !== null) return done.text || (done.ok ? "ended well" : "failed");
    if (item !== undefined) return item.text;
    return { "backup-verification": unknown.no_backup, verification: unknown.no_replica, pull: unknown.no_pull }[key] ?? unknown.none;
  }
}

function pulled({ counts, error, exit_code: code }) {
  const told = Object.entries(counts).filter(([, number]) => number > 0).map(([what, number]) => `${count(number)} ${what}`);
  const found = told.join(", ") || "no file was found";
  const failed = code === 0 ? "" : ` (exit code ${code})`;
  return error ? `${error}${failed}; ${found}` : `${found}${failed}`;
}

// the dialog of the top bar
function filesButton() {
  const button = element("button", { type: "button", "aria-haspopup": "dialog" }, ["Files that were not stored…"]);
  button.addEventListener("click", () => busyWhile(button, async () => {
    const { open } = await import("./failures.js");
    open();
  }));
  return button;
}
