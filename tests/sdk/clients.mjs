// The npm SDKs, unchanged, against what the base URLs name: the mock provider, or Tollgate before it.
//
//   OPENAI_BASE_URL=http://127.0.0.1:4000/v1 ANTHROPIC_BASE_URL=http://127.0.0.1:4000 node clients.mjs [PART OF A NAME]
//
// Needs: openai, @anthropic-ai/sdk. With SDK_MODULES=FOLDER they are taken from FOLDER/node_modules. Prints `ok NAME`
// for each check; exits with 1 if one fails. OPENAI_MODEL, ANTHROPIC_MODEL and *_API_KEY replace the defaults.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const modules = createRequire(path.join(process.env.SDK_MODULES ?? import.meta.dirname, "package.json"));
const OpenAI = modules("openai").default ?? modules("openai");
const Anthropic = modules("@anthropic-ai/sdk").default ?? modules("@anthropic-ai/sdk");

const OPENAI_MODEL = process.env.OPENAI_MODEL ?? "gpt-5-mini";
const ANTHROPIC_MODEL = process.env.ANTHROPIC_MODEL ?? "claude-haiku-4-5";
const PROMPT = "Tell me about ledgers, bridges and “quotes”.";
const SCHEMA = {
  type: "object",
  properties: {
    city: { type: "string" },
    days: { type: "integer" },
    unit: { type: "string", enum: ["celsius", "kelvin"] },
  },
  required: ["city", "days", "unit"],
  additionalProperties: false,
};

const openai = new OpenAI({ apiKey: process.env.OPENAI_API_KEY ?? "dummy", baseURL: process.env.OPENAI_BASE_URL });
const anthropic = new Anthropic({
  apiKey: process.env.ANTHROPIC_API_KEY ?? "dummy",
  baseURL: process.env.ANTHROPIC_BASE_URL,
});

const argumentsFit = (found) => {
  assert.equal(typeof found.city, "string");
  assert.equal(typeof found.days, "number");
  assert.ok(["celsius", "kelvin"].includes(found.unit));
};

const collect = async (stream) => {
  const all = [];
  for await (const one of stream) all.push(one);
  return all;
};

const user = { role: "user", content: PROMPT };
const chat = (more) => openai.chat.completions.create({ model: OPENAI_MODEL, messages: [user], ...more });
const chatTool = { type: "function", function: { name: "weather", parameters: SCHEMA } };
const respond = (more) => openai.responses.create({ model: OPENAI_MODEL, input: PROMPT, ...more });
const responsesTool = { type: "function", name: "weather", parameters: SCHEMA, strict: true };
const say = (more) => ({ model: ANTHROPIC_MODEL, max_tokens: 500, messages: [user], ...more });
const claudeTool = { name: "weather", description: "The weather.", input_schema: SCHEMA };

