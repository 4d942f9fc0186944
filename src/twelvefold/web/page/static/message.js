// A message: a user's text as typed, with images and files, or the assistant's text as it arrives.
import { attachmentElement, isAttachment, labelOf } from "./attachments.js";
import { h, put, visuallyHidden } from "./dom.js";
import { showText } from "./text.js";
import { structuredValue } from "./value.js";

const SPEAKERS = { user: "You", system: "System", developer: "Developer" };

export class Message {
  constructor(item) {
    this.isAssistant = item.role === "assistant";
    this.text = "";
    this.body = h("div", { class: "text" });
    this.attachments = h("div", { class: "attachments", hidden: true });
    this.interruption = h("p", { class: "muted" }, "Interrupted here.");
    const speaker = SPEAKERS[item.role] ?? "Assistant";
    const attributes = { class: `message ${this.isAssistant ? "assistant" : "user"}` };
    this.node = h("li", attributes, visuallyHidden(`${speaker}: `), this.attachments, this.body);
    this.put(item);
  }

  /** Show the item's current state in place of the earlier one. */
  put(item) {
    const parts = Array.isArray(item.content) ? item.content : [];
    const attached = parts.filter(isAttachment);
    this.text = textOf(attached.length ? parts.filter((part) => !isAttachment(part)) : item.content);
    this.isDone = item.status === "completed";
    this.attachments.hidden = !attached.length;
    put(this.attachments, attached.map(attachmentElement));
    this.body.hidden = !this.text && attached.length > 0;
    this.render();
    this.node.classList.toggle("streaming", item.status === "in_progress");
    const interrupted = this.isAssistant && item.status === "incomplete";
    if (interrupted) this.node.append(this.interruption);
    else this.interruption.remove();
    this.node.classList.toggle("interrupted", interrupted);
  }

  append(delta) {
    this.text += delta;
    this.frame ||= requestAnimationFrame(() => this.render());
  }

  render() {
    this.frame = 0;
    if (!this.isAssistant) return put(this.body, this.text); // without formatting
    const value = this.isDone ? structuredValue(this.text) : null;
    if (value === null) return showText(this.body, this.text);
    this.body.blocks = null;
    return put(this.body, value);
  }
}

const textOfPart = (part) =>
  part.text ?? part.refusal ?? (isAttachment(part) ? `[${labelOf(part)}]` : `[${part.type}]`);

/** Return the text of an item's content, which is a string or a list of parts. */
export function textOf(content) {
  if (typeof content === "string") return content;
  return (content ?? []).map(textOfPart).join("\n");
}
