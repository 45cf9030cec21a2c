// Numbers and dates as text: the only place that formats them on the page. Times are UTC.

const counts = new Intl.NumberFormat("en-GB");

export const UNKNOWN = "–";

export function count(value) {
  return value == null ? UNKNOWN : counts.format(value);
}

export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Unix seconds as "2024-05-03 02:11:07"; what a sick clock wrote may be no date at all. */
export function date(seconds) {
  if (seconds == null) return UNKNOWN;
  const moment = new Date(seconds * 1000);
  return Number.isNaN(moment.getTime()) ? UNKNOWN : moment.toISOString().slice(0, 19).replace("T", " ");
}

/** Unix seconds as "02:11:07". */
export function clock(seconds) {
  const whole = date(seconds);
  return whole === UNKNOWN ? UNKNOWN : whole.slice(11);
}

/** Seconds as "41.3 s", "12 min 03 s" or "1 h 02 min". */
export function duration(seconds) {
  if (seconds == null) return UNKNOWN;
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  const pad = (value) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
}

/** Seconds as "3 min", "2 h" or "5 days", rounded down. */
export function lasting(seconds) {
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${count(Math.floor(seconds / 86_400))} days`;
}

/** The same as "just now" or "3 min ago". */
export function ago(seconds) {
  return seconds < 60 ? "just now" : `${lasting(seconds)} ago`;
}

/** Bytes with three digits, as "1.71 MB"; 999.96 MB would be 1.00e+3 of them. */
export function bytes(value) {
  if (value == null) return UNKNOWN;
  if (value < 1e3) return `${value} B`;
  if (value < 999.5e3) return `${(value / 1e3).toPrecision(3)} kB`;
  if (value < 999.5e6) return `${(value / 1e6).toPrecision(3)} MB`;
  return value < 999.5e9 ? `${(value / 1e9).toPrecision(3)} GB` : `${(value / 1e12).toPrecision(3)} TB`;
}
