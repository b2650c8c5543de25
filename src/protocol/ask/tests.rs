//! Bodies as real clients send them, and what is read of them.

use super::*;
use crate::protocol::endpoint::{Endpoint, Hints};

fn read(path: &str, body: &str) -> Result<Box<Ask>, Malformed> {
    let endpoint = Endpoint::of("POST", path, Hints::default()).unwrap();
    let split = |size: usize| {
        let mut reader = Reader::new(&endpoint);
        body.as_bytes().chunks(size).try_for_each(|chunk| reader.feed(chunk))?;
        reader.finish()
    };
    let ask = split(body.len().max(1));
    assert_eq!(split(1).as_ref().ok(), ask.as_ref().ok(), "byte by byte: {body}");
    assert_eq!(split(7).as_ref().ok(), ask.as_ref().ok(), "in sevens: {body}");
    ask
}

fn results(ask: &Ask) -> Vec<(&str, Option<bool>)> {
    ask.tool_results.iter().map(|result| (&*result.name, result.is_error)).collect()
}

fn name(ask: &Ask) -> Option<&str> {
    ask.model.as_ref().map(|model| &*model.text)
}

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const GENERATE: &str = "/v1beta/models/gemini-3-pro:generateContent";

#[test]
fn a_chat_of_the_openai_sdk() {
    let body = r#"{"messages":[{"role":"system","content":"Be brief."},
        {"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},
        {"role":"assistant","content":null,"tool_calls":[
            {"id":"call_1","type":"function","function":{"name":"look","arguments":"{}"}},
            {"type":"function","function":{"arguments":"{}","name":"weigh"},"id":"call_2"}]},
        {"role":"tool","tool_call_id":"call_2","content":"3 kg"},
        {"role":"tool","tool_call_id":"call_1","content":"a cat"}],
        "model":"gpt-5.6","max_tokens":100,"max_completion_tokens":300,"n":2,"stream":true,"tool_choice":"required",
        "stream_options":{"include_usage":true},"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}},
        "reasoning_effort":"low","service_tier":"flex","prompt_cache_key":"k1",
        "tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}]}"#;
    let ask = read(CHAT, body).unwrap();
    assert_eq!((name(&ask), ask.stream, ask.output_limit, ask.choices), (Some("gpt-5.6"), true, Some(300), 2));
    assert_eq!(ask.include_usage, IncludeUsage::Explicit(true));
    assert_eq!(read(CHAT, r#"{"max_tokens":null,"max_completion_tokens":9}"#).unwrap().output_limit, Some(9));
    assert_eq!(ask.limit_spans.iter().map(|span| &body[span.clone()]).collect::<Vec<_>>(), ["100", "300"]);
    assert_eq!((ask.service_tier.as_deref(), ask.session.as_deref()), (Some("flex"), Some("k1")));
    assert_eq!(results(&ask), [("weigh", None), ("look", None)]);
    let features = ask.features;
    assert_eq!((features.messages, features.tools, features.images, features.calls, features.results), (5, 1, 1, 2, 2));
    assert!(features.structured && features.reasoning && features.tool_forced && features.in_tool_loop);
    assert_eq!(ask.image_bytes, r#""data:image/png;base64,AAAA""#.len() as u64);
    assert_eq!(features.text_bytes, 11 + 15 + 6 + 7);
    assert!(!ask.odd && !ask.outside_passes && ask.server_tools.is_empty() && features.documents == 0);
}

#[test]
fn claude_code_with_cache_control() {
    let body = r#"{"model":"claude-opus-5-5","system":[{"type":"text","text":"x-anthropic-billing-header: cc"},
        {"type":"text","text":"You are Claude Code.","cache_control":{"type":"ephemeral","ttl":"1h"}}],
        "messages":[{"role":"user","content":[{"type":"text","text":"fix it","cache_control":{"type":"ephemeral"}}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"Ab=="},
            {"type":"tool_use","id":"toolu_1","name":"Bash","input":{"command":"ls","type":"image","name":"no"}},
            {"type":"tool_use","id":"toolu_2","name":"Read","input":{}}]},
        {"role":"user","content":[
            {"tool_use_id":"toolu_1","type":"tool_result","content":"no such file","is_error":true},
            {"type":"tool_result","tool_use_id":"toolu_2","content":[
                {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]},
            {"type":"text","text":"<system-reminder>"}]}],
        "tools":[{"name":"Bash","description":"run","input_schema":{"type":"object"}},
            {"type":"text_editor_20250728","name":"edit"},
            {"type":"web_search_20250305","name":"web_search","max_uses":8}],
        "metadata":{"user_id":"user_a_session_b"},"max_tokens":32000,"thinking":{"type":"enabled","budget_tokens":31999},
        "context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},"stream":true}"#;
    let ask = read(MESSAGES, body).unwrap();
    assert_eq!((name(&ask), ask.output_limit, ask.stream), (Some("claude-opus-5-5"), Some(32_000), true));
    assert_eq!((ask.cache_ttl_s, ask.session.as_deref()), (3_600, Some("user_a_session_b")));
    assert_eq!(results(&ask), [("Bash", Some(true)), ("Read", Some(false))]);
    assert_eq!(ask.server_tools, [ServerTool { kind: "web_search_20250305".into(), uses_max: Some(8) }]);
    let features = ask.features;
    assert_eq!((features.messages, features.tools, features.server_tools, features.images), (3, 2, 1, 1));
    assert!(features.reasoning && features.signed_reasoning && features.caches && features.in_tool_loop);
    assert!(!ask.outside_passes && !ask.odd && features.documents == 0);
    assert_eq!(ask.image_bytes, 6);
}

#[test]
fn a_response_of_codex() {
    let body = r#"{"model":"gpt-6-codex","instructions":"You are Codex.","input":[
        {"type":"message","role":"user","content":[{"type":"input_text","text":"go"}]},
        {"type":"reasoning","summary":[],"content":null,"encrypted_content":"gAAA"},
        {"type":"function_call","name":"old","arguments":"{}","call_id":"c0"},
        {"type":"function_call_output","call_id":"c0","output":"done"},
        {"type":"custom_tool_call","call_id":"c1","name":"apply_patch","input":"*** Begin"},
        {"type":"custom_tool_call_output","output":[{"type":"input_text","text":"ok"}],"call_id":"c1"}],
        "tools":[{"type":"function","name":"shell","parameters":{}},{"type":"custom","name":"apply_patch"},{"type":"web_search"}],
        "tool_choice":"auto","parallel_tool_calls":false,"reasoning":{"effort":"high","summary":"auto"},"store":false,
        "stream":true,"include":["reasoning.encrypted_content"],"prompt_cache_key":"session","max_tool_calls":4}"#;
    let ask = read(RESPONSES, body).unwrap();
    assert_eq!(results(&ask), [("apply_patch", None)]);
    assert_eq!((ask.server_tools.len(), ask.server_tools[0].uses_max, ask.server_calls_max), (1, None, Some(4)));
    let features = ask.features;
    assert_eq!((features.messages, features.tools, features.calls, features.results), (6, 2, 2, 2));
    assert!(features.signed_reasoning && features.reasoning && !features.tool_forced && !features.stored_context);
    assert!(!ask.odd && features.documents == 0 && ask.include_usage == IncludeUsage::Absent);
}

