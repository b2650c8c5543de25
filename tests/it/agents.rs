//! The request shapes of real agents against routing: what they ask for never goes to a model that cannot take it, and of
//! their bytes only the model's name changes.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tollgate::domain::entry::Tier;

use crate::world::World;

/// Small models that can do nothing but answer words, and great ones. `MODE` is the mode.
const SMALL: &str = r#"
[routing]
mode = "MODE"
routable = ["*"]
[routing.tiers.openai]
simple = "tiny-chat"
medium = "gpt-6.1-terra"
complex = "gpt-6.1-sol"
[routing.tiers.anthropic]
simple = "tiny-claude"
medium = "claude-sonnet-5-5"
complex = "claude-opus-5-5"
[routing.tiers.gemini]
simple = "tiny-gemini"
medium = "gemini-3.8-flash"
complex = "gemini-4-argon"
[prices."tiny-chat"]
input = "0.01"
output = "0.02"
context = 16000
max_output = 4000
can = ["sampling"]
endpoints = ["chat/completions", "responses"]
[prices."tiny-claude"]
input = "0.01"
output = "0.02"
context = 16000
max_output = 4000
can = ["sampling"]
endpoints = ["messages"]
[prices."tiny-gemini"]
input = "0.01"
output = "0.02"
context = 16000
max_output = 4000
can = ["sampling"]
endpoints = ["generateContent"]
"#;

/// What a small model can do.
const ASK: &str = "Classify the sentiment of this review as positive or negative: I love it.";

const IMAGE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk";

/// A shape: who sends it, its path, its body with `MODEL` and `ASK` in it, and whether the small model can take it.
type Shape = (&'static str, &'static str, String, bool);

/// The JSON schema that some of them ask for.
const SCHEMA: &str =
    r#""schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#;

/// Bodies as the clients send them, shortened: PROTOCOLS, "Clients".
fn shapes() -> Vec<Shape> {
    [claude_code(), codex(), gemini_cli(), ai_sdk()].concat()
}

