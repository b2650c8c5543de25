//! The page: one file without anything from elsewhere, and a policy under which a browser runs nothing but its script.

use std::sync::LazyLock;

use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use ring::digest::{SHA256, digest};

use super::{Answer, reply};

const PAGE: &str = include_str!("page.html");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        allowed("script"),
        allowed("style")
    );
    // Base 64 and what stands above are ASCII; without a policy a browser must still run nothing.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// `GET /`
pub fn page() -> Answer {
    let mut answer = reply::text("text/html; charset=utf-8", PAGE);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// What the policy calls the content of the page's one element `name`.
fn allowed(name: &str) -> String {
    let content = PAGE.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
    let content = content.map_or("", |(content, _)| content);
    format!("'sha256-{}'", base64(digest(&SHA256, content.as_bytes()).as_ref()))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, place| bits << 8 | group.get(place).map_or(0, |byte| u32::from(*byte)));
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place > group.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_in_base_64() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }

    #[test]
    fn the_page_brings_everything_and_the_policy_allows_nothing_else() {
        for (element, count) in [("<script>", 1), ("<style>", 1), ("<script ", 0), ("<link", 0), ("style=\"", 0)] {
            assert_eq!(PAGE.matches(element).count(), count, "{element}");
        }
        for elsewhere in ["http://", "https://", "src=", "@import", "url(", "innerHTML", " onclick"] {
            assert!(!PAGE.contains(elsewhere), "{elsewhere}");
        }
        let policy = POLICY.to_str().unwrap();
        assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
        assert!(!policy.contains("sha256-47DEQpj8HBSa"), "an element was found empty");
        assert!(!policy.contains("unsafe"));
    }
}
