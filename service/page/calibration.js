// Is it calibrated: do clicks come as predicted?

import { data, h, notice, runbook, tiles, verdict } from "./elements.js";
import { figure } from "./figure.js";
import { reliability } from "./charts.js";
import { count, duration, interval, moment, number, share } from "./numbers.js";

const SHORT_OF = { few_predictions: "predictions", few_clicks: "clicks", few_non_clicks: "predictions without a click" };

export const calibration = { needs: ["quality", "drift"], show({ quality, drift }) {
  const shift = drift.drifts.find((one) => one.type === "calibration_shift");
  const waits = duration(quality.attribution_window_seconds);
  return [
    headline(quality, shift, drift.calibration),
    quality.predictions > 0 && numbers(quality, drift.calibration),
    quality.clicks > 0 && curve(quality),
    h("p", { class: "quiet" }, `A prediction is judged ${waits} after it was made, when no click on it can come any more: `,
      `${count(quality.maturing_predictions)} predictions with ${count(quality.maturing_clicks)} clicks are still open`,
      quality.sufficient_at ? `; there will be enough at ${moment(quality.sufficient_at)} UTC.` : "."),
  ];
} };

function headline(quality, shift, test) {
  const clicks = `curl ${location.origin}/feedback -H 'Content-Type: application/json' -d '{"events": [{"prediction_id": "…", "clicked": true}]}'`;
  if (shift) {
    const more = shift.effect > 0 ? "more" : "fewer", what = shift.form === "level" ? "clicks" : "clicks on high predictions";
    return verdict("warning", "Not calibrated", `${share(Math.abs(shift.effect))} ${more} ${what} than predicted since about ${moment(shift.since)} UTC. `, runbook("CtrCalibrationOff"));
  }
  if (!quality.clicks && !quality.maturing_clicks)
    return [verdict("unknown", "No clicks yet", "so nobody can say."),
      notice("Send the prediction_id of what was clicked back,", "up to 1,000 in a batch; what was not clicked is known from the predictions.", clicks)];
  if (quality.status === "insufficient_data")
    return [verdict("unknown", "Too early to tell", `there are too few ${SHORT_OF[quality.shortage]} to judge by: ${count(quality.clicks)} clicks on ${count(quality.predictions)} predictions are complete; ${count(quality.min_clicks)} on ${count(quality.min_predictions)} are needed.`)];
  const within = quality.calibration_interval[0] <= 1 && (quality.calibration_interval[1] ?? Infinity) >= 1;
  const verdictOf = `${number(quality.calibration_ratio)} clicks were predicted for each that came, 95 % interval ${interval(quality.calibration_interval, number)}`;
  const watched = test?.status !== "ok" ? "; the test over time has too few clicks yet."
    : within ? "; the test over time sees no shift beyond its zone."
      : `; the test over time has evidence ${number(test.log_evidence)} of ${number(test.log_evidence_threshold)} nats for a lasting shift, and gains one a minute at most.`;
  return within ? verdict("healthy", "Calibrated", verdictOf, watched)
    : verdict("info", quality.calibration_ratio > 1 ? "Predicts too many clicks" : "Predicts too few clicks", verdictOf, watched);
}

const numbers = (quality, test) => tiles(
  ["Calibration ratio", data(quality.calibration_ratio, number(quality.calibration_ratio)), interval(quality.calibration_interval, number)],
  ["CTR", data(quality.ctr, share(quality.ctr)), interval(quality.ctr_interval, share)],
  ["Mean prediction", data(quality.mean_prediction, share(quality.mean_prediction)), `${count(quality.clicks)} clicks on ${count(quality.predictions)}`],
  ["Log loss", data(quality.log_loss, number(quality.log_loss)), interval(quality.log_loss_interval, number)],
  ["Normalised entropy", data(quality.normalized_entropy, number(quality.normalized_entropy)), interval(quality.normalized_entropy_interval, number)],
  ["AUC", data(quality.auc, number(quality.auc)), interval(quality.auc_interval, number)],
  test && ["Evidence of a shift", data(test.log_evidence, number(test.log_evidence)), `of ${number(test.log_evidence_threshold)} nats`]);

function curve(quality) {
  const rows = quality.reliability;
  const off = rows.filter(({ ctr_interval: [low, high], mean_prediction: mean }) => mean < low || mean > high).length;
  return figure({
    key: "reliability", caption: "Reliability", unit: "clicked against predicted, with 95 % intervals", height: 320,
    says: `Of ${rows.length} ranges of predictions, ${rows.length - off} have an interval that holds what was predicted.`,
    entries: [{ name: "one range of scores; larger is more predictions", kind: "dot now" }, { name: "no click in the range", kind: "dot none" }, { name: "as predicted", kind: "line before" }],
    draw: (svg, width, height) => reliability(svg, width, height, { rows, format: share }),
    head: ["Predicted", "Mean prediction", "Clicked", "95 % interval", "Predictions", "Clicks"],
    rows: () => rows.map((row) => [`${share(row.lower)} to ${share(row.upper)}`, share(row.mean_prediction), data(row.ctr, share(row.ctr)),
      interval(row.ctr_interval, share), count(row.predictions), count(row.clicks)]),
  });
}
