// A plot with its words: caption, description, legend, and its numbers as a table.

import { h, s, table } from "./elements.js";

const drawings = new WeakMap();

// says: the message of the plot in words. draw(svg, width, height): fills it.
// entries: the legend, [{name, kind, value}]. rows: given only when the table is opened.
export function figure({ key, caption, unit, says, entries = [], height = 190, draw, head, rows, words }) {
  const plot = h("div", { class: "plot", "data-height": height });
  const legend = entries.length > 0 && h("ul", { class: "legend" }, entries.map(({ name, kind, value }) =>
    h("li", {}, swatch(kind), name, value !== undefined && h("b", {}, value))));
  const details = h("details", { "data-key": key }, h("summary", {}, "Show as table"));
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("table")) details.append(table({ head, rows: rows(), caption, words }));
  });
  const svg = () => {
    const title = `${key}-plot`, description = `${key}-says`;
    return s("svg", { role: "img", "aria-labelledby": `${title} ${description}`, height },
      s("title", { id: title }, caption), s("desc", { id: description }, says));
  };
  drawings.set(plot, (width) => {
    const canvas = svg();
    canvas.setAttribute("width", width);
    canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    draw(canvas, width, height);
    plot.replaceChildren(canvas);
  });
  return h("figure", {}, h("figcaption", {}, caption, unit && h("span", {}, unit)), plot, legend || null, details);
}

export function redraw(host) {
  for (const plot of host.querySelectorAll(".plot")) {
    const width = Math.floor(plot.clientWidth);
    if (width > 0) drawings.get(plot)(width);
  }
}

// Puts new content where old was, without taking away what somebody is about to read.
export function swap(host, content) {
  const selection = getSelection();
  if (!selection.isCollapsed && host.contains(selection.anchorNode)) return;
  const open = new Set([...host.querySelectorAll("details[open]")].map((one) => one.dataset.key));
  const stops = "a, button, summary, select, [tabindex]";
  const focused = host.contains(document.activeElement)
    ? [...host.querySelectorAll(stops)].indexOf(document.activeElement) : -1;
  const scrolled = [...host.querySelectorAll(".scroll")].map((one) => [one.scrollLeft, one.scrollTop]);
  host.replaceChildren(...[content].flat(3).filter(Boolean));
  redraw(host);
  for (const details of host.querySelectorAll("details"))
    if (open.has(details.dataset.key)) {
      details.open = true;
      details.dispatchEvent(new Event("toggle"));
    }
  [...host.querySelectorAll(".scroll")].forEach((one, i) => {
    if (scrolled[i]) [one.scrollLeft, one.scrollTop] = scrolled[i];
  });
  if (focused >= 0) [...host.querySelectorAll(stops)][focused]?.focus({ preventScroll: true });
}

function swatch(kind) {
  if (!kind) return null;
  const mark = kind.startsWith("dot")
    ? s("circle", { class: kind, cx: 11, cy: 5, r: 4 })
    : kind.startsWith("fill")
      ? s("rect", { class: kind, x: 1, y: 0, width: 20, height: 10 })
      : s("line", { class: kind, x1: 0, x2: 22, y1: 5, y2: 5 });
  return s("svg", { class: "swatch", viewBox: "0 0 22 10", "aria-hidden": "true" }, mark);
}
