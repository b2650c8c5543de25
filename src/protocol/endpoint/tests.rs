//! Which paths are known, and which tricks are not.

use super::*;

const NONE: Hints = Hints { anthropic_version: false, goog_key: false };

#[test]
fn the_paths_of_real_clients_are_known() {
    use Operation as O;
    let anthropic = Hints { anthropic_version: true, ..NONE };
    let google = Hints { goog_key: true, ..NONE };
    for (method, path, hints, dialect, operation) in [
        ("POST", "/v1/chat/completions", NONE, Dialect::OpenAi, O::ChatCompletions),
        ("POST", "/chat/completions", NONE, Dialect::OpenAi, O::ChatCompletions),
        ("POST", "/v1/responses", NONE, Dialect::OpenAi, O::Responses),
        ("POST", "/v1/responses/compact", NONE, Dialect::OpenAi, O::Responses),
        ("POST", "/v1/responses/input_tokens", NONE, Dialect::OpenAi, O::ResponsesInputTokens),
        ("GET", "/v1/responses/resp_1", NONE, Dialect::OpenAi, O::StoredResponse),
        ("DELETE", "/v1/responses/resp_1", NONE, Dialect::OpenAi, O::StoredResponse),
        ("POST", "/v1/responses/resp_1/cancel", NONE, Dialect::OpenAi, O::StoredResponse),
        ("GET", "/v1/responses/resp_1/input_items", NONE, Dialect::OpenAi, O::StoredResponse),
        ("POST", "/v1/embeddings", NONE, Dialect::OpenAi, O::Embeddings),
        ("GET", "/v1/models", NONE, Dialect::OpenAi, O::Models),
        ("GET", "/v1/models/gpt-5", NONE, Dialect::OpenAi, O::Models),
        ("GET", "/v1/models/org%2Fname", NONE, Dialect::OpenAi, O::Models),
        ("GET", "/v1/models/org/name", NONE, Dialect::OpenAi, O::Models),
        ("GET", "/models", NONE, Dialect::OpenAi, O::Models),
        ("GET", "/v1/models", anthropic, Dialect::Anthropic, O::Models),
        ("GET", "/v1/models", google, Dialect::Gemini, O::Models),
        ("GET", "/v1beta/models", NONE, Dialect::Gemini, O::Models),
        ("GET", "/v1beta/models/gemini-3-flash", NONE, Dialect::Gemini, O::Models),
        ("POST", "/v1/messages", anthropic, Dialect::Anthropic, O::Messages),
        ("POST", "/messages", anthropic, Dialect::Anthropic, O::Messages),
        ("POST", "/v1/messages/count_tokens", NONE, Dialect::Anthropic, O::CountTokens),
        // The path decides, whatever the headers say.
        ("POST", "/v1/messages", google, Dialect::Anthropic, O::Messages),
        ("POST", "/v1/completions", NONE, Dialect::OpenAi, O::Completions),
        ("POST", "/v1/images/generations", NONE, Dialect::OpenAi, O::ImageGenerations),
        ("POST", "/v1/images/edits", NONE, Dialect::OpenAi, O::ImageEdits),
        ("POST", "/images/variations", NONE, Dialect::OpenAi, O::ImageVariations),
        ("POST", "/v1/audio/transcriptions", NONE, Dialect::OpenAi, O::Transcriptions),
        ("POST", "/v1/audio/translations", NONE, Dialect::OpenAi, O::Translations),
        ("POST", "/v1/audio/speech", NONE, Dialect::OpenAi, O::Speech),
        ("POST", "/v1/moderations", NONE, Dialect::OpenAi, O::Moderations),
        ("POST", "/v1/files", NONE, Dialect::OpenAi, O::Files),
        ("GET", "/v1/files", anthropic, Dialect::Anthropic, O::Files),
        ("DELETE", "/v1/files/file-1", NONE, Dialect::OpenAi, O::Files),
        ("GET", "/v1/files/file-1/content", NONE, Dialect::OpenAi, O::FileContent),
        ("GET", "/v1/files/f", google, Dialect::Gemini, O::Files),
        ("GET", "/v1beta/files/f", NONE, Dialect::Gemini, O::Files),
        ("POST", "/upload/v1beta/files", google, Dialect::Gemini, O::Files),
        ("POST", "/v1/batches", NONE, Dialect::OpenAi, O::Batches),
        ("GET", "/v1/batches/b", NONE, Dialect::OpenAi, O::StoredBatch),
        ("POST", "/v1/batches/b/cancel", NONE, Dialect::OpenAi, O::StoredBatch),
        ("POST", "/v1/messages/batches", NONE, Dialect::Anthropic, O::Batches),
        ("GET", "/v1/messages/batches", NONE, Dialect::Anthropic, O::StoredBatch),
        ("DELETE", "/v1/messages/batches/m", NONE, Dialect::Anthropic, O::StoredBatch),
        ("GET", "/v1/messages/batches/m/results", NONE, Dialect::Anthropic, O::BatchResults),
        ("POST", "/v1beta/cachedContents", NONE, Dialect::Gemini, O::CachedContents),
        ("PATCH", "/v1beta/cachedContents/c", NONE, Dialect::Gemini, O::CachedContents),
        ("POST", "/v1beta/interactions", NONE, Dialect::Gemini, O::Interactions),
        ("GET", "/v1beta/interactions/i", NONE, Dialect::Gemini, O::StoredInteraction),
        ("POST", "/v1/interactions/i/cancel", NONE, Dialect::Gemini, O::StoredInteraction),
        ("POST", "/v1/chat/completions", anthropic, Dialect::OpenAi, O::ChatCompletions),
    ] {
        let endpoint = Endpoint::of(method, path, hints).unwrap_or_else(|miss| panic!("{method} {path}: {miss:?}"));
        assert_eq!(endpoint, Endpoint::plain(dialect, operation), "{method} {path}");
    }
}

