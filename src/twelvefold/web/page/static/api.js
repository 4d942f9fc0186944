// Requests to the server that this page came from, and its errors as it words them.
import { askForKey, key } from "./key.js";

/** What the server refused, or that it could not be reached (status 0). */
export class ApiError extends Error {
  constructor(status, message, code = null, waitS = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.waitS = waitS;
  }

  /** Whether the same request may do later what it did not do now. */
  get passes() {
    return [0, 429, 502, 503, 504].includes(this.status);
  }
}

/** A request that the server took; asks for a key as often as the server wants another. */
export async function request(method, path, { body, headers = {}, signal } = {}) {
  for (;;) {
    const answer = await sent(method, path, { body, headers, signal });
    if (answer.ok) return answer;
    const error = await refused(answer);
    if (error.status !== 401) throw error;
    await askForKey(error.message);
  }
}

async function sent(method, path, { body, headers, signal }) {
  const token = key();
  const all = { ...headers };
  if (token) all.authorization = `Bearer ${token}`;
  if (body !== undefined) all["content-type"] = "application/json";
  try {
    return await fetch(new URL(path, document.baseURI), { method, headers: all, body, signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "the server cannot be reached");
  }
}

async function refused(answer) {
  const wait = Number(answer.headers.get("retry-after"));
  let said = {};
  try {
    said = (await answer.json()).error ?? {};
  } catch {
    // A proxy answered, in words of its own.
  }
  const message = said.message ?? `the server answered with status ${answer.status}`;
  return new ApiError(answer.status, message, said.code ?? null, wait || null);
}

const read = async (path, options) => (await request("GET", path, options)).json();
const write = async (path, value = {}) =>
  (await request("POST", path, { body: JSON.stringify(value) })).json();

const conversation = (id) => `v1/conversations/${id}`;
const query = (values) => new URLSearchParams(values).toString();

export const models = async () => (await read("v1/models")).data;
export const response = (id) => read(`v1/responses/${id}`);
export const conversations = (after) =>
  read(`v1/conversations?${query(after ? { limit: 30, after } : { limit: 30 })}`);
export const createConversation = () => write("v1/conversations");
export const readConversation = (id) => read(conversation(id));
export const deleteConversation = (id) => request("DELETE", conversation(id));
export const cancelConversation = (id) => write(`${conversation(id)}/cancel`);
export const forkConversation = (id, position) => write(`${conversation(id)}/fork`, { position });

/** All items of a conversation, oldest first. */
export async function items(id) {
  const pages = (after) => ({ order: "asc", limit: 100, ...(after && { after }) });
  return paged((after) => read(`${conversation(id)}/items?${query(pages(after))}`));
}

/** What came to a conversation's journal behind a position. */
export async function journal(id, position, signal) {
  const entries = [];
  for (;;) {
    const values = query({ after: position, limit: 200 });
    const page = await read(`${conversation(id)}/journal?${values}`, { signal });
    entries.push(...page.data);
    if (!page.has_more) return entries;
    position = page.last;
  }
}

async function paged(readPage) {
  const all = [];
  for (let after = null; ; ) {
    const page = await readPage(after);
    all.push(...page.data);
    if (!page.has_more) return all;
    after = page.last_id;
  }
}
