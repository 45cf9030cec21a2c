// Tables as CSV files, made in the browser: RFC 4180, UTF-8, safe to open in a spreadsheet.
//
// Plots say in Python which columns they have (dqm_app/plots/export.py); whoever has rows of another
// origin calls `download` with them.

/** Save `rows` of texts and numbers below `header` as a file called `name`; `comments` are lines
 * that come first, each behind a #. Nothing, null and NaN are empty cells. */
export function download(name, header, rows, comments = []) {
  // quotes would have to be quoted, and then the line begins with one and not with a #
  const head = comments.map((line) => `# ${line.replace(/[\r\n]+/g, " ").replaceAll('"', "'")}`);
  const lines = [...head, ...[header, ...rows].map((cells) => cells.map(quoted).join(","))];
  save(name, new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv;charset=utf-8" }));
}

/** Give *blob* to the user as a file called `name`. */
export function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser reads it after the click
}

/** Header and rows of `columns` ([key, name, unit, kind], see dqm_app/plots/export.py) of a source,
 * but for its rows `skip`. */
export function tabled(data, columns, skip = []) {
  const header = columns.flatMap(([, name, unit, kind]) => (kind === "utc"
    ? [`${name} [UTC]`, `${name} [s since 1970]`] : [unit ? `${name} [${unit}]` : name]));
  const held = columns.map(([key, , , kind, start, step]) => ({ kind, start, step, values: data[key] ?? data.get?.(key) }));
  const rows = [];
  const left = new Set(skip);
  for (let at = 0; at < held[0].values.length; at += 1) {
    if (left.has(at)) continue;
    const list = held.find(({ kind }) => kind === "list");
    const lines = list === undefined ? 1 : list.values[at].length;
    for (let line = 0; line < lines; line += 1) {
      rows.push(held.flatMap(({ kind, values, start, step }) => {
        if (kind === "steps") return [start + line * step];
        if (kind === "utc") return [iso(values[at]), values[at] / 1000];
        return [kind === "list" ? exact(values[at], line) : exact(values, at)];
      }));
    }
  }
  return [header, rows];
}

// what was sent in single precision is not known to the digits of a double
function exact(values, at) {
  const value = values[at];
  if (!(values instanceof Float32Array) || !Number.isFinite(value)) return value;
  for (let digits = 6; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

const LAST_MS = 8.64e15; // of JavaScript's calendar

// to the microsecond, as far as milliseconds in double precision go
function iso(milliseconds) {
  if (!(Math.abs(milliseconds) < LAST_MS)) return "";
  const microseconds = Math.round((milliseconds - Math.floor(milliseconds)) * 1000);
  const whole = Math.floor(milliseconds) + Math.floor(microseconds / 1000);
  return `${new Date(whole).toISOString().slice(0, -1)}${String(microseconds % 1000).padStart(3, "0")}Z`;
}

const FORMULA = /^[=+\-@\t\r]/; // what spreadsheets would compute
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

function quoted(cell) {
  if (cell === null || cell === undefined || Number.isNaN(cell)) return "";
  let text = String(cell);
  if (typeof cell === "string" && FORMULA.test(text) && !NUMBER.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