#[test]
fn a_call_of_the_gemini_cli() {
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"look"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}},
            {"inline_data":{"data":"BBBB","mime_type":"application/pdf"}},{"fileData":{"fileUri":"x","mimeType":"image/png"}}]},
        {"role":"model","parts":[{"functionCall":{"name":"ls","args":{}},"thoughtSignature":"AA"}]},
        {"role":"user","parts":[{"functionResponse":{"name":"ls","response":{"error":"denied"}}},
            {"functionResponse":{"id":"1","name":"cat","response":{"output":"x"},"parts":[{"inlineData":{"mimeType":"image/png","data":"CC"}}]}}]}],
        "systemInstruction":{"parts":[{"text":"You are an agent."}]},
        "tools":[{"functionDeclarations":[{"name":"ls"},{"name":"cat"}]},{"googleSearch":{}}],
        "toolConfig":{"functionCallingConfig":{"mode":"AUTO"}},
        "generationConfig":{"maxOutputTokens":"800","candidateCount":2,"thinkingConfig":{"includeThoughts":true},"responseMimeType":"application/json"}}"#;
    let ask = read(GENERATE, body).unwrap();
    assert_eq!((name(&ask), ask.output_limit, ask.choices), (None, Some(800), 2));
    assert_eq!(results(&ask), [("ls", Some(true)), ("cat", Some(false))]);
    let features = ask.features;
    assert_eq!((features.images, features.documents, features.tools, features.server_tools), (2, 2, 2, 1));
    assert_eq!((features.messages, features.calls, features.results, ask.image_bytes), (3, 1, 2, 6 + 4));
    assert!(features.signed_reasoning && features.structured && !features.tool_forced && !ask.odd);
    let streamed = Endpoint::of("POST", "/v1/models/m:streamGenerateContent", Hints::default()).unwrap();
    let mut reader = Reader::new(&streamed);
    reader.feed(b"{}").unwrap();
    assert!(reader.finish().unwrap().stream);
}