const checks = {
  async openai_chat_completes() {
    const answer = await chat();
    assert.ok(answer.choices[0].message.content);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    assert.ok(answer.usage.prompt_tokens > 0 && answer.usage.completion_tokens > 0);
  },
  async openai_chat_streams_the_same() {
    const whole = await chat();
    const chunks = await collect(await chat({ stream: true, stream_options: { include_usage: true } }));
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
  },
  async openai_chat_streams_without_usage_unasked() {
    const chunks = await collect(await chat({ stream: true }));
    assert.ok(chunks.every((chunk) => chunk.choices.length === 1 && !chunk.usage));
  },
  async openai_chat_calls_a_tool_and_goes_on() {
    const first = await chat({ tools: [chatTool] });
    const call = first.choices[0].message.tool_calls[0];
    argumentsFit(JSON.parse(call.function.arguments));
    const result = { role: "tool", tool_call_id: call.id, content: "12 degrees" };
    const second = await chat({ tools: [chatTool], messages: [user, first.choices[0].message, result] });
    assert.ok(second.choices[0].message.content);
  },
  async openai_chat_streams_a_tool_call() {
    const final = await openai.chat.completions
      .stream({ model: OPENAI_MODEL, messages: [user], tools: [chatTool] })
      .finalChatCompletion();
    argumentsFit(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments));
  },
  async openai_responses_completes_and_streams_the_same() {
    const whole = await respond();
    const events = await collect(await respond({ stream: true }));
    const deltas = events.filter((event) => event.type === "response.output_text.delta");
    assert.equal(deltas.map((event) => event.delta).join(""), whole.output_text);
    assert.equal(events.at(-1).type, "response.completed");
    assert.equal(events.at(-1).response.usage.output_tokens, whole.usage.output_tokens);
    assert.ok(whole.output_text && whole.usage.input_tokens > 0);
  },
  async openai_responses_calls_a_tool_and_goes_on() {
    const first = await openai.responses
      .stream({ model: OPENAI_MODEL, input: PROMPT, tools: [responsesTool] })
      .finalResponse();
    const call = first.output.find((item) => item.type === "function_call");
    argumentsFit(JSON.parse(call.arguments));
    const result = { type: "function_call_output", call_id: call.call_id, output: "12 degrees" };
    const clean = { type: "function_call", call_id: call.call_id, name: call.name, arguments: call.arguments };
    const second = await respond({ input: [user, clean, result], tools: [responsesTool] });
    assert.ok(second.output_text);
  },
  async openai_embeds() {
    const coded = await openai.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"] });
    const plain = await openai.embeddings.create({
      model: "text-embedding-3-small",
      input: ["one", "two"],
      encoding_format: "float",
    });
    assert.deepEqual(coded.data.map((row) => row.embedding.length), [1536, 1536]);
    assert.ok(coded.data[1].embedding.every((value, at) => Math.abs(value - plain.data[1].embedding[at]) < 1e-6));
    assert.ok(coded.usage.prompt_tokens > 0);
  },
  async openai_lists_models() {
    const models = await collect(await openai.models.list());
    assert.ok(models.some((model) => model.id === OPENAI_MODEL));
  },
  async openai_maps_errors() {
    await assert.rejects(chat({ model: "no-such-model" }), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      return error.code === "model_not_found";
    });
  },
  async anthropic_completes() {
    const answer = await anthropic.messages.create(say());
    assert.ok(answer.content[0].text);
    assert.ok(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0);
  },
  async anthropic_streams_the_same() {
    const whole = await anthropic.messages.create(say());
    const stream = anthropic.messages.stream(say());
    let text = "";
    stream.on("text", (delta) => (text += delta));
    const final = await stream.finalMessage();
    assert.equal(text, whole.content[0].text);
    assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
  },
  async anthropic_calls_a_tool_and_goes_on() {
    const first = await anthropic.messages.stream(say({ tools: [claudeTool] })).finalMessage();
    const call = first.content.find((block) => block.type === "tool_use");
    argumentsFit(call.input);
    const result = { type: "tool_result", tool_use_id: call.id, content: "12 degrees" };
    const messages = [user, { role: "assistant", content: first.content }, { role: "user", content: [result] }];
    const second = await anthropic.messages.create(say({ tools: [claudeTool], messages }));
    assert.ok(second.content[0].text);
  },
  async anthropic_counts_tokens() {
    const counted = await anthropic.messages.countTokens({ model: ANTHROPIC_MODEL, messages: [user] });
    const answer = await anthropic.messages.create(say());
    assert.equal(counted.input_tokens, answer.usage.input_tokens);
  },
  async anthropic_lists_models() {
    const models = await collect(anthropic.models.list());
    assert.ok(models.some((model) => model.id === ANTHROPIC_MODEL));
  },
  async anthropic_maps_errors() {
    const call = anthropic.messages.create(say({ model: "no-such-model" }));
    await assert.rejects(call, (error) => error instanceof Anthropic.NotFoundError);
  },
};

let failed = 0;
for (const [name, run] of Object.entries(checks)) {
  if (!`node.${name}`.includes(process.argv[2] ?? "")) continue;
  try {
    await run();
    console.log(`ok node.${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED node.${name}\n${error.stack}`);
  }
}
process.exit(failed ? 1 : 0);
