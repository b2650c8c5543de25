//! Pointers: texts in a request that name something which lies elsewhere, and may change there.
//!
//! A text that begins with a scheme is one, unless it stands where words stand. That costs hits where a member is not known, and
//! never an answer.

/// Bytes of the longest scheme that is looked for; the registered ones have up to 36, those that providers fetch by up to five.
const SCHEME_BYTES_MAX: usize = 40;

/// Whether a text in the member `key`, or in an array there, names something that lies elsewhere.
pub(super) fn points_elsewhere(key: &[u8], text: &[u8]) -> bool {
    // Most texts are words, and are not looked at.
    if is_words(key) {
        return false;
    }
    has_scheme(text) || is_name(key) && !text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:"))
}

/// Whether a text begins with a scheme, as in `https://`, maybe behind blanks. Nearly all are told apart by their first few bytes.
fn has_scheme(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let head = &text[..text.len().min(SCHEME_BYTES_MAX)];
    let length = head.iter().position(|byte| !is_part(byte)).unwrap_or(head.len());
    length > 0 && text[length..].starts_with(b"://")
}

/// Whether a member holds the name of something that lies elsewhere, with a scheme or without one.
const fn is_name(key: &[u8]) -> bool {
    matches!(
        key,
        b"url"
            | b"image_url"
            | b"file_url"
            | b"fileUri"
            | b"file_uri"
            | b"file_id"
            | b"file_ids"
            | b"video_url"
            | b"audio_url"
            | b"document_url"
    )
}

/// Whether a member holds words, which nobody follows wherever they lead: what is said, what names a thing or a person, and what a
/// JSON schema says of itself.
const fn is_words(key: &[u8]) -> bool {
    matches!(
        key,
        [b'$', ..]
            | b"text"
            | b"content"
            | b"input"
            | b"prompt"
            | b"suffix"
            | b"instructions"
            | b"system"
            | b"arguments"
            | b"output"
            | b"thinking"
            | b"reasoning"
            | b"reasoning_content"
            | b"refusal"
            | b"description"
            | b"title"
            | b"name"
            | b"stop"
            | b"stop_sequences"
            | b"stopSequences"
            | b"user"
            | b"safety_identifier"
            | b"prompt_cache_key"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_letters_before_two_slashes() {
        for text in
            ["https://x", "HTTPS://x", "gs://b/c", "s3://b", "git+ssh://x", " \n https://x", "file:///x", "oss://x"]
        {
            assert!(has_scheme(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "://x",
            "a b://x",
            "https:/x",
            "https:",
            "data:image/png;base64,AA//",
            "see https://x",
            "https",
            "ä://x",
        ] {
            assert!(!has_scheme(text.as_bytes()), "{text}");
        }
        assert!(!has_scheme(&[b'A'; 100]));
    }
}
