// The values in an address that only the page uses, as text: pixels and ranges of numbers.

export const PIXELS = 1855;
export const PER_MODULE = 7;

/** "12, 20-26, m5" as ids, sorted; null when it is not understood. */
export function parsePixels(entry) {
  const found = new Set();
  for (const part of entry.split(/[\s,;]+/).filter(Boolean)) {
    const match = /^(m)?(\d{1,6})(?:[-–]m?(\d{1,6}))?$/i.exec(part);
    if (match === null) return null;
    const scale = match[1] === undefined ? 1 : PER_MODULE;
    const first = Number(match[2]) * scale;
    const last = (Number(match[3] ?? match[2]) + 1) * scale - 1;
    if (last < first || last >= PIXELS) return null;
    for (let pixel = first; pixel <= last; pixel += 1) found.add(pixel);
  }
  return [...found].sort((a, b) => a - b);
}

/** Sorted ids as "12,20-26,m5", whole modules as such; undefined for none. */
export function formatPixels(pixels) {
  const modules = [];
  const single = [];
  for (let at = 0; at < pixels.length; ) {
    const last = at + PER_MODULE - 1;
    if (pixels[at] % PER_MODULE === 0 && pixels[last] === pixels[at] + PER_MODULE - 1) {
      modules.push(pixels[at] / PER_MODULE);
      at = last + 1;
    } else {
      single.push(pixels[at]);
      at += 1;
    }
  }
  return [...stretches(single), ...stretches(modules).map((words) => `m${words}`)].join(",") || undefined;
}

function stretches(numbers) {
  const found = [];
  for (const number of numbers) {
    const newest = found.at(-1);
    if (newest !== undefined && number === newest[1] + 1) newest[1] = number;
    else found.push([number, number]);
  }
  return found.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
}

/** "4400..4500" as two numbers, the lower one first; null when it is not understood. */
export function parseSpan(entry) {
  const ends = entry.split("..");
  if (ends.length !== 2 || ends.some((end) => end.trim() === "")) return null;
  const [low, high] = ends.map(Number);
  return Number.isFinite(low) && Number.isFinite(high) && low < high ? [low, high] : null;
}

/** "4400..4500,0..2", a horizontal and a vertical range, as spans, null for one that is left out; null
 * when it is not understood. */
export function parseZoom(entry) {
  const parts = entry.split(",");
  const spans = parts.map(parseSpan);
  const right = parts.length <= 2 && parts.every((part, at) => part === "" || spans[at] !== null);
  return right && spans.some((span) => span !== null) ? [spans[0], spans[1] ?? null] : null;
}

/** The text of two numbers. */
export function formatSpan(low, high) {
  return `${low}..${high}`;
}

/** *value* with as many decimals as tell apart a thousandth of *width*. */
export function rounded(value, width) {
  const decimals = Math.max(0, Math.min(12, 3 - Math.floor(Math.log10(width))));
  return Number(value.toFixed(decimals));
}

/** The range of colours that goes from the lowest to the highest value of each run. */
export const WHOLE = "min..max";

const CHECKS = {
  pixels: [(entry) => parsePixels(entry) !== null, "is not a list of pixels such as 12,20-26,m5; none are picked"],
  range: [(entry) => entry === WHOLE || parseSpan(entry) !== null, "is not a range of colours such as 4400..4500; the usual one is shown"],
  scale: [(entry) => entry === WHOLE || parseSpan(entry) !== null, "is not a range of colours such as -20..20; the usual one is shown"],
  zoom: [(entry) => parseZoom(entry) !== null, "is not a range to zoom to; all is shown"],
};

/** Take out of *address* what is no value of its key; returns what was wrong, in words. */
export function checked(address) {
  const wrong = [];
  for (const [key, [right, words]] of Object.entries(CHECKS)) {
    if (address[key] !== undefined && !right(address[key])) {
      wrong.push(`“${address[key].slice(0, 40)}” ${words}.`);
      delete address[key];
    }
  }
  return wrong;
}
