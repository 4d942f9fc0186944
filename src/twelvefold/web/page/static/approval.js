// A tool call that waits for approval: its arguments, and the buttons Allow, Edit arguments and Deny.
import { exact, h, put, quoted } from "./dom.js";
import { jsonArea, readJson } from "./fields.js";
import { exactValue } from "./value.js";
import { WaitingForm } from "./waiting.js";

const WORDS = { none: "No longer pending.", expired: "Expired: not answered in time.", allowed: "Allowed.", denied: "Denied." };

export class Approval extends WaitingForm {
  constructor(item, answer, from = "") {
    const title = h("h2", { id: `title-${item.id}` }, "Allow ", h("code", {}, exact(item.name)), "?");
    const values = h("div", { class: "result" }, exactValue(item.arguments));
    const edited = h("div", { class: "edited", hidden: true });
    const form = h("form", { onsubmit: (event) => (event.preventDefault(), this.decide(true)) }, edited);
    super(item, { title, content: values, form, answer, from });
    this.values = values;
    this.edited = edited;
    this.area = null;
    this.isExpired = false;
    this.reason = h("input", { type: "text", dir: "auto", autocomplete: "off", maxlength: "500" });
    const label = h("label", {}, "Reason for denial ", h("span", { class: "muted" }, "(optional)"), this.reason);
    this.allow = h("button", { type: "submit", class: "primary" }, "Allow");
    this.edit = h("button", { type: "button", "aria-expanded": "false", onclick: () => this.toggleEdit() }, "Edit arguments");
    const deny = h("button", { type: "button", onclick: () => this.decide(false) }, "Deny");
    form.append(label, h("div", { class: "buttons" }, this.allow, this.edit, deny));
  }

  focus() {
    this.allow.focus();
  }

  /** Show or remove the field with other arguments; the model's own stay above it. */
  toggleEdit() {
    const isEdited = !this.area;
    this.area = isEdited ? jsonArea(this.item.arguments, { "aria-describedby": this.problem.id }) : null;
    put(this.edited, isEdited ? h("label", {}, "Arguments as JSON", this.area) : []);
    this.edited.hidden = !isEdited;
    this.edit.setAttribute("aria-expanded", String(isEdited));
    put(this.edit, isEdited ? "Discard changes" : "Edit arguments");
    put(this.allow, isEdited ? "Allow with these arguments" : "Allow");
    this.showProblem("");
    this.area?.focus();
  }

  decide(approve) {
    return this.send(() => {
      const reason = approve ? "" : this.reason.value.trim();
      const edited = approve && this.area ? readJson(this.area.value) : "";
      const item = { type: "mcp_approval_response", approval_request_id: this.item.id, approve };
      return { ...item, ...(reason && { reason }), ...(edited && { arguments: edited }) };
    });
  }

  /** Show the answer, an item of the API. The arguments of a person replace those of the model. */
  closeWith({ approve, reason, arguments: edited }) {
    if (this.isExpired) return;
    if (edited) put(this.values, exactValue(edited));
    const words = approve && edited ? "Allowed with these arguments, which a person has changed." : null;
    this.close(approve ? "allowed" : "denied", reason ?? "", words);
  }

  /** Show what the journal has: until when, other arguments, or that the time is over. */
  applyEntry(entry) {
    if (entry.type === "ApprovalAsked") this.showUntil(entry.expires_at);
    if (entry.type === "ToolFailed" && this.isOpen) this.close("none");
    if (entry.type !== "ApprovalAnswered") return;
    if (!entry.by) this.isExpired = true; // the service has denied it
    if (this.isExpired) this.close("expired");
    else if (this.isOpen || entry.arguments_given) {
      this.closeWith({ approve: entry.approved, reason: entry.reason, arguments: entry.arguments_given });
    }
  }

  /** Show the decision: allowed, denied, expired, or none if the run ended without one. */
  close(decision, reason = "", words = null) {
    const kind = decision === "expired" ? "none" : decision;
    this.end(kind, words ?? WORDS[decision], reason ? [" “", quoted(reason), "”"] : []);
  }
}
