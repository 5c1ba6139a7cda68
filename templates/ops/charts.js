// The cards with numbers and charts.

import { $, el, setText } from "../shared/dom.js";
import { bytes, clock, count, millis, now } from "./format.js";

const MAX_SAMPLES = 900,
  TICK_PX = 54;
const COLUMNS = [
  "at_ms",
  "connections",
  "authenticated",
  "users",
  "running_turns",
  "waiting_turns",
  "opened_per_s",
  "closed_per_s",
  "turns_per_s",
  "tokens_per_s",
  "errors_per_s",
  "first_token_p50_ms",
  "first_token_p95_ms",
  "first_token_p99_ms",
  "cpu",
  "memory_bytes",
];
export const CHARTS = [
  {
    id: "connections",
    title: "Connections",
    show: count,
    whole: true,
    series: [
      ["connections", "open"],
      ["authenticated", "signed in", [2, 4]],
    ],
    fill: true,
  },
  {
    id: "turns",
    title: "Turns",
    show: count,
    whole: true,
    series: [
      ["running_turns", "running"],
      ["waiting_turns", "waiting"],
    ],
    fill: true,
  },
  { id: "tokens", title: "Tokens", show: count, series: [["tokens_per_s", "per second"]], fill: true },
  {
    id: "first-token",
    title: "First token",
    show: millis,
    series: [
      ["first_token_p50_ms", "p50"],
      ["first_token_p95_ms", "p95"],
      ["first_token_p99_ms", "p99"],
    ],
  },
  { id: "errors", title: "Errors", show: count, series: [["errors_per_s", "per second"]], fill: true, bad: true },
  {
    id: "process",
    title: "Process",
    show: bytes,
    series: [
      ["memory_bytes", "resident"],
      ["cpu", "cores"],
    ],
    fill: true,
    scales: ["y", "cpu"],
  },
];
let columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
let minutes = 5; // the span of the charts

export function makeCards() {
  for (const chart of CHARTS) {
    chart.values = chart.series.map(([, label], i) => {
      const value = el("b", {}, "–");
      const mark = chart.series.length > 1 ? [el("i", { "aria-hidden": "true" })] : [];
      return {
        value,
        node: el("span", { class: "value", "data-series": String(i + 1) }, ...mark, value, el("span", {}, label)),
      };
    });
    chart.box = el("div", { class: "plot", "aria-hidden": "true" });
    chart.at = el("span", { class: "at" });
    $("cards").append(
      el(
        "article",
        { class: "card tile", id: `card-${chart.id}`, "aria-labelledby": `title-${chart.id}` },
        el("div", { class: "heading" }, el("h3", { id: `title-${chart.id}` }, chart.title), chart.at),
        el("div", { class: "values" }, ...chart.values.map(({ node }) => node)),
        chart.box,
      ),
    );
  }
}

function makeCharts() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const font = `11px ${color("--sans")}`;
  for (const chart of CHARTS) {
    chart.plot?.destroy();
    const grid = { stroke: color("--line"), width: 1 };
    const strokes = [chart.bad ? "--three" : "--one", "--two", "--three"];
    chart.plot = new globalThis.uPlot(
      {
        ...sizeOf(chart.box),
        legend: { show: false },
        padding: [7, 16, 0, 0],
        cursor: { drag: { x: false, y: false }, y: false, points: { size: 6 }, sync: { key: "ops" } },
        scales: {
          // Always the whole span: the values of a server that has just started are at the right edge.
          x: {
            time: true,
            range: (_plot, _min, max) => {
              const end = max ?? now() / 1000;
              return [end - minutes * 60, end];
            },
          },
          y: { range: (_plot, _min, max) => [0, niceTop(max, chart.whole)] },
          cpu: { range: (_plot, _min, max) => [0, niceTop(Math.max(1, max ?? 0))] },
        },
        axes: [
          {
            stroke: color("--soft"),
            font,
            grid: { show: false },
            ticks: { show: false },
            size: 24,
            gap: 6,
            splits: timeTicks,
            values: (plot, ticks) => ticks.map((t) => agoText(plot.scales.x.max - t)),
          },
          {
            stroke: color("--soft"),
            font,
            grid,
            ticks: { show: false },
            size: 48,
            gap: 4,
            splits: (_plot, _axis, _min, max) => [0, max / 2, max],
            values: (_plot, ticks) => ticks.map((t) => chart.show(t)),
          },
        ],
        series: [
          {},
          ...chart.series.map(([name, , dash], i) => ({
            dash,
            stroke: color(strokes[i]),
            width: 1.75,
            points: { show: false },
            scale: chart.scales?.[i] ?? "y",
            spanGaps: false,
            fill: chart.fill && i === 0 ? color(chart.bad ? "--fill-bad" : "--fill") : undefined,
            label: name,
          })),
        ],
        hooks: { setCursor: [(plot) => showValues(chart, plot.cursor.idx)] },
      },
      dataOf(chart),
      chart.box,
    );
  }
}

