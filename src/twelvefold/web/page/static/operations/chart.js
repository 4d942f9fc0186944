// Charts as SVG: columns by day, and bars by name. A table beside them has the same values.
import { h, visuallyHidden } from "../dom.js";
import { svg } from "./svg.js";

const HEIGHT = 190;
const LINES = 4;
const MAX_LABELS = 6;
const GAP = 0.22;
const percent = (share) => `${(share * 100).toFixed(3)}%`;

/** Return a round number that is not less than the greatest value. */
function roundUp(greatest) {
  if (greatest <= 0) return 1;
  const magnitude = 10 ** Math.floor(Math.log10(greatest));
  return [1, 2, 4, 5, 8, 10].map((step) => step * magnitude).find((one) => one >= greatest * 0.999);
}

const total = (row) => row.values.reduce((sum, value) => sum + value, 0);

/**
 * Return columns of stacked values. `rows` are `{ label, values }`, `series` the names of the values;
 * `format` makes a value readable. `minTop` is the least top of the scale.
 */
export function columns(title, rows, { series, format, minTop = 0 }) {
  const top = roundUp(Math.max(minTop, ...rows.map(total)));
  const lines = Array.from({ length: LINES + 1 }, (_, at) => 1 - at / LINES);
  const ticks = lines.map((share) => h("span", {}, format(top * share)));
  const grid = lines.map((share) => svg("line", { x1: 0, x2: "100%", y1: HEIGHT * (1 - share), y2: HEIGHT * (1 - share) }));
  const marks = rows.map((row, at) => column(row, at / rows.length, 1 / rows.length, top, { series, format }));
  const every = Math.ceil(rows.length / MAX_LABELS);
  const labels = rows.map(({ label }, at) => h("span", {}, at % every === 0 ? label : ""));
  const picture = svg("svg", { width: "100%", height: HEIGHT, role: "img", "aria-label": summary(title, rows, format) }, ...grid, ...marks);
  return h(
    "div",
    { class: "columns" },
    h("div", { class: "axis", "aria-hidden": "true" }, ticks),
    h("div", { class: "plot" }, picture, h("div", { class: "labels", "aria-hidden": "true" }, labels)),
  );
}

function column(row, x, width, top, { series, format }) {
  let y = HEIGHT;
  const parts = row.values.map((value, at) => {
    const height = (value / top) * HEIGHT;
    y -= height;
    return svg("rect", { class: `series-${at}`, x: percent(x + (width * GAP) / 2), width: percent(width * (1 - GAP)), y, height });
  });
  const names = series.length > 1 ? row.values.map((value, at) => `${series[at]} ${format(value)}`).join(", ") : format(total(row));
  // The title belongs to the whole column, so that a short bar can be pointed at, too.
  const target = svg("rect", { class: "target", x: percent(x), width: percent(width), y: 0, height: HEIGHT });
  return svg("g", {}, svg("title", {}, `${row.label}: ${names}`), target, ...parts);
}

function summary(title, rows, format) {
  if (!rows.length) return `${title}: no values`;
  const most = rows.reduce((one, other) => (total(other) > total(one) ? other : one));
  return `${title}, ${rows[0].label} to ${rows.at(-1).label}; most: ${format(total(most))} on ${most.label}. The table has all values.`;
}

/** Return bars by name, the longest first. */
export function bars(rows, { format }) {
  const most = Math.max(...rows.map(total), 0) || 1;
  const bar = (row) => {
    let x = 0;
    const parts = row.values.map((value, at) => {
      const width = value / most;
      x += width;
      return svg("rect", { class: `series-${at}`, x: percent(x - width), width: percent(width), y: 0, height: 8 });
    });
    return h(
      "li",
      {},
      h("span", { class: "name" }, h("bdi", {}, row.label)),
      h("span", { class: "value" }, visuallyHidden(": "), format(total(row))),
      svg("svg", { width: "100%", height: 8, "aria-hidden": "true" }, ...parts),
    );
  };
  return h("ul", { class: "bars" }, rows.map(bar));
}

export function seriesLegend(series) {
  if (series.length < 2) return null;
  return h("ul", { class: "legend" }, series.map((name, at) => h("li", {}, h("span", { class: `swatch series-${at}` }), name)));
}