#[test]
fn gemini_names_its_model_in_the_path() {
    use Operation as O;
    for (path, model, operation, streams) in [
        ("/v1beta/models/gemini-3-pro:generateContent", "gemini-3-pro", O::GenerateContent, false),
        ("/v1/models/gemini-3-pro:streamGenerateContent", "gemini-3-pro", O::GenerateContent, true),
        ("/models/gemini-3-pro:countTokens", "gemini-3-pro", O::GeminiCountTokens, false),
        ("/v1beta/models/e:embedContent", "e", O::EmbedContent, false),
        ("/v1beta/models/e:batchEmbedContents", "e", O::EmbedContent, false),
        ("/v1beta/models/a%20b%3Ac:generateContent", "a b:c", O::GenerateContent, false),
        ("/v1beta/models/a:b:generateContent", "a:b", O::GenerateContent, false),
    ] {
        let endpoint = Endpoint::of("POST", path, NONE).unwrap();
        assert_eq!((endpoint.dialect, endpoint.operation), (Dialect::Gemini, operation), "{path}");
        assert_eq!(endpoint.model(path).as_deref(), Some(model), "{path}");
        assert_eq!(endpoint.streams_by_path, streams, "{path}");
    }
}

#[test]
fn a_path_that_can_be_read_in_two_ways_is_unknown() {
    for path in [
        "",
        "/",
        "v1/messages",
        "//v1/messages",
        "/v1//messages",
        "/v1/messages/",
        "/v1/./messages",
        "/v1/x/../messages",
        "/v1/%2e%2e/messages",
        "/v1/messages%2fcount_tokens",
        "/v1/responses/..",
        "/v1/responses/%2E%2e",
        "/v1/responses/a%2Fb",
        "/v1/responses/",
        "/v1/responses/a/b",
        "/v1/responses/a/cancel/x",
        "/v1/models/",
        "/v1/models/../admin",
        "/v1/models/%2e%2e",
        "/v1/models/a%2f%2e%2e",
        "/v1/models/a%5Cb",
        "/v1\\messages",
        "/V1/messages",
        "/v1/Messages",
        "/v1/messages\n",
        "/v1/messages?x",
        "/v1/mess%61ges",
        "/v1/v1/messages",
        "/v1beta/chat/completions",
        "/v1beta/batches",
        "/v1beta/messages/batches",
        "/v1/files/a/b",
        "/v1/files/a/content/b",
        "/v1/batches/a/results/b",
        "/v1/cachedContents/a/b",
        "/v1/images",
        "/v1/audio/speech/x",
        "/v1beta/models/:generateContent",
        "/v1beta/models/a/b:generateContent",
        "/v1beta/models/a%2Fb:generateContent",
        "/v1beta/models/..:generateContent",
        "/v1beta/models/a%2e%2eb:generateContent",
        "/v1beta/models/a%0ab:generateContent",
        "/v1beta/models/a%zz:generateContent",
        "/v1beta/models/a%ff:generateContent",
        "/v1beta/models/a:unknown",
        "/v1beta/models/a%3AgenerateContent",
        "/admin/v1/keys",
        "/metrics",
    ] {
        for method in ["GET", "POST"] {
            // A model's id with odd letters may still be looked up, which costs nothing.
            let found = Endpoint::of(method, path, NONE);
            let is_lookup = found.as_ref().is_ok_and(|endpoint| endpoint.operation == Operation::Models);
            assert!(found.is_err() || is_lookup && path.contains("models/a%"), "{method} {path:?}: {found:?}");
        }
    }
}

