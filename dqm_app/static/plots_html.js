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

/** Say beside an entry why it is refused; an empty *reason* takes that back. */
export function complain(entry, reason) {
  entry.classList.toggle("wrong", reason !== "");
  entry.setAttribute("aria-invalid", String(reason !== ""));
  entry.setCustomValidity(reason);
  if (reason !== "") {
    entry.reportValidity();
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