#[test]
fn embeddings_have_texts_or_tokens() {
    let of = |path: &str, body: &str| read(path, body).unwrap().features;
    let texts = of("/v1/embeddings", r#"{"model":"e","input":["one","two"],"encoding_format":"base64"}"#);
    assert_eq!((texts.messages, texts.text_bytes), (2, 10));
    let tokens = of("/v1/embeddings", r#"{"model":"e","input":[[1,2,3],[4]]}"#);
    assert_eq!((tokens.messages, tokens.text_bytes), (2, 0));
    assert_eq!(of("/v1/embeddings", r#"{"model":"e","input":[1,2,3]}"#).messages, 0);
    let batch = r#"{"requests":[{"model":"models/e","content":{"parts":[{"text":"one"}]}},{"content":{"parts":[{"text":"two"}]}}]}"#;
    let features = of("/v1beta/models/e:batchEmbedContents", batch);
    assert_eq!((features.messages, features.text_bytes), (2, 10));
}

#[test]
fn what_is_said_of_usage_is_told_apart() {
    let of = |body: &str| read(CHAT, body).unwrap().include_usage;
    assert_eq!(of(r#"{"model":"m"}"#), IncludeUsage::Absent);
    assert_eq!(of(r#"{"stream_options":null}"#), IncludeUsage::Null(18..22));
    assert_eq!(of(r#"{"stream_options":{ }}"#), IncludeUsage::Without { insert_at: 19, is_empty: true });
    assert_eq!(of(r#"{"stream_options":{"a":1}}"#), IncludeUsage::Without { insert_at: 19, is_empty: false });
    assert_eq!(of(r#"{"stream_options":{"include_usage":false}}"#), IncludeUsage::Explicit(false));
    assert_eq!(of(r#"{"stream_options":{"include_usage":null}}"#), IncludeUsage::Odd);
    assert_eq!(of(r#"{"stream_options":7}"#), IncludeUsage::Odd);
    assert_eq!(of(r#"{"x":{"stream_options":{"include_usage":true}}}"#), IncludeUsage::Absent);
}

#[test]
fn what_nobody_could_route_is_refused() {
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(MODEL_BYTES_MAX + 1));
    for (body, what) in [
        ("", "the body is empty"),
        ("  ", "the body is empty"),
        ("[]", "the body must be a JSON object"),
        ("\"x\"", "the body must be a JSON object"),
        ("{\"a\":1", "the text ends within a value"),
        ("{} {}", "something follows the value"),
        ("{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", "\"model\" is given twice"),
        ("{\"model\":7}", "\"model\" must be a string"),
        ("{\"model\":[\"a\"]}", "\"model\" must be a string"),
        ("{\"model\":\"\\ud800\"}", "\"model\" must be a string"),
        (&long, "\"model\" is too long"),
    ] {
        assert_eq!(read(CHAT, body).unwrap_err().what, what, "{body}");
    }
    let endpoint = Endpoint::of("POST", CHAT, Hints::default()).unwrap();
    assert_eq!(Reader::new(&endpoint).feed(b"{\"a\":\"\xff").unwrap_err().what, "the body is not valid UTF-8");
    let refusal = Refusal::from(read(CHAT, r#"{"model":7}"#).unwrap_err());
    assert_eq!(refusal.message, "the body cannot be read: \"model\" must be a string (byte 9)");
    assert_eq!((refusal.cause, refusal.param), (Cause::Malformed, Some("model")));
}

#[test]
fn what_leaves_the_cost_without_a_bound_is_marked() {
    type Is = fn(&Ask) -> bool;
    let odd: Is = |ask| ask.odd;
    let outside: Is = |ask| ask.outside_passes;
    let server: Is = |ask| ask.server_tools.iter().any(|tool| tool.uses_max.is_none());
    let unseen: Is = |ask| ask.features.documents + ask.features.audios + ask.features.videos > 0;
    let stored: Is = |ask| ask.features.stored_context;
    let unlimited: Is = |ask| ask.output_limit.is_none() && !ask.limit_spans.is_empty();
    for (path, body, is) in [
        (CHAT, r#"{"n":"many"}"#, odd),
        (CHAT, r#"{"messages":[{"content":{"type":"file"}}]}"#, odd),
        (GENERATE, r#"{"contents":{"parts":[{"text":"x"}]}}"#, odd),
        (GENERATE, r#"{"contents":[{"parts":{"inlineData":{}}}]}"#, odd),
        (GENERATE, r#"{"tools":{"googleSearch":{}}}"#, odd),
        (RESPONSES, r#"{"context_management":[{"type":"compaction","compact_threshold":1000}]}"#, outside),
        (RESPONSES, r#"{"reasoning":{"effort":"low","mode":"pro"}}"#, outside),
        (MESSAGES, r#"{"context_management":{"edits":[{"type":"compact_20260112"}]}}"#, outside),
        (MESSAGES, r#"{"tools":[{"type":"advisor_20260301","model":"x","max_uses":2}]}"#, outside),
        (MESSAGES, r#"{"tools":[{"type":"web_search_20250305","max_uses":null}]}"#, server),
        (MESSAGES, r#"{"mcp_servers":[{"url":"x"}]}"#, server),
        (CHAT, r#"{"web_search_options":{}}"#, server),
        (CHAT, r#"{"tools":[{"type":"something_new"}]}"#, server),
        (RESPONSES, r#"{"input":[{"type":"additional_tools","tools":[{"type":"web_search"}]}]}"#, server),
        (GENERATE, r#"{"tools":[{"functionDeclarations":[],"new_tool":{}}]}"#, server),
        (CHAT, r#"{"messages":[{"content":[{"type":"input_audio","input_audio":{"data":"AA"}}]}]}"#, unseen),
        (CHAT, r#"{"messages":[{"role":"assistant","audio":{"id":"a"}}]}"#, unseen),
        (CHAT, r#"{"messages":[{"content":[{"type":"new_block"}]}]}"#, unseen),
        (MESSAGES, r#"{"messages":[{"content":[{"type":"document","source":{"type":"url","url":"x"}}]}]}"#, unseen),
        (RESPONSES, r#"{"input":[{"type":"item_reference","id":"x"}]}"#, unseen),
        (GENERATE, r#"{"contents":[{"parts":[{"newThing":{}}]}]}"#, unseen),
        (GENERATE, r#"{"contents":[{"parts":[{"inlineData":{"data":"AA"}}]}]}"#, unseen),
        (RESPONSES, r#"{"previous_response_id":"resp_1"}"#, stored),
        (RESPONSES, r#"{"conversation":"conv_1"}"#, stored),
        (RESPONSES, r#"{"prompt":{"id":"p"}}"#, stored),
        (GENERATE, r#"{"cachedContent":"cachedContents/x"}"#, stored),
        (CHAT, r#"{"max_tokens":5,"max_tokens":null}"#, unlimited),
        (GENERATE, r#"{"generationConfig":{"maxOutputTokens":5},"generation_config":{}}"#, unlimited),
        (MESSAGES, r#"{"messages":[{"content":[{"type":"document","type":"text"}]}]}"#, unseen),
        (MESSAGES, r#"{"tools":[{"type":"web_search_20250305","max_uses":1,"max_uses":9}]}"#, odd),
        (MESSAGES, r#"{"tools":[{"type":"web_search_20250305","type":"custom"}]}"#, odd),
        (CHAT, &format!(r#"{{"tools":[{}1]}}"#, r#"{"type":"web_search"},"#.repeat(65)), odd),
        (CHAT, r#"{"max_tokens":1e3,"max_completion_tokens":5}"#, unlimited),
    ] {
        assert!(is(&read(path, body).unwrap()), "{body}");
    }
}

#[test]
fn an_image_that_may_be_text_is_not_taken_off() {
    let body = r#"{"messages":[{"content":[{"type":"image","source":{"data":"AAAA"},"type":"text","text":"x"},
        {"type":"text","source":{"data":"AAAA"}},{"source":{"data":"AAAA"},"type":"image"}]}]}"#;
    let ask = read(MESSAGES, body).unwrap();
    assert_eq!((ask.image_bytes, ask.features.images), (6, 1));
}

#[test]
fn only_the_last_turn_s_results_are_kept() {
    let result =
        |id: usize| format!(r#"{{"role":"tool","tool_call_id":"c{id}","name":"{}","content":""}}"#, "é".repeat(100));
    let many: Vec<_> = (0..100).map(result).collect();
    let ask = read(CHAT, &format!(r#"{{"messages":[{}]}}"#, many.join(","))).unwrap();
    assert_eq!(ask.tool_results.len(), 64);
    assert_eq!(&*ask.tool_results[0].name, "é".repeat(64));
    let body = format!(r#"{{"messages":[{},{{"role":"user","content":"thanks"}}]}}"#, result(0));
    assert_eq!(results(&read(CHAT, &body).unwrap()), []);
}

#[test]
fn growth_by_normalising_is_counted_plain_and_escaped() {
    let of = |body: &str| read(CHAT, body).unwrap().expansion_bytes;
    assert_eq!(of(r#"{"messages":[{"content":"plain \u00e9 日本"}]}"#), 0);
    assert_eq!(of("{\"messages\":[{\"content\":\"\u{fdfa}\"}]}"), 30);
    assert_eq!(of(r#"{"messages":[{"content":"\ufdfa\uFDFA"}]}"#), 54);
}

#[test]
fn a_body_that_is_not_looked_at_may_be_anything() {
    let endpoint = Endpoint::of("GET", "/v1/models", Hints::default()).unwrap();
    let mut reader = Reader::new(&endpoint);
    reader.feed(b"\xff\xfe no json").unwrap();
    assert_eq!(reader.finish().unwrap().features.bytes, 10);
}

#[test]
fn the_last_human_ask_is_found() {
    let blocks = r#"[{"type":"text","text":"<system-reminder>x</system-reminder>"},{"text":"fix it","type":"text"}]"#;
    let result = r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"done"},{"type":"text","text":"go on"}]}"#;
    for (path, body, ask, system, turns) in [
        (CHAT, r#"{"messages":[{"role":"user","content":"hi"}]}"#.to_owned(), &[r#""hi""#][..], &[][..], 1),
        (
            CHAT,
            r#"{"messages":[{"role":"system","content":"Be brief."},{"content":"one","role":"user"},
            {"role":"assistant","content":"hm"},{"role":"user","content":"two"},
            {"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}],"content":"I look"},
            {"role":"tool","tool_call_id":"c","content":"three"}]}"#
                .to_owned(),
            &[r#""two""#],
            &[r#""Be brief.""#],
            2,
        ),
        (
            MESSAGES,
            format!(r#"{{"system":"You are","messages":[{{"role":"user","content":{blocks}}},{result}]}}"#),
            &[r#""<system-reminder>x</system-reminder>""#, r#""fix it""#],
            &[r#""You are""#],
            1,
        ),
        (RESPONSES, r#"{"instructions":"sys","input":"hello"}"#.to_owned(), &[r#""hello""#], &[r#""sys""#], 1),
        (
            RESPONSES,
            r#"{"input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"dev"}]},
            {"type":"message","role":"user","content":[{"type":"input_text","text":"do it"}]},
            {"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},
            {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
            {"type":"function_call_output","call_id":"c","output":"x"}]}"#
                .to_owned(),
            &[r#""do it""#],
            &[r#""dev""#],
            1,
        ),
        (
            GENERATE,
            r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"parts":[{"text":"a"},{"text":"b"}]},
            {"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]},
            {"role":"user","parts":[{"functionResponse":{"name":"f","response":{}}}]}]}"#
                .to_owned(),
            &[r#""a""#, r#""b""#],
            &[r#"{"parts":[{"text":"s"}]}"#],
            1,
        ),
        ("/v1/completions", r#"{"prompt":"once"}"#.to_owned(), &[r#""once""#], &[], 1),
    ] {
        let spoken = read(path, &body).unwrap().spoken;
        let texts = |spans: &[std::ops::Range<usize>]| {
            spans.iter().map(|span| body[span.clone()].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            (texts(&spoken.ask), texts(&spoken.system), spoken.turns),
            (
                ask.iter().map(|text| (*text).to_owned()).collect(),
                system.iter().map(|text| (*text).to_owned()).collect(),
                turns
            ),
            "{body}"
        );
    }
}
