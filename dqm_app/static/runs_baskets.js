// The bar below the run table: how many runs are chosen, and the baskets of the user.

import { begin, beginAgain, list, remove, take } from "./downloads.js";
import { bytes, count, date, plural } from "./format.js";
import { busyWhile, element, isOurs, text } from "./html.js";

const LOOK_MS = 1000; // while one is being built
const REST_MS = 20_000; // else: another tab, or program, may begin one
const OVER = { done: "is ready", failed: "could not be built" };

export class Baskets {
  /** @param chosen the runs that are chosen */
  constructor(chosen) {
    this.chosen = chosen;
    this.lines = new Map(); // by the id of the basket
    this.looking = false;
    this.changes = 0; // by this page: what was asked before is not so any more
    this.timer = null;
    this.words = element("b", { role: "status" });
    this.build = element("button", {
      type: "button", class: "build", title: "Put their original files into one archive",
      click: () => busyWhile(this.build, () => this.begin()),
    }, ["Build an archive"]);
    const drop = element("button", { type: "button", title: "Let go of the runs that are chosen  Esc", click: () => chosen.clear() }, ["Choose none"]);
    this.choice = element("div", { class: "choice-of-runs", hidden: true }, [this.words, this.build, drop]);
    this.wrong = element("p", { class: "wrong", role: "alert", hidden: true });
    this.baskets = element("ul", { "aria-label": "Archives" });
    this.news = element("p", { class: "unseen", role: "status" });
    this.root = element("section", { class: "runs-baskets", "aria-label": "Runs to take away" }, [this.choice, this.wrong, this.baskets, this.news]);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.look(); });
    this.look();
  }

  /** Other runs are chosen. */
  show() {
    const { size } = this.chosen;
    const held = this.choice.contains(document.activeElement);
    this.choice.hidden = size === 0;
    if (held && size === 0) this.grid().focus();
    if (size > 0) text(this.words, `${plural(size, "run")} chosen, ${bytes(this.chosen.bytes())}`);
    else this.say("");
  }

  // where keys go on when their button is gone; else it were the top of the page
  grid() {
    return this.root.parentElement.querySelector(".runs-grid");
  }

  async begin() {
    try {
      const made = await begin(this.chosen.camera, this.chosen.list());
      this.changes += 1;
      this.say("");
      this.draw([made, ...this.known.filter(({ id }) => id !== made.id)]);
      const held = this.choice.contains(document.activeElement);
      this.chosen.clear();
      if (held) this.lines.get(made.id).root.focus(); // what can be done with it comes next
    } catch (error) {
      this.say(error.message);
      return;
    }
    await this.look();
  }

  async remove(id) {
    const held = this.lines.get(id)?.root.contains(document.activeElement);
    try {
      await remove(id);
      this.changes += 1;
      this.say("");
      this.draw(this.known.filter((one) => one.id !== id));
      if (held) (this.baskets.querySelector("button") ?? this.grid()).focus();
    } catch (error) {
      this.say(error.message);
    }
  }

  /** In place of one that failed, which stays while there is no other. */
  async again(id) {
    const held = this.lines.get(id)?.root.contains(document.activeElement);
    try {
      const made = await beginAgain(id);
      this.changes += 1;
      this.say("");
      this.draw([made, ...this.known.filter((one) => one.id !== made.id)]);
      if (held) this.lines.get(made.id).root.focus(); // not its button, which cancels it
      await remove(id);
      this.changes += 1;
      this.draw(this.known.filter((one) => one.id !== id));
    } catch (error) {
      this.say(error.message);
    }
    await this.look();
  }

  async take(address) {
    try {
      await take(address);
      this.say("");
    } catch (error) {
      this.say(error.message);
      await this.look();
    }
  }

  known = [];

  /** Look how far they are, now and again and again: often while one is built. */
  async look() {
    if (this.looking) return;
    this.looking = true;
    clearTimeout(this.timer);
    try {
      if (!document.hidden || this.isBuilding()) {
        const before = this.changes;
        const found = await list();
        if (before === this.changes) this.draw(found);
      }
      if (this.lost) this.say("");
    } catch (error) {
      // the page itself says that it has lost its server
      if (this.isBuilding() || !error.lost) this.say(error.message, true);
    }
    this.looking = false;
    this.timer = setTimeout(() => this.look(), this.isBuilding() ? LOOK_MS : REST_MS);
  }

  isBuilding() {
    return this.known.some(({ state }) => state === "waiting" || state === "building");
  }

  /** Say what went wrong; with *lost* only until it goes right again. */
  say(reason, lost = false) {
    this.lost = lost;
    text(this.wrong, reason);
    this.wrong.hidden = reason === "";
  }

  draw(baskets) {
    for (const { id, state, name } of baskets) {
      const before = this.known.find((one) => one.id === id);
      if (state in OVER && before !== undefined && !(before.state in OVER)) text(this.news, `${name} ${OVER[state]}.`);
    }
    this.known = baskets;
    const ids = new Set(baskets.map(({ id }) => id));
    for (const [id, line] of this.lines) {
      if (ids.has(id)) continue;
      line.root.remove();
      this.lines.delete(id);
    }
    for (const basket of [...baskets].reverse()) {
      if (!this.lines.has(basket.id)) {
        this.lines.set(basket.id, new Line(basket, {
          take: (link) => busyWhile(link, () => this.take(link.getAttribute("href"))),
          again: (button) => busyWhile(button, () => this.again(basket.id)),
          remove: (button) => busyWhile(button, () => this.remove(basket.id)),
        }));
        this.baskets.prepend(this.lines.get(basket.id).root);
      }
      this.lines.get(basket.id).show(basket);
    }
  }
}

