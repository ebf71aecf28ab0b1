// The four kinds of plot that the page draws, each into an SVG of a given size.

import { clock, number, plain } from "./numbers.js";
import { s } from "./elements.js";
import { linear, logarithmic, nice, powers, times } from "./scales.js";

const TOP = 10, BOTTOM = 24, RIGHT = 12;
const CHARACTER = 6.6;
const LABEL_WIDTH = 92;

const label = (x, y, text, anchor = "middle", kind = "axis") =>
  s("text", { class: kind, x, y, "text-anchor": anchor }, text);
const line = (kind, x1, y1, x2, y2) => s("line", { class: kind, x1, y1, x2, y2 });
const leftOf = (labels) => Math.max(...labels.map((text) => text.length)) * CHARACTER + 12;

function valueAxis(svg, ticks, y, left, right, format) {
  const text = plain(format);
  for (const tick of ticks)
    svg.append(line("grid", left, y(tick), right, y(tick)), label(left - 7, y(tick) + 4, text(tick), "end"));
}

// lines: [{kind, values}] over times (the middle of each step); null breaks a line.
export function overTime(svg, width, height, plot) {
  const { start, end, at, lines, thresholds = [], bands = [], marks = [], format = number, least = 0, floor = null } = plot;
  const known = lines.flatMap(({ values }) => values).filter((value) => value !== null);
  const levels = [...known, ...thresholds.map(({ value }) => value), ...(least === null ? [] : [least])];
  const lowest = floor ?? Math.min(...levels), highest = Math.max(...levels);
  const ticks = nice(lowest, highest > lowest ? highest : lowest + Math.abs(lowest || 1), 3);
  const left = leftOf(ticks.map(plain(format))), right = width - RIGHT;
  const x = linear([start, end], [left, right]);
  const scale = linear([ticks[0], ticks.at(-1)], [height - BOTTOM, TOP]);
  const y = (value) => scale(Math.max(value, ticks[0]));
  for (const band of bands) {
    const from = Math.max(x(band.from), left), to = Math.min(x(band.to), right);
    if (to > from) svg.append(s("rect", { class: "band", x: from, y: TOP, width: to - from, height: height - BOTTOM - TOP }));
  }
  valueAxis(svg, ticks, y, left, right, format);
  for (const tick of times(start, end, Math.max(2, Math.floor(width / LABEL_WIDTH)))) {
    const place = x(tick.at);
    svg.append(line("tick", place, height - BOTTOM, place, height - BOTTOM + 4));
    if (place > left + 14 && place < right - 8) svg.append(label(place, height - 6, tick.label));
  }
  const notes = [];
  for (const { value, name, kind = "limit" } of thresholds) {
    svg.append(line(kind, left, y(value), right, y(value)));
    const above = y(value) - 5;
    notes.push(label(right - 2, above > TOP + 2 ? above : y(value) + 14, name, "end", "note"));
  }
  for (const mark of marks)
    if (mark.at >= start && mark.at <= end) {
      const place = x(mark.at), before = place > (left + right) / 2;
      svg.append(line("mark", place, TOP, place, height - BOTTOM));
      notes.push(label(place + (before ? -5 : 5), height - BOTTOM - 7, mark.name, before ? "end" : "start", "note"));
    }
  for (const { kind, values } of lines) svg.append(...path(kind, at.map(x), values, y));
  svg.append(...notes);
  hover(svg, { at, x, y, lines, left, right, height, format });
}

function path(kind, places, values, y) {
  const parts = [], dots = [];
  let run = [];
  const close = () => {
    if (run.length === 1) dots.push(s("circle", { class: `${kind} lone`, cx: run[0][0], cy: run[0][1], r: 2.5 }));
    else if (run.length) parts.push(`M${run.map((point) => point.map((one) => one.toFixed(1)).join(" ")).join("L")}`);
    run = [];
  };
  values.forEach((value, i) => (value === null ? close() : run.push([places[i], y(value)])));
  close();
  return [parts.length ? s("path", { class: kind, d: parts.join("") }) : "", ...dots];
}

