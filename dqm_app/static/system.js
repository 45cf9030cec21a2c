// The page about the whole system: how it is, in a drawing of how data flow, what needs somebody, and
// what is done from time to time.
//
// dqm_app/views/system.py has the words in the tags of its layout, and the newest state, the document
// of dqm_app/system_page.py, in those of "system-status": a new one changes texts in what is there.

import { plural } from "./format.js";
import { element, text } from "./html.js";
import { Ages } from "./system_ages.js";
import { Flow } from "./system_flow.js";
import { Attention, Care } from "./system_lists.js";
import { Signs } from "./system_signs.js";

const TICK_MS = 5000;
const OLD_S = 60; // when the state was collected so long ago, it is said loudly

class SystemPage {
  constructor(root, words, status, page) {
    this.words = words;
    this.root = root;
    this.signs = new Signs(words.levels);
    this.ages = new Ages();
    this.level = null;
    this.sign = this.signs.badge();
    this.sum = element("span", { class: "sum" });
    this.counts = element("span", { class: "counts" });
    this.asOf = element("time");
    this.old = element("p", { class: "old" }, ["Collected ", this.asOf]);
    this.news = element("p", { class: "unseen", role: "status" });
    this.head = element("section", { class: "card head", "aria-label": "The whole system" }, [
      element("h2", {}, [this.sign, this.sum]), this.counts, this.old, this.news,
    ]);
    this.flow = new Flow(words, this.signs, this.ages);
    this.attention = new Attention(this.signs);
    this.care = new Care(words, this.signs, this.ages);
    this.body = element("div", { class: "parts", hidden: true }, [
      this.flow.root, element("div", { class: "lists" }, [this.attention.root, this.care.root]),
    ]);
    root.replaceChildren(element("div", { class: "system" }, [this.head, this.body]));
    status.properties.tags.change.connect(() => this.show(status.tags[0]));
    const health = () => this.flow.showHealth(JSON.parse(page.health));
    page.properties.health.change.connect(health);
    this.show(status.tags[0]);
    health();
    setInterval(() => { if (root.checkVisibility() && !document.hidden) this.tick(); }, TICK_MS);
  }

  show(told) {
    const state = JSON.parse(told);
    this.body.hidden = state === null;
    if (state === null) {
      text(this.sum, "All servers are being asked…");
      return;
    }
    this.say(state);
    this.flow.show(state);
    this.attention.show(state);
    this.care.show(state);
    this.ages.set(this.asOf, state.at);
    this.tick();
  }

  say({ level, items }) {
    const known = this.words.levels[level];
    this.head.dataset.status = known.status;
    this.signs.set(this.sign, level);
    text(this.sum, known.sum);
    const of = (wanted) => items.filter((item) => item.level === wanted).length;
    const parts = [[of("critical"), "critical", "critical"], [of("warning"), "warning"], [of("unknown"), "unknown", "unknown"]];
    text(this.counts, parts.filter(([number]) => number > 0).map(([number, ...name]) => plural(number, ...name)).join(" · "));
    if (this.level !== null && this.level !== level) text(this.news, `System: ${known.word}. ${known.sum}`);
    this.level = level;
  }

  tick() {
    this.ages.tick();
    this.old.classList.toggle("alert", this.ages.since(this.asOf) > OLD_S);
  }
}

/** Make the page in *root*. */
export function attach(root, layout, document_) {
  const [said] = layout.tags;
  const words = JSON.parse(said instanceof Map ? said.get("words") : said.words);
  new SystemPage(root, words, document_.get_model_by_name("system-status"), document_.get_model_by_name("page"));
}
