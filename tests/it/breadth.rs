//! Endpoints besides chat: what is streamed, what is read from forms, what is billed, and when.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate::app::Surroundings;
use tollgate::domain::entry::{Entry, Outcome};
use tollgate::domain::money::Usd;
use tollgate::domain::tokens::UsageSource;

use crate::wire::{self, End, Fake, Reply};
use crate::world::{self, KEY, World};

const JSON: &str = "content-type: application/json\r\n";

async fn before(fake: &Fake, extra: &str) -> World {
    World::before(fake.address, world::provider().await.1, extra, Duration::from_secs(60)).await
}

async fn ask(world: &World, request: &str, content_type: &str, body: &str) -> wire::Got {
    let lines = [format!("authorization: Bearer {KEY}"), format!("content-type: {content_type}")];
    wire::ask(world.address, request, &[&lines[0], &lines[1]], body).await
}

/// Sends one request to an upstream that answers `answer`, and gives its entry.
async fn entry_of(request: &str, content_type: &str, body: &str, reply: Reply) -> Entry {
    let fake = Fake::start(move |_| reply.clone()).await;
    let world = before(&fake, "").await;
    let got = ask(&world, request, content_type, body).await;
    assert_eq!((got.status, got.end), (200, End::Whole), "{request} {}", got.text());
    assert_eq!(String::from_utf8_lossy(&fake.seen()[0].body), body, "{request}");
    world.entries().await.pop().unwrap()
}

fn usd(text: &str) -> Option<Usd> {
    Some(Usd::parse(text).unwrap())
}

const FORM: &str = "multipart/form-data; boundary=b0";

fn form(model: &str) -> String {
    format!(
        "--b0\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n\
         --b0\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b0--\r\n"
    )
}

