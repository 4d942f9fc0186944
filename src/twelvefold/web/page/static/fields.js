// The fields of a JSON Schema as a form. `read()` returns what was entered as JSON text, and null for
// an optional field that is empty. What a person typed is never changed: the server checks it.
import { h, visuallyHidden } from "./dom.js";
import { isJson, pointer } from "./json.js";
import { jsonText } from "./value.js";

const MAX_RADIOS = 6;
const MAX_DEPTH = 3;
const LINE_CHARS = 200;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const INPUT_TYPES = { date: "date", email: "email", uri: "url" };
let number = 0;

/** Return `{ node, read }` for a schema. `label` names the value; "" if the question itself does. */
export function fieldOf(root, { label = "Answer", describedBy = null } = {}) {
  const context = { root, describedBy, depth: 0, name: "" };
  return build(root, { ...context, label, isRequired: true, isAnswer: true });
}

function build(given, context) {
  const { schema, isOptional } = normalize(given, context.root);
  const inner = { ...context, isRequired: context.isRequired && !isOptional, isNull: context.isRequired && isOptional };
  const choices = choicesOf(schema, context.root);
  if (choices) return choiceField(schema, choices, inner);
  switch (schema.type) {
    case "string":
      return textField(schema, inner);
    case "integer":
    case "number":
      return numberField(schema, inner);
    case "object":
      if (isForm(schema, inner)) return objectField(schema, inner);
  }
  return jsonField(schema, inner);
}

/** Follow references, and take the null out of `X | null`. */
function normalize(given, root) {
  let schema = given ?? {};
  let isOptional = false;
  for (let steps = 0; steps < 20; steps += 1) {
    const inner = schema.allOf?.length === 1 ? schema.allOf[0] : null;
    const union = schema.anyOf ?? schema.oneOf;
    const rest = union?.filter((one) => one.type !== "null");
    if (schema.$ref) schema = { ...pointer(root, schema.$ref), ...without(schema, "$ref") };
    else if (inner) schema = { ...inner, ...without(schema, "allOf") };
    else if (Array.isArray(schema.type) && schema.type.length === 2 && schema.type.includes("null")) {
      schema = { ...schema, type: schema.type.find((one) => one !== "null") };
      isOptional = true;
    } else if (rest?.length === 1 && union.length === 2) {
      schema = { ...rest[0], ...without(schema, "anyOf", "oneOf") };
      isOptional = true;
    } else break;
  }
  return { schema, isOptional };
}

function without(schema, ...names) {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => !names.includes(name)));
}

/** Return the values of an enumeration, a constant or a boolean as `{ text, json }`; else null. */
function choicesOf(schema, root) {
  const asChoice = (value) => ({ text: typeof value === "string" ? value : JSON.stringify(value), json: JSON.stringify(value) });
  if (Array.isArray(schema.enum)) return schema.enum.map(asChoice);
  if ("const" in schema) return [asChoice(schema.const)];
  if (schema.type === "boolean") return [{ text: "Yes", json: "true" }, { text: "No", json: "false" }];
  const parts = (schema.anyOf ?? schema.oneOf)?.map((one) => choicesOf(normalize(one, root).schema, root));
  return parts?.every((part) => part) ? parts.flat() : null;
}

function isForm(schema, { depth }) {
  const names = Object.keys(schema.properties ?? {});
  return names.length > 0 && depth < MAX_DEPTH && !schema.patternProperties && typeof schema.additionalProperties !== "object";
}

// Each kind of field

function labelOf(schema, { label, isRequired, isAnswer }) {
  const text = isAnswer ? label : schema.title || label;
  return [text, isRequired ? null : h("span", { class: "muted" }, " (optional)")];
}

function hintOf(schema, { isAnswer, root }) {
  const text = isAnswer && schema === root ? "" : schema.description;
  return text ? h("span", { class: "muted hint" }, text) : null;
}

function defaultOf(schema) {
  return schema.default === undefined || schema.default === null ? null : schema.default;
}

/** Return the value of an empty field: null for one that has to be present, else none. */
const emptyOf = ({ isNull }) => (isNull ? "null" : null);

function labelled(schema, control, context) {
  if (context.describedBy) control.setAttribute("aria-describedby", context.describedBy);
  return h("label", {}, h("span", {}, labelOf(schema, context)), hintOf(schema, context), control);
}

