// How data flow, from grid storage to this dashboard, as boxes and arrows.
//
// Boxes stay what they are as long as the same servers have the same roles: then only texts change.

import { bytes, count, lasting } from "./format.js";
import { element, text } from "./html.js";
import { title } from "./system_ages.js";
import { ServerBox } from "./system_server.js";

const SOURCE = 1; // columns; those between are of arrows
const PRIMARY = 3;
const REPLICA = 5;
const DASHBOARD = 7;
const STEP = 16; // pixels by which a link of a chain is further in than the one before

export class Flow {
  constructor(words, signs, ages) {
    Object.assign(this, { words, signs, ages });
    this.boxes = new Map(); // by address
    this.drawn = null;
    this.stages = element("div", { class: "stages" });
    this.root = element("section", { class: "card flow", "aria-label": "How data flow" }, [this.stages]);
    this.pull = this.pullBox();
    this.stores = arrow("stores");
    this.dashboard = this.dashboardBox();
    this.reads = arrow("is read");
    this.follows = new Map(); // by address of a replica: the arrow that leads to it
    [this.noneName, this.none] = [element("h3"), element("p")];
    this.placeholder = element("section", { class: "box placeholder", "aria-label": "No primary" }, [this.noneName, this.none]);
  }

  show(state) {
    const plan = arranged(state);
    this.showPull(state);
    this.showDashboard(state);
    const shape = JSON.stringify([plan.primaries, plan.replicas, plan.reads].map((servers) => servers.map(({ address, depth }) => [address, depth])));
    if (shape !== this.drawn) {
      this.drawn = shape;
      this.draw(plan);
    }
    text(this.noneName, state.servers.length === 0 ? "Database" : this.words.roles.primary);
    text(this.none, state.servers.length === 0 ? this.words.unknown.no_servers : this.words.unknown.no_primary);
    for (const server of state.servers) {
      const items = state.items.filter((item) => item.subject === server.address);
      this.boxes.get(server.address).show(server, items, server.level);
      if (this.follows.has(server.address)) this.showFollowing(this.follows.get(server.address), server, items);
    }
    const writable = plan.primaries.some((server) => server.answers && server.fence_state !== "demoted");
    const known = state.servers.length === 0 || plan.primaries.length > 0;
    grade(this.stores, writable || state.servers.length === 0 ? "ok" : known ? "bad" : "unknown");
    this.stores.say(writable || !known || state.servers.length === 0 ? "stores" : "cannot store");
  }

  // ---- where everything goes

  draw({ primaries, replicas, reads }) {
    const placed = [];
    const place = (node, column, row, depth = 0) => {
      node.style.gridColumn = column;
      node.style.gridRow = row;
      node.style.marginInlineStart = `${depth * STEP}px`;
      placed.push(node);
    };
    const readsAt = (server) => reads.length > 0 && reads[0].address === server.address;
    const dashboard = (column, row) => {
      place(this.reads.root, column - 1, row);
      place(this.dashboard.root, column, row);
    };
    this.follows.clear();
    place(this.pull.root, SOURCE, 1);
    place(this.stores.root, SOURCE + 1, 1);
    if (primaries.length === 0) place(this.placeholder, PRIMARY, 1);
    primaries.forEach((server, row) => place(this.box(server).root, PRIMARY, row + 1));
    replicas.forEach((server, row) => {
      const arrowTo = arrow("");
      this.follows.set(server.address, arrowTo);
      place(arrowTo.root, PRIMARY + 1, row + 1);
      place(this.box(server).root, REPLICA, row + 1, server.depth);
      if (readsAt(server)) dashboard(DASHBOARD, row + 1);
    });
    // it reads the primary itself, or something that is no server that is known
    if (!replicas.some(readsAt)) dashboard(REPLICA, replicas.length + 1);
    this.stages.classList.toggle("short", !replicas.some(readsAt));
    this.stages.replaceChildren(...placed);
  }

  box({ address }) {
    if (!this.boxes.has(address)) this.boxes.set(address, new ServerBox(this.words, this.signs, this.ages));
    return this.boxes.get(address);
  }

  showFollowing(to, server, items) {
    const words = this.words.following;
    const lag = server.lag_seconds;
    const judged = items.filter((item) => item.key === "following" || item.key === "replica-lag");
    // refused, as it says itself, may be no more than to wait
    const following = judged.find(({ key }) => key === "following")?.value ?? server.following ?? "unknown";
    const broken = !server.answers || following === "unreachable" || following === "refused";
    const level = server.answers ? this.signs.worst(judged.map((item) => item.level)) : "critical";
    grade(to, broken ? "bad" : this.words.levels[level].status);
    to.say(server.answers ? words[following] ?? words.unknown : words.silent);
    to.more(lag === null ? "" : lag === 0 ? "in step" : `${rounded(lag)} behind`, server.lag_bytes ? `lacks ${bytes(server.lag_bytes)}` : "");
    title(to.root, [server.source === null ? "" : `From ${server.source}`, ...judged.map((item) => item.text)].filter(Boolean).join("\n"));
  }

