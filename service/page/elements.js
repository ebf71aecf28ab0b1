// Makes elements; nothing here knows what they mean.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) =>
  filled(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

// A number as it is read, which keeps the number as it was answered.
export const data = (value, text) => h("data", { value: value ?? "" }, text);

const ICONS = {
  healthy: "M3.5 8.5 6.5 11.5 12.5 4.5",
  warning: "M8 4V9M8 11.6V12.2",
  degraded: "M4.5 4.5 11.5 11.5M11.5 4.5 4.5 11.5",
  unknown: "M4 8H12",
  info: "M8 7.4V12M8 4.2V4.6",
};

export function icon(status) {
  const outline = {
    healthy: s("circle", { cx: 8, cy: 8, r: 7.25 }),
    warning: s("path", { d: "M8 .8 15.4 14.6H.6Z" }),
    degraded: s("path", { d: "M5 .75H11L15.25 5V11L11 15.25H5L.75 11V5Z" }),
    info: s("circle", { cx: 8, cy: 8, r: 7.25 }),
    unknown: s("circle", { cx: 8, cy: 8, r: 7.25, "stroke-dasharray": "2.5 2" }),
  }[status];
  return s("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, outline,
    s("path", { d: ICONS[status] }));
}

export const badge = (status, word) => h("span", { class: `badge ${status}` }, icon(status), word);

// The answer to the question of a section, in one line.
export const verdict = (status, word, ...rest) =>
  h("p", { class: "verdict" }, badge(status, word), " ", rest);

export const link = (href, text) => h("a", { href }, text);
export const runbook = (name) => link(`/runbooks/${name}`, "what to do");
export const code = (text) => h("pre", {}, h("code", {}, text));

export const notice = (title, text, command) =>
  h("div", { class: "notice" }, h("p", {}, h("strong", {}, title), " ", text), command && code(command));

export const tiles = (...pairs) =>
  h("dl", { class: "tiles" }, pairs.filter(Boolean).map(([name, value, detail]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value, detail && h("small", {}, detail)))));

// words: the columns, counted from 0, that hold words and not numbers.
export function table({ head, rows, caption, words = [] }) {
  const kind = (column) => ({ class: words.includes(column) && "words" });
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, head.map((cell, i) => h("th", { scope: "col", ...kind(i) }, cell)))),
      h("tbody", {}, rows.map(([first, ...cells]) =>
        h("tr", {}, h("th", { scope: "row" }, first), cells.map((cell, i) => h("td", kind(i + 1), cell)))))));
}

// How much of a limit is used up.
export function meter(value, limit, status) {
  const width = Math.max(Math.min((value ?? 0) / limit, 1), 0) * 100;
  return s("svg", { class: `meter ${status}`, viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "rail", width: 100, height: 6, rx: 3 }),
    width > 0 && s("rect", { class: "used", width: Math.max(width, 1.5), height: 6, rx: 3 }));
}
