// Baskets of runs: begin, watch and remove them. What is refused is a `NotDone`.

import { root } from "./bridge.js";
import { element } from "./html.js";

const LOST = "The server does not answer. Try again in a moment.";
const READING = ["GET", "HEAD"];
const SAID = { // where a proxy answers, whose page is none of ours
  401: "You are not logged in any more. Reload the page to log in; what is chosen stays chosen.",
  403: "You may not take files away any more. An admin can change that; then reload the page.",
  404: "This file is not there any more: it was removed, or its time is over.",
  413: "These are too many runs: choose fewer.",
  429: "This was too much at once. Try again in a minute.",
};

/** What could not be done, in a sentence; `lost` when the server was not reached. */
export class NotDone extends Error {
  constructor(sentence, lost = false) {
    super(sentence);
    this.lost = lost;
  }
}

/** All baskets of the user, the newest first; see docs/api.md. */
export async function list() {
  return (await (await ask("GET", "/downloads")).json()).baskets;
}

/** Let a basket be built. */
export async function begin(camera, runs) {
  return (await ask("POST", "/downloads", { camera, runs })).json();
}

/** Let one be built of the same runs as that of *id*. */
export async function beginAgain(id) {
  const { camera, numbers } = await (await ask("GET", `/downloads/${id}`)).json();
  return begin(camera, numbers);
}

/** Forget a basket; nothing happens when it is gone already. */
export async function remove(id) {
  await ask("DELETE", `/downloads/${id}`, null, [404]);
}

/** Take the file at *address* away, or say why not: a link would show, or save, what the server says. */
export async function take(address) {
  await ask("HEAD", address.slice(root.length));
  element("a", { href: address, download: true }).click(); // no navigation, which closes websockets in some browsers
}

async function ask(method, path, body = null, fine = []) {
  const token = cookie("_xsrf");
  const headers = { Accept: "application/json" };
  if (!READING.includes(method)) headers["X-XSRFToken"] = token;
  if (body !== null) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(root + path, { method, headers, body: body && JSON.stringify(body), redirect: "manual" });
  } catch {
    throw new NotDone(LOST, true); // no network, or no server
  }
  if (answer.type === "opaqueredirect") throw new NotDone(SAID[401]); // to the login
  if (!answer.ok && !fine.includes(answer.status)) throw await reason(answer, token);
  return answer;
}

async function reason(answer, token) {
  if (answer.status === 401 || token === "") return new NotDone(SAID[401]); // all cookies were gone
  if (answer.status === 403) return new NotDone(SAID[403]);
  try {
    const { detail } = await answer.json();
    if (detail) return new NotDone(`${detail[0].toUpperCase()}${detail.slice(1)}.`);
  } catch {
    // a proxy's page, say, in place of the server's own words
  }
  if (answer.status in SAID) return new NotDone(SAID[answer.status]);
  if (answer.status >= 500) return new NotDone(LOST, true);
  return new NotDone(`The server refused this (${answer.status}). Reload the page, and try again.`);
}

function cookie(name) {
  const pair = document.cookie.split("; ").find((one) => one.startsWith(`${name}=`));
  return pair === undefined ? "" : decodeURIComponent(pair.slice(name.length + 1));
}
