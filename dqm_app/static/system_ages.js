// Times whose ages go on by themselves.

import { ago, date, lasting, UNKNOWN } from "./format.js";
import { since } from "./freshness.js";
import { text } from "./html.js";

/** For times in the past: "3 min ago". */
export const past = ago;
/** For times to come: "in 12 days". */
export function left(seconds) {
  return seconds >= 0 ? `ended ${ago(seconds)}` : `in ${lasting(-seconds)}`;
}
/** For what was so then, and may not be now: "just now" would say that it is. */
export function before(seconds) {
  return seconds < 60 ? "less than a minute ago" : ago(seconds);
}

export class Ages {
  constructor() {
    this.known = new Map(); // of a <time>: Unix seconds, and what makes words of its age
  }

  /** Let *node*, a `<time>`, say how long *seconds* (Unix) is ago; *unknown* where that is null. */
  set(node, seconds, { words = past, unknown = UNKNOWN, about = "" } = {}) {
    if (seconds === null || seconds === undefined) {
      this.known.delete(node);
      node.removeAttribute("datetime");
      text(node, unknown);
      title(node, about);
      return;
    }
    const exact = date(seconds);
    this.known.set(node, [seconds, words]);
    if (exact !== UNKNOWN) node.setAttribute("datetime", `${exact.replace(" ", "T")}Z`);
    title(node, [`${exact} UTC`, about].filter(Boolean).join("\n"));
    this.write(node);
  }

  /** Seconds since what *node* says; 0 when it says nothing. */
  since(node) {
    const [seconds] = this.known.get(node) ?? [];
    return seconds === undefined ? 0 : since(seconds);
  }

  /** Bring all up to date. */
  tick() {
    for (const node of this.known.keys()) {
      if (node.isConnected) this.write(node);
      else this.known.delete(node);
    }
  }

  write(node) {
    const [seconds, words] = this.known.get(node);
    text(node, words(words === left ? Date.now() / 1000 - seconds : since(seconds)));
  }
}

/** Set the tooltip, if it is another one. */
export function title(node, words) {
  if (node.title !== words) node.title = words;
}
