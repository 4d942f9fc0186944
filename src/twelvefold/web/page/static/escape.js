// Makes text of others safe to show: escapes what is invisible or acts on what stands beside it.
// Such are control, format, private, unassigned and surrogate characters, every space but U+0020,
// variation selectors, fillers, and combining marks without a letter or too many of them. The
// rules and escapes are those of `twelvefold/observe/escape.py`.

/** Combining marks that one character may carry. */
const MARKS = 4;
const SIMPLE = /^[\x20-\x7e]*$/;
const HIDDEN = /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]/u;
const MARK = /\p{M}/u;
const CARRIES = /^(?:[\p{L}\p{N}]|(?![\0-\x7f])\p{S})/u;
const NAMED = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
/** Zero-width joiners and the emoji style selector, which ordinary texts need. */
const JOINERS = new Set(["\u200c", "\u200d", "\ufe0f"]);
const NONE = new Set();

/** The text on one line, escaped as Python does: `\n`, `\x1b`, `\u202e`, `\U000e0041`. */
export const escape = (text) => joined(segments(text));

/** A text of several lines: line breaks stay, and joiners where a script or an emoji needs them. */
export const escapeProse = (text) => joined(proseSegments(text));

const joined = (parts) => parts.map((part) => part.text).join("");

/** The parts of a text in order, each as `{ text, escaped }`: as it is, or one escape. */
export const segments = (text) => split(text, NONE, NONE);

/** The parts of a text of several lines. */
export const proseSegments = (text) => split(text.replaceAll("\r\n", "\n"), new Set("\n\t"), JOINERS);

function split(text, keep, joiners) {
  if (SIMPLE.test(text)) return [{ text, escaped: false }];
  const parts = [];
  let plain = "";
  let room = 0; // combining marks that may follow
  for (const one of text) {
    const hidden = HIDDEN.test(one);
    const mark = !hidden && MARK.test(one);
    if (keep.has(one)) room = 0;
    else if (room && (mark || joiners.has(one))) room -= 1;
    else if (!hidden && !mark) room = CARRIES.test(one) ? MARKS : 0;
    else {
      if (plain) parts.push({ text: plain, escaped: false });
      parts.push({ text: escapeOf(one), escaped: true });
      plain = "";
      room = 0;
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
