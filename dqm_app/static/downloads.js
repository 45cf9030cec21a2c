// Baskets of runs: begin, watch and remove them. What is refused is an Error with a sentence.

import { root } from "./bridge.js";

const LOST = "The server does not answer.";

/** All baskets of the user, the newest first; see docs/api.md. */
export async function list() {
  return (await (await ask("GET", "/downloads")).json()).baskets;
}

/** Let a basket be built. */
export async function begin(camera, runs) {
  return (await ask("POST", "/downloads", { camera, runs })).json();
}

/** Forget a basket; nothing happens when it is gone already. */
export async function remove(id) {
  await ask("DELETE", `/downloads/${id}`, null, [404]);
}

async function ask(method, path, body = null, fine = []) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-XSRFToken"] = cookie("_xsrf");
  if (body !== null) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(root + path, { method, headers, body: body && JSON.stringify(body), credentials: "same-origin" });
  } catch {
    throw new Error(LOST); // no network, or no server
  }
  if (!answer.ok && !fine.includes(answer.status)) throw new Error(await reason(answer));
  return answer;
}

async function reason(answer) {
  if (answer.status === 401) return "You are not logged in any more. Reload the page.";
  if (answer.status === 403) return "You may not take files away any more. Reload the page.";
  try {
    const { detail } = await answer.json();
    if (detail) return `${detail[0].toUpperCase()}${detail.slice(1)}.`;
  } catch {
    // a proxy's page, say, in place of the server's own words
  }
  return answer.status >= 500 ? LOST : `The server refused this (${answer.status}).`;
}

function cookie(name) {
  const pair = document.cookie.split("; ").find((one) => one.startsWith(`${name}=`));
  return pair === undefined ? "" : decodeURIComponent(pair.slice(name.length + 1));
}
