// A table that is a list of cards on a narrow screen. The roles stay when the layout changes.
import { h, visuallyHidden } from "../dom.js";

/**
 * Return a table. Each column is `{ label, cell, isNumber, isHeader }`; `cell(row)` returns contents.
 * A column that is only for screen readers has `isHidden`: its label is not shown.
 */
export function dataTable(caption, columns, rows) {
  const head = columns.map(({ label, isNumber, isHidden }) =>
    h("th", { role: "columnheader", scope: "col", class: isNumber ? "number" : null }, isHidden ? visuallyHidden(label) : label),
  );
  return h(
    "table",
    { class: "data", role: "table" },
    h("caption", { class: "visually-hidden" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row" }, columns.map((column) => cell(column, row))))),
  );
}

function cell({ label, cell: contents, isNumber, isHeader, isHidden }, row) {
  const attributes = {
    role: isHeader ? "rowheader" : "cell",
    scope: isHeader ? "row" : null,
    class: isNumber ? "number" : null,
    "data-label": isHidden ? null : label,
  };
  return h(isHeader ? "th" : "td", attributes, h("div", {}, contents(row)));
}
