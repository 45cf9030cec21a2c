// The bar below the run table: how many runs are chosen, and the baskets of the user.

import { begin, list, remove } from "./downloads.js";
import { bytes, count, date, plural } from "./format.js";
import { busyWhile, element, text } from "./html.js";

const LOOK_MS = 1000; // while one is being built

export class Baskets {
  /** @param chosen the runs that are chosen */
  constructor(chosen) {
    this.chosen = chosen;
    this.lines = new Map(); // by the id of the basket
    this.looking = false;
    this.words = element("b", { role: "status" });
    this.build = element("button", {
      type: "button", class: "build", title: "Put their original files into one archive",
      click: () => busyWhile(this.build, () => this.begin()),
    }, ["Build an archive"]);
    const drop = element("button", { type: "button", title: "Choose none  Esc", click: () => chosen.clear() }, ["Let go"]);
    this.choice = element("div", { class: "choice-of-runs", hidden: true }, [this.words, this.build, drop]);
    this.wrong = element("p", { class: "wrong", role: "alert", hidden: true });
    this.baskets = element("ul", { "aria-label": "Archives" });
    this.root = element("section", { class: "runs-baskets", "aria-label": "Runs to take away" }, [this.choice, this.wrong, this.baskets]);
    this.look();
  }

  /** Other runs are chosen. */
  show() {
    const { size } = this.chosen;
    this.choice.hidden = size === 0;
    if (size > 0) text(this.words, `${plural(size, "run")} chosen, ${bytes(this.chosen.bytes())}`);
    else this.say("");
  }

  async begin() {
    try {
      const made = await begin(this.chosen.camera, this.chosen.list());
      this.say("");
      this.draw([made, ...this.known.filter(({ id }) => id !== made.id)]);
      this.chosen.clear();
    } catch (error) {
      this.say(error.message);
      return;
    }
    await this.look();
  }

  async remove(id) {
    try {
      await remove(id);
      this.say("");
      this.draw(this.known.filter((one) => one.id !== id));
    } catch (error) {
      this.say(error.message);
    }
  }

  known = [];

  /** Look how far they are, again and again until all are over. */
  async look() {
    if (this.looking) return;
    this.looking = true;
    let lost = false;
    do {
      try {
        this.draw(await list());
        if (lost) this.say("");
        lost = false;
      } catch (error) {
        this.say(error.message);
        lost = true;
      }
      if (this.isBuilding()) await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
    } while (this.isBuilding());
    this.looking = false;
  }

  isBuilding() {
    return this.known.some(({ state }) => state === "waiting" || state === "building");
  }

  say(reason) {
    text(this.wrong, reason);
    this.wrong.hidden = reason === "";
  }

  draw(baskets) {
    this.known = baskets;
    const ids = new Set(baskets.map(({ id }) => id));
    for (const [id, line] of this.lines) {
      if (ids.has(id)) continue;
      line.root.remove();
      this.lines.delete(id);
    }
    for (const basket of [...baskets].reverse()) {
      if (!this.lines.has(basket.id)) {
        this.lines.set(basket.id, new Line(basket, (button) => busyWhile(button, () => this.remove(basket.id))));
        this.baskets.prepend(this.lines.get(basket.id).root);
      }
      this.lines.get(basket.id).show(basket);
    }
  }
}

/** One basket. */
class Line {
  constructor({ camera, runs, first, last, created, name }, remove) {
    const range = first === last ? `run ${first}` : `${plural(runs, "run")}, ${first}–${last}`;
    this.title = element("span", { class: "title", title: `${name}, begun ${date(created)} UTC` }, [`${camera}: ${range}`]);
    this.bar = element("progress", { max: "1", "aria-label": "How far it is" });
    this.words = element("span", { class: "words" });
    this.fetch = element("a", { class: "fetch", download: name, hidden: true, "aria-label": `Fetch ${name}` }, ["Fetch"]);
    this.remove = element("button", { type: "button", "aria-label": `Remove ${name}`, click: () => remove(this.remove) }, ["Remove"]);
    this.root = element("li", {}, [this.title, this.bar, this.words, this.fetch, this.remove]);
  }

  show(basket) {
    const { state, file, bytes: all, bytes_done: done } = basket;
    this.root.dataset.state = state;
    this.bar.hidden = state !== "waiting" && state !== "building";
    if (state === "building") this.bar.value = all > 0 ? Math.min(done / all, 1) : 0;
    this.fetch.hidden = file === null;
    if (file !== null) this.fetch.href = file;
    text(this.words, said(basket));
    this.words.title = this.words.textContent;
  }
}

function said({ state, runs, runs_done: ready, bytes: all, bytes_done: done, text: why, ends }) {
  if (state === "waiting") return "begins soon";
  if (state === "building") return `${count(ready)} of ${plural(runs, "run")}, ${bytes(done)} of ${bytes(all)}`;
  if (state === "failed") return `Failed: ${why}`;
  return `${bytes(all)}, kept until ${date(ends).slice(0, 16)} UTC${why ? `; ${why}` : ""}`;
}
