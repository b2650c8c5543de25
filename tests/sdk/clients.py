"""The Python SDKs, unchanged, against what the base URLs name: the mock provider, or Tollgate before it.

    OPENAI_BASE_URL=http://127.0.0.1:4000/v1 ANTHROPIC_BASE_URL=http://127.0.0.1:4000 \
    GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:4000 python clients.py [PART OF A NAME]

Needs: openai, anthropic, google-genai. Prints `ok NAME` for each check; exits with 1 if one fails.
OPENAI_MODEL, ANTHROPIC_MODEL, GEMINI_MODEL and *_API_KEY replace the defaults.
"""

import json
import os
import sys
import traceback

import anthropic
import openai
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

OPENAI_MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")
ANTHROPIC_MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-haiku-4-5")
GEMINI_MODEL = os.environ.get("GEMINI_MODEL", "gemini-2.5-flash")
PROMPT = "Tell me about ledgers, bridges and “quotes”."
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
        "note": {"type": "string"},
    },
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}

oai = openai.OpenAI(api_key=os.environ.get("OPENAI_API_KEY", "dummy"), base_url=os.environ["OPENAI_BASE_URL"])
claude = anthropic.Anthropic(
    api_key=os.environ.get("ANTHROPIC_API_KEY", "dummy"), base_url=os.environ["ANTHROPIC_BASE_URL"]
)
google = genai.Client(
    api_key=os.environ.get("GEMINI_API_KEY", "dummy"),
    http_options=types.HttpOptions(base_url=os.environ["GOOGLE_GEMINI_BASE_URL"]),
)

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def arguments_fit(arguments):
    assert isinstance(arguments["city"], str) and isinstance(arguments["days"], int), arguments
    assert arguments["unit"] in ("celsius", "kelvin"), arguments


def raises(kinds, call):
    try:
        call()
    except kinds as error:
        return error
    raise AssertionError(f"no {kinds}")


# OpenAI: chat completions

CHAT_TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA}}


def chat(**more):
    return oai.chat.completions.create(
        **{"model": OPENAI_MODEL, "messages": [{"role": "user", "content": PROMPT}], **more}
    )


@check
def openai_chat_completes():
    answer = chat()
    assert answer.choices[0].message.content and answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@check
def openai_chat_streams_the_same():
    whole = chat()
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content and len(chunks) > 5
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


@check
def openai_chat_streams_without_usage_unasked():
    chunks = list(chat(stream=True))
    assert chunks and all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


@check
def openai_chat_obeys_limit_and_count():
    answer = chat(max_completion_tokens=7, n=2)
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    assert answer.usage.completion_tokens <= 14


@check
def openai_chat_calls_a_tool_and_goes_on():
    first = chat(tools=[CHAT_TOOL])
    call = first.choices[0].message.tool_calls[0]
    assert first.choices[0].finish_reason == "tool_calls" and call.function.name == "weather"
    arguments_fit(json.loads(call.function.arguments))
    result = {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}
    messages = [{"role": "user", "content": PROMPT}, first.choices[0].message, result]
    second = chat(messages=messages, tools=[CHAT_TOOL])
    assert second.choices[0].message.content and second.choices[0].finish_reason == "stop"


@check
def openai_chat_streams_a_tool_call():
    deltas = [chunk.choices[0].delta for chunk in chat(tools=[CHAT_TOOL], tool_choice="required", stream=True)]
    parts = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
    assert parts[0].id and parts[0].function.name == "weather"
    arguments_fit(json.loads("".join(part.function.arguments or "" for part in parts)))


@check
def openai_chat_runs_the_stream_helper():
    with oai.chat.completions.stream(model=OPENAI_MODEL, messages=[{"role": "user", "content": PROMPT}]) as stream:
        stream.until_done()
        final = stream.get_final_completion()
    assert final.choices[0].message.content == chat().choices[0].message.content


@check
def openai_chat_answers_in_a_schema():
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}}
    arguments_fit(json.loads(chat(response_format=form).choices[0].message.content))
    assert isinstance(json.loads(chat(response_format={"type": "json_object"}).choices[0].message.content), dict)


# OpenAI: responses

RESPONSES_TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}


def respond(**more):
    return oai.responses.create(**{"model": OPENAI_MODEL, "input": PROMPT, **more})


@check
def openai_responses_completes():
    answer = respond(instructions="Be brief.")
    assert answer.output_text and answer.status == "completed"
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


@check
def openai_responses_streams_the_same():
    whole = respond()
    events = list(respond(stream=True))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text == events[-1].response.output_text
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens


@check
def openai_responses_obeys_its_limit():
    answer = respond(max_output_tokens=16)
    assert answer.status == "incomplete" and answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage.output_tokens <= 16
    assert list(respond(max_output_tokens=16, stream=True))[-1].type == "response.incomplete"


