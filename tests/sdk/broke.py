"""The Python SDKs with their default retries at an exhausted cap: each must give up at once.

Prints `refused NAME` for each; how many requests they made is counted where they arrive.
"""

import os

import anthropic
import openai
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

oai = openai.OpenAI(api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"])
claude = anthropic.Anthropic(api_key=os.environ["ANTHROPIC_API_KEY"], base_url=os.environ["ANTHROPIC_BASE_URL"])
google = genai.Client(
    api_key=os.environ["GEMINI_API_KEY"],
    http_options=types.HttpOptions(base_url=os.environ["GOOGLE_GEMINI_BASE_URL"]),
)
USER = [{"role": "user", "content": "hello"}]


def refused(name, kinds, call):
    try:
        call()
    except kinds as error:
        assert "spend cap" in str(error), error
        print(f"refused {name}", flush=True)
        return
    raise AssertionError(f"{name} was served")


refused("openai.chat", openai.BadRequestError, lambda: oai.chat.completions.create(model="gpt-5-mini", messages=USER))
refused("openai.responses", openai.BadRequestError, lambda: oai.responses.create(model="gpt-5-mini", input="hello"))
refused(
    "anthropic.messages",
    anthropic.BadRequestError,
    lambda: claude.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=USER),
)
refused(
    "google.generate",
    genai_errors.ClientError,
    lambda: google.models.generate_content(model="gemini-2.5-flash", contents="hello"),
)
