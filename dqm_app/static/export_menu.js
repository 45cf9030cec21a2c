// The menu "Export" of a view. What is in it is fetched when somebody reaches for it.

import { element } from "./html.js";

const script = () => import("./plots_export.js");

/** The menu for the figures of *layout*. */
export function exportMenu(layout, document_) {
  const list = element("div", { class: "export-list" });
  const summary = element("summary", {
    title: "Save the data as CSV, or plots as PNG",
    pointerenter: warm, focus: warm,
  }, ["Export"]);
  const root = element("details", { class: "export" }, [summary, list]);

  // a failure shows, and is said, when the menu is opened
  function warm() {
    script().catch(() => {});
  }

  function close() {
    root.open = false;
    list.replaceChildren(); // what is on the page will be another thing next time
    summary.focus();
  }

  function away(event) {
    if (!root.contains(event.target)) root.open = false;
  }

  root.addEventListener("toggle", async () => {
    document[root.open ? "addEventListener" : "removeEventListener"]("pointerdown", away);
    if (!root.open) return;
    list.replaceChildren(element("span", { class: "plot-note" }, ["…"]));
    try {
      (await script()).fill(list, layout, document_, close);
    } catch (error) {
      console.error("the menu for saving", error);
      list.replaceChildren(element("span", { class: "plot-note" }, ["The server does not answer. Try again later."]));
    }
  });
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !root.open) return;
    event.stopPropagation(); // picked pixels stay
    close();
  });
  return root;
}
