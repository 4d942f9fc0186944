// Requests to the server that this page comes from, and their errors.
import { key, requestKey } from "./key.js";

/** An error response of the server; status 0 if the server cannot be reached. */
export class ApiError extends Error {
  constructor(status, message, code = null, waitS = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.waitS = waitS;
  }

  /** Whether the same request may succeed later. */
  get isRetryable() {
    return [0, 429, 502, 503, 504].includes(this.status);
  }
}

/** Return a successful response. Shows the login dialog as long as the server returns 401. */
export async function request(method, path, { body, headers = {}, signal } = {}) {
  for (;;) {
    const answer = await send(method, path, { body, headers, signal });
    if (answer.ok) return answer;
    const error = await errorOf(answer);
    if (error.status !== 401) throw error;
    await requestKey(error.message);
  }
}

async function send(method, path, { body, headers, signal }) {
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

async function errorOf(answer) {
  const wait = Number(answer.headers.get("retry-after"));
  let error = {};
  try {
    error = (await answer.json()).error ?? {};
  } catch {
    // The error of a proxy is not JSON.
  }
  const message = error.message ?? `the server returned status ${answer.status}`;
  return new ApiError(answer.status, message, error.code ?? null, wait || null);
}

export const read = async (path, options) => (await request("GET", path, options)).json();
export const write = async (path, value = {}) =>
  (await request("POST", path, { body: JSON.stringify(value) })).json();

const conversation = (id) => `v1/conversations/${id}`;
export const query = (values) => new URLSearchParams(values).toString();

/** Return whether this key has the scope `admin`. */
export async function isOperator() {
  try {
    await read("v1/admin/runs?limit=1");
    return true;
  } catch (error) {
    if (error instanceof ApiError) return false;
    throw error;
  }
}

export const models = async () => (await read("v1/models")).data;
export const response = (id) => read(`v1/responses/${id}`);
export const conversations = (after) =>
  read(`v1/conversations?${query(after ? { limit: 30, after } : { limit: 30 })}`);
export const questions = (after) => read(`v1/questions?${query(after ? { limit: 30, after } : { limit: 30 })}`);

/** Answer a question. `output` is JSON text, so that its numbers keep their digits. */
export const answerQuestion = (id, output) =>
  request("POST", "v1/answers", { body: `{"call_id":${JSON.stringify(id)},"output":${output}}` });

export const createConversation = () => write("v1/conversations");
export const readConversation = (id) => read(conversation(id));
export const deleteConversation = (id) => request("DELETE", conversation(id));
export const cancelConversation = (id) => write(`${conversation(id)}/cancel`);
export const forkConversation = (id, position) => write(`${conversation(id)}/fork`, { position });

/** Send a request whose response another stream shows; returns when the server has accepted it. */
export async function sendAnswer(value, idempotencyKey) {
  const body = JSON.stringify({ ...value, stream: true });
  const answer = await request("POST", "v1/responses", { body, headers: { "idempotency-key": idempotencyKey } });
  await answer.body?.cancel();
}

/** Return all items of a conversation, oldest first. */
export async function items(id) {
  const pages = (after) => ({ order: "asc", limit: 100, ...(after && { after }) });
  return readAll((after) => read(`${conversation(id)}/items?${query(pages(after))}`));
}

/** Return the journal entries of a conversation after a position. */
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

async function readAll(readPage) {
  const all = [];
  for (let after = null; ; ) {
    const page = await readPage(after);
    all.push(...page.data);
    if (!page.has_more) return all;
    after = page.last_id;
  }
}