@check
def openai_responses_calls_a_tool_and_goes_on():
    first = respond(tools=[RESPONSES_TOOL])
    call = next(item for item in first.output if item.type == "function_call")
    arguments_fit(json.loads(call.arguments))
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}
    turn = [{"role": "user", "content": PROMPT}, *first.output, result]
    assert respond(input=turn, tools=[RESPONSES_TOOL]).output_text


@check
def openai_responses_runs_the_stream_helper():
    with oai.responses.stream(model=OPENAI_MODEL, input=PROMPT, tools=[RESPONSES_TOOL]) as stream:
        final = stream.get_final_response()
    call = next(item for item in final.output if item.type == "function_call")
    arguments_fit(call.parsed_arguments or json.loads(call.arguments))


@check
def openai_responses_reasons():
    answer = respond(reasoning={"effort": "low"})
    assert 0 < answer.usage.output_tokens_details.reasoning_tokens < answer.usage.output_tokens
    assert answer.output_text


# OpenAI: the rest


@check
def openai_embeds():
    coded = oai.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    plain = oai.embeddings.create(model="text-embedding-3-small", input=["one", "two"], encoding_format="float")
    assert [len(row.embedding) for row in coded.data] == [1536, 1536]
    pairs = zip(coded.data[1].embedding, plain.data[1].embedding)
    assert all(abs(left - right) < 1e-6 for left, right in pairs)
    assert coded.data[0].embedding != coded.data[1].embedding
    assert coded.usage.prompt_tokens == coded.usage.total_tokens > 0
    small = oai.embeddings.create(model="text-embedding-3-large", input="one", dimensions=64)
    assert len(small.data[0].embedding) == 64


@check
def openai_lists_models():
    assert OPENAI_MODEL in [model.id for model in oai.models.list()]
    assert oai.models.retrieve(OPENAI_MODEL).id == OPENAI_MODEL


@check
def openai_maps_errors():
    error = raises(openai.NotFoundError, lambda: chat(model="no-such-model"))
    assert error.code == "model_not_found" and "no-such-model" in str(error), error
    raises((openai.BadRequestError, openai.NotFoundError), lambda: respond(model="no-such-model"))
    raises(openai.BadRequestError, lambda: chat(messages=[]))


# Anthropic

CLAUDE_TOOL = {"name": "weather", "description": "The weather.", "input_schema": SCHEMA}


def say(**more):
    return {
        "model": ANTHROPIC_MODEL,
        "max_tokens": 500,
        "messages": [{"role": "user", "content": PROMPT}],
        **more,
    }


@check
def anthropic_completes():
    answer = claude.messages.create(**say(system="Be brief."))
    assert answer.content[0].text and answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0


@check
def anthropic_streams_the_same():
    whole = claude.messages.create(**say())
    with claude.messages.stream(**say()) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens == whole.usage.input_tokens
    kinds = [event.type for event in claude.messages.create(**say(stream=True))]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop" and "content_block_delta" in kinds


@check
def anthropic_obeys_its_limit():
    answer = claude.messages.create(**say(max_tokens=5))
    assert answer.stop_reason == "max_tokens" and answer.usage.output_tokens <= 5


@check
def anthropic_calls_a_tool_and_goes_on():
    first = claude.messages.create(**say(tools=[CLAUDE_TOOL]))
    call = next(block for block in first.content if block.type == "tool_use")
    assert first.stop_reason == "tool_use"
    arguments_fit(call.input)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "12 degrees"}
    messages = [
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = claude.messages.create(**say(messages=messages, tools=[CLAUDE_TOOL]))
    assert second.content[0].text and second.stop_reason == "end_turn"


@check
def anthropic_streams_a_tool_call():
    with claude.messages.stream(**say(tools=[CLAUDE_TOOL])) as stream:
        final = stream.get_final_message()
    arguments_fit(next(block for block in final.content if block.type == "tool_use").input)


@check
def anthropic_thinks():
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with claude.messages.stream(**say(max_tokens=2000, thinking=thinking)) as stream:
        final = stream.get_final_message()
    whole = claude.messages.create(**say(max_tokens=2000, thinking=thinking))
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.content[0].thinking == whole.content[0].thinking
    assert final.usage.output_tokens == whole.usage.output_tokens


@check
def anthropic_reads_what_it_cached():
    # A prompt of this run alone, so that the first request is always cold.
    text = os.urandom(8).hex() + " A long instruction, said again and again." * 500
    system = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    cold = claude.messages.create(**say(system=system)).usage
    hot = claude.messages.create(**say(system=system)).usage
    assert cold.cache_creation_input_tokens > 1024 and not cold.cache_read_input_tokens
    assert cold.cache_creation.ephemeral_1h_input_tokens == cold.cache_creation_input_tokens
    assert hot.cache_read_input_tokens == cold.cache_creation_input_tokens
    assert hot.input_tokens == cold.input_tokens


@check
def anthropic_counts_tokens():
    question = {name: value for name, value in say(tools=[CLAUDE_TOOL]).items() if name != "max_tokens"}
    counted = claude.messages.count_tokens(**question).input_tokens
    assert counted == claude.messages.create(**say(tools=[CLAUDE_TOOL])).usage.input_tokens


@check
def anthropic_lists_models():
    assert ANTHROPIC_MODEL in [model.id for model in claude.models.list()]
    assert claude.models.retrieve(ANTHROPIC_MODEL).id == ANTHROPIC_MODEL


@check
def anthropic_maps_errors():
    error = raises(anthropic.NotFoundError, lambda: claude.messages.create(**say(model="no-such-model")))
    assert error.body["error"]["type"] == "not_found_error", error
    raises(anthropic.BadRequestError, lambda: claude.messages.create(**say(messages=[])))


# Google

GEMINI_TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            description="The weather.",
            parameters=types.Schema(
                type="OBJECT",
                properties={
                    "city": types.Schema(type="STRING"),
                    "days": types.Schema(type="INTEGER"),
                    "unit": types.Schema(type="STRING", enum=["celsius", "kelvin"]),
                },
                required=["city", "days", "unit"],
            ),
        )
    ]
)


