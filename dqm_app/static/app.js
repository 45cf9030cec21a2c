// Puts the page together: connects, asks for what the address bar says, tells when it is shown.

import { ask, pending } from "./address.js";
import { listen } from "./bridge.js";
import { settled, start } from "./connection.js";
import "./header.js";
import "./runs.js";
import "./controls.js";
import "./freshness.js";
import "./keyboard.js";
import { complete } from "./views.js";

// after all other listeners, and after the frame in which what they changed is painted
listen("state", (state) => {
  if (pending()) return;
  requestAnimationFrame(async () => {
    await complete();
    if (pending()) return;
    requestAnimationFrame(() => {
      settled();
      document.documentElement.dataset.shown = state.seq;
      document.dispatchEvent(new CustomEvent("dqm:shown", { detail: state }));
    });
  });
});

ask();
start();
