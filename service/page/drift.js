// Is there drift: with what evidence, of what kind, how far, since when?

import { badge, data, h, meter, notice, runbook, table, verdict } from "./elements.js";
import { figure } from "./figure.js";
import { overTime } from "./charts.js";
import { beginning } from "./scales.js";
import { change, clock, count, duration, milliseconds, moment, number, seconds, share } from "./numbers.js";

const KINDS = {
  mean_shift: { name: "mean shift", from: (one) => [one.baseline_mean, one.current_mean, share], size: (one) => `z ${number(one.z_score)}` },
  variance_change: { name: "variance change", from: (one) => [one.baseline_std, one.current_std, share], size: (one) => `ratio ${number(one.variance_ratio)}` },
  shape_change: { name: "shape change", from: () => [null, null, share], size: (one) => `distance ${number(one.distance)}` },
  latency_anomaly: { name: "latency anomaly", from: (one) => [one.baseline_mean_ms, one.current_mean_ms, milliseconds], size: (one) => `z ${number(one.z_score)}` },
  calibration_shift: { name: "calibration shift", from: (one) => [one.predicted_clicks, one.clicks, (clicks) => `${count(clicks)} clicks`], size: (one) => `${number(one.calibration_ratio)} predicted for each click` },
};
const EFFECTS = [
  ["mean_shift", "Mean prediction, change", change, 0],
  ["variance_ratio", "Variance, ratio to the baseline's", number, 1],
  ["shape_distance", "Shape, distance 0 to 1", number, null],
  ["latency_shift", "Mean latency, change", change, 0],
];

export const drift = { needs: ["drift", "evidence"], show(answers, chosen) {
  const { drift: body, evidence } = answers;
  const judged = evidence.samples.some((sample) => sample.log_evidence !== null);
  return [
    headline(body, chosen),
    body.drifts.length > 0 && kinds(body.drifts),
    judged ? overTheTicks(body, evidence, chosen)
      : body.status !== "no_baseline" && notice("No tick has been judged in this span yet.", "The first one comes within 15 seconds of the first predictions."),
    judged && effects(body, evidence, chosen),
    features(body),
  ];
} };

function headline(body, chosen) {
  const looked = `${count(body.observations)} predictions in the last ${duration(seconds(body.window_end) - seconds(body.window_start))}`;
  switch (body.status) {
    case "drift": {
      const since = body.drifts.map((one) => one.since).sort()[0];
      return verdict("warning", `Drift: ${body.drifts.map((one) => KINDS[one.type].name).join(", ")}`, `since about ${moment(since)} UTC. `,
        fallen(body.drifts) && "The evidence has fallen below its threshold; the alarm stands until it has been low for a quarter of an hour. ",
        runbook(body.drifts.some((one) => one.type !== "calibration_shift") ? "CtrDrift" : "CtrCalibrationOff"));
    }
    case "no_baseline":
      return [verdict("unknown", "No baseline", "to hold the predictions against."),
        notice("Take one from traffic that is known to be right:", "", `curl -X POST '${location.origin}/monitoring/baseline/${chosen.model}/capture?window=1h'`)];
    case "insufficient_data":
      return [verdict("unknown", "Too early to tell", `from ${looked}.`),
        notice("Send more traffic:", "nothing is said before there is enough to be sure; CTR_MIN_PREDICTIONS says how much.")];
    default:
      if (body.log_evidence === null)
        return verdict("unknown", "Too early to tell", "no tick with this version and baseline has passed yet; one ends every 15 seconds.");
      return [verdict("healthy", "No drift", `in ${looked}. The log evidence is ${number(body.log_evidence)}; ${number(body.log_evidence_threshold)} would be drift. A false alarm has at most 1 % probability in 30 days.`),
        body.commissioning && h("p", { class: "quiet" }, "This baseline does not know how much the mean normally wanders, so only gross changes are found. Capture one from good traffic: ",
          h("code", {}, `POST /monitoring/baseline/${chosen.model}/capture?window=24h`))];
  }
}

const fallen = (found) => found.every((one) => one.type !== "calibration_shift" && one.log_evidence < one.log_evidence_threshold);

const kinds = (found) => table({
  caption: "Kinds of drift",
  words: [7],
  head: ["Kind", "Since, UTC", "Effect", "Size", "Baseline", "Now", "Log evidence", "Severity"],
  rows: found.map((one) => {
    const { name, from, size } = KINDS[one.type], [before, now, format] = from(one);
    return [name, moment(one.since), data(one.effect, one.type === "shape_change" ? number(one.effect) : change(one.effect)), size(one), format(before), format(now),
      [data(one.log_evidence, number(one.log_evidence)), ` of ${number(one.log_evidence_threshold)}`],
      badge("warning", one.severity)];
  }),
});

