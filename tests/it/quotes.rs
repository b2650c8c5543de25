//! For any request whose output stays within its bound, what is charged is at most what was held: from the body, over the limit
//! that is spliced in, to the usage that an upstream reports, for models of the whole price book.

use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate::domain::entry::Entry;
use tollgate::domain::money::Usd;
use tollgate::domain::price::Book;

use super::wire::{Fake, Reply, Seen};
use super::world::{self, World};

/// The book's names of the makers behind a world's upstreams, and a path of each dialect.
const PROVIDERS: [(&str, &str); 4] = [
    ("openai", "/v1/chat/completions"),
    ("openai", "/v1/responses"),
    ("anthropic", "/v1/messages"),
    ("google", "/v1beta/models/MODEL:generateContent"),
];

const TEXTS: [&str; 6] = ["plain words ", "\u{fdfa}", "日本語", "é", "🦀", "0x1f "];

/// Names of a provider's models that answer in tokens.
static MODELS: LazyLock<HashMap<&str, Vec<String>>> = LazyLock::new(|| {
    let book = Book::builtin();
    let all: Vec<_> = (0..).map_while(|number| book.by_number(number)).collect();
    let of = |provider: &str| {
        let named = all.iter().filter(|model| model.provider() == provider && model.mode() == "chat");
        named.filter(|model| model.max_output().is_some()).map(|model| model.id().to_owned()).collect()
    };
    ["openai", "anthropic", "google"].map(|provider| (provider, of(provider))).into()
});

/// A request, and how much of what it may use is used, in 255ths.
#[derive(Clone, Debug)]
struct Case {
    dialect: usize,
    model: prop::sample::Index,
    text: (usize, usize),
    limit: Option<u64>,
    answers: u64,
    tier: Option<&'static str>,
    served: &'static str,
    searches: Option<u64>,
    with_tools: bool,
    max_cost: Option<&'static str>,
    used: [u8; 5],
}

prop_compose! {
    fn any_case()(
        dialect in 0..4_usize, model: prop::sample::Index, text in (0..TEXTS.len(), 1..400_usize),
        limit in prop_oneof![Just(None), (1..40_000_u64).prop_map(Some)], answers in 1..3_u64,
        tier in prop::sample::select(&[None, None, Some("default"), Some("priority"), Some("flex")][..]),
        served in prop::sample::select(&["default", "priority", "flex"][..]),
        searches in prop_oneof![2 => Just(None), 1 => (1..3_u64).prop_map(Some)], with_tools: bool,
        max_cost in prop::sample::select(&[None, Some("0.5"), Some("0.05"), Some("0.008"), Some("0.002")][..]),
        used: [u8; 5],
    ) -> Case {
        Case { dialect, model, text, limit, answers, tier, served, searches, with_tools, max_cost, used }
    }
}

impl Case {
    fn name(&self) -> &str {
        self.model.get::<String>(&MODELS[PROVIDERS[self.dialect].0])
    }

    fn path(&self) -> String {
        PROVIDERS[self.dialect].1.replace("MODEL", self.name())
    }

    fn body(&self) -> String {
        let text = TEXTS[self.text.0].repeat(self.text.1);
        let (model, said) = (self.name(), json!([{"role": "user", "content": text}]));
        let mut body = match self.dialect {
            0 => json!({"model": model, "messages": said, "n": self.answers, "max_completion_tokens": self.limit}),
            1 => json!({"model": model, "input": text, "max_output_tokens": self.limit}),
            2 => json!({"model": model, "messages": said, "max_tokens": self.limit.unwrap_or(8_000)}),
            _ => json!({
                "contents": [{"role": "user", "parts": [{"text": text}]}],
                "generationConfig": {"maxOutputTokens": self.limit, "candidateCount": self.answers},
            }),
        };
        if let Some(tier) = self.tier.filter(|_| self.dialect < 2) {
            body["service_tier"] = tier.into();
        }
        let schema = json!({"type": "object", "properties": {"q": {"type": "string"}}});
        if self.with_tools && self.dialect == 0 {
            body["tools"] = json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]);
        }
        if let Some(uses) = self.searches.filter(|_| self.dialect == 2) {
            body["tools"] = json!([{"type": "web_search_20250305", "name": "web_search", "max_uses": uses}]);
        }
        // A null is another thing than nothing.
        let strip = |object: &mut Value| {
            if let Some(object) = object.as_object_mut() {
                object.retain(|_, value| !value.is_null());
            }
        };
        strip(&mut body);
        strip(&mut body["generationConfig"]);
        strip(&mut body);
        body.to_string()
    }
}

/// A part of `amount` in 255ths.
fn share(amount: u64, part: u8) -> u64 {
    amount * u64::from(part) / 255
}