function textField(schema, context) {
  const isLine = !context.isAnswer && (schema.maxLength ?? 0) <= LINE_CHARS;
  // An empty text may be a valid property, but is no answer.
  const required = context.isRequired && (context.isAnswer || schema.minLength > 0 || schema.format !== undefined);
  const attributes = { dir: "auto", autocomplete: "off", required, maxlength: schema.maxLength };
  const type = INPUT_TYPES[schema.format] ?? "text";
  const control = isLine || type !== "text" ? h("input", { type, ...attributes }) : h("textarea", { rows: "2", ...attributes });
  control.value = String(defaultOf(schema) ?? "");
  const read = () => (control.value === "" && !context.isRequired ? emptyOf(context) : JSON.stringify(control.value));
  return { node: labelled(schema, control, context), read };
}

/** A number keeps its digits. A text that is no number is sent as it is, so that the server names the problem. */
function numberField(schema, context) {
  const inputmode = schema.type === "integer" && schema.minimum >= 0 ? "numeric" : "decimal";
  const control = h("input", { type: "text", inputmode, autocomplete: "off", required: context.isRequired });
  control.value = String(defaultOf(schema) ?? "");
  const read = () => {
    const text = control.value.trim();
    if (!text && !context.isRequired) return emptyOf(context);
    return NUMBER.test(text) ? text : JSON.stringify(text);
  };
  return { node: labelled(schema, control, context), read };
}

function choiceField(schema, choices, context) {
  const preset = defaultOf(schema) === null ? "" : JSON.stringify(schema.default);
  return choices.length > MAX_RADIOS ? selectField(schema, choices, preset, context) : radioField(schema, choices, preset, context);
}

function selectField(schema, choices, preset, context) {
  const options = [{ text: "", json: "" }, ...choices];
  const option = ({ text, json }) => h("option", { value: json, selected: json === preset }, text);
  const control = h("select", { required: context.isRequired }, options.map(option));
  return { node: labelled(schema, control, context), read: () => control.value || emptyOf(context) };
}

function radioField(schema, choices, preset, context) {
  const name = `field-${(number += 1)}`;
  const radio = ({ text, json }) => {
    const attributes = { type: "radio", name, value: json, required: context.isRequired, checked: json === preset };
    return h("label", { class: "choice" }, h("input", attributes), h("span", {}, text));
  };
  const legend = h("legend", { class: context.isAnswer ? "visually-hidden" : null }, labelOf(schema, context));
  const attributes = { class: "choices", "aria-describedby": context.describedBy };
  const node = h("fieldset", attributes, legend, hintOf(schema, context), choices.map(radio));
  return { node, read: () => node.querySelector("input:checked")?.value ?? emptyOf(context) };
}

function objectField(schema, context) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([name, property]) => {
    const inner = { ...context, depth: context.depth + 1, label: name, isRequired: required.has(name), isAnswer: false };
    return { name, ...build(property, inner) };
  });
  const legend = context.isAnswer ? visuallyHidden(context.label) : labelOf(schema, context);
  const node = h("fieldset", { class: "object" }, h("legend", {}, legend), fields.map((field) => field.node));
  const read = () => {
    const members = fields.map((field) => [field.name, field.read()]).filter(([, json]) => json !== null);
    if (!members.length && !context.isRequired) return emptyOf(context);
    return `{${members.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(",")}}`;
  };
  return { node, read };
}

/** Any other value, as JSON. Throws SyntaxError for a text that is not JSON. */
function jsonField(schema, context) {
  const control = h("textarea", { class: "json", rows: "4", spellcheck: "false", dir: "ltr", required: context.isRequired });
  control.value = schema.default === undefined ? "" : JSON.stringify(schema.default, null, 2);
  const node = labelled(schema, control, { ...context, label: context.isAnswer ? "Answer as JSON" : context.label });
  return { node, read: () => (control.value.trim() ? readJson(control.value) : emptyOf(context)) };
}

/** Return the text if it is JSON. Throws SyntaxError. */
export function readJson(text) {
  if (!isJson(text)) throw new SyntaxError("This is not JSON.");
  return text;
}

/** Return a text area with JSON: indented, with invisible characters as escapes of JSON. */
export function jsonArea(text, attributes) {
  const area = h("textarea", { class: "json", spellcheck: "false", dir: "ltr", ...attributes });
  area.value = jsonText(text);
  area.rows = Math.min(Math.max(area.value.split("\n").length, 3), 14);
  return area;
}
