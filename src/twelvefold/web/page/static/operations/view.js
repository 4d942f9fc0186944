// A view of the operations page, such as the list of runs: what all of them share.
import { byId, h, put } from "../dom.js";
import { withErrors } from "../errors.js";

const MAX_PAGES = 5;

export class View {
  /** `element` is the view's own; `page` has `setTitle`, `setQuery` and `withErrors`. */
  constructor(element, page) {
    this.element = element;
    this.page = page;
    this.controller = null;
  }

  /** Stop reading, when another view is opened. */
  close() {
    this.controller?.abort();
  }

  /** Pass what `read(signal)` returns to `render`, unless another call begins or the view is closed. */
  async load(read, render) {
    this.controller?.abort();
    const { signal } = (this.controller = new AbortController());
    try {
      const result = await read(signal);
      if (!signal.aborted) keepFocus(this.element, () => render(result));
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

/**
 * Call `render`, which replaces contents of an element. If the control that has the focus goes with
 * them, the one with the same text gets it, else the heading of the page.
 */
function keepFocus(element, render) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  render();
  if (!focused || (focused.isConnected && !focused.closest("[hidden]"))) return;
  const controls = [...element.querySelectorAll("a, button, summary")].filter((one) => !one.closest("[hidden]"));
  const { textContent: text } = focused;
  (controls.find((one) => text === one.textContent) ?? byId("title")).focus();
}

/** Read the page after a row. The server examines a part of the rows for it: read on after an empty one. */
export async function readUntilFound(read, after = null) {
  for (let pages = 1; ; pages += 1) {
    const page = await read(after);
    if (page.data.length || !page.has_more || pages === MAX_PAGES) return page;
    after = page.next;
  }
}

/** A list that is read in pages. `read(after, signal)` returns a page, `render(rows)` the element of all rows. */
export class PagedList {
  constructor({ load, read, render, empty }) {
    Object.assign(this, { load, read, render, empty, rows: [], next: null });
    this.body = h("div", {});
    this.more = h("button", { type: "button", class: "more", hidden: true, onclick: () => withErrors(this.readNext()) }, "Load more");
    this.node = h("div", { class: "paged" }, this.body, this.more);
  }

  /** Read the first page in place of all that is shown. */
  first() {
    return this.load((signal) => this.read(null, signal), (page) => this.show(page.data, page));
  }

  /** Read the next page. The focus moves to its first row if there are no more. */
  async readNext() {
    const at = this.rows.length;
    await this.load((signal) => this.read(this.next, signal), (page) => this.show([...this.rows, ...page.data], page));
    if (this.more.hidden) this.body.querySelectorAll("tbody tr")[at]?.querySelector("a, button")?.focus();
  }

  show(rows, { has_more: hasMore, next, last_id: lastId }) {
    this.rows = rows;
    this.next = next ?? lastId;
    this.more.hidden = !hasMore;
    put(this.body, rows.length ? this.render(rows) : h("p", { class: "muted" }, hasMore ? "None so far." : this.empty));
  }
}
