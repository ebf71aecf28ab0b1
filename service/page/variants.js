// How do the A/B variants compare, and is it known yet?

import { badge, data, h, meter, notice, runbook, table, verdict } from "./elements.js";
import { figure } from "./figure.js";
import { intervals } from "./charts.js";
import { change, count, interval, milliseconds, moment, number, percent, share } from "./numbers.js";

const LOOKS = {
  undecided: ["unknown", "Undecided"], insufficient_data: ["unknown", "Too early to tell"],
  decided: ["healthy", "Decided"], mismatch: ["warning", "Mismatch: no verdict"],
};
const FILE = 'name = "linear-challenger"\nsalt = "2026-11"\n\n[variants]\nxgboost = 0.8\nlogistic = 0.2';
const ROW = 44;

export const variants = { needs: ["experiment"], show({ experiment: body }) {
  if (body.status === "no_experiment")
    return [verdict("unknown", "No experiment", "one model gets all users."),
      notice("To compare two models,", "write experiment.toml such as this, then POST /models/reload:", FILE)];
  const [status, word] = LOOKS[body.status];
  // The verdict says these words; what begins with the name of a model keeps it as it is.
  const sentence = body.summary.replace(/^Undecided: ./, (words) => words.at(-1).toUpperCase()).replace(/^Sample-ratio mismatch: /, "");
  return [
    verdict(status, word, sentence, body.status === "mismatch" && [" ", runbook("CtrSampleRatioMismatch")]),
    body.variants.some((one) => one.ctr !== null) ? h("div", { class: "pair" }, rates(body), differences(body))
      : notice("No prediction of this experiment is complete yet:", "it counts once it is older than the attribution window, when all its clicks have come."),
    arms(body), split(body.sample_ratio),
    h("p", { class: "quiet" }, `${body.name}: ${body.window_start ? `predictions from ${moment(body.window_start)} to ${moment(body.window_end)} UTC. ` : ""}Look as often as you like: a winner between equals is declared with at most 5 % probability, ever.`),
  ];
} };

const rates = ({ variants: arms }) => figure({
  key: "rates", caption: "CTR of each variant", unit: "with 95 % intervals that hold at every look", height: 54 + ROW * arms.length,
  says: arms.map((one) => `${one.model_name}: ${share(one.ctr)}, ${interval(one.ctr_interval, share)}.`).join(" "),
  draw: (svg, width, height) => intervals(svg, width, height, { format: share, rows: arms.map((one) => ({
    name: one.model_name, value: one.ctr, low: one.ctr_interval?.[0] ?? null, high: one.ctr_interval?.[1] ?? null, kind: "now" })) }),
  head: ["Variant", "CTR", "Interval"],
  rows: () => arms.map((one) => [one.model_name, data(one.ctr, share(one.ctr)), interval(one.ctr_interval, share)]),
});

function differences({ comparisons, variants: [baseline] }) {
  const known = comparisons.filter((one) => one.relative_interval && one.difference !== null && baseline.ctr);
  if (!known.length)
    return h("figure", {}, h("figcaption", {}, "Difference to the baseline"), h("p", { class: "quiet" }, "Too few clicks, or too few users behind them, to bound the difference yet."));
  const relative = (one) => one.difference / baseline.ctr;
  return figure({
    key: "differences", caption: `Difference to ${baseline.model_name}`, unit: "of its CTR; left of zero is worse", height: 54 + ROW * known.length,
    says: known.map((one) => `${one.challenger}: ${change(relative(one))}, ${interval(one.relative_interval, change)}; ${one.verdict}.`).join(" "),
    draw: (svg, width, height) => intervals(svg, width, height, { format: change, zero: 0, rows: known.map((one) => ({
      name: one.challenger, value: relative(one), low: Math.max(one.relative_interval[0], -1), high: one.relative_interval[1], kind: one.verdict === "undecided" ? "none" : "now" })) }),
    head: ["Challenger", "Difference", "Interval", "Log evidence", "Verdict"], words: [4],
    rows: () => known.map((one) => [one.challenger, data(relative(one), change(relative(one))), interval(one.relative_interval, change),
      `${number(one.evidence)} of ${number(one.evidence_threshold)}`, one.verdict]),
  });
}

const arms = ({ variants: all }) => table({
  caption: "Variants",
  head: ["Variant", "Weight", "Predictions", "Clicks", "CTR", "Calibration ratio", "Mean latency", "Failed", "Still open"],
  rows: all.map((one) => [one.model_name, share(one.weight), data(one.predictions, count(one.predictions)), data(one.clicks, count(one.clicks)), data(one.ctr, share(one.ctr)),
    data(one.calibration_ratio, number(one.calibration_ratio)), data(one.avg_latency_ms, milliseconds(one.avg_latency_ms)), data(one.error_rate, percent(one.error_rate)), count(one.immature_predictions)]),
});

function split(ratio) {
  if (!ratio) return null;
  const status = ratio.mismatch ? "warning" : ratio.evidence === null ? "unknown" : "healthy";
  const words = { warning: "Sample-ratio mismatch", unknown: "Split not known yet", healthy: "Split as weighted" }[status];
  return h("p", { class: "split" }, badge(status, words), " ",
    ratio.shares.map((one) => (one.observed === null ? `${one.model_name} should have ${share(one.expected)}` : `${one.model_name} has ${share(one.observed)}, expected ${share(one.expected)}`)).join("; "),
    `; log evidence ${number(ratio.evidence)} of ${number(ratio.evidence_threshold)} `, meter(ratio.evidence, ratio.evidence_threshold, status));
}
