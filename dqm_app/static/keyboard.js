// Keys for everything; `?` shows them.

import { go } from "./address.js";
import { stepQuantity, toggleTheme, views } from "./controls.js";
import { copyLink } from "./copy_link.js";
import { latest, openPicker, step } from "./runs.js";

const dialog = document.getElementById("keys");
const focus = (id) => () => document.getElementById(id).focus();
const search = () => (document.getElementById("runs-text")?.checkVisibility() ? focus("runs-text")() : openPicker());

const KEYS = [
  [["/"], "Search runs; in “Runs”, its table", search],
  [["[", "j"], "Older run", () => step(-1)],
  [["]", "k"], "Newer run", () => step(1)],
  [["l"], "Newest run, and follow", latest],
  [[",", "p"], "Previous quantity", () => stepQuantity(-1)],
  [[".", "n"], "Next quantity", () => stepQuantity(1)],
  [["c"], "Choose the camera", focus("camera")],
  [["q"], "Choose the quantity", focus("quantity")],
  [["y"], "Copy the link to exactly this", copyLink],
  [["t"], "Light or dark", toggleTheme],
  [["Esc"], "Close what is open; let go of picked pixels", null],
  [["?"], "These keys", () => dialog.showModal()],
];
const LETTERS = { runs: "r", contents: "a", system: "s" };
views().forEach((view, index) => {
  const tab = document.querySelector(`[data-view="${view}"]`);
  const keys = ["1234567890".charAt(index), LETTERS[view]].filter(Boolean);
  if (keys.length === 0) return;
  KEYS.push([keys, tab.textContent, () => go({ view })]);
  tab.title = `${tab.textContent}  ${keys.join(" or ")}`;
});

const actions = new Map(KEYS.filter(([, , action]) => action !== null).flatMap(([keys, , action]) => keys.map((key) => [key, action])));

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, [contenteditable]")
    ?? document.querySelector("dialog[open]");
  const shortcut = (event.ctrlKey || event.altKey) && !event.getModifierState("AltGraph");
  if (typing || shortcut || event.metaKey || event.defaultPrevented) return;
  const action = actions.get(event.key);
  if (action === undefined) return;
  event.preventDefault();
  action();
});

document.getElementById("key-list").append(...KEYS.flatMap(([keys, text]) => {
  const term = document.createElement("dt");
  term.append(...keys.flatMap((key, index) => {
    const made = document.createElement("kbd");
    made.textContent = key;
    return index ? [" or ", made] : [made];
  }));
  const meaning = document.createElement("dd");
  meaning.textContent = text;
  return [term, meaning];
}));
document.getElementById("help").addEventListener("click", () => dialog.showModal());
