// A JSON parser that keeps the digits of numbers and the order of members. Of members with the same
// name the last one counts, as in the server's tools.

const TOKEN = /[\s]*(?:([{}[\]:,])|("(?:[^"\\]|\\.)*")|([^\s{}[\]:,"]+))/y;

/**
 * Return the value of a JSON text, or null if it is not JSON: `{ kind: "object", members }` with a
 * Map; `{ kind: "array", items }`; `{ kind: "string", value }`; `{ kind: "literal", text }`.
 */
export function parse(text) {
  try {
    JSON.parse(text); // validates the text; the tokenizer does not
    const read = tokenReader(text);
    return valueOf(read(), read);
  } catch {
    return null;
  }
}

function tokenReader(text) {
  let at = 0;
  return () => {
    TOKEN.lastIndex = at;
    const [match, sign, string, literal] = TOKEN.exec(text);
    at += match.length;
    return { sign, string, literal };
  };
}

function valueOf(token, read) {
  if (token.string) return { kind: "string", value: JSON.parse(token.string) };
  if (token.literal) return { kind: "literal", text: token.literal };
  return token.sign === "{" ? objectOf(read) : arrayOf(read);
}

function objectOf(read) {
  const members = new Map();
  for (let token = read(); token.sign !== "}"; token = read()) {
    if (token.sign === ",") continue;
    const name = JSON.parse(token.string);
    read(); // the colon
    members.set(name, valueOf(read(), read));
  }
  return { kind: "object", members };
}

function arrayOf(read) {
  const items = [];
  for (let token = read(); token.sign !== "]"; token = read()) {
    if (token.sign !== ",") items.push(valueOf(token, read));
  }
  return { kind: "array", items };
}

/** Return a value as JSON text on one line, or with an indent on several lines. */
export function format(value, indent = null, depth = 0) {
  switch (value.kind) {
    case "string":
      return JSON.stringify(value.value);
    case "literal":
      return value.text;
    case "array":
      return enclosed("[", value.items.map((one) => format(one, indent, depth + 1)), "]", indent, depth);
    default: {
      const member = ([name, one]) => `${JSON.stringify(name)}: ${format(one, indent, depth + 1)}`;
      return enclosed("{", [...value.members].map(member), "}", indent, depth);
    }
  }
}

function enclosed(open, parts, close, indent, depth) {
  if (!parts.length) return open + close;
  if (indent === null) return open + parts.join(", ") + close;
  const line = (level) => `\n${" ".repeat(indent * level)}`;
  return open + line(depth + 1) + parts.join(`,${line(depth + 1)}`) + line(depth) + close;
}

/** Return whether a text is JSON. */
export function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Return the part of a JSON document that a reference such as `#/$defs/Colour` names; {} if none. */
export function pointer(root, reference) {
  const steps = reference.replace(/^#\/?/, "").split("/").filter(Boolean);
  const unescape = (step) => decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
  return steps.reduce((value, step) => value?.[unescape(step)], root) ?? {};
}
