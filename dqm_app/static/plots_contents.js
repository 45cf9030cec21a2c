// The view of all contents: a list of every quantity of the run, with a filter, and the values of
// the chosen one as a table, page by page. Choosing one goes through the address, as everywhere.

import { go } from "./address.js";
import { element, text } from "./html.js";

export class Contents {
  constructor(document_) {
    this.document = document_;
    this.filter = element("input", {
      type: "search", class: "entry", placeholder: "Find a quantity", "aria-label": "Find a quantity",
      input: () => this.sift(),
    });
    this.list = element("div", { class: "contents-list" });
    this.root = element("div", { class: "contents" }, [this.filter, this.list]);
    this.words = element("div", { class: "contents-words" });
    this.pages = element("div", { class: "contents-pages" });
    this.body = element("div", { class: "contents-body" });
    const table = element("div", { class: "contents-table" }, [this.words, this.pages, this.body]);
    document.getElementById("view-contents").append(table);
    this.section = document.getElementById("view-contents");
    this.asked = 0;
    document_.get_model_by_name("contents-listing").properties.tags.change.connect(
      () => this.showList());
    this.showList();
  }

  showList() {
    const tags = this.document.get_model_by_name("contents-listing").tags;
    const listing = field(tags[0], "listing") ?? [];
    this.rows = new Map();
    const parts = [];
    let section = null;
    for (const line of listing) {
      const get = (key) => field(line, key);
      if (get("section") !== section) {
        section = get("section");
        parts.push(element("h3", {}, [section]));
      }
      const details = get("reason") ?? get("shape");
      const row = element("button", {
        type: "button", class: get("reason") === null ? "row" : "row missing",
        title: get("description"), click: () => go({ quantity: get("name") }),
      }, [
        element("span", { class: "title" }, [get("title"), get("unit") ? ` [${get("unit")}]` : ""]),
        element("span", { class: "details" }, [element("code", {}, [get("name")]), details]),
      ]);
      row.dataset.words = `${get("title")} ${get("name")} ${section}`.toLowerCase();
      this.rows.set(get("name"), row);
      parts.push(row);
    }
    this.list.replaceChildren(...parts);
    this.mark();
    this.sift();
  }

  sift() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of this.rows.values()) {
      row.hidden = !words.every((word) => row.dataset.words.includes(word));
    }
    for (const heading of this.list.querySelectorAll("h3")) {
      let next = heading.nextElementSibling;
      while (next !== null && next.tagName !== "H3" && next.hidden) next = next.nextElementSibling;
      heading.hidden = next === null || next.tagName === "H3";
    }
  }

  mark() {
    for (const [name, row] of this.rows) {
      const chosen = name === this.quantity;
      if (chosen && row.getAttribute("aria-current") === null) {
        row.setAttribute("aria-current", "true");
        row.scrollIntoView({ block: "nearest" });
      } else if (!chosen) {
        row.removeAttribute("aria-current");
      }
    }
  }

  show(info) {
    this.section.dataset.plotted = String(info.plotted ?? false);
    this.quantity = info.quantity;
    this.mark();
    const words = [element("b", {}, [info.title ?? ""]), info.unit ? ` [${info.unit}] ` : " ",
      info.description ?? ""];
    if (info.derivedFrom) words.push(` Computed from ${info.derivedFrom} when the run was stored.`);
    if (info.reason) words.push(element("p", { class: "reason" }, [`${capital(info.reason)}.`]));
    this.words.replaceChildren(...words);
    this.showTable(info.table ?? null, info);
  }

  showTable(table, { perPixel, column: plotted, few }) {
    this.pages.hidden = table === null;
    this.body.hidden = table === null;
    if (table === null) return;
    const { header, types, ours, rows, firstRow, totalRows, firstColumn, totalColumns } = table;
    const turn = (row, column) => this.turn(row, column);
    const controls = [
      element("span", {}, [totalRows === 0 ? "No rows"
        : `Rows ${firstRow.toLocaleString("en")}–${(firstRow + rows.length - 1).toLocaleString("en")} of ${totalRows.toLocaleString("en")}, counted from 0`]),
      ...pager(firstRow, rows.length, totalRows, "rows", (row) => turn(row, firstColumn)),
    ];
    if (totalColumns > header.length) {
      controls.push(
        element("span", {}, [`columns ${firstColumn}–${firstColumn + header.length - 1} of ${totalColumns}`]),
        ...pager(firstColumn, header.length, totalColumns, "columns", (column) => turn(firstRow, column)));
    }
    if (ours.some(Boolean)) {
      controls.push(element("span", {}, ["† not in the results file: added by the dashboard"]));
    }
    this.pages.replaceChildren(...controls);
    const head = element("tr", {}, [
      element("th", {}, [perPixel ? "pixel" : "row"]),
      ...header.map((name, at) => this.heading(name, few ? "" : types[at], ours[at],
        firstColumn + at === plotted, () => this.ask({ row: firstRow, column: firstColumn, plot: firstColumn + at }))),
    ]);
    const lines = rows.map((cells, at) => element("tr", {}, [
      element("th", {}, [String(firstRow + at)]),
      ...cells.map((cell) => element("td", {}, [cell])),
    ]));
    this.body.replaceChildren(element("table", {}, [
      element("thead", {}, [head]), element("tbody", {}, lines),
    ]));
  }

  // numbers can be plotted by a click on the name of their column
  heading(name, type, ours, plotted, plot) {
    const label = ours ? `${name} †` : name;
    if (!/^(u?int|float|bool)/.test(type)) {
      return element("th", { title: type }, [label]);
    }
    return element("th", {}, [element("button", {
      type: "button", title: `${type}; click to plot this column`,
      "aria-pressed": plotted ? "true" : "false", click: plot,
    }, [label])]);
  }

  turn(row, column) {
    this.ask({ row, column });
  }

  // the server listens to these tags, see dqm_app/views/contents.py
  ask(wish) {
    this.asked += 1; // the same wish again is a new one
    this.document.get_model_by_name("contents-asked").tags = [{ ...wish, number: this.asked }];
  }
}

function pager(first, shown, total, noun, go) {
  const last = Math.max(0, Math.floor((total - 1) / Math.max(1, shown)) * shown);
  const button = (label, title, to) => element("button", {
    type: "button", title: `${title} ${noun}`, "aria-label": `${title} ${noun}`,
    disabled: to === first || to < 0 || to >= total, click: () => go(to),
  }, [label]);
  if (shown >= total) return [];
  return [
    button("⇤", "First", 0),
    button("‹", "Previous", first === 0 ? 0 : Math.max(0, first - shown)),
    button("›", "Next", first + shown),
    button("⇥", "Last", last),
  ];
}

function field(value, key) {
  return value instanceof Map ? value.get(key) : value?.[key];
}

function capital(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
