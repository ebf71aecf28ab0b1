// Is it healthy, and why not?

import { badge, data, h, icon, meter, runbook } from "./elements.js";
import { clock, count, duration, number, plain, suffixed } from "./numbers.js";

const WORDS = { healthy: "Healthy", warning: "Warning", degraded: "Degraded" };
const CHECKS = {
  error_rate: { name: "Error rate", runbook: "CtrErrorBudgetBurn", of: "requests" },
  avg_latency: { name: "Mean latency", runbook: "CtrLatencyBudgetBurn", of: "requests" },
  drift: { name: "Drift evidence", runbook: "CtrDrift", of: "predictions" },
  calibration: { name: "Calibration evidence", runbook: "CtrCalibrationOff", of: "clicks" },
};
const UNITS = { percent: "%" };
const OUTCOMES = {
  ok: ["healthy", "ok"],
  warning: ["warning", "warning"],
  degraded: ["degraded", "degraded"],
  insufficient_data: ["unknown", "too early"],
};

export const statusOf = (body) =>
  body ? { status: body.status, word: body.status } : { status: "unknown", word: "asking" };

export const health = { needs: ["health"], show: ({ health: body }) => [
  hero(body),
  body.rehearsal && h("p", { class: "notice rehearsal" }, icon("warning"), h("strong", {}, " A rehearsal: "),
    "faults are injected on purpose by CTR_FAULTS: ", h("code", {}, body.rehearsal), ". Restart without it to end them."),
  body.alerts.length > 0 && h("ul", { class: `alerts ${body.status}` }, body.alerts.map((alert) =>
    h("li", {}, icon(body.status), " ", alert, " — ", runbook(runbookOf(alert))))),
  h("div", { class: "cards" }, Object.entries(body.models).map(([name, model]) => card(name, model))),
] };

function hero(body) {
  const models = Object.values(body.models), well = models.filter(({ status }) => status === "healthy").length;
  const span = duration((Date.parse(body.window_end) - Date.parse(body.window_start)) / 1000);
  const undecided = models.every(({ checks }) =>
    checks.every((check) => check.status === "insufficient_data" && !check.last_decided));
  const whose = body.scope === "fleet" ? `${count(body.replicas_seen)} replicas` : "this instance";
  return h("div", { class: `hero ${body.status}` }, icon(body.status), h("div", {},
    h("p", { class: "status" }, WORDS[body.status]),
    h("p", {}, `${well} of ${models.length} models are healthy. Checked over the last ${span} of ${whose}, at `,
      h("time", { datetime: body.timestamp }, clock(body.timestamp)), " UTC.",
      undecided && " No check has enough data yet; until then nothing speaks against it.")));
}

function card(name, { status, checks, total_requests, requests_per_minute }) {
  return h("article", { class: "card" },
    h("h3", {}, name, " ", badge(status, status)),
    h("p", { class: "quiet" }, data(total_requests, count(total_requests)), " requests in that time, ",
      data(requests_per_minute, number(requests_per_minute)), " in the last minute"),
    h("ul", { class: "checks" }, checks.map(line)));
}

function line(check) {
  const { name, of } = CHECKS[check.name] ?? { name: check.name, of: "observations" };
  const [status, word] = OUTCOMES[check.status];
  const unit = UNITS[check.unit] ?? check.unit;
  const written = (value) => suffixed(number(value), unit);
  const stands = check.status === "insufficient_data" && check.last_decided
    && h("small", {}, `stays ${OUTCOMES[check.last_decided][1]}`);
  return h("li", { "data-check": check.name },
    h("span", {}, name, h("small", {}, `${count(check.observations)} ${of}`)),
    h("span", { class: "measured" }, data(check.value, written(check.value)), h("small", {}, `limit ${plain(written)(check.threshold)}`),
      meter(check.value, check.threshold, status)),
    h("span", {}, badge(status, word), stands));
}

function runbookOf(alert) {
  if (alert.includes("bridge")) return "CtrBridgeNotRunning";
  if (alert.includes("history in MLflow")) return "CtrBridgeBehind";
  if (alert.includes("clicks")) return CHECKS.calibration.runbook;
  if (alert.includes("drift")) return CHECKS.drift.runbook;
  return "CtrModelDegraded";
}