/// What an upstream answers that uses as much as the request in front of it may.
fn answer(seen: &Seen) -> Reply {
    let case: Vec<&str> = seen.header("x-case").split(' ').collect();
    let used: Vec<u8> = case[2..].iter().map(|part| part.parse().unwrap()).collect();
    let (dialect, served) = (case[0].parse::<usize>().unwrap(), case[1]);
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    let in_path = || seen.target.rsplit('/').next().unwrap().split(':').next().unwrap().to_owned();
    let model = body["model"].as_str().map_or_else(in_path, str::to_owned);
    let limits = ["/max_completion_tokens", "/max_tokens", "/max_output_tokens", "/generationConfig/maxOutputTokens"];
    let said = limits.iter().find_map(|pointer| body.pointer(pointer)?.as_u64());
    let most = Book::builtin().find(PROVIDERS[dialect].0, None, &model).unwrap().max_output().unwrap();
    let answers = [&body["n"], &body["generationConfig"]["candidateCount"]].iter().find_map(|n| n.as_u64());
    let searches = body["tools"][0]["max_uses"].as_u64();
    let passes = searches.unwrap_or(0) + 1;
    let input = share(seen.body.len() as u64 * passes, used[0]);
    let output = share(said.map_or(most, |said| said.min(most)) * answers.unwrap_or(1) * passes, used[1]);
    let (read, thought) = (share(input, used[2]), share(output, used[3]));
    let written = share(input - read, used[4]);
    let tier = match body["service_tier"].as_str() {
        Some(asked) if served == "default" => {
            if asked == "flex" {
                "flex"
            } else {
                "default"
            }
        }
        Some(asked) => asked,
        None => served,
    };
    let reply = match dialect {
        0 => {
            json!({"id": "c", "object": "chat.completion", "model": model, "choices": [], "service_tier": tier, "usage": {
            "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
            "prompt_tokens_details": {"cached_tokens": read}, "completion_tokens_details": {"reasoning_tokens": thought}}})
        }
        1 => json!({"id": "r", "object": "response", "status": "completed", "model": model, "output": [],
            "service_tier": tier, "usage": {
            "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            "input_tokens_details": {"cached_tokens": read}, "output_tokens_details": {"reasoning_tokens": thought}}}),
        2 => {
            json!({"id": "m", "type": "message", "role": "assistant", "model": model, "content": [], "stop_reason": "end_turn",
            "usage": {"input_tokens": input - read - written, "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "cache_creation": {"ephemeral_5m_input_tokens": written / 2, "ephemeral_1h_input_tokens": written - written / 2},
            "output_tokens": output, "server_tool_use": {"web_search_requests": searches.unwrap_or(0)}}})
        }
        _ => json!({"candidates": [], "modelVersion": model, "usageMetadata": {
            "promptTokenCount": input, "cachedContentTokenCount": read, "candidatesTokenCount": output - thought,
            "thoughtsTokenCount": thought, "totalTokenCount": input + output}}),
    };
    Reply::whole("200 OK", "content-type: application/json\r\n", reply.to_string())
}

/// Sends each case; gives how many were served, and how many of them with a limit of ours.
async fn run(cases: &[Case]) -> (usize, usize) {
    let fake = Fake::start(answer).await;
    let caps = "[organisation]\ncaps = { total = \"1000000000\" }\non_exceed = \"shrink\"";
    let world = World::before(fake.address, world::provider().await.1, caps, world::PATIENCE).await;
    let mut served = Vec::new();
    for case in cases {
        let mut request = world.post(&case.path(), case.body());
        let used = case.used.map(|part| part.to_string()).join(" ");
        let headers = request.headers_mut();
        headers.insert("x-case", format!("{} {} {used}", case.dialect, case.served).parse().unwrap());
        headers.insert("anthropic-version", "2023-06-01".parse().unwrap());
        if let Some(max) = case.max_cost {
            headers.insert("x-tollgate-max-cost-usd", max.parse().unwrap());
        }
        let answer = world.send(request).await;
        if answer.status == 200 {
            let shrunk = !answer.header("x-tollgate-max-tokens").is_empty();
            served.push((answer.header("x-tollgate-request-id").to_owned(), case, shrunk));
        } else {
            assert_eq!(answer.status, 400, "{case:?}: {}", answer.text());
        }
    }
    let entries: HashMap<String, Entry> =
        world.entries().await.into_iter().map(|entry| (entry.id.to_string(), entry)).collect();
    for (id, case, _) in &served {
        let entry = &entries[id];
        let (cost, quote) = (entry.cost.unwrap(), entry.quote.unwrap());
        assert!(cost <= quote && !entry.overrun, "{case:?}: cost {cost}, quote {quote}, {:?}", entry.usage);
        let most = case.max_cost.map(|max| Usd::parse(max).unwrap());
        assert!(most.is_none_or(|most| quote <= most && cost <= most), "{case:?}: {cost}, {quote}");
    }
    let [_, overruns, ..] = world.app.bank.cap_counts();
    assert_eq!((overruns, world.app.bank.standings()[0].held), (0, Usd::ZERO));
    (served.len(), served.iter().filter(|(_, _, shrunk)| *shrunk).count())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_within_its_limit_costs_more_than_was_held(cases in prop::collection::vec(any_case(), 150)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (served, shrunk) = runtime.block_on(run(&cases));
        prop_assert!(served > 40 && shrunk > 2, "{served} served, {shrunk} of them shrunk");
    }
}
