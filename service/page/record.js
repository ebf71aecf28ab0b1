// Is the history written into MLflow?

import { data, h, icon, link, notice, runbook, table, tiles, verdict } from "./elements.js";
import { count, duration, moment, seconds, share } from "./numbers.js";

const LATE_SECONDS = 900, SILENT_SECONDS = 60;

export const record = { needs: ["mlflow"], show({ mlflow: body }) {
  const { bridge } = body;
  if (!bridge)
    return [verdict("unknown", "Not written", "no bridge to MLflow has ever run here; predictions and monitoring do not need it."),
      notice("To keep the history,", "start the service without CTR_BRIDGE_ENABLED=false, or run the bridge by itself:", "python -m bridge run")];
  return [headline(bridge), numbers(bridge), places(body)];
} };

function headline(bridge) {
  const silent = Date.now() / 1000 - seconds(bridge.status_at);
  if (silent > SILENT_SECONDS) return verdict("warning", "The bridge is silent", `for ${duration(silent)}; the history waits in the state store. `, runbook("CtrBridgeNotRunning"));
  if (bridge.problem) return verdict("warning", "Waiting for MLflow", `${bridge.problem} Nothing is lost: ${count(bridge.outbox_points)} points wait. `, runbook("CtrBridgeBehind"));
  if (bridge.lag_seconds > LATE_SECONDS) return verdict("warning", "Late", `by ${duration(bridge.lag_seconds)}; it is catching up. `, runbook("CtrBridgeBehind"));
  if (bridge.refused_entries) return verdict("warning", "Refused", `${count(bridge.refused_entries)} entries were refused by MLflow for good. `, runbook("CtrBridgeRefused"));
  return verdict("healthy", "Written", bridge.outbox_points ? `and nearly up to date: ${count(bridge.outbox_points)} points wait.` : "up to now: nothing waits.");
}

const numbers = (bridge) => tiles(
  ["Lag", data(bridge.lag_seconds, duration(bridge.lag_seconds)), "oldest window not in MLflow"],
  ["Points waiting", data(bridge.outbox_points, count(bridge.outbox_points)), bridge.refused_entries ? `${count(bridge.refused_entries)} entries refused` : "none refused"],
  ["Complete", data(bridge.completeness, share(bridge.completeness)), bridge.completeness === null ? "known after the first whole day" : "of the last whole day"],
  ["Last success", moment(bridge.last_success), "UTC"]);

function places(body) {
  const { bridge } = body, failures = Object.entries(bridge.failures);
  return [
    h("p", { class: "links" },
      body.experiment_url && link(body.experiment_url, "Experiment in MLflow"), body.charts_url && link(body.charts_url, "Charts"),
      body.compare_url && link(body.compare_url, "Compare the runs"), h("span", { class: "quiet" }, `stored in ${bridge.store}; `, h("code", {}, "make ui"), " opens it")),
    failures.length > 0 && h("p", { class: "quiet" }, icon("warning"), " Calls that failed since the bridge started: ", failures.map(([why, times]) => `${why} ${count(times)}`).join(", ")),
    body.runs.length > 0 && h("details", { "data-key": "runs" }, h("summary", {}, `Runs of the last two days (${body.runs.length})`), table({
      caption: "Runs in MLflow", words: [1, 2, 3], head: ["Run", "Version", "Kind", "Day"],
      rows: body.runs.map((run) => [link(run.url, run.model_name), run.model_version, run.kind, run.date]),
    })),
  ];
}
