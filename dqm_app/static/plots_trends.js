// The controls of the trends: which statistic, over run number or time; what the points mean; and the
// run that a click on its point opens.

import { go, href, inView } from "./address.js";
import { element, isOurs, text } from "./html.js";
import { words } from "./verdicts.js";

const AXES = [["run", "Run number"], ["time", "Time"]];
const SHAPES = { bad: "✕", warning: "▲", info: "◆", ok: "●", unknown: "□", none: "○" }; // as plots/trend.py draws them

/** The view that a run is opened in. */
export function overview() {
  return document.querySelector('[data-view="overview"]') === null ? "maps" : "overview";
}

/** Let a click on a point of *source* open its run; `run(index)` says which, null for none. */
export function opensRun(source, run = (index) => source.data.run[index]) {
  source.selected.properties.indices.change.connect(() => {
    const { indices } = source.selected;
    if (indices.length === 0) return;
    // of points on top of each other the one that the words under the pointer are about
    const [pointed] = source.inspected.indices;
    const chosen = run(indices.includes(pointed) ? pointed : indices.at(-1));
    source.selected.setv({ indices: [] }, { sync: false }); // so that the next click counts again
    if (chosen !== null && chosen !== undefined) go({ run: chosen, view: overview() });
  });
}

/** A link to a run, in the view that runs are opened in. */
export function runLink(run, label = `run ${run}`) {
  const address = { ...inView(overview()), run, follow: undefined };
  return element("a", {
    href: href(address), class: "run-link",
    click: (event) => {
      if (!isOurs(event)) return;
      event.preventDefault();
      go({ run, view: overview() });
    },
  }, [label]);
}

export class Trends {
  constructor(document_) {
    this.statistic = element("select", {
      "aria-label": "Statistic", change: () => go({ statistic: this.statistic.value }),
    });
    this.axes = AXES.map(([axis, title]) => {
      const button = element("button", { type: "button", click: () => go({ axis, zoom: undefined }) }, [title]);
      button.dataset.axis = axis;
      return button;
    });
    this.key = element("span", { class: "trend-key" });
    this.open = element("span");
    this.root = element("span", { class: "trend-controls" }, [
      element("label", {}, [element("span", { class: "label" }, ["Statistic"]), " ", this.statistic]),
      element("span", { class: "choice", role: "group", "aria-label": "Horizontal axis" }, this.axes),
      this.key, this.open,
    ]);
    this.filled = "";
    opensRun(document_.get_model_by_name("trends-plot-points"));
  }

  show({ trend }) {
    if (trend === undefined) return;
    const { statistics, statistic, axis, verdicts, limits, window: runs, run } = trend;
    const filled = JSON.stringify(statistics);
    if (filled !== this.filled) {
      this.filled = filled;
      this.statistic.replaceChildren(...statistics.map(([name, title]) => {
        const option = new Option(title, name);
        option.title = name;
        return option;
      }));
    }
    this.statistic.value = statistic;
    for (const button of this.axes) {
      button.setAttribute("aria-pressed", String(button.dataset.axis === axis));
    }
    this.key.replaceChildren(
      ...verdicts.map(([status, count]) => {
        const { key, word, meaning } = words(status);
        const shape = element("i", { class: "swatch", "aria-hidden": "true" }, [SHAPES[key]]);
        const made = element("span", { class: "key", title: meaning }, [shape, `${count} ${word}`]);
        made.dataset.status = key;
        return made;
      }),
      ...limits.map(([status, beyond, inSight]) => {
        const { key, word } = words(status);
        const title = beyond ? `${word} for run ${run}: ${beyond}` : `Beyond this line the check says ${word}`;
        const label = inSight || !beyond ? `limit of ${word}` : `${word} ${beyond}`;
        const made = element("span", { class: "key", title },
          [element("i", { class: `limit-line ${key}` }), `${label}${inSight ? "" : " (out of sight)"}`]);
        made.dataset.status = key;
        return made;
      }),
      ...(runs ? [element("span", { class: "key" }, [element("i", { class: "limit-line median" }),
        `median of ${runs} runs`])] : []));
    text(this.open, "");
    this.open.replaceChildren(runLink(run, `Open run ${run}`));
  }
}
