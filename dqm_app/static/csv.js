// Tables as CSV files, made in the browser.

/** Save `rows` of texts and numbers below `header` as a file called `name`; RFC 4180, UTF-8. */
export function download(name, header, rows) {
  const lines = [header, ...rows].map((cells) => cells.map(quoted).join(","));
  const blob = new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv;charset=utf-8" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser reads it after the click
}

function quoted(cell) {
  const text = cell === null || cell === undefined ? "" : String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
