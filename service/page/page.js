// Joins the parts: what is chosen, what is asked, and which section shows which answer.

import { badge, h, notice } from "./elements.js";
import { redraw, swap } from "./figure.js";
import { duration } from "./numbers.js";
import { Poller } from "./poller.js";
import { calibration } from "./calibration.js";
import { drift } from "./drift.js";
import { health, statusOf } from "./health.js";
import { predictions } from "./predictions.js";
import { record } from "./record.js";
import { traffic } from "./traffic.js";
import { variants } from "./variants.js";

const SECTIONS = { health, traffic, predictions, drift, calibration, variants, record };
const WINDOWS = { "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800 };
const STALE_PACES = 3;
const $ = (id) => document.getElementById(id);

const chosen = { model: null, window: "15m" };
const answers = {};
const problems = {};
const answeredAt = {};
let lost = false;

function sources() {
  const { window } = chosen;
  const every = { health: { path: "/monitoring/health", every: 5 } };
  if (!chosen.model) return every;
  const model = encodeURIComponent(chosen.model);
  const points = window === "7d" ? 84 : window === "24h" ? 96 : 72;
  const slow = Math.min(Math.max(WINDOWS[window] / 720, 10), 60);
  return {
    ...every,
    stats: { path: `/monitoring/stats?model_name=${model}&window=${window}`, every: 10 },
    history: { path: `/monitoring/history?model_name=${model}&window=${window}&points=${points}`, every: slow },
    drift: { path: `/monitoring/drift/${model}`, every: 15 },
    evidence: { path: `/monitoring/drift/${model}/history?window=${window}&points=240`, every: 15 },
    baseline: { path: `/monitoring/baseline/${model}`, every: 60 },
    quality: { path: `/monitoring/quality/${model}`, every: 30 },
    experiment: { path: "/monitoring/experiment", every: 30 },
    mlflow: { path: "/monitoring/mlflow", every: 30 },
    hours: { path: `/monitoring/history?model_name=${model}&window=24h&points=24`, every: 120 },
  };
}

const poller = new Poller(sources, {
  answered(key, body) {
    answers[key] = body;
    answeredAt[key] = Date.now();
    delete problems[key];
    if (key === "health") offer(Object.keys(body.models));
    show(key);
  },
  refused(key, detail) {
    problems[key] = detail;
    show(key);
  },
  lost(seconds) {
    lost = true;
    tell(seconds);
    announce();
  },
  back() {
    lost = false;
    $("unreachable").hidden = true;
    announce();
  },
});

function show(key) {
  for (const [name, section] of Object.entries(SECTIONS))
    if (section.needs.includes(key) || section.likes?.includes(key)) render(name);
  announce();
}

function render(name) {
  const section = SECTIONS[name], host = document.querySelector(`#${name} .body`);
  const refused = new Set(section.needs.filter((key) => problems[key]).map((key) => problems[key]));
  const asked = [...section.needs, ...(section.likes ?? [])];
  if (asked.some((key) => !(key in answers) && !problems[key])) return;
  const shown = section.needs.every((key) => key in answers) ? section.show(answers, { ...chosen, seconds: WINDOWS[chosen.window] }) : [];
  swap(host, [
    [...refused].map((detail) => notice("No answer here for now:", `${detail}. ${detail.startsWith("window")
      ? "Choose a shorter span above." : "It is asked for again by itself."}`)),
    shown,
  ]);
}

function offer(models) {
  if (!models.length) return;
  const select = $("model");
  if (!models.includes(chosen.model)) chosen.model = models.includes("xgboost") ? "xgboost" : models[0];
  if ([...select.options].map((option) => option.value).join() !== models.join())
    select.replaceChildren(...models.map((model) => h("option", { value: model }, model)));
  select.value = chosen.model;
  select.disabled = models.length < 2;
  poller.wake();
}

// What was answered about something else is not shown any longer.
function forget(before) {
  for (const [key, { path }] of Object.entries(sources()))
    if (before[key]?.path !== path) {
      delete answers[key];
      delete problems[key];
    }
  for (const [name, section] of Object.entries(SECTIONS))
    if (section.needs.some((key) => !(key in answers))) $(name).classList.add("waiting");
}

function choose(change) {
  const before = { ...chosen }, asked = sources();
  Object.assign(chosen, change);
  if (before.model === chosen.model && before.window === chosen.window) return;
  forget(asked);
  $("model").value = chosen.model;
  $("window").value = chosen.window;
  const hash = new URLSearchParams({ model: chosen.model, window: chosen.window });
  history.replaceState(null, "", `#${hash}`);
  poller.wake();
}

function readHash() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const window = asked.get("window") in WINDOWS ? asked.get("window") : chosen.window;
  return { model: asked.get("model") ?? chosen.model, window };
}

function tell(seconds) {
  const place = $("unreachable");
  place.hidden = false;
  place.replaceChildren(
    h("p", {}, badge("degraded", "Service not reachable"), ` Asked again within ${duration(Math.max(seconds, 1))}.`,
      answeredAt.health ? " What is below is what it said last." : ""),
    h("p", {}, "Is it running? Start it with ", h("code", {}, "make run"), " or look at its log."));
}

// The tab says how it is, also when another one is in front.
function announce() {
  const { status, word } = lost ? { status: "unreachable", word: "not reachable" }
    : problems.health ? { status: "unknown", word: "no answer" } : statusOf(answers.health);
  const sign = { healthy: "✓", warning: "▲", degraded: "✕", unreachable: "✕", unknown: "…" }[status];
  document.title = `${sign} ${word} · ctr-monitor`;
  const href = `/page/icon-${status === "unreachable" ? "unknown" : status}.svg`;
  if ($("icon").getAttribute("href") !== href) $("icon").setAttribute("href", href);
  document.body.classList.toggle("lost", lost);
  age();
}

function age() {
  const now = Date.now(), pace = sources();
  const paused = answeredAt.health ? (now - answeredAt.health) / 1000 : null;
  const text = lost ? `not reachable${paused === null ? "" : `; last answer ${duration(paused)} ago`}`
    : paused === null ? "Asking the service …"
      : paused > STALE_PACES * pace.health.every ? `last answer ${duration(paused)} ago` : "live";
  const pulse = $("pulse");
  if (pulse.textContent !== text) pulse.textContent = text;
  pulse.classList.toggle("stale", text !== "live");
  for (const [name, section] of Object.entries(SECTIONS)) {
    const known = section.needs.filter((key) => answeredAt[key] && pace[key]);
    const late = known.filter((key) => now - answeredAt[key] > (STALE_PACES * pace[key].every + 5) * 1000);
    const host = $(name), oldest = Math.min(...late.map((key) => answeredAt[key]));
    host.classList.toggle("stale", late.length > 0);
    if (late.length) host.dataset.age = `${duration((now - oldest) / 1000)} old`;
    if (section.needs.every((key) => key in answers || problems[key])) host.classList.remove("waiting");
  }
}

// Fetched while they can be: the tab must show one when nothing answers any more.
for (const status of ["healthy", "warning", "degraded", "unknown"]) new Image().src = `/page/icon-${status}.svg`;
Object.assign(chosen, readHash());
$("window").value = chosen.window;
$("model").addEventListener("change", () => choose({ model: $("model").value }));
$("window").addEventListener("change", () => choose({ window: $("window").value }));
addEventListener("hashchange", () => choose(readHash()));
new ResizeObserver(() => redraw(document.body)).observe($("main"));
setInterval(() => document.hidden || age(), 1000);
poller.wake();
