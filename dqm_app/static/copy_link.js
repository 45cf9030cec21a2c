// The address of exactly what the page shows, for a colleague.

const button = document.getElementById("copy");
const said = document.getElementById("copied");
const field = said.querySelector("input");
const words = said.querySelector("span");
const SHOWN_MS = 4000;
let timer;

/** Put the address into the clipboard; where the browser forbids that, show it selected. */
export async function copyLink() {
  const link = location.href;
  field.value = link;
  const copied = await written(link) || selectedAndCopied();
  field.hidden = copied;
  words.textContent = copied ? "Link copied" : "Copy this link with Ctrl+C:";
  said.hidden = false;
  clearTimeout(timer);
  if (copied) {
    timer = setTimeout(close, SHOWN_MS);
  } else {
    field.focus();
    field.select();
  }
}

async function written(link) {
  try {
    await navigator.clipboard.writeText(link); // there on https and on this machine only
    return true;
  } catch {
    return false; // the other ways follow
  }
}

function selectedAndCopied() {
  const before = document.activeElement;
  said.hidden = field.hidden = false;
  field.focus();
  field.select();
  const copied = document.execCommand("copy"); // says whether it could
  if (copied) before?.focus?.();
  return copied;
}

function close() {
  said.hidden = true;
}

button.addEventListener("click", copyLink);
field.addEventListener("blur", close);
field.addEventListener("copy", () => setTimeout(() => {
  words.textContent = "Link copied";
}));
said.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" && event.key !== "Enter") return;
  event.preventDefault();
  close();
  button.focus();
});