// A line follows the pointer and says the numbers there.
function hover(svg, { at, x, y, lines, left, right, height, format }) {
  const guide = s("g", { class: "guide", visibility: "hidden", "aria-hidden": "true" });
  svg.append(guide);
  const move = (event) => {
    const place = event.clientX - svg.getBoundingClientRect().left;
    let nearest = -1;
    at.forEach((time, i) => {
      const better = nearest < 0 || Math.abs(x(time) - place) < Math.abs(x(at[nearest]) - place);
      if (better && lines.some(({ values }) => values[i] !== null)) nearest = i;
    });
    if (nearest < 0) return;
    const there = x(at[nearest]);
    const texts = [clock(at[nearest] * 1000),
      ...lines.filter(({ values }) => values[nearest] !== null)
        .map(({ name, values }) => `${name ? `${name} ` : ""}${format(values[nearest])}`)];
    const wide = Math.max(...texts.map((text) => text.length)) * CHARACTER + 16;
    const box = there + wide + 10 > right ? there - wide - 8 : there + 8;
    guide.replaceChildren(line("mark", there, TOP, there, height - BOTTOM),
      ...lines.filter(({ values }) => values[nearest] !== null)
        .map(({ kind, values }) => s("circle", { class: `${kind} lone`, cx: there, cy: y(values[nearest]), r: 3.5 })),
      s("rect", { class: "readout", x: Math.max(box, left - 30), y: TOP, width: wide, height: texts.length * 16 + 10, rx: 5 }),
      ...texts.map((text, i) => label(Math.max(box, left - 30) + 8, TOP + 17 + i * 16, text, "start", i ? "reading" : "note")));
    guide.setAttribute("visibility", "visible");
  };
  svg.addEventListener("pointermove", move);
  svg.addEventListener("pointerdown", move);
  svg.addEventListener("pointerleave", () => guide.setAttribute("visibility", "hidden"));
}

// Two distributions over buckets whose bounds grow by factors: bars of now, outline of before.
// buckets: [{lower, upper, now, before}], heights comparable between buckets of any width.
export function overlay(svg, width, height, { buckets, format, xFormat, xName }) {
  const least = buckets[0].lower, most = buckets.at(-1).upper;
  const highest = Math.max(...buckets.flatMap(({ now, before }) => [now ?? 0, before ?? 0]));
  const ticks = nice(0, highest || 1, 3);
  const left = leftOf(ticks.map(plain(format))), right = width - RIGHT, floor = height - BOTTOM - 14;
  const x = logarithmic([least, most], [left, right]);
  const y = linear([0, ticks.at(-1)], [floor, TOP]);
  valueAxis(svg, ticks, y, left, right, format);
  logAxis(svg, x, powers(least, most), [left, right], floor, xFormat);
  svg.append(label((left + right) / 2, height - 4, xName, "middle", "note"));
  const outline = [];
  for (const { lower, upper, now, before } of buckets) {
    const from = x(lower), to = x(upper);
    if (now) svg.append(s("rect", { class: "fill now", x: from + 0.5, y: y(now), width: Math.max(to - from - 1, 0.5), height: floor - y(now) }));
    if (before !== null) outline.push(`${from.toFixed(1)} ${y(before).toFixed(1)}L${to.toFixed(1)} ${y(before).toFixed(1)}`);
  }
  if (outline.length) svg.append(s("path", { class: "line before", d: `M${outline.join("L")}` }));
}

function logAxis(svg, x, ticks, [left, right], floor, format) {
  let free = left - 10;
  for (const tick of ticks) {
    const text = plain(format)(tick), half = (text.length * CHARACTER) / 2;
    svg.append(line("tick", x(tick), floor, x(tick), floor + 4));
    if (x(tick) - half < free || x(tick) + half > right + RIGHT) continue;
    svg.append(label(x(tick), floor + 17, text));
    free = x(tick) + half + 8;
  }
}

// Values by hour of the day.
export function byHour(svg, width, height, { lines, format, now }) {
  const known = lines.flatMap(({ values }) => values).filter((value) => value !== null);
  const ticks = nice(0, Math.max(...known, 0) || 1, 3);
  const left = leftOf(ticks.map(plain(format))), right = width - RIGHT, floor = height - BOTTOM - 14;
  const x = linear([-0.5, 23.5], [left, right]);
  const y = linear([0, ticks.at(-1)], [floor, TOP]);
  svg.append(s("rect", { class: "band", x: x(now - 0.5), y: TOP, width: x(1) - x(0), height: floor - TOP }));
  valueAxis(svg, ticks, y, left, right, format);
  for (let hour = 0; hour < 24; hour += right - left > 300 ? 3 : 6)
    svg.append(line("tick", x(hour), floor, x(hour), floor + 4), label(x(hour), floor + 17, String(hour)));
  svg.append(label((left + right) / 2, height - 4, "hour of the day, UTC", "middle", "note"));
  for (const { kind, mark, values } of lines) {
    svg.append(...path(kind, values.map((_, hour) => x(hour)), values, y));
    if (mark) values.forEach((value, hour) =>
      value !== null && svg.append(s("circle", { class: mark, cx: x(hour), cy: y(value), r: 4 })));
  }
}

