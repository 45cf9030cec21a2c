// Finds what the page writes beside and around the figures of a view, when the view first appears.
//
// The layout of a view, named "figures-VIEW", arrives with the first data that the view shows; then
// the script of the view is loaded and its `attach` called, once:
//
//     attach(root, layout, document_): root is the element "toolbar-VIEW"; may return a promise
//     prepare(view): optional, loads what `attach` needs

import { wanted } from "./address.js";
import { doc, styles } from "./bridge.js";

// views that are plain HTML; all others have figures
const SCRIPTS = {
  overview: "./overview.js",
  runs: "./runs_table.js",
  system: "./system.js",
};
const scripts = new Map(); // by view: the script, or the promise of it while it is being loaded
let attaching = Promise.resolve();

async function load(view) {
  try {
    const [found] = await Promise.all([import(SCRIPTS[view] ?? "./plots.js"), style(styles[view])]);
    await found.prepare?.(view);
    scripts.set(view, found);
    return found;
  } catch (error) {
    scripts.delete(view); // the next one tries again
    throw error;
  }
}

// the page comes with the style sheet of the view in front
async function style(address) {
  if (document.querySelector(`link[rel=stylesheet][href="${address}"]`) !== null) return;
  const link = document.createElement("link");
  const loaded = new Promise((resolve, reject) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", () => reject(new Error(`${address} cannot be loaded`)));
  });
  link.rel = "stylesheet";
  link.href = address;
  document.head.append(link);
  await loaded;
}

function script(view) {
  if (!scripts.has(view)) scripts.set(view, load(view));
  return scripts.get(view);
}

/** Resolves when every view that has appeared is complete. */
export function complete() {
  return attaching;
}

// that of the view in front is there before its data are
const [front] = document.querySelectorAll('[id^="toolbar-"]');
Promise.resolve(script(wanted.view in styles ? wanted.view : front.id.slice("toolbar-".length)))
  .catch((error) => console.error("the script of the view in front", error));

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
      const found = script(view);
      const attached = found instanceof Promise
        ? found.then(({ attach }) => attach(root, layout, doc))
        : Promise.resolve(found.attach(root, layout, doc)); // at once: figures get their room right away
      attaching = Promise.all([
        attaching, attached.catch((error) => console.error(`the script of view ${view}`, error)),
      ]);
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
