// Building HTML without markup in strings: text is always text.

export function element(tag, attributes = {}, children = []) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      node.addEventListener(name, value);
    } else if (value === true) {
      node.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined && value !== "") {
      node.setAttribute(name, value);
    }
  }
  node.append(...children);
  return node;
}

export function text(node, value) {
  if (node.textContent !== value) {
    node.textContent = value;
  }
}

/** Whether a click on a link is for the page: no key asks the browser to open it elsewhere. */
export function isOurs(event) {
  return event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
}

/** Show that *button* is at work until *act* is done, which may have to fetch a script first. */
export async function busyWhile(button, act) {
  button.setAttribute("aria-busy", "true");
  try {
    await act();
  } finally {
    button.removeAttribute("aria-busy");
  }
}

/** Say beside an entry why it is refused; an empty *reason* takes that back. */
export function complain(entry, reason) {
  entry.classList.toggle("wrong", reason !== "");
  entry.setAttribute("aria-invalid", String(reason !== ""));
  entry.setCustomValidity(reason);
  if (reason !== "") {
    entry.reportValidity();
  }
}

/** What was kept in the tab's storage under *key*, so that a reloaded page comes back with it. */
export function recall(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key));
  } catch {
    return null; // storage is off or holds something else: as if nothing had been kept
  }
}

/** Keep *value* in the tab's storage. */
export function keep(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // storage is off: until the reload
  }
}

// at most one call per drawn frame, with the newest arguments
export function perFrame(call) {
  let waiting = null;
  return (...values) => {
    if (waiting === null) {
      window.requestAnimationFrame(() => {
        const newest = waiting;
        waiting = null;
        call(...newest);
      });
    }
    waiting = values;
  };
}
