// How numbers are written, everywhere on the page.
//
// One rule: whole numbers in full; everything else with three significant digits, except that a
// whole part is never rounded to tens. What is not known is a dash, never 0.

export const ABSENT = "–";
const DIGITS = 3;
const THREE_DIGITS = new Intl.NumberFormat("en", { minimumSignificantDigits: DIGITS, maximumSignificantDigits: DIGITS });
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SPACE = "\u202f";

const known = (value) => typeof value === "number" && Number.isFinite(value);
const proper = (text) => text.replace("-", "−");

export function number(value) {
  if (!known(value)) return ABSENT;
  const whole = Number.isInteger(value) || Math.abs(value) >= 10 ** (DIGITS - 1);
  return proper((whole ? WHOLE : THREE_DIGITS).format(value));
}

// For numbers that somebody chose, such as limits and ticks: without zeros at the end.
export const plain = (format) => (value) =>
  format(value).replace(/(\.\d*?)0+(?!\d)/, "$1").replace(/\.(?!\d)/, "");

export const suffixed = (text, unit) => (text === ABSENT ? text : `${text}${SPACE}${unit}`);

export const count = (value) => (known(value) ? proper(WHOLE.format(value)) : ABSENT);
export const percent = (value) => suffixed(number(value), "%");
export const share = (ratio) => percent(known(ratio) ? Number((ratio * 100).toPrecision(15)) : null);
export const milliseconds = (value) => suffixed(number(value), "ms");
export const signed = (text) => (/^[1-9]|^0\.\d*[1-9]/.test(text) ? `+${text}` : text);
export const change = (ratio) => signed(share(ratio));

export function interval(bounds, format) {
  if (!bounds) return ABSENT;
  const [low, high] = bounds;
  return `${format(low)} to ${high === null ? "∞" : format(high)}`;
}

export function duration(seconds) {
  if (!known(seconds)) return ABSENT;
  const whole = Math.max(Math.round(seconds), 0);
  if (whole < 100) return suffixed(String(whole), "s");
  const minutes = Math.round(whole / 60);
  if (minutes < 100 && minutes % 60) return suffixed(String(minutes), "min");
  const hours = Math.round(minutes / 60);
  return hours < 48 ? suffixed(String(hours), "h") : suffixed(String(Math.round(hours / 24)), "days");
}

// Times are UTC, as in every answer.
export const seconds = (text) => Date.parse(text) / 1000;
export const clock = (text) => (text ? new Date(text).toISOString().slice(11, 19) : ABSENT);

export function moment(text, now = Date.now()) {
  if (!text) return ABSENT;
  const at = new Date(text).toISOString();
  const today = new Date(now).toISOString().slice(0, 10);
  return at.slice(0, 10) === today ? at.slice(11, 16) : `${at.slice(0, 10)} ${at.slice(11, 16)}`;
}
