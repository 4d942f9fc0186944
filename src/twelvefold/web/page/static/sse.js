// Parses server-sent events. Source: the HTML standard, section 9.2.6; only `data` is used here.

/** Longer than two heartbeats of the server: after that the connection is considered dead. */
const READ_TIMEOUT_MS = 35_000;

/** Yield the parsed data of each event. The `[DONE]` marker is dropped: the body ends after it. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await withTimeout(reader.read());
      if (done) return;
      // The server itself sends LF; a proxy may send CR LF.
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const data = dataOf(block);
        if (data && data !== "[DONE]") yield JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function dataOf(block) {
  const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
}

function withTimeout(read) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the connection has timed out")), READ_TIMEOUT_MS);
  });
  return Promise.race([read, timeout]).finally(() => clearTimeout(timer));
}
