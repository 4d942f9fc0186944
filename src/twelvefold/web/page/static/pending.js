// The request that was sent and is not confirmed yet. It is in the session storage, so that a
// reload sends it again with the same Idempotency-Key, under which the server executes it once.

const storageName = (conversation) => `twelvefold.pending.${conversation}`;

/** Return a random idempotency key of 128 bits. */
export function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function savePending(conversation, request) {
  try {
    sessionStorage.setItem(storageName(conversation), JSON.stringify(request));
  } catch {
    // A request with images may exceed the storage: a reload cannot send it again.
    deletePending(conversation);
  }
}

export function deletePending(conversation) {
  sessionStorage.removeItem(storageName(conversation));
}

/** Return `{ body, key }` of the unconfirmed request, or null. */
export function loadPending(conversation) {
  const stored = sessionStorage.getItem(storageName(conversation));
  return stored ? JSON.parse(stored) : null;
}
