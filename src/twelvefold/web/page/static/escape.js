// Makes foreign text safe to show. Escapes characters that are invisible or change the text beside
// them: control, format, private, unassigned and surrogate characters, every space except U+0020,
// variation selectors, fillers, and combining marks without a letter or in excess. The rules and
// escapes are those of `twelvefold/observe/escape.py`.

/** Combining marks allowed on one character. */
const MAX_MARKS = 4;
const SIMPLE = /^[\x20-\x7e]*$/;
const HIDDEN = /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]/u;
const MARK = /\p{M}/u;
const CARRIES_MARKS = /^(?:[\p{L}\p{N}]|(?![\0-\x7f])\p{S})/u;
const NAMED = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
/** Zero-width joiners and the emoji style selector, which ordinary text needs. */
const JOINERS = new Set(["\u200c", "\u200d", "\ufe0f"]);
const NONE = new Set();

/** Return the text on one line, escaped as in Python: `\n`, `\x1b`, `\u202e`, `\U000e0041`. */
export const escape = (text) => joined(segments(text));

/** Return a text of several lines: line breaks stay, and joiners that a script or an emoji needs. */
export const escapeProse = (text) => joined(proseSegments(text));

/** Return a line of JSON with invisible characters as JSON escapes them: `\u202e`, a pair beyond U+FFFF. */
export const jsonEscaped = (text) =>
  segments(text)
    .map((part) => (part.escaped ? part.source.replace(/[^]/g, jsonEscapeOf) : part.text))
    .join("");

const jsonEscapeOf = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

const joined = (parts) => parts.map((part) => part.text).join("");

/** Return the parts of a text in order as `{ text, escaped }`: unchanged text, or one escape of `source`. */
export const segments = (text) => split(text, NONE, NONE);

/** Return the parts of a text of several lines. */
export const proseSegments = (text) => split(text.replaceAll("\r\n", "\n"), new Set("\n\t"), JOINERS);

function split(text, keep, joiners) {
  if (SIMPLE.test(text)) return [{ text, escaped: false }];
  const parts = [];
  let plain = "";
  let marksLeft = 0; // combining marks that may follow
  for (const one of text) {
    const hidden = HIDDEN.test(one);
    const mark = !hidden && MARK.test(one);
    if (keep.has(one)) marksLeft = 0;
    else if (marksLeft && (mark || joiners.has(one))) marksLeft -= 1;
    else if (!hidden && !mark) marksLeft = CARRIES_MARKS.test(one) ? MAX_MARKS : 0;
    else {
      if (plain) parts.push({ text: plain, escaped: false });
      parts.push({ text: escapeOf(one), escaped: true, source: one });
      plain = "";
      marksLeft = 0;
      continue;
    }
    plain += one;
  }
  if (plain) parts.push({ text: plain, escaped: false });
  return parts;
}

function escapeOf(character) {
  if (character in NAMED) return NAMED[character];
  const hex = character.codePointAt(0).toString(16);
  if (hex.length <= 2) return `\\x${hex.padStart(2, "0")}`;
  return hex.length <= 4 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
