// The AI SDK; its second turn names the items of the first by their ids.
import { openai } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const questions = JSON.parse(process.argv[2]);
const model = openai("enrolment");
const weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `18 degrees in ${city}`,
});

function told(text, steps) {
  const calls = steps.flatMap((step) => step.toolCalls).filter((call) => call.providerExecuted);
  return { text, tools: calls.map((call) => call.toolName.replace(/^mcp\./, "")) };
}

async function ask(how) {
  const result = await generateText({ model, maxRetries: 0, ...how });
  return { ...told(result.text, result.steps), messages: result.response.messages };
}

async function streamed() {
  const result = streamText({
    model,
    maxRetries: 0,
    prompt: questions.stream,
    onError: ({ error }) => {
      throw error;
    },
  });
  const pieces = [];
  for await (const piece of result.textStream) pieces.push(piece);
  return { ...told(pieces.join(""), await result.steps), pieces: pieces.length };
}

const wish = { role: "user", content: questions.tools };
const { messages, ...first } = await ask({ messages: [wish] });
const next = { role: "user", content: questions.second };
console.log(
  JSON.stringify({
    text: await ask({ prompt: questions.text }),
    tools: first,
    second: await ask({ messages: [wish, ...messages, next] }),
    stream: await streamed(),
    own_tool: await ask({
      prompt: questions.own_tool,
      tools: { get_weather: weather },
      stopWhen: stepCountIs(3),
    }),
  }),
);