  // ---- both ends

  pullBox() {
    const time = element("time");
    const sign = this.signs.mark();
    const counts = element("ul", { class: "counts" });
    const error = element("p", { class: "note alert" });
    const root = element("section", { class: "box end", "aria-label": "Pull from grid storage" }, [
      element("h3", {}, [sign, "Pull"]), element("p", { class: "address" }, ["from grid storage"]),
      element("p", { class: "when" }, [time]), counts, error,
    ]);
    return { root, sign, time, counts, error };
  }

  showPull({ database, items }) {
    const { sign, time, counts, error, root } = this.pull;
    const { last_pull: pull, readable } = database;
    const { unknown } = this.words;
    const level = readable ? items.find((item) => item.key === "pull")?.level ?? "ok" : "unknown";
    this.signs.set(sign, level);
    root.dataset.status = this.words.levels[level].status;
    this.ages.set(time, pull?.finished ?? null, { unknown: readable ? unknown.no_pull : unknown.unread });
    const told = Object.entries(pull?.counts ?? {}).filter(([, number]) => number > 0).map(([what, number]) => `${count(number)} ${what}`);
    if (pull !== null && told.length === 0) told.push("no file was found");
    const now = JSON.stringify(told);
    if (counts.dataset.told !== now) {
      counts.dataset.told = now;
      counts.replaceChildren(...told.map((words) => element("li", {}, [words])));
    }
    text(error, pull?.error ?? "");
  }

  dashboardBox() {
    const sign = this.signs.mark();
    const [health, reads, host] = [element("p", { class: "when" }), element("p"), element("p", { class: "address" })];
    const root = element("section", { class: "box end", "aria-label": "This dashboard" }, [
      element("h3", {}, [sign, "This dashboard"]), host, health, reads,
    ]);
    return { root, sign, health, reads, host };
  }

  showDashboard({ dashboard }) {
    text(this.dashboard.host, `on ${dashboard.host}`);
    text(this.dashboard.reads, dashboard.reads.length ? `reads ${dashboard.reads.join(" or ")}` : "reads a file");
  }

  /** What the dashboard makes of the database that it reads, see dqm_app/database_health.py. */
  showHealth({ state, text: about }) {
    const { level, word } = this.words.health[state];
    this.signs.set(this.dashboard.sign, level);
    this.dashboard.root.dataset.status = this.words.levels[level].status;
    text(this.dashboard.health, word);
    title(this.dashboard.health, about);
    grade(this.reads, this.words.levels[level].status);
    this.reads.say(level === "critical" ? "cannot be read" : "is read");
  }
}

// who is the primary, and the others in the order of the chains in which they follow; a server that
// is silent is what it was when it answered
function arranged({ servers, dashboard }) {
  const roleOf = (server) => server.role ?? server.before?.role ?? null;
  let primaries = servers.filter((server) => roleOf(server) === "primary");
  if (primaries.length === 0 && servers.length === 1 && roleOf(servers[0]) === null) primaries = servers;
  const others = servers.filter((server) => !primaries.includes(server));
  const before = new Map(others.map((server) => [server, sourceOf(server, servers)]).filter(([, source]) => others.includes(source)));
  const replicas = [];
  const add = (server, depth) => {
    if (replicas.some(({ address }) => address === server.address)) return;
    replicas.push({ ...server, depth });
    for (const [next, source] of before) if (source === server) add(next, depth + 1);
  };
  for (const server of others) if (!before.has(server)) add(server, 0);
  for (const server of others) add(server, 0); // those that follow each other in a circle
  const reads = dashboard.reads.map((address) => servers.find((server) => server.address === address)).filter(Boolean);
  return { primaries, replicas, reads };
}

// servers tell where they are followed from only by their machine: it says who, if there is but one
function sourceOf(server, servers) {
  if (server.source === null) return null;
  const host = (address) => address.slice(0, address.lastIndexOf(":"));
  const found = servers.filter((other) => other !== server && host(other.address) === host(server.source));
  return found.length === 1 ? found[0] : null;
}

function arrow(words) {
  const said = element("span", {}, [words]);
  const [lag, lacks] = [element("span", { class: "lag" }), element("span")];
  const line = element("span", { class: "line", "aria-hidden": "true" });
  const root = element("div", { class: "arrow", "data-status": "unknown" }, [said, line, lag, lacks]);
  return {
    root,
    say: (value) => text(said, value),
    more: (first, second) => { text(lag, first); text(lacks, second); },
  };
}

function grade({ root }, status) {
  if (root.dataset.status !== status) root.dataset.status = status;
}

function rounded(seconds) {
  return seconds < 100 ? `${Math.round(seconds)} s` : lasting(seconds);
}