#[test]
fn a_miss_names_dialect_and_method() {
    for (method, path, hints, dialect, allow) in [
        ("GET", "/v1/responses", NONE, Dialect::OpenAi, Some("POST")),
        ("GET", "/v1/messages", NONE, Dialect::Anthropic, Some("POST")),
        ("PUT", "/v1/files", NONE, Dialect::OpenAi, Some("GET, POST")),
        ("POST", "/v1/messages/batches/b/results", NONE, Dialect::Anthropic, Some("GET")),
        ("PUT", "/v1/models", NONE, Dialect::OpenAi, Some("GET")),
        ("GET", "/v1beta/models/m:generateContent", NONE, Dialect::Gemini, Some("POST")),
        ("POST", "/v1/nothing", NONE, Dialect::OpenAi, None),
        ("POST", "/v1/nothing", Hints { anthropic_version: true, ..NONE }, Dialect::Anthropic, None),
        ("POST", "/v1/messages/nothing", NONE, Dialect::Anthropic, None),
        ("POST", "/v1beta/nothing", NONE, Dialect::Gemini, None),
        ("GET", "/nothing", Hints { goog_key: true, ..NONE }, Dialect::Gemini, None),
    ] {
        assert_eq!(Endpoint::of(method, path, hints), Err(Miss { dialect, allow }), "{method} {path}");
    }
}

#[test]
fn an_upstream_s_paths_are_known_by_their_tail() {
    use Operation as O;
    for (method, path, dialect, operation) in [
        ("POST", "/api/v2/cortex/v1/chat/completions", Dialect::OpenAi, O::ChatCompletions),
        ("POST", "/openai/v1/responses", Dialect::OpenAi, O::Responses),
        ("POST", "/serving-endpoints/completions", Dialect::OpenAi, O::Completions),
        ("POST", "/openai/v1/audio/speech", Dialect::OpenAi, O::Speech),
        ("POST", "/openai/v1/files", Dialect::OpenAi, O::Files),
        ("GET", "/openai/v1/files/f/content", Dialect::OpenAi, O::FileContent),
        ("POST", "/v1/vector_stores/vs/files", Dialect::OpenAi, O::Unknown),
        ("GET", "/v1/filesX", Dialect::OpenAi, O::Unknown),
        ("POST", "/v1/messages/batches", Dialect::Anthropic, O::Batches),
        ("POST", "/v1beta/interactions", Dialect::Gemini, O::Interactions),
        ("POST", "/v1/messages", Dialect::Anthropic, O::Messages),
        ("POST", "/anthropic/v1/messages/count_tokens", Dialect::Anthropic, O::CountTokens),
        (
            "POST",
            "/v1beta1/projects/p/locations/l/publishers/google/models/m:generateContent",
            Dialect::Gemini,
            O::GenerateContent,
        ),
        ("GET", "/api/v1/models", Dialect::OpenAi, O::Models),
        ("GET", "/v1/responses/r", Dialect::OpenAi, O::StoredResponse),
        ("POST", "/v1/responses/r", Dialect::OpenAi, O::Unknown),
        ("GET", "/v1/messages", Dialect::Anthropic, O::Unknown),
        ("POST", "/v1/x/../chat/completions", Dialect::OpenAi, O::Unknown),
        ("POST", "/v1//chat/completions", Dialect::OpenAi, O::Unknown),
        ("POST", "/x", Dialect::OpenAi, O::Unknown),
    ] {
        let endpoint = Endpoint::of_upstream(method, path, dialect);
        assert_eq!((endpoint.dialect, endpoint.operation), (dialect, operation), "{method} {path}");
        assert_eq!(endpoint.model(path).as_deref(), (operation == O::GenerateContent).then_some("m"), "{path}");
    }
    for (path, upstream, dialect, operation) in [
        ("/v1beta/openai/chat/completions", Dialect::Gemini, Dialect::OpenAi, O::ChatCompletions),
        ("/anthropic/v1/messages", Dialect::OpenAi, Dialect::Anthropic, O::Messages),
        ("/v1/messages/batches", Dialect::OpenAi, Dialect::Anthropic, O::Batches),
    ] {
        let endpoint = Endpoint::of_upstream("POST", path, upstream);
        assert_eq!((endpoint.dialect, endpoint.operation), (dialect, operation), "{path}");
    }
    let path = "/openai/deployments/my-gpt/chat/completions";
    let endpoint = Endpoint::of_upstream("POST", path, Dialect::OpenAi);
    assert_eq!((endpoint.operation, endpoint.model(path).as_deref()), (O::ChatCompletions, Some("my-gpt")));
    assert_eq!(strip_upstream_prefix("/u/groq/openai/v1/models"), Some(("groq", "/openai/v1/models")));
    for path in ["/u/groq", "/u//x", "/u/", "/u", "/x/u/a/b", "/u/a%2fb/c", "/u/a b/c"] {
        assert_eq!(strip_upstream_prefix(path), None, "{path}");
    }
}
