//! [`Ask`]: what a client's request body asks for, read in one pass while its bytes arrive.
//!
//! The body is never copied, re-ordered or judged: a field that Tollgate does not know is the provider's business,
//! a field of an odd form is passed on, and marked where it leaves the cost without a bound. Refused is only what
//! nobody could route or splice: bytes that are no JSON object, and a `model` that is doubled or no text.
//!
//! Invariant: for the same bytes, the ask does not depend on how they were split.

use std::fmt;
use std::ops::Range;

use super::endpoint::Endpoint;
use super::form::Form;
use super::scan::{ScanError, Scanner};
use crate::domain::features::Features;
use crate::domain::operation::Operation;
use crate::domain::refusal::{Cause, Refusal};

mod calls;
mod collect;
mod kinds;
mod notes;
mod spoken;
mod tables;
mod text;
mod tools;
mod values;

pub(super) use kinds::runs_at_client;

pub use calls::CallSpan;
use collect::Collector;
pub use spoken::Spoken;
use tables::Table;
use text::Utf8;

/// A model's name may have so many bytes, escapes included.
pub const MODEL_BYTES_MAX: usize = 512;

/// What a request body asks for. Spans count from the first byte of the (decoded) body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The body is a form (`multipart/form-data`): the model's span holds its plain text, not JSON.
    pub is_form: bool,
    /// The `model` in the body; a Gemini request names its model in the path instead.
    pub model: Option<ModelSpan>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// What the client says about usage in its stream (`stream_options.include_usage`).
    pub include_usage: IncludeUsage,
    /// Offset behind the opening brace, where a member may be put in front of the others.
    pub insert_at: usize,
    /// Whether the object has no member.
    pub is_empty: bool,
    /// The largest output limit given, in tokens; the provider enforces this one or a smaller.
    pub output_limit: Option<u64>,
    /// Where output limits stand.
    pub limit_spans: Vec<Range<usize>>,
    /// Where an output limit is `null`, which is none.
    pub null_limits: Vec<Range<usize>>,
    /// Whether an output limit is given in a way that parsers may read differently.
    pub limit_is_odd: bool,
    /// Where the value of `generationConfig` stands.
    pub settings: Option<Range<usize>>,
    /// How many answers the provider makes: the larger of `n`, `best_of`, `candidateCount` and 1.
    pub choices: u64,
    /// The service tier asked for.
    pub service_tier: Option<Box<str>>,
    /// The region asked for (`inference_geo`).
    pub geo: Option<Box<str>>,
    /// The speed asked for (`speed`).
    pub speed: Option<Box<str>>,
    /// The longest lifetime asked for in the provider's prompt cache, in seconds; 0 if none is told.
    pub cache_ttl_s: u32,
    /// The response that this one goes on from.
    pub previous_response: Option<Box<str>>,
    /// Tokens that may be thought, within the output limit; 0 if none are told.
    pub thinking_budget: u64,
    /// What ties a conversation's requests together: `prompt_cache_key` or `metadata.user_id`, opaque.
    pub session: Option<Box<str>>,
    /// Bytes of a predicted output.
    pub prediction_bytes: u64,
    /// Base64 bytes of images in the body.
    pub image_bytes: u64,
    /// Bytes by which a tokenizer that normalises (NFKC) may lengthen the text.
    pub expansion_bytes: u64,
    /// Tools that run at the provider.
    pub server_tools: Vec<ServerTool>,
    /// At most so many calls of them (`max_tool_calls`).
    pub server_calls_max: Option<u64>,
    /// A pass that is billed beside the answer is asked for: compaction, an advisor, a fallback model.
    pub outside_passes: bool,
    /// A field that the cost hangs on has a form that cannot be read.
    pub odd: bool,
    /// Whether several tools are to be called at once, or were in the conversation.
    pub parallel_tools: bool,
    /// Whether sampling is set to anything but what all providers take for granted.
    pub sampling: bool,
    /// Whether an effort is asked for that not every reasoning model knows.
    pub rare_effort: bool,
    /// Results of tools in the last turn, in order; at most 64.
    pub tool_results: Vec<ToolResult>,
    /// The last calls of tools in the whole conversation, the latest at the end; at most six.
    pub calls: Vec<CallSpan>,
    /// Where the declarations of tools stand.
    pub tools_at: Option<Range<usize>>,
    /// Where it stands what form the answer must have.
    pub format_at: Option<Range<usize>>,
    /// Sizes and kinds.
    pub features: Features,
    /// Where the last human ask stands, and what it stands in.
    pub spoken: Spoken,
}

/// The model in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpan {
    /// Its name, without JSON escapes.
    pub text: Box<str>,
    /// Where the JSON string stands, quotes included; in a form, where the text stands.
    pub span: Range<usize>,
}

