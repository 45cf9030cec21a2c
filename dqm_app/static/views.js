// Finds what the page writes beside and around the figures of a view, when the view first appears.
//
// The layout of a view, named "figures-VIEW", arrives with the first data that the view shows; then
// the script of the view is loaded and its `attach` called, once:
//
//     attach(root, layout, document_): root is the element "toolbar-VIEW"; may return a promise

import { doc } from "./bridge.js";

// views that are plain HTML; all others have figures
const SCRIPTS = {
  overview: "./overview.js",
  runs: "./runs_table.js",
};
const script = (view) => import(SCRIPTS[view] ?? "./plots.js");
let attaching = Promise.resolve();

/** Resolves when every view that has appeared is complete. */
export function complete() {
  return attaching;
}

document.addEventListener("dqm:connected", () => {
  const waiting = new Set(document.querySelectorAll('[id^="toolbar-"]'));
  let asked = false;
  const look = () => {
    asked = false;
    for (const root of [...waiting]) {
      const view = root.id.slice("toolbar-".length);
      const layout = doc.get_model_by_name(`figures-${view}`);
      if (layout === null) continue;
      waiting.delete(root);
      // the figures are there without it; a script that did not come is one that the server is lost for
      const attached = script(view).then(({ attach }) => attach(root, layout, doc))
        .catch((error) => console.error(`the script of view ${view}`, error));
      attaching = Promise.all([attaching, attached]);
    }
    if (waiting.size === 0) doc.remove_on_change(listen);
  };
  // the models of a new view are all there when the change that brought them has been applied
  function listen() {
    if (asked) return;
    asked = true;
    queueMicrotask(look);
  }
  doc.on_change(listen);
  look();
});
