// The official client of Node, and its helper for streams; the second turn is in a conversation.
import assert from "node:assert/strict";
import OpenAI from "openai";

const questions = JSON.parse(process.argv[2]);
const model = "enrolment";
const client = new OpenAI();
const weather = {
  type: "function",
  name: "get_weather",
  description: "The weather in a city.",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
  strict: true,
};

const ask = (input, more = {}) => client.responses.create({ model, input, ...more });

function told(response) {
  const calls = response.output.filter((item) => item.type === "mcp_call");
  return { text: response.output_text, tools: calls.map((item) => item.name) };
}

async function streamed() {
  const stream = client.responses.stream({ model, input: questions.stream });
  const pieces = [];
  stream.on("response.output_text.delta", (event) => pieces.push(event.delta));
  const response = await stream.finalResponse();
  assert.equal(pieces.join(""), response.output_text);
  return { ...told(response), pieces: pieces.length };
}

async function ownTool() {
  const asked = await ask(questions.own_tool, { tools: [weather] });
  const call = asked.output.find((item) => item.type === "function_call");
  const output = `18 degrees in ${JSON.parse(call.arguments).city}`;
  const answer = { type: "function_call_output", call_id: call.call_id, output };
  return told(await ask([answer], { tools: [weather], previous_response_id: asked.id }));
}

const conversation = (await client.conversations.create()).id;
console.log(
  JSON.stringify({
    text: told(await ask(questions.text)),
    tools: told(await ask(questions.tools, { conversation })),
    second: told(await ask(questions.second, { conversation })),
    stream: await streamed(),
    own_tool: await ownTool(),
  }),
);