fn claude_code() -> Vec<Shape> {
    let claude = |more: &str, content: &str| {
        format!(
            r#"{{"model":"MODEL","messages":[{{"role":"user","content":[{content}]}}],"system":[{{"type":"text","text":"You are Claude Code.","cache_control":{{"type":"ephemeral"}}}}],"metadata":{{"user_id":"user_a_session_b"}},"max_tokens":2000{more},"stream":false}}"#
        )
    };
    let words =
        r#"{"type":"text","text":"<system-reminder>\nBe tidy.\n</system-reminder>"},{"type":"text","text":"ASK"}"#;
    let picture =
        format!(r#"{words},{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{IMAGE}"}}}}"#);
    let document = format!(
        r#"{words},{{"type":"document","source":{{"type":"base64","media_type":"application/pdf","data":"JVBERi0="}}}}"#
    );
    let tool = r#","tools":[{"name":"Bash","description":"runs","input_schema":{"type":"object","properties":{"command":{"type":"string"}}}}]"#;
    vec![
        ("Claude Code, words", "/v1/messages", claude("", words), true),
        ("Claude Code, tools", "/v1/messages", claude(tool, words), false),
        (
            "Claude Code, thinking",
            "/v1/messages",
            claude(r#","thinking":{"type":"enabled","budget_tokens":1024}"#, words),
            false,
        ),
        ("Claude Code, adaptive", "/v1/messages", claude(r#","thinking":{"type":"adaptive"}"#, words), false),
        ("Claude Code, an image", "/v1/messages", claude("", &picture), false),
        ("Claude Code, a PDF", "/v1/messages", claude("", &document), false),
        (
            "Claude, a schema",
            "/v1/messages",
            claude(&format!(r#","output_config":{{"format":{{"type":"json_schema",{SCHEMA}}}}}"#), words),
            false,
        ),
    ]
}

fn codex() -> Vec<Shape> {
    let codex = |more: &str| {
        format!(
            r#"{{"model":"MODEL","instructions":"You are Codex.","input":[{{"type":"message","role":"user","content":[{{"type":"input_text","text":"<environment_context>\n  <cwd>/w</cwd>\n</environment_context>"}}]}},{{"type":"message","role":"user","content":[{{"type":"input_text","text":"ASK"}}]}}]{more},"store":false,"stream":false,"prompt_cache_key":"0199"}}"#
        )
    };
    vec![
        ("Codex, words", "/v1/responses", codex(""), true),
        (
            "Codex, tools",
            "/v1/responses",
            codex(
                r#","tools":[{"type":"function","name":"shell","strict":false,"parameters":{"type":"object","properties":{}}}],"tool_choice":"auto","parallel_tool_calls":false"#,
            ),
            false,
        ),
        (
            "Codex, reasoning",
            "/v1/responses",
            codex(r#","reasoning":{"effort":"high","summary":"auto"},"include":["reasoning.encrypted_content"]"#),
            false,
        ),
        (
            "Codex, a schema",
            "/v1/responses",
            codex(&format!(r#","text":{{"format":{{"type":"json_schema","name":"a","strict":true,{SCHEMA}}}}}"#)),
            false,
        ),
    ]
}

fn gemini_cli() -> Vec<Shape> {
    let gemini = |more: &str| {
        format!(
            r#"{{"contents":[{{"role":"user","parts":[{{"text":"ASK"}}]}}],"systemInstruction":{{"parts":[{{"text":"You are an interactive CLI agent."}}]}}{more}}}"#
        )
    };
    vec![
        (
            "Gemini CLI, words",
            "/v1beta/models/MODEL:generateContent",
            gemini(r#","generationConfig":{"temperature":1,"topP":0.95}"#),
            true,
        ),
        (
            "Gemini CLI, tools",
            "/v1beta/models/MODEL:generateContent",
            gemini(
                r#","tools":[{"functionDeclarations":[{"name":"read_file","parametersJsonSchema":{"type":"object"}}]}]"#,
            ),
            false,
        ),
        (
            "Gemini CLI, thinking",
            "/v1beta/models/MODEL:generateContent",
            gemini(r#","generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingBudget":512}}"#),
            false,
        ),
        (
            "Gemini CLI, JSON",
            "/v1beta/models/MODEL:generateContent",
            gemini(
                r#","generationConfig":{"responseMimeType":"application/json","responseJsonSchema":{"type":"object","properties":{"next_speaker":{"type":"string"}}}}"#,
            ),
            false,
        ),
    ]
}

fn ai_sdk() -> Vec<Shape> {
    let sdk = |more: &str, content: &str| {
        format!(
            r#"{{"model":"MODEL","messages":[{{"role":"system","content":"Be brief."}},{{"role":"user","content":{content}}}]{more}}}"#
        )
    };
    let chat = "/v1/chat/completions";
    let long = format!("{ASK} {}", "The kettle sings and the tea is good. ".repeat(1_500));
    vec![
        ("AI SDK, words", chat, sdk("", r#""ASK""#), true),
        (
            "AI SDK, tools",
            chat,
            sdk(
                r#","tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{}}}}],"tool_choice":"auto""#,
                r#""ASK""#,
            ),
            false,
        ),
        (
            "AI SDK, an object",
            chat,
            sdk(
                &format!(
                    r#","response_format":{{"type":"json_schema","json_schema":{{"name":"response","strict":true,{SCHEMA}}}}}"#
                ),
                r#""ASK""#,
            ),
            false,
        ),
        (
            "AI SDK, an image",
            chat,
            sdk(
                "",
                &format!(
                    r#"[{{"type":"text","text":"ASK"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{IMAGE}"}}}}]"#
                ),
            ),
            false,
        ),
        ("AI SDK, effort", chat, sdk(r#","reasoning_effort":"low""#, r#""ASK""#), false),
        ("AI SDK, a long context", chat, sdk("", &format!("\"{long}\"")), false),
        ("AI SDK, a long answer", chat, sdk(r#","max_completion_tokens":9000"#, r#""ASK""#), false),
    ]
}

fn request(world: &World, path: &str, body: &str) -> Request<Full<Bytes>> {
    let mut request = world.post(path, body.to_owned());
    request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    request
        .headers_mut()
        .insert("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14".parse().unwrap());
    request
}

#[tokio::test]
async fn what_an_agent_asks_for_never_goes_to_a_model_that_cannot_take_it() {
    let world = World::start(&SMALL.replace("MODE", "enforce")).await;
    for (what, path, body, is_easy) in shapes() {
        let body = body.replace("ASK", ASK);
        let (asked_path, asked) = (path.replace("MODEL", "auto"), body.replace("MODEL", "auto"));
        let answer = world.send(request(&world, &asked_path, &asked)).await;
        assert_eq!(answer.status, StatusCode::OK, "{what}: {}", answer.text());
        let sent = answer.header("x-tollgate-model");
        assert_eq!(sent.starts_with("tiny-"), is_easy, "{what}: {sent}, {}", answer.header("x-tollgate-reason"));
        let seen = world.mock.requests().pop().unwrap();
        assert_eq!(seen.target, path.replace("MODEL", sent), "{what}");
        assert_eq!(std::str::from_utf8(&seen.body).unwrap(), body.replace("MODEL", sent), "{what}");
    }
}

#[tokio::test]
async fn an_agents_bytes_are_its_own_where_routing_observes() {
    let world = World::start(&SMALL.replace("MODE", "observe")).await;
    for (what, path, body, is_easy) in shapes() {
        let dear = match path {
            "/v1/messages" => "claude-opus-5-5",
            "/v1/chat/completions" | "/v1/responses" => "gpt-6.1-sol",
            _ => "gemini-4-argon",
        };
        let (path, body) = (path.replace("MODEL", dear), body.replace("ASK", ASK).replace("MODEL", dear));
        let answer = world.send(request(&world, &path, &body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{what}: {}", answer.text());
        let seen = world.mock.requests().pop().unwrap();
        assert_eq!((&seen.target, &seen.body[..]), (&path, body.as_bytes()), "{what}");
        let reason = answer.header("x-tollgate-reason");
        assert_eq!(reason.starts_with("observed: tiny-"), is_easy, "{what}: {reason}");
    }
}

#[tokio::test]
async fn titles_and_what_a_client_calls_auxiliary_go_to_the_cheapest() {
    let world = World::start(&SMALL.replace("MODE", "enforce")).await;
    let titles = [
        r#""system":"You are a title generator. You output ONLY a thread title. Nothing else.","messages":[{"role":"user","content":"Prove it"}]"#,
        r#""system":[{"type":"text","text":"You are Claude Code."},{"type":"text","text":"Analyze if this message indicates a new conversation topic. If it does, extract a title."}],"messages":[{"role":"user","content":"Prove it"}]"#,
        r####""messages":[{"role":"user","content":"### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history."}]"####,
    ];
    for (number, title) in titles.iter().enumerate() {
        let body = format!(r#"{{"model":"claude-opus-5-5","max_tokens":64,{title}}}"#);
        let answer = world.send(request(&world, "/v1/messages", &body)).await;
        let told = (answer.header("x-tollgate-model"), answer.header("x-tollgate-reason"));
        assert_eq!(told, ("tiny-claude", "housekeeping"), "{number}");
    }
    let body = r#"{"model":"claude-opus-5-5","max_tokens":64,"messages":[{"role":"user","content":"Prove that there is no largest prime."}]}"#;
    let mut hinted = request(&world, "/v1/messages", body);
    hinted.headers_mut().insert("x-claude-code-request-class", "auxiliary".parse().unwrap());
    assert_eq!(world.send(hinted).await.header("x-tollgate-reason"), "housekeeping");
    let plain = world.send(request(&world, "/v1/messages", body)).await;
    assert_ne!(plain.header("x-tollgate-reason"), "housekeeping");
}

#[tokio::test]
async fn a_conversation_is_followed_by_the_responses_that_it_goes_on_from() {
    let world = World::start(&SMALL.replace("MODE", "enforce")).await;
    for stream in [false, true] {
        let (mut previous, mut models) = (String::new(), Vec::new());
        for turn in 0..3 {
            let tier = if turn == 0 { "complex" } else { "simple" };
            let goes_on = if turn == 0 { String::new() } else { format!(r#","previous_response_id":"{previous}""#) };
            let body = format!(r#"{{"model":"auto","input":"Turn {turn} {stream}","stream":{stream}{goes_on}}}"#);
            let mut request = request(&world, "/v1/responses", &body);
            request.headers_mut().insert("x-tollgate-tier", tier.parse().unwrap());
            let answer = world.send(request).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            let id = answer.text().split("\"resp_").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
            previous = format!("resp_{id}");
            models.push((answer.header("x-tollgate-model").to_owned(), answer.header("x-tollgate-reason").to_owned()));
            world.settled().await;
        }
        assert_eq!(models[0].0, "gpt-6.1-sol");
        // Its stay on a warm model, or its move since that pays, says that it was recognised.
        assert!(models[1..].iter().all(|(_, reason)| ["pinned", "pays"].contains(&&**reason)), "{models:?}");
        // After a restart nobody knows it, and it is answered all the same.
        let again = world.again(&SMALL.replace("MODE", "enforce")).await;
        let body = format!(r#"{{"model":"auto","input":"Once more","previous_response_id":"{previous}"}}"#);
        let answer = again.send(self::request(&again, "/v1/responses", &body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
}

/// An output limit for each tier, and one for what a tag marks.
const LIMITS: &str = r#"
[routing]
mode = "enforce"
routable = ["*"]
[routing.max_output]
simple = 100
medium = 300
complex = 900
[routing.teams.search]
floor = "medium"
ceiling = "medium"
[routing.routes."lane=short"]
max_output = 50
"#;

#[tokio::test]
async fn an_answer_is_no_longer_than_its_tier_allows() {
    let world = World::start(LIMITS).await;
    let chat = r#""messages":[{"role":"user","content":"hi"}]"#;
    let gemini = "/v1beta/models/gemini-3.8-flash:generateContent";
    for (path, body, sent, told) in [
        (
            "/v1/chat/completions",
            format!(r#"{{"model":"gpt-6.1-terra",{chat}}}"#),
            format!(r#"{{"max_completion_tokens":300,"model":"gpt-6.1-terra",{chat}}}"#),
            "300",
        ),
        (
            "/v1/messages",
            format!(r#"{{"model":"claude-sonnet-5-5","max_tokens" : 32000,{chat}}}"#),
            format!(r#"{{"model":"claude-sonnet-5-5","max_tokens" : 300,{chat}}}"#),
            "300",
        ),
        // What may be thought comes on top.
        (
            "/v1/messages",
            format!(
                r#"{{"model":"claude-sonnet-5-5","max_tokens":32000,"thinking":{{"type":"enabled","budget_tokens":2048}},{chat}}}"#
            ),
            format!(
                r#"{{"model":"claude-sonnet-5-5","max_tokens":2348,"thinking":{{"type":"enabled","budget_tokens":2048}},{chat}}}"#
            ),
            "2348",
        ),
        (
            "/v1/responses",
            r#"{"model":"gpt-6.1-terra","input":"hi"}"#.to_owned(),
            r#"{"max_output_tokens":300,"model":"gpt-6.1-terra","input":"hi"}"#.to_owned(),
            "300",
        ),
        (
            gemini,
            r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#.to_owned(),
            r#"{"generationConfig":{"maxOutputTokens":300},"contents":[{"parts":[{"text":"hi"}]}]}"#.to_owned(),
            "300",
        ),
        // Who asks for less gets that.
        (
            "/v1/messages",
            format!(r#"{{"model":"claude-sonnet-5-5","max_tokens":20,{chat}}}"#),
            format!(r#"{{"model":"claude-sonnet-5-5","max_tokens":20,{chat}}}"#),
            "",
        ),
    ] {
        let answer = world.send(request(&world, path, &body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let seen = world.mock.requests().pop().unwrap();
        assert_eq!(std::str::from_utf8(&seen.body).unwrap(), sent);
        assert_eq!(answer.header("x-tollgate-max-tokens"), told);
        let entry = world.entries().await.pop().unwrap();
        assert_eq!(entry.tier, Some(Tier::Medium), "{}", entry.reason);
        assert!(entry.usage.output <= told.parse().unwrap_or(20) && entry.cost <= entry.quote, "{entry:?}");
    }
    let body = format!(r#"{{"model":"gpt-6.1-terra",{chat}}}"#);
    let quote = world.entries().await[0].quote.unwrap();
    let mut marked = request(&world, "/v1/chat/completions", &body);
    marked.headers_mut().insert("x-tollgate-tags", "lane=short".parse().unwrap());
    assert_eq!(world.send(marked).await.header("x-tollgate-max-tokens"), "50");
    assert!(world.entries().await.pop().unwrap().quote.unwrap() < quote, "what is held follows the limit");

    let observing = World::start(&LIMITS.replace("enforce", "observe")).await;
    observing.send(request(&observing, "/v1/chat/completions", &body)).await;
    assert_eq!(&observing.mock.requests().pop().unwrap().body[..], body.as_bytes());
}

#[tokio::test]
async fn decisions_are_counted() {
    let world = World::start(LIMITS).await;
    let body = r#"{"model":"gpt-6.1-sol","messages":[{"role":"user","content":"hi"}]}"#;
    world.send(request(&world, "/v1/chat/completions", body)).await;
    world.settled().await;
    let series =
        "tollgate_routing_decisions_total{tier=\"medium\",rule=\"tier\",mode=\"enforce\",model=\"gpt-6.1-terra\"} 1";
    let seen = async {
        while !world.app.metrics.render().contains(series) {
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(std::time::Duration::from_secs(60), seen).await;
    assert!(found.is_ok(), "{}", world.app.metrics.render());
}
