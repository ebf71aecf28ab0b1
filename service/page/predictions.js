// What does the model predict, against its baseline?

import { data, notice, tiles, verdict } from "./elements.js";
import { figure } from "./figure.js";
import { byHour, overlay } from "./charts.js";
import { change, count, duration, moment, seconds, share } from "./numbers.js";
import { chart, frame } from "./traffic.js";

const FINE = 2 ** 0.25;
const FIRST_BUCKET_GROWS = 2 ** 0.5;
const SOURCES = { training: "training", request: "four numbers set by hand", capture: "captured traffic" };

export const predictions = { needs: ["drift", "baseline", "history", "stats"], likes: ["hours"], show(answers, chosen) {
  const { drift, baseline, history, hours, stats } = answers;
  const points = history.models[chosen.model].points, span = frame(history, points, chosen);
  const now = drift.current_stats, length = duration(seconds(drift.window_end) - seconds(drift.window_start));
  const reference = `Its baseline is from ${SOURCES[baseline.source]}, ${moment(baseline.created_at)}.`;
  if (!drift.observations)
    return [verdict("unknown", "No predictions yet", `by the version that is served. ${reference}`),
      notice("Send some traffic:", "once there are predictions, their distribution is drawn over the baseline's.")];
  const shift = now.mean_prediction / baseline.mean_prediction - 1;
  return [
    verdict("info", share(now.mean_prediction), `on average over the last ${length}, ${change(shift)} against the baseline's ${share(baseline.mean_prediction)}. ${reference}`),
    tiles(
      ["Predictions", data(drift.observations, count(drift.observations)), `in ${length}`],
      ["Mean predicted CTR", data(now.mean_prediction, share(now.mean_prediction)), `baseline ${share(baseline.mean_prediction)}`],
      ["Standard deviation", data(now.std_prediction, share(now.std_prediction)), `baseline ${share(baseline.std_prediction)}`]),
    distribution(drift, baseline, length),
    // A service may keep less than a day of history.
    hours && profile(hours.models[chosen.model].points, baseline),
    stats.total_predictions > 0 && chart(span, points, {
      key: "mean", height: 150, least: null, caption: "Mean predicted CTR", unit: "CTR", format: share,
      lines: [["mean_prediction", "line now", ""]],
      thresholds: [{ value: baseline.mean_prediction, name: `baseline ${share(baseline.mean_prediction)}`, kind: "line before" }],
      says: `The mean prediction was ${share(stats.mean_prediction)} in the last ${span.words}; the baseline's is ${share(baseline.mean_prediction)}.`,
    }),
  ];
} };

// Buckets differ in width: heights are shares per step of 19 %, so that areas compare.
function distribution(drift, baseline, length) {
  const total = (buckets) => buckets.reduce((sum, { observations }) => sum + observations, 0);
  const before = new Map((baseline.distribution ?? []).map((bucket) => [bucket.upper, bucket.observations]));
  const all = total(drift.distribution), reference = total(baseline.distribution ?? []);
  const rows = drift.distribution.map(({ lower, upper, observations }) => ({
    lower, upper, now: observations / all,
    before: reference ? (before.get(upper) ?? 0) / reference : null,
  }));
  const used = rows.map(({ now, before: was }, i) => (now || was ? i : -1)).filter((i) => i >= 0);
  const seen = rows.slice(Math.max(used[0] - 1, 0), used.at(-1) + 2);
  const buckets = seen.map(({ lower, upper, now, before: was }) => {
    const from = lower || upper / FIRST_BUCKET_GROWS;
    const steps = Math.log(upper / from) / Math.log(FINE);
    return { lower: from, upper, now: now / steps, before: was === null ? null : was / steps };
  });
  const peak = seen.reduce((most, row) => (row.now > most.now ? row : most));
  return figure({
    key: "distribution", caption: "Distribution of predicted CTR",
    unit: `share of predictions per step of 19 %, last ${length}`, height: 230,
    says: `Most predictions, ${share(peak.now)}, are between ${share(peak.lower)} and ${share(peak.upper)}.`
      + (reference ? ` In the baseline these were ${share(peak.before)}.` : ""),
    entries: [{ name: "now", kind: "fill now" }, reference
      ? { name: "baseline", kind: "line before" } : { name: "the baseline has no distribution; capture one from traffic" }],
    draw: (svg, width, height) => overlay(svg, width, height, { buckets, format: share, xFormat: share, xName: "predicted CTR" }),
    head: ["Predicted CTR", "Now", "Baseline"],
    rows: () => seen.map(({ lower, upper, now, before: was }) => [`${share(lower)} to ${share(upper)}`, data(now, share(now)), share(was)]),
  });
}

function profile(points, baseline) {
  const now = Array(24).fill(null), requests = Array(24).fill(null);
  for (const point of points) {
    // Its middle: a step may begin a moment late, or with the service.
    const middle = (seconds(point.window_start) + seconds(point.window_end)) / 2;
    if (point.mean_prediction === null) continue;
    const hour = new Date(middle * 1000).getUTCHours();
    now[hour] = point.mean_prediction;
    requests[hour] = point.total_predictions;
  }
  const before = (baseline.hours ?? Array(24).fill({ mean_prediction: null })).map((hour) => hour.mean_prediction);
  const hours = now.filter((value) => value !== null).length;
  const current = new Date().getUTCHours();
  return figure({
    key: "hours", caption: "Mean predicted CTR by hour", unit: "last 24 hours", height: 230,
    says: `Predictions are known of ${hours} of the last 24 hours`
      + (now[current] === null ? "." : `; in this hour the mean is ${share(now[current])}, the baseline's ${share(before[current])}.`),
    entries: [{ name: "now", kind: "dot now" },
      { name: baseline.hours ? "baseline" : "the baseline knows no hours; capture one from traffic", kind: baseline.hours ? "line before" : null }],
    draw: (svg, width, height) => byHour(svg, width, height, { format: share, now: current,
      lines: [{ kind: "line before", values: before }, { kind: "line now", mark: "dot now", values: now }] }),
    head: ["Hour, UTC", "Now", "Predictions", "Baseline"],
    rows: () => now.map((value, hour) => [String(hour), data(value, share(value)), count(requests[hour]), share(before[hour])]),
  });
}
