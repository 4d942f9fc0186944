// Reads the events of one response over as many connections as it takes.
import { ApiError, request } from "./api.js";
import { events } from "./sse.js";

const FINAL_EVENTS = new Set(["response.completed", "response.incomplete", "response.failed"]);
const BACKOFF_MS = [0, 250, 500, 1000, 2000, 4000];

/**
 * Yield the events of a response, each once and in order.
 *
 * `source` is `{ body, key }` for a new request, which is repeated with the same idempotency key
 * until the server has created the response, or `{ id }` for a response that exists.
 * `onConnection(error)` is called for each failed attempt to reconnect, `onConnection(null)` when
 * the connection is back.
 */
export async function* responseEvents(source, { signal, onConnection }) {
  const position = { id: source.id ?? null, number: -1 };
  let isComplete = false;
  for (let failures = 0; !isComplete; ) {
    try {
      const answer = await connect(source, position, signal);
      for await (const event of events(answer)) {
        if (failures) onConnection(null);
        failures = 0;
        if (event.type === "response.created") position.id = event.response.id;
        if (event.sequence_number <= position.number) continue;
        position.number = event.sequence_number;
        yield event;
        // Read to the end of the body all the same, so that the connection can be reused.
        isComplete = FINAL_EVENTS.has(event.type);
      }
      if (isComplete) return;
    } catch (error) {
      if (isComplete) return;
      if (signal.aborted || isPermanent(error)) throw error;
      await waitToReconnect(error, failures, { signal, onConnection });
      failures += 1;
      continue;
    }
    // The server ended the stream before the response: it is shutting down.
    await waitToReconnect(new ApiError(0, "the server has ended the stream"), failures, { signal, onConnection });
    failures += 1;
  }
}

function connect({ body, key }, { id, number }, signal) {
  if (id === null) {
    return request("POST", "v1/responses", { body, headers: { "idempotency-key": key }, signal });
  }
  return request("GET", `v1/responses/${id}?stream=true&starting_after=${number}`, { signal });
}

const isPermanent = (error) => error instanceof ApiError && !error.isRetryable;

async function waitToReconnect(error, failures, { signal, onConnection }) {
  const pause = BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)];
  // A first failure is not reported: most often the next connection works.
  if (failures) onConnection(error);
  await sleep(Math.max(pause, (error.waitS ?? 0) * 1000), signal);
}

/** Wait until the time is over, the network is back, or the user presses Retry now. */
function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const ended = new AbortController();
    const end = (settle) => () => {
      clearTimeout(timer);
      ended.abort();
      settle(signal.reason);
    };
    const timer = setTimeout(end(resolve), ms);
    addEventListener("online", end(resolve), { signal: ended.signal });
    addEventListener("twelvefold:retry", end(resolve), { signal: ended.signal });
    signal.addEventListener("abort", end(reject), { signal: ended.signal });
  });
}

/** Make every waiting stream reconnect now. */
export const reconnectNow = () => dispatchEvent(new Event("twelvefold:retry"));
