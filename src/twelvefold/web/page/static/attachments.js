// Images and files: those of the next message, which are chosen, pasted or dropped, and those of
// messages, as the page shows them.
import { announce } from "./announce.js";
import { h, put, quoted, visuallyHidden } from "./dom.js";
import { formatBytes, formatCount } from "./format.js";

/** The most bytes of one image or file. Source: `FILE_BYTES` of the server. */
const MAX_BYTES = 3_000_000;
/** A larger image is scaled down to so many pixels on its longer side. */
const SCALED_PX = 2048;
const IMAGES = ["image/png", "image/jpeg", "image/webp", "image/gif"];
const FILES = { pdf: "application/pdf", txt: "text/plain", md: "text/markdown", csv: "text/csv", json: "application/json" };
const SHOWN = new RegExp(`^data:(${IMAGES.join("|")});base64,`, "i");
const DATA_URL = /^data:([a-z]+\/[a-z0-9.+-]+)[^,]*;base64,/i;

/** The images and files of the next message. */
export class Attachments {
  /** `onChange()` after each change, `onError(error)` for a file that cannot be sent. */
  constructor({ list, input, button, field, target }, { onChange, onError }) {
    this.list = list;
    this.button = button;
    this.parts = [];
    this.isReading = false;
    this.onChange = onChange;
    this.onError = onError;
    input.accept = [...IMAGES, ...Object.keys(FILES).map((suffix) => `.${suffix}`)].join(",");
    button.addEventListener("click", () => input.click());
    input.addEventListener("change", async () => {
      await this.add([...input.files]);
      input.value = "";
    });
    field.addEventListener("paste", (event) => this.take(event, event.clipboardData));
    target.addEventListener("dragover", (event) => {
      if (event.dataTransfer.types.includes("Files")) event.preventDefault();
    });
    target.addEventListener("drop", (event) => this.take(event, event.dataTransfer));
  }

  take(event, transfer) {
    const files = [...(transfer?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.add(files);
  }

  async add(files) {
    this.isReading = true;
    this.onChange();
    for (const file of files) {
      try {
        this.parts.push(await partOf(file));
        announce(`${file.name} attached`);
      } catch (error) {
        this.onError(error);
      }
    }
    this.isReading = false;
    this.render();
  }

  /** Return the parts and start anew. */
  takeAll() {
    const { parts } = this;
    this.restore([]);
    return parts;
  }

  restore(parts) {
    this.parts = parts;
    this.render();
  }

  remove(part) {
    this.restore(this.parts.filter((one) => one !== part));
    announce("Attachment removed");
    this.button.focus();
  }

  render() {
    this.list.hidden = !this.parts.length;
    put(this.list, this.parts.map((part) => this.chip(part)));
    this.onChange();
  }

  chip(part) {
    const name = part.filename ?? "image";
    const remove = h(
      "button",
      { type: "button", class: "plain-button", onclick: () => this.remove(part) },
      "Remove",
      visuallyHidden(` ${name}`),
    );
    return h("li", { class: "attachment" }, attachmentElement(part), remove);
  }
}

async function partOf(file) {
  const suffix = file.name.split(".").at(-1).toLowerCase();
  const isImage = IMAGES.includes(file.type);
  const type = isImage ? file.type : FILES[suffix];
  if (!type) throw new Error(`${file.name} is not a PNG, JPEG, WebP, GIF, PDF, text, Markdown, CSV or JSON file`);
  const sent = isImage && file.size > MAX_BYTES ? await scaled(file) : file.slice(0, file.size, type);
  if (sent.size > MAX_BYTES) {
    throw new Error(`${file.name} has ${formatCount(file.size)} bytes; ${formatCount(MAX_BYTES)} is the most`);
  }
  const url = await dataUrl(sent);
  if (isImage) return { type: "input_image", image_url: url, detail: "auto" };
  return { type: "input_file", filename: file.name, file_data: url };
}

async function scaled(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, SCALED_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
}

const dataUrl = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(new Error("the file cannot be read")));
    reader.readAsDataURL(blob);
  });

export const isAttachment = (part) => part.type === "input_image" || part.type === "input_file";

/** Return a short text: name, media type and size, as far as the server shows them. */
export function labelOf(part) {
  const name = part.filename ?? (part.type === "input_image" ? "Image" : "File");
  const { type, size } = mediaOf(part);
  return type ? `${name} (${type}, ${formatBytes(size)})` : name;
}

function mediaOf(part) {
  const url = part.image_url ?? part.file_data ?? "";
  const head = DATA_URL.exec(url.slice(0, 200));
  if (!head) return { type: part.media_type ?? "", size: part.bytes ?? 0 };
  const padding = url.endsWith("==") ? 2 : url.endsWith("=") ? 1 : 0;
  return { type: head[1].toLowerCase(), size: Math.floor(((url.length - head[0].length) * 3) / 4) - padding };
}

/** Return an image, or the name of a file. A URL of another server is a link: nothing is loaded from there. */
export function attachmentElement(part) {
  const url = part.image_url ?? part.file_url ?? "";
  if (part.type === "input_image" && SHOWN.test(url.slice(0, 64))) {
    return h("img", { src: url, alt: labelOf(part), title: labelOf(part) });
  }
  if (/^https?:\/\//i.test(url)) {
    const link = { href: url, target: "_blank", rel: "noopener noreferrer" };
    return h("a", link, quoted(`${labelOf(part)}: ${url}`));
  }
  return h("span", { class: "file" }, quoted(labelOf(part)));
}