// How often was clicked what was predicted, with intervals, on logarithmic axes.
export function reliability(svg, width, height, { rows, format }) {
  const least = Math.min(...rows.map((row) => Math.min(row.mean_prediction, row.ctr || row.ctr_interval[1]))) / 1.6;
  const most = Math.min(Math.max(...rows.map((row) => Math.max(row.mean_prediction, row.ctr_interval[1]))) * 1.25, 1);
  const ticks = powers(least, most);
  const left = leftOf(ticks.map(plain(format))) + 12, right = width - RIGHT, floor = height - BOTTOM - 14;
  const x = logarithmic([least, most], [left, right]), y = logarithmic([least, most], [floor, TOP]);
  let free = Infinity;
  for (const tick of ticks) {
    svg.append(line("grid", left, y(tick), right, y(tick)));
    if (free - y(tick) < 15) continue;
    svg.append(label(left - 7, y(tick) + 4, plain(format)(tick), "end"));
    free = y(tick);
  }
  logAxis(svg, x, ticks, [left, right], floor, format);
  svg.append(label((left + right) / 2, height - 4, "predicted CTR", "middle", "note"));
  svg.append(s("text", { class: "note", transform: `translate(11 ${(floor + TOP) / 2}) rotate(-90)`, "text-anchor": "middle" }, "clicked"));
  svg.append(s("line", { class: "line before", x1: x(least), y1: y(least), x2: x(most), y2: y(most) }));
  const largest = Math.max(...rows.map((row) => row.predictions));
  for (const row of rows) {
    const place = x(row.mean_prediction), [low, high] = row.ctr_interval.map((one) => y(Math.max(one, least)));
    svg.append(line("whisker now", place, low, place, high));
    svg.append(s("circle", {
      class: row.clicks ? "dot now" : "dot none", cx: place, cy: y(Math.max(row.ctr, least)),
      r: 2.5 + 4 * Math.sqrt(row.predictions / largest),
    }));
  }
}

// Intervals beside each other: rows [{name, low, high, value, kind}]; at zero a line, where there is one.
export function intervals(svg, width, height, { rows, format, zero = null, zone = null }) {
  const ends = rows.flatMap(({ low, high, value }) => [low, high, value]).filter((one) => one !== null);
  if (zero !== null) ends.push(zero);
  const ticks = nice(Math.min(...ends), Math.max(...ends), width > 480 ? 5 : 3);
  const left = Math.min(leftOf(rows.map(({ name }) => name)), width * 0.4), right = width - RIGHT - 14;
  const floor = height - BOTTOM, x = linear([ticks[0], ticks.at(-1)], [left + 10, right]);
  if (zone) svg.append(s("rect", { class: "band", x: x(-zone), y: TOP, width: x(zone) - x(-zone), height: floor - TOP }));
  for (const tick of ticks)
    svg.append(line("grid", x(tick), TOP, x(tick), floor), label(x(tick), floor + 17, plain(format)(tick)));
  if (zero !== null) svg.append(line("mark", x(zero), TOP, x(zero), floor));
  rows.forEach(({ name, low, high, value, kind }, i) => {
    const y = TOP + ((i + 0.5) * (floor - TOP)) / rows.length;
    svg.append(label(left, y + 4, name, "end", "name"));
    if (low !== null) svg.append(line(`whisker ${kind}`, x(low), y, x(high), y),
      line(`whisker ${kind}`, x(low), y - 6, x(low), y + 6), line(`whisker ${kind}`, x(high), y - 6, x(high), y + 6));
    if (value !== null) svg.append(s("circle", { class: `dot ${kind}`, cx: x(value), cy: y, r: 5.5 }));
  });
}
