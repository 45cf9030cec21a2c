// The two models through which page and session talk; dqm_app/bridge.py is the other end.

const given = JSON.parse(document.getElementById("session").textContent);

/** Path of the application, and of the server that it is on. */
export const app = given.app;
export const root = given.root;

/** Address of the style sheet of each view. */
export const { styles } = given;

/** Whether the user may take files away. */
export const { mayFetch } = given;

/** The Bokeh document; null until connected. */
export let doc = null;

let request = null;
let page = null;
const listeners = { state: [], quantities: [], runs: [], health: [], freshness: [], failures: [], heartbeat: [] };
const waiting = [];

/** Call `listener` with each new value of a property of `Page`, decoded. */
export function listen(property, listener) {
  listeners[property].push(listener);
}

/** Set properties of `Request`; kept until connected. */
export function send(values) {
  if (request === null) waiting.push(values);
  else request.setv(values);
}

/** Open the websocket, fetch the document, put each view's container into its place. */
export async function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const places = given.roots.map((id) => document.querySelector(`[data-root-id="${id}"]`));
  await Bokeh.embed.add_document_from_session(
    `${scheme}//${location.host}${app}/ws`, given.token, document.body, places);
  doc = Bokeh.documents.at(-1);
  request = doc.get_model_by_name("request");
  page = doc.get_model_by_name("page");
  for (const [property, found] of Object.entries(listeners)) {
    page.properties[property].change.connect(() => {
      const value = page[property];
      const decoded = typeof value === "string" ? JSON.parse(value) : value;
      for (const listener of found) listener(decoded);
    });
  }
  for (const values of waiting.splice(0)) request.setv(values);
  document.dispatchEvent(new CustomEvent("dqm:connected", { detail: { document: doc } }));
}