#[tokio::test]
async fn media_are_billed_in_their_own_units() {
    let image = r#"{"created":1,"data":[{"b64_json":"aGk="}],"usage":{"total_tokens":110,"input_tokens":50,"output_tokens":60,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#;
    let heard = r#"{"text":"hi","usage":{"type":"tokens","total_tokens":27,"input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":13}}"#;
    let timed = r#"{"text":"hi","usage":{"type":"duration","seconds":37}}"#;
    let legacy = r#"{"model":"gpt-3.5-turbo-instruct","choices":[{"text":"x","finish_reason":"stop"}],"usage":{"prompt_tokens":13,"completion_tokens":11,"total_tokens":24}}"#;
    let (images, whisper, hears) =
        (r#"{"model":"gpt-image-1","prompt":"a"}"#, form("whisper-1"), form("gpt-4o-transcribe"));
    let edit = form("gpt-image-1");
    let prompt = r#"{"model":"gpt-3.5-turbo-instruct","prompt":"a","max_tokens":20}"#;
    for (request, kind, body, answer, model, cost) in [
        // 10 at 5, 40 at 10, 60 at 40 dollars a million.
        ("POST /v1/images/generations", "application/json", images, image, "gpt-image-1", usd("0.00285")),
        ("POST /v1/images/edits", FORM, &edit, image, "gpt-image-1", usd("0.00285")),
        // 37 seconds of 0.36 dollars an hour.
        ("POST /v1/audio/transcriptions", FORM, &whisper, timed, "whisper-1", usd("0.0037")),
        // 14 at 2.5 and 13 at 10.
        ("POST /v1/audio/translations", FORM, &hears, heard, "gpt-4o-transcribe", usd("0.000165")),
        // 13 at 1.5 and 11 at 2.
        ("POST /v1/completions", "application/json", prompt, legacy, "gpt-3.5-turbo-instruct", usd("0.0000415")),
    ] {
        let entry = entry_of(request, kind, body, Reply::whole("200 OK", JSON, answer)).await;
        assert_eq!((&*entry.requested_model, entry.cost), (model, cost), "{request}: {:?}", entry.usage);
        assert_eq!((entry.outcome, entry.usage_source), (Outcome::Complete, UsageSource::Reported), "{request}");
    }
}

#[tokio::test]
async fn what_nobody_told_is_unpriced_and_not_free() {
    let speech = r#"{"model":"gpt-4o-mini-tts","input":"hello","voice":"alloy"}"#;
    let audio = Reply::whole("200 OK", "content-type: audio/mpeg\r\n", "\u{1}\u{2}\u{3}");
    let cache =
        r#"{"model":"models/gemini-2.5-flash","name":"cachedContents/c","usageMetadata":{"totalTokenCount":1090}}"#;
    let queued = r#"{"id":"resp_1","status":"queued","model":"gpt-5","usage":null}"#;
    let batch =
        r#"{"id":"batch_1","object":"batch","status":"validating","usage":{"input_tokens":0,"output_tokens":0}}"#;
    for (request, body, reply, source) in [
        ("POST /v1/audio/speech", speech, audio, UsageSource::Counted),
        (
            "POST /v1beta/cachedContents",
            r#"{"model":"models/gemini-2.5-flash"}"#,
            Reply::whole("200 OK", JSON, cache),
            UsageSource::Reported,
        ),
        (
            "POST /v1/responses",
            r#"{"model":"gpt-5","input":"x","background":true}"#,
            Reply::whole("200 OK", JSON, queued),
            UsageSource::Assumed,
        ),
        ("POST /v1/batches", r#"{"input_file_id":"f"}"#, Reply::whole("200 OK", JSON, batch), UsageSource::Assumed),
    ] {
        let entry = entry_of(request, "application/json", body, reply).await;
        assert_eq!((entry.cost, entry.usage_source, entry.outcome), (None, source, Outcome::Complete), "{request}");
    }
    for (request, body) in
        [("POST /v1/moderations", r#"{"input":"x"}"#), ("GET /v1/files/f", ""), ("GET /v1/batches/b", "")]
    {
        let entry = entry_of(request, "application/json", body, Reply::whole("200 OK", JSON, "{}")).await;
        assert_eq!((entry.cost, entry.outcome), (Some(Usd::ZERO), Outcome::Complete), "{request}");
    }
}

#[tokio::test]
async fn a_form_s_model_decides_where_it_goes() {
    let fake = Fake::start(|_| Reply::whole("200 OK", JSON, r#"{"text":"a","duration":3.2}"#)).await;
    let groq = format!(
        "[upstreams.groq]\npreset = \"groq\"\nbase_url = \"http://{}/openai\"\nmodels = [\"whisper-large-*\"]\napi_key = {{ env = \"PROVIDER_KEY\" }}",
        fake.address
    );
    let world = before(&fake, &groq).await;
    let got = ask(&world, "POST /v1/audio/transcriptions", FORM, &form("whisper-large-v3-turbo")).await;
    assert_eq!((got.status, &*fake.seen()[0].target), (200, "/openai/v1/audio/transcriptions"));
    let twice =
        form("a").replace("--b0--", "--b0\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nb\r\n--b0--");
    let refused = ask(&world, "POST /v1/audio/transcriptions", FORM, &twice).await;
    assert_eq!((refused.status, fake.seen().len()), (400, 1));
    let entry = &world.entries().await[0];
    // Ten seconds are the least that Groq bills, at 0.04 dollars an hour.
    assert_eq!((&*entry.upstream, entry.usage.seconds, entry.cost), ("groq", 10, usd("0.000111111112")));
}

const RESULTS: &str = concat!(
    r#"{"custom_id":"a","result":{"type":"succeeded","message":{"model":"claude-sonnet-4-5","stop_reason":"end_turn","usage":{"input_tokens":1000,"output_tokens":100,"service_tier":"batch"}}}}"#,
    "\n",
    r#"{"custom_id":"b","result":{"type":"errored","error":{"type":"invalid_request"}}}"#,
    "\n",
    r#"{"custom_id":"c","result":{"type":"succeeded","message":{"model":"claude-haiku-4-5","stop_reason":"end_turn","usage":{"input_tokens":1000,"output_tokens":100,"service_tier":"batch"}}}}"#,
    "\n"
);

#[tokio::test]
async fn a_batch_is_billed_once_whoever_fetches_it() {
    let fake = Fake::start(|seen| {
        let lines = "content-type: application/x-jsonl\r\n";
        if seen.header("x-cut").is_empty() {
            return Reply::chunked("200 OK", lines, RESULTS.as_bytes().chunks(50));
        }
        Reply::closing(format!(
            "HTTP/1.1 200 OK\r\n{lines}content-length: {}\r\n\r\n{}",
            RESULTS.len(),
            &RESULTS[..120]
        ))
    })
    .await;
    let world = before(&fake, "").await;
    let path = "GET /v1/messages/batches/msgbatch_1/results";
    let key = format!("authorization: Bearer {KEY}");
    let cut = wire::ask(world.address, path, &[&key, "x-cut: 1"], "").await;
    assert_eq!(cut.status, 502);
    for _ in 0..2 {
        let got = wire::ask(world.address, path, &[&key], "").await;
        assert_eq!((got.text().as_str(), got.end), (RESULTS, End::Whole));
    }
    wire::ask(world.address, "GET /v1/messages/batches/msgbatch_2/results", &[&key], "").await;
    let entries = world.entries().await;
    // Half of 3 and 15, and of 1 and 5 dollars a million.
    let (cost, zero) = (usd("0.003"), Some(Usd::ZERO));
    assert_eq!(entries.iter().map(|entry| entry.cost).collect::<Vec<_>>(), [zero, cost, zero, cost]);
    assert_eq!((entries[1].usage.input, entries[1].usage.output), (2000, 200));
    assert_eq!(&*entries[1].reason, "batch results anthropic/msgbatch_1");

    // Another process over the same ledger knows what was billed.
    let booked = tollgate::bank::booked::Booked::new(world.folder.path());
    let now_ms = Surroundings::default().clock.now_ms();
    assert!(booked.claim("anthropic/msgbatch_1", now_ms).await.unwrap().is_none());
    let claim = booked.claim("anthropic/msgbatch_3", now_ms).await.unwrap();
    assert!(claim.is_some() && booked.claim("anthropic/msgbatch_3", now_ms).await.unwrap().is_none());
    drop(claim);
    assert!(booked.claim("anthropic/msgbatch_3", now_ms).await.unwrap().is_some(), "given back");
}

#[tokio::test]
async fn files_with_the_results_of_openai_s_batches_are_billed_and_others_are_not() {
    let line = r#"{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"request_id":"r","body":{"model":"gpt-4o-2024-08-06","service_tier":"default","usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}},"error":null}"#;
    let octets = "content-type: application/octet-stream\r\n";
    for (content, cost) in [(format!("{line}\n{line}\n"), usd("0.0035")), ("a,b\n1,2\n".to_owned(), Some(Usd::ZERO))] {
        let entry = entry_of("GET /v1/files/file-1/content", "", "", Reply::whole("200 OK", octets, content)).await;
        assert_eq!(entry.cost, cost);
    }
}

/// An upstream that counts what it gets and keeps nothing.
async fn sink() -> (std::net::SocketAddr, tokio::task::JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counting = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut buffer, mut head, mut length, mut count) = (vec![0; 1 << 16], Vec::new(), None, 0_u64);
        loop {
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return count;
            }
            count += read as u64;
            if length.is_none() {
                head.extend_from_slice(&buffer[..read]);
                let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
                let told = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<u64>().ok());
                (length, count) = (Some(told.unwrap_or(u64::MAX)), (head.len() - end - 4) as u64);
            }
            if length.is_some_and(|length| count >= length) {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
                return count;
            }
        }
    });
    (address, counting)
}

/// Bytes of this process's memory that are in use.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test]
async fn half_a_gigabyte_flows_through_in_constant_memory() {
    const LENGTH: u64 = 512 << 20;
    let (address, counting) = sink().await;
    let world = World::before(address, world::provider().await.1, "", Duration::from_secs(60)).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: {FORM}\r\nconnection: close\r\ncontent-length: {LENGTH}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![7; 1 << 20];
    let (before, mut most) = (resident_bytes(), 0);
    for _ in 0..LENGTH >> 20 {
        stream.write_all(&piece).await.unwrap();
        most = most.max(resident_bytes().saturating_sub(before));
        assert_eq!(world.app.body_memory.used(), 0);
    }
    let got = wire::receive(stream, false).await;
    assert_eq!((got.status, got.text().as_str(), counting.await.unwrap()), (200, "{}", LENGTH));
    println!("{} MiB more in use while 512 MiB passed", most >> 20);
    // Other tests run in this process; a copy of the body would be 512 MiB.
    assert!(most < 256 << 20, "{most} bytes");
    let entry = world.entries().await.pop().unwrap();
    assert_eq!((entry.cost, entry.outcome, entry.status), (Some(Usd::ZERO), Outcome::Complete, 200));
}

#[tokio::test]
async fn an_upload_that_is_too_large_or_breaks_off_ends_in_a_refusal() {
    let (address, _counting) = sink().await;
    let world = World::before(address, world::provider().await.1, "", Duration::from_secs(60)).await;
    let head = |lines: &str| {
        format!("POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n{lines}\r\n")
    };
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(head("content-length: 536870913\r\n").as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    writing.shutdown().await.unwrap();
    let mut answer = Vec::new();
    reading.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));

    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(head("transfer-encoding: chunked\r\n").as_bytes()).await.unwrap();
    stream.write_all(b"5\r\nhello\r\nnonsense\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    let entries = world.entries().await;
    assert_eq!(
        entries.iter().map(|entry| (entry.status, entry.cost)).collect::<Vec<_>>(),
        [(413, Some(Usd::ZERO)), (400, Some(Usd::ZERO))]
    );
}

#[tokio::test]
async fn presets_address_their_providers_and_free_models_cost_nothing() {
    let answer = r#"{"model":"llama3.2","choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#;
    let fake = Fake::start(move |_| Reply::whole("200 OK", JSON, answer)).await;
    let url = format!("base_url = \"http://{}", fake.address);
    let key = "api_key = { env = \"PROVIDER_KEY\" }";
    let extra = format!(
        "[upstreams.ollama]\npreset = \"ollama\"\nfree = true\n{url}\"\n{key}\nmodels = [\"llama*\"]\n\
         [upstreams.vllm]\npreset = \"vllm\"\n{url}\"\n{key}\n\
         [upstreams.perplexity]\npreset = \"perplexity\"\n{url}\"\n{key}\n\
         [upstreams.zai]\npreset = \"zai\"\n{url}/api/paas/v4\"\n{key}\n\
         [upstreams.azure]\npreset = \"azure\"\n{url}\"\n{key}\n"
    );
    let world = before(&fake, &extra).await;
    let body = |model: &str| format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}]}}"#);
    for (path, model, target) in [
        ("/v1/chat/completions", "llama3.2", "/v1/chat/completions"),
        ("/u/vllm/v1/chat/completions", "llama3.2", "/v1/chat/completions"),
        ("/v1/chat/completions", "sonar-pro", "/chat/completions"),
        ("/v1/chat/completions", "glm-5", "/api/paas/v4/chat/completions"),
        (
            "/u/azure/openai/deployments/d/chat/completions?api-version=1",
            "",
            "/openai/deployments/d/chat/completions?api-version=1",
        ),
    ] {
        let sent = if model.is_empty() { body("d").replace("\"model\":\"d\",", "") } else { body(model) };
        assert_eq!(ask(&world, &format!("POST {path}"), "application/json", &sent).await.status, 200);
        assert_eq!(fake.seen().pop().unwrap().target, target);
    }
    let seen = fake.seen();
    assert_eq!((seen[4].header("api-key"), seen[4].header("authorization")), ("sk-provider", ""));
    let entries = world.entries().await;
    let told: Vec<_> = entries.iter().map(|entry| (&*entry.upstream, &*entry.model, entry.cost)).collect();
    let unpriced =
        [("vllm", "llama3.2", None), ("perplexity", "sonar-pro", None), ("zai", "glm-5", None), ("azure", "d", None)];
    assert_eq!(told, [[("ollama", "llama3.2", Some(Usd::ZERO))].as_slice(), &unpriced].concat());
}

#[tokio::test]
async fn azure_s_models_of_other_makers_are_not_asked_for_their_usage() {
    let stream = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let fake =
        Fake::start(move |_| Reply::chunked("200 OK", "content-type: text/event-stream\r\n", [stream.as_bytes()]))
            .await;
    let azure = format!(
        "[upstreams.azure]\npreset = \"azure\"\nbase_url = \"http://{}\"\napi_key = {{ env = \"PROVIDER_KEY\" }}",
        fake.address
    );
    let world = before(&fake, &azure).await;
    for (model, asks) in [("gpt-4o", true), ("grok-3", false), ("DeepSeek-R1", false), ("my-deployment", true)] {
        let body = format!(r#"{{"model":"{model}","stream":true,"messages":[]}}"#);
        ask(&world, "POST /u/azure/openai/v1/chat/completions", "application/json", &body).await;
        let sent = String::from_utf8(fake.seen().pop().unwrap().body).unwrap();
        assert_eq!(sent.contains("include_usage"), asks, "{model}: {sent}");
    }
}