/** One basket. */
class Line {
  constructor({ camera, runs, first, last, created, name }, { take, again, remove }) {
    this.name = name;
    const range = first === last ? `run ${first}` : `${plural(runs, "run")}, ${first}–${last}`;
    this.title = element("span", { class: "title", title: `${name}, begun ${date(created)} UTC` }, [`${camera}: ${range}`]);
    this.bar = element("progress", { max: "1", "aria-label": `How far ${name} is` });
    this.words = element("span", { class: "words" });
    this.fetch = element("a", { class: "fetch", hidden: true, "aria-label": `Fetch ${name}`, click: (event) => {
      if (!isOurs(event)) return;
      event.preventDefault();
      take(this.fetch);
    } }, ["Fetch"]);
    this.again = element("button", { // where it failed
      type: "button", class: "again", "aria-label": `Try again ${name}`, title: "Build an archive of the same runs",
      click: () => { if (!this.again.hasAttribute("aria-busy")) again(this.again); },
    }, ["Try again"]);
    this.remove = element("button", { type: "button", click: () => remove(this.remove) });
    this.root = element("li", { tabindex: "-1" }, [this.title, this.bar, this.words, this.fetch, this.remove]);
  }

  show(basket) {
    const { state, file, bytes: all, bytes_done: done } = basket;
    this.root.dataset.state = state;
    this.bar.hidden = state !== "waiting" && state !== "building";
    if (state === "building") this.bar.value = all > 0 ? Math.min(done / all, 1) : 0;
    else this.bar.removeAttribute("value");
    text(this.remove, this.bar.hidden ? "Remove" : "Cancel");
    this.remove.setAttribute("aria-label", `${this.remove.textContent} ${this.name}`);
    if (state === "failed" && !this.again.isConnected) this.remove.before(this.again);
    this.fetch.hidden = file === null;
    if (file !== null) this.fetch.href = file;
    text(this.words, said(basket));
  }
}

function said({ state, runs, runs_done: ready, bytes: all, bytes_done: done, text: why, ends }) {
  const note = why ? `; ${why}` : "";
  if (state === "waiting") return why === "" ? "Begins soon" : `Waits: ${why}`;
  if (state === "building") return `${count(ready)} of ${plural(runs, "run")}, ${bytes(done)} of ${bytes(all)}${note}`;
  if (state === "failed") return `Failed: ${why}`;
  return `${bytes(all)}, kept until ${date(ends).slice(0, 16)} UTC${note}`;
}