def generate(contents=PROMPT, model=GEMINI_MODEL, **config):
    return google.models.generate_content(
        model=model, contents=contents, config=types.GenerateContentConfig(**config)
    )


@check
def gemini_completes():
    answer = generate(system_instruction="Be brief.")
    usage = answer.usage_metadata
    assert answer.text and answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert usage.prompt_token_count > 0 and usage.candidates_token_count > 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count


@check
def gemini_streams_the_same():
    whole = generate()
    chunks = list(google.models.generate_content_stream(model=GEMINI_MODEL, contents=PROMPT))
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text and len(chunks) > 5
    assert chunks[-1].usage_metadata.candidates_token_count == whole.usage_metadata.candidates_token_count


@check
def gemini_obeys_its_limit():
    answer = generate(max_output_tokens=5)
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert answer.usage_metadata.candidates_token_count <= 5


@check
def gemini_calls_a_tool_and_goes_on():
    first = generate(tools=[GEMINI_TOOL])
    call = first.function_calls[0]
    arguments_fit(call.args)
    turn = [
        types.Content(role="user", parts=[types.Part(text=PROMPT)]),
        first.candidates[0].content,
        types.Content(
            role="user",
            parts=[types.Part.from_function_response(name=call.name, response={"result": "12 degrees"})],
        ),
    ]
    assert generate(turn, tools=[GEMINI_TOOL]).text


@check
def gemini_streams_a_tool_call():
    config = types.GenerateContentConfig(tools=[GEMINI_TOOL])
    chunks = list(google.models.generate_content_stream(model=GEMINI_MODEL, contents=PROMPT, config=config))
    calls = [call for chunk in chunks for call in chunk.function_calls or []]
    assert len(calls) == 1
    arguments_fit(calls[0].args)


@check
def gemini_answers_in_a_schema():
    answer = generate(response_mime_type="application/json", response_schema=SCHEMA)
    arguments_fit(json.loads(answer.text))


@check
def gemini_thinks():
    usage = generate(thinking_config=types.ThinkingConfig(thinking_budget=100)).usage_metadata
    parts = usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    assert usage.thoughts_token_count > 0 and usage.total_token_count == parts


@check
def gemini_embeds():
    answer = google.models.embed_content(model="gemini-embedding-001", contents=["one", "two"])
    assert [len(row.values) for row in answer.embeddings] == [3072, 3072]
    config = types.EmbedContentConfig(output_dimensionality=64)
    small = google.models.embed_content(model="gemini-embedding-001", contents="one", config=config)
    assert len(small.embeddings[0].values) == 64


@check
def gemini_counts_tokens():
    counted = google.models.count_tokens(model=GEMINI_MODEL, contents=PROMPT).total_tokens
    assert counted == generate().usage_metadata.prompt_token_count


@check
def gemini_lists_models():
    names = [model.name for model in google.models.list()]
    assert f"models/{GEMINI_MODEL}" in names, names
    assert google.models.get(model=GEMINI_MODEL).name == f"models/{GEMINI_MODEL}"


@check
def gemini_maps_errors():
    error = raises(genai_errors.ClientError, lambda: generate(model="no-such-model"))
    assert error.code == 404 and error.status == "NOT_FOUND", error


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    failed = 0
    for function in CHECKS:
        name = f"python.{function.__name__}"
        if wanted not in name:
            continue
        try:
            function()
            print(f"ok {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    sys.exit(1 if failed else 0)


main()
