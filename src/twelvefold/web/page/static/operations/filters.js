// The fields above a list. A change is applied at once; the address has the values.
import { h } from "../dom.js";

const PRESETS = { "1h": 3600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000 };
const PRESET_LABELS = { "": "Any time", "1h": "Last hour", "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days", range: "From … to …" };

export class Filters {
  /** `fields` are elements of `textField`, `selectField` and the like; `onChange(values)` gets those that are set. */
  constructor(fields, onChange) {
    this.controls = new Map();
    this.onChange = onChange;
    for (const field of fields) for (const control of field.querySelectorAll("input, select")) this.controls.set(control.name, control);
    const attributes = { class: "filters", role: "search", "aria-label": "Filter", onsubmit: (event) => event.preventDefault() };
    this.clear = h("button", { type: "button", class: "plain-button", onclick: () => this.reset() }, "Clear");
    this.node = h("form", { ...attributes, onchange: () => this.change() }, fields, this.clear);
  }

  change() {
    this.showRange();
    this.onChange(this.values());
  }

  reset() {
    this.controls.values().next().value.focus(); // the button disappears
    this.onChange({});
  }

  values() {
    const pairs = [...this.controls].filter(([, control]) => !control.closest("[hidden]"));
    return Object.fromEntries(pairs.map(([name, control]) => [name, control.value.trim()]).filter(([, value]) => value));
  }

  /** Show the values of an address; return those of the fields. */
  put(address) {
    const pairs = [...this.controls.keys()].filter((name) => Object.hasOwn(address, name) && address[name]).map((name) => [name, address[name]]);
    const values = Object.fromEntries(pairs);
    for (const [name, control] of this.controls) {
      control.value = values[name] ?? "";
      if (control.selectedIndex === -1) control.value = ""; // no such option
    }
    this.clear.hidden = !pairs.length;
    this.showRange();
    return values;
  }

  showRange() {
    const range = this.node.querySelector(".range");
    if (range) range.hidden = this.controls.get("time").value !== "range";
  }
}

const field = (label, control) => h("label", {}, h("span", {}, label), control);

/** Return a text field; `list` is the id of a list of suggestions. */
export function textField(name, label, { list = null, type = "text", step = null } = {}) {
  const min = type === "number" ? "0" : null;
  return h("div", { class: `field ${type}` }, field(label, h("input", { type, name, list, step, min, autocomplete: "off", spellcheck: "false" })));
}

/** Return a select; `options` are labels by value. */
export const selectField = (name, label, options) =>
  h("div", { class: "field" }, field(label, h("select", { name }, Object.entries(options).map(([value, text]) => h("option", { value }, text)))));

/** Return a select of periods, and two fields for any other period. */
export function timeField() {
  const moment = (name, label) => field(label, h("input", { type: "datetime-local", name }));
  return h("div", { class: "field time" }, selectField("time", "Started", PRESET_LABELS), h("div", { class: "range", hidden: true }, moment("from", "From"), moment("to", "To")));
}

const seconds = (local) => (local ? new Date(local).getTime() / 1000 : null);

/** Return `{ since, until }` of the values of `timeField`, in seconds since 1970. */
export function periodOf({ time = "", from, to }) {
  if (Object.hasOwn(PRESETS, time)) return { since: Math.floor(Date.now() / 1000) - PRESETS[time] };
  const [since, until] = time === "range" ? [seconds(from), seconds(to)] : [];
  return { ...(since && { since }), ...(until && { until }) };
}