const sizeOf = (box) => ({ width: Math.max(80, box.clientWidth), height: box.clientHeight });

/** The upper end of an axis: above the highest value, never 0, and round like its half. */
function niceTop(max, whole = false) {
  const least = Math.max(whole ? 2 : 0, (max ?? 0) * 1.05);
  if (least === 0) return 1;
  const power = 10 ** Math.floor(Math.log10(least));
  const tops = whole && power === 1 ? [2, 4, 6, 8, 10] : [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10];
  return power * tops.find((top) => top * power >= least);
}

/** Ticks counted back from now, as many as fit. They keep their positions while time passes. */
function timeTicks(plot, _axis, min, max) {
  const room = plot.bbox.width / devicePixelRatio / (max - min); // pixels for each second
  const step = [10, 20, 30, 60, 120, 300, 600, 900].find((seconds) => seconds * room >= TICK_PX) ?? max - min;
  const ticks = [];
  for (let at = max; at >= min; at -= step) ticks.unshift(at);
  return ticks;
}

const agoText = (seconds) =>
  seconds < 1 ? "now" : seconds % 60 ? `−${Math.round(seconds)} s` : `−${seconds / 60} min`;

function dataOf(chart) {
  const from = Math.max(0, columns.at_ms.length - minutes * 60);
  return [columns.at_ms.slice(from).map((ms) => ms / 1000), ...chart.series.map(([name]) => columns[name].slice(from))];
}

/** The numbers of a card: of the moment under the pointer, or of now. */
function showValues(chart, index) {
  const data = chart.plot?.data ?? dataOf(chart),
    at = data[0][index];
  setText(chart.at, at === undefined ? "" : clock(at * 1000));
  chart.series.forEach(([name], i) => {
    const value = data[i + 1]?.[index ?? data[0].length - 1] ?? null;
    setText(chart.values[i].value, name === "cpu" ? (value === null ? "–" : value.toFixed(2)) : chart.show(value));
  });
}

export function drawCharts() {
  if (document.hidden || $("body").hidden) return;
  if (!CHARTS[0].plot) makeCharts();
  for (const chart of CHARTS) {
    chart.plot.setData(dataOf(chart));
    showValues(chart, chart.plot.cursor.idx);
  }
}

export function onHistory({ samples }) {
  columns = Object.fromEntries(COLUMNS.map((name) => [name, samples[name] ?? []]));
  drawCharts();
}

/** Adds the numbers of a second. */
export function addSample(frame) {
  if (columns.at_ms.at(-1) !== frame.at_ms) {
    for (const name of COLUMNS) {
      columns[name].push(frame[name] ?? null);
      if (columns[name].length > MAX_SAMPLES) columns[name].shift();
    }
  }
  drawCharts();
}

export function chooseSpan(button) {
  minutes = Number(button.dataset.minutes);
  for (const other of $("span").children) other.setAttribute("aria-pressed", String(other === button));
  drawCharts();
}

/** Draws the charts in the colours of the theme in force. */
export function recolourCharts() {
  if (!CHARTS[0].plot) return;
  makeCharts();
  drawCharts();
}

export function resizeCharts() {
  for (const { plot, box } of CHARTS) plot?.setSize(sizeOf(box));
}
