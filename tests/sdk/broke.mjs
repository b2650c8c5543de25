// The npm SDKs and Vercel's `ai` with their default retries at an exhausted cap: each must give up at once.
//
// Prints `refused NAME` for each; how many requests they made is counted where they arrive.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const modules = createRequire(path.join(process.env.SDK_MODULES ?? import.meta.dirname, "package.json"));
const load = (name) => import(pathToFileURL(modules.resolve(name)).href);
const OpenAI = (await load("openai")).default;
const Anthropic = (await load("@anthropic-ai/sdk")).default;
const { generateText } = await load("ai");
const { createOpenAI } = await load("@ai-sdk/openai");
const { createAnthropic } = await load("@ai-sdk/anthropic");
const { createGoogleGenerativeAI } = await load("@ai-sdk/google");

const { OPENAI_API_KEY: apiKey, OPENAI_BASE_URL, ANTHROPIC_BASE_URL, GOOGLE_GEMINI_BASE_URL } = process.env;
const openai = new OpenAI({ apiKey, baseURL: OPENAI_BASE_URL });
const anthropic = new Anthropic({ apiKey, baseURL: ANTHROPIC_BASE_URL });
const vercel = {
  openai: createOpenAI({ apiKey, baseURL: OPENAI_BASE_URL })("gpt-5-mini"),
  openai_chat: createOpenAI({ apiKey, baseURL: OPENAI_BASE_URL }).chat("gpt-5-mini"),
  anthropic: createAnthropic({ apiKey, baseURL: `${ANTHROPIC_BASE_URL}/v1` })("claude-haiku-4-5"),
  google: createGoogleGenerativeAI({ apiKey, baseURL: `${GOOGLE_GEMINI_BASE_URL}/v1beta` })("gemini-2.5-flash"),
};
const user = { role: "user", content: "hello" };

const refused = async (name, call) => {
  const error = await call().then(
    () => assert.fail(`${name} was served`),
    (error) => error,
  );
  assert.match(`${error.message} ${error.responseBody ?? ""}`, /spend cap/, name);
  console.log(`refused ${name}`);
};

await refused("openai.chat", () => openai.chat.completions.create({ model: "gpt-5-mini", messages: [user] }));
await refused("anthropic.messages", () =>
  anthropic.messages.create({ model: "claude-haiku-4-5", max_tokens: 50, messages: [user] }),
);
for (const [name, model] of Object.entries(vercel)) {
  await refused(`vercel.${name}`, () => generateText({ model, prompt: "hello" }));
}
