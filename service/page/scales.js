// From values to places on a plot, and where to write numbers beside an axis.

const STEPS = [1, 2, 2.5, 5, 10];
const MINUTE = 60, HOUR = 3600, DAY = 86400;
const SHORTEST = 3 * MINUTE;
const TIME_STEPS = [15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY];

export function linear([low, high], [from, to]) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

export function logarithmic([low, high], range) {
  const scale = linear([Math.log(low), Math.log(high)], range);
  return (value) => scale(Math.log(Math.max(value, low)));
}

export function nice(low, high, wanted = 4) {
  const rough = (high - low || Math.abs(high) || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = STEPS.find((one) => one * power >= rough * 0.999) * power;
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  const ticks = [];
  for (let i = first; i <= Math.max(last, first + 1); i += 1) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

export function powers(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1)
    for (const part of [1, 2, 5]) {
      const tick = Number((part * 10 ** power).toPrecision(3));
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  return ticks;
}

// Where a time axis begins: a service that is younger than the span would fill only its end.
export function beginning(end, length, first) {
  return Number.isFinite(first) ? Math.max(end - length, Math.min(first, end - SHORTEST)) : end - length;
}

export function times(start, end, wanted) {
  const step = TIME_STEPS.find((one) => (end - start) / one <= wanted) ?? 7 * DAY;
  const ticks = [];
  for (let at = Math.ceil(start / step) * step; at <= end; at += step) {
    const text = new Date(at * 1000).toISOString();
    const label = step >= DAY || (end - start > 1.5 * DAY && at % DAY === 0) ? text.slice(5, 10)
      : step < MINUTE ? text.slice(11, 19) : text.slice(11, 16);
    ticks.push({ at, label });
  }
  return ticks;
}
