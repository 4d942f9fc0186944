// Server-sent events out of the body of an answer.
// Source: the HTML standard, section 9.2.6; of its fields only `data` is used here.

/** Silence for longer than two heartbeats of the server means that the connection is dead. */
const SILENCE_MS = 35_000;

/** Each event's data as it comes, parsed; that the server was done is said by the end itself. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await inTime(reader.read());
      if (done) return;
      // A line may end with CR LF whose halves come apart; the server itself sends LF alone.
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

function inTime(reading) {
  let timer;
  const silent = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the connection is silent")), SILENCE_MS);
  });
  return Promise.race([reading, silent]).finally(() => clearTimeout(timer));
}