function spanOf(evidence, chosen) {
  const at = evidence.samples.map((sample) => seconds(sample.at));
  const end = Math.max(at.at(-1), Date.now() / 1000 - 60);
  return { start: beginning(end, chosen.seconds, at[0]), end, at };
}

function overTheTicks(body, evidence, chosen) {
  const span = spanOf(evidence, chosen), { samples } = evidence;
  const values = samples.map((sample) => sample.log_evidence);
  const bands = [];
  samples.forEach((sample, i) => {
    if (!sample.drifts.length) return;
    const from = i ? span.at[i - 1] : span.at[i], last = bands.at(-1);
    if (last && last.to >= from) last.to = span.at[i];
    else bands.push({ from, to: span.at[i] });
  });
  const since = body.drifts.filter((one) => one.type !== "calibration_shift").map((one) => seconds(one.since)).sort((a, b) => a - b)[0];
  const highest = Math.max(...values.filter((value) => value !== null), 0);
  return figure({
    key: "evidence", caption: "Log evidence of drift", unit: "nats, after each tick", height: 230,
    says: `The evidence is ${number(body.log_evidence)} now and was at most ${number(highest)} in the last ${duration(chosen.seconds)}; ${number(body.log_evidence_threshold)} is the threshold.`,
    entries: [{ name: "evidence", kind: "line now", value: number(body.log_evidence) }, { name: "threshold", kind: "limit", value: number(body.log_evidence_threshold) }, { name: "drift stood", kind: "fill stood" }],
    draw: (svg, width, height) => overTime(svg, width, height, {
      ...span, bands, floor: 0, lines: [{ kind: "line now", name: "", values }],
      thresholds: [{ value: evidence.log_evidence_threshold, name: "threshold" }],
      marks: since ? [{ at: since, name: "began" }] : [],
    }),
    words: [2],
    head: ["At, UTC", "Log evidence", "Drift that stood"],
    rows: () => samples.toReversed().slice(0, 120).map((sample) =>
      [clock(sample.at), data(sample.log_evidence, number(sample.log_evidence)), sample.drifts.map((kind) => KINDS[kind].name).join(", ") || "none"]),
  });
}

function effects(body, evidence, chosen) {
  const span = spanOf(evidence, chosen), { samples } = evidence;
  return h("div", { class: "small-multiples" }, EFFECTS.map(([field, caption, format, still]) => {
    const values = samples.map((sample) => sample.effects[field]), now = body.effects[field];
    if (values.every((value) => value === null))
      return h("figure", {}, h("figcaption", {}, caption), h("p", { class: "quiet" }, "Not known: the baseline says nothing of it, or there are too few predictions."));
    return figure({
      key: `effect-${field}`, caption, unit: "", height: 120, says: `It is ${format(now)} now.`,
      entries: [{ name: "now", kind: "line now", value: data(now, format(now)) }],
      draw: (svg, width, height) => overTime(svg, width, height, {
        ...span, format, lines: [{ kind: "line now", name: "", values }],
        least: still ?? 0, thresholds: still === null ? [] : [{ value: still, name: "", kind: "line before" }],
      }),
      head: ["At, UTC", caption],
      rows: () => samples.toReversed().slice(0, 120).map((sample) => [clock(sample.at), data(sample.effects[field], format(sample.effects[field]))]),
    });
  }));
}

function features(body) {
  if (!body.features.length) return notice("Features are not watched:", `${body.features_reason}.`);
  const moved = (one) => one.moved.slice(0, 2).map((value) => h("span", { class: "moved" }, `${value.value}: ${share(value.baseline_share)} → ${share(value.current_share)}`));
  return [
    h("h3", {}, "What it is asked"),
    table({
      caption: "Features of the requests",
      words: [1, 5],
      head: ["Feature", "Drift", "Log evidence", "PSI", "Unseen in training", "Moved most"],
      rows: body.features.map((one) => [
        one.feature.replaceAll("_", " "),
        one.drift_detected ? badge("warning", `drift since ${moment(one.since)}`)
          : one.reason ? badge("unknown", "too early") : badge("healthy", "none"),
        h("span", { class: "measured" }, data(one.log_evidence, number(one.log_evidence)), ` of ${number(one.log_evidence_threshold)}`,
          meter(one.log_evidence, one.log_evidence_threshold, one.drift_detected ? "warning" : "healthy")),
        data(one.psi, number(one.psi)),
        [data(one.unseen_rate, share(one.unseen_rate)), one.baseline_unseen_rate !== null && h("small", {}, `baseline ${share(one.baseline_unseen_rate)}`)],
        one.moved.length ? moved(one) : h("small", {}, one.reason ?? "nothing"),
      ]),
    }),
  ];
}
