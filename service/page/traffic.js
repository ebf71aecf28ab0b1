// How much traffic, how fast, how many errors, over time?

import { data, notice, tiles, verdict } from "./elements.js";
import { figure } from "./figure.js";
import { overTime } from "./charts.js";
import { beginning } from "./scales.js";
import { clock, count, duration, milliseconds, number, percent, plain, seconds } from "./numbers.js";

const FAR_ABOVE = 3;

export const traffic = { needs: ["stats", "history", "health"], show(answers, chosen) {
  const { stats, history, health } = answers;
  const points = history.models[chosen.model].points;
  const limit = (name) => health.models[chosen.model]?.checks.find((check) => check.name === name)?.threshold;
  if (!points.some((point) => point.total_requests)) return nothing(chosen, stats);
  const span = frame(history, points, chosen);
  const limits = { errors: limit("error_rate"), latency: limit("avg_latency") };
  const bad = stats.error_rate > limits.errors || stats.avg_latency_ms > limits.latency;
  return [
    verdict(bad ? "degraded" : "healthy", `${number(stats.requests_per_minute)} requests a minute`,
      `now; in the last ${span.words} 95 % were answered within ${milliseconds(stats.p95_latency_ms)}, `,
      `${percent(stats.error_rate)} failed.`),
    tiles(
      ["Requests", data(stats.total_requests, count(stats.total_requests)), `in ${span.words}`],
      ["Requests a minute", data(stats.requests_per_minute, number(stats.requests_per_minute)), "last minute"],
      ["Failed", data(stats.error_rate, percent(stats.error_rate)), `${count(stats.error_count)} requests`],
      ["Mean latency", data(stats.avg_latency_ms, milliseconds(stats.avg_latency_ms)), `± ${milliseconds(stats.std_latency_ms)}`],
      ["p95", data(stats.p95_latency_ms, milliseconds(stats.p95_latency_ms)), `p50 ${milliseconds(stats.p50_latency_ms)}`],
      ["p99", data(stats.p99_latency_ms, milliseconds(stats.p99_latency_ms)), "one in 100 is slower"]),
    chart(span, points, {
      key: "requests", caption: "Requests", unit: "a minute", format: number,
      lines: [["requests_per_minute", "line now", ""]],
      says: `${number(stats.requests_per_minute)} requests a minute now.`,
    }),
    chart(span, points, {
      key: "latency", caption: "Latency", unit: "ms", format: number, limit: limits.latency, limitName: "limit of the mean",
      lines: [["avg_latency_ms", "line now", "mean"], ["p95_latency_ms", "line second", "p95"], ["p99_latency_ms", "line third", "p99"]],
      says: `On average ${milliseconds(stats.avg_latency_ms)}, 95 % within ${milliseconds(stats.p95_latency_ms)}.`,
    }),
    chart(span, points, {
      key: "errors", caption: "Failed requests", unit: "%", format: number, limit: limits.errors, limitName: "limit",
      lines: [["error_rate", "line bad", ""]], always: true,
      says: `${percent(stats.error_rate)} of the requests failed in the last ${span.words}.`,
    }),
  ];
} };

export function frame(history, points, chosen) {
  const end = seconds(history.window_end);
  const first = points.find((point) => point.total_requests !== null);
  return {
    start: beginning(end, chosen.seconds, first && seconds(first.window_start)), end, words: duration(chosen.seconds), step: history.step_seconds,
    at: points.map((point) => (seconds(point.window_start) + seconds(point.window_end)) / 2),
  };
}

export function chart(span, points, { key, caption, unit, format, lines, says, limit, limitName, always, thresholds = [], height, least }) {
  const drawn = lines.map(([field, kind, name]) => ({ kind, name, values: points.map((point) => point[field]) }));
  const highest = Math.max(...drawn[0].values);
  const near = limit !== undefined && (always || highest * FAR_ABOVE >= limit);
  const shown = near ? [...thresholds, { value: limit, name: `${limitName} ${plain(format)(limit)}` }] : thresholds;
  const beyond = limit !== undefined && !near ? ` · ${limitName} ${plain(format)(limit)}, far above` : "";
  return figure({
    key, caption, height, unit: `${unit}, each ${duration(span.step)}${beyond}`, says,
    entries: lines.length > 1 ? lines.map(([, kind, name]) => ({ name, kind })) : [],
    draw: (svg, width, height) => overTime(svg, width, height, { ...span, lines: drawn, thresholds: shown, format, least }),
    head: ["From, UTC", ...lines.map(([, , name]) => `${name || caption}, ${unit}`), "Requests"],
    rows: () => points.filter((point) => point.total_requests !== null).toReversed().map((point) =>
      [clock(point.window_start), ...lines.map(([field]) => data(point[field], format(point[field]))), count(point.total_requests)]),
  });
}

function nothing(chosen, stats) {
  const body = '{"user_id": "user_123", "ad_id": "ad_456", "device": "mobile", "placement": "header", "hour": 14, "day_of_week": 0}';
  return [
    verdict("unknown", "No requests", `to ${chosen.model} in the last ${duration(chosen.seconds)}.`),
    notice(stats.total_requests ? "Look further back," : "Ask for a prediction,",
      "and its numbers show here within seconds; a user stays with one model of an A/B test, so this names it.",
      `curl '${location.origin}/predict_ctr?model_name=${chosen.model}' -H 'Content-Type: application/json' -d '${body}'`),
  ];
}
