// Levels as signs and words, in the look of the verdicts.

import { element, text } from "./html.js";
import { title } from "./system_ages.js";

export class Signs {
  /** *levels*: by name, `{status, sign, word, sum}`. */
  constructor(levels) {
    this.levels = levels;
  }

  /** A sign with its word; `set` says which. */
  badge() {
    return element("span", { class: "verdict", "data-status": "none" }, [
      element("span", { "aria-hidden": "true" }, ["…"]), element("span", { class: "word" }),
    ]);
  }

  /** A sign alone; with *quiet*, one that is not seen as long as everything is fine. */
  mark(quiet = false) {
    return element("span", { class: quiet ? "verdict mark quiet" : "verdict mark", role: "img" }, [
      element("span", { "aria-hidden": "true" }),
    ]);
  }

  /** Let *node* say *level*. */
  set(node, level) {
    const { status, sign, word, sum } = this.levels[level];
    if (node.dataset.level === level) return;
    node.dataset.level = level;
    node.dataset.status = status;
    title(node, sum);
    text(node.firstChild, sign);
    if (node.childNodes.length > 1) text(node.lastChild, word);
    else if (node.classList.contains("quiet") && status === "ok") node.removeAttribute("aria-label");
    else node.setAttribute("aria-label", word);
  }

  /** The worst of levels, "ok" when there are none. */
  worst(levels) {
    const order = Object.keys(this.levels);
    return levels.reduce((worst, level) => (order.indexOf(level) > order.indexOf(worst) ? level : worst), order[0]);
  }
}