/// What a body says about `stream_options.include_usage`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IncludeUsage {
    /// No `stream_options`.
    #[default]
    Absent,
    /// `"stream_options": null`, and where the null stands.
    Null(Range<usize>),
    /// An object without `include_usage`.
    Without {
        /// Offset behind its opening brace.
        insert_at: usize,
        /// Whether it has no member.
        is_empty: bool,
    },
    /// The client's own choice.
    Explicit(bool),
    /// Something else, left to the provider.
    Odd,
}

/// A tool that runs at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTool {
    /// Its type, as in `web_search_20250305`; empty where a dialect tells tools apart by key.
    pub kind: Box<str>,
    /// At most so many calls, if the request says so.
    pub uses_max: Option<u64>,
}

/// What came of a tool call, as the client tells the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// The tool's name if the body tells it, else the id of the call; at most 128 bytes.
    pub name: Box<str>,
    /// Whether it failed; `None` where the dialect has no word for it.
    pub is_error: Option<bool>,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of the byte at fault.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
    /// The field at fault, if it is one.
    pub param: Option<&'static str>,
}

/// Reads a body as it arrives.
#[derive(Debug)]
pub struct Reader {
    /// `None` for forms, and for operations whose body is not looked at.
    table: Option<&'static Table>,
    form: Option<Form>,
    scanner: Scanner,
    utf8: Utf8,
    root: Root,
    collector: Collector,
    bytes: usize,
}

/// How much of the body's opening has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Outside,
    Opened,
    Known,
}

impl Reader {
    /// A reader for the body of a request to `endpoint`, which is JSON.
    #[must_use]
    pub fn new(endpoint: &Endpoint) -> Self {
        Self::of_type(endpoint, "")
    }

    /// A reader for the body of a request to `endpoint`, of the type that its head tells: media also come in forms.
    #[must_use]
    pub fn of_type(endpoint: &Endpoint, content_type: &str) -> Self {
        let table = tables::of(endpoint.operation);
        let form = table.filter(|_| endpoint.operation.is_media()).and_then(|_| Form::of_type(content_type));
        let table = table.filter(|_| form.is_none());
        let mut collector = Collector::new(table.map_or(&[], |table| table.means));
        collector.ask.stream = endpoint.streams_by_path;
        let (scanner, utf8) = (Scanner::new(), Utf8::default());
        Self { table, form, scanner, utf8, root: Root::Outside, collector, bytes: 0 }
    }

    /// Reads on.
    ///
    /// # Errors
    /// The body cannot be an ask; the reader is of no use afterwards.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), Malformed> {
        let base = self.bytes;
        self.bytes += chunk.len();
        if let Some(form) = &mut self.form {
            return form.feed(chunk, base);
        }
        let Some(table) = self.table else { return Ok(()) };
        self.collector.ask.expansion_bytes += self.utf8.feed(chunk, base)?;
        self.open(chunk, base)?;
        self.scanner.feed(&table.plan, chunk, &mut self.collector)?;
        self.collector.wrong()
    }

    /// Says that no byte follows.
    ///
    /// # Errors
    /// The body is not whole.
    pub fn finish(mut self) -> Result<Box<Ask>, Malformed> {
        if let Some(table) = self.table {
            if self.root == Root::Outside {
                return Err(Malformed { at: self.bytes, what: "the body is empty", param: None });
            }
            self.utf8.finish(self.bytes)?;
            self.scanner.finish(&table.plan, &mut self.collector)?;
            self.collector.wrong()?;
        }
        let mut ask = self.collector.finish(self.bytes);
        if let Some(form) = self.form {
            form.tell(&mut ask);
        }
        Ok(ask)
    }

    /// Looks for the opening brace and what follows it.
    fn open(&mut self, chunk: &[u8], base: usize) -> Result<(), Malformed> {
        if self.root == Root::Known {
            return Ok(());
        }
        for (index, byte) in chunk.iter().enumerate().filter(|(_, byte)| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
        {
            if self.root == Root::Opened {
                self.collector.ask.is_empty = *byte == b'}';
                self.root = Root::Known;
                return Ok(());
            }
            if *byte != b'{' {
                return Err(Malformed { at: base + index, what: "the body must be a JSON object", param: None });
            }
            self.collector.ask.insert_at = base + index + 1;
            self.root = Root::Opened;
        }
        Ok(())
    }
}

/// Whether the body of an operation is worth reading: it is JSON, or for media a form.
#[must_use]
pub fn reads_json(operation: Operation) -> bool {
    tables::of(operation).is_some()
}

impl From<ScanError> for Malformed {
    fn from(error: ScanError) -> Self {
        Self { at: error.at, what: error.what, param: None }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        let param = malformed.param;
        let refusal = Self::new(Cause::Malformed, format!("the body cannot be read: {malformed}"));
        Self { param, ..refusal }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (byte {})", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests;
