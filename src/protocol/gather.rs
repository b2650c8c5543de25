//! [`Gather`]: turns the values that a scanner finds in an answer into [`Facts`].
//!
//! Each dialect brings a table of paths with their meanings and the rules of its `usage`; this is what they share.
//! It keeps a few hundred bytes an answer, whatever the answer's size.
//!
//! Invariant: whole bodies, events and array elements go through the same rules, so that the same answer costs the same
//! in each of them.

mod error_code;

use error_code::error_code;
use serde::Deserialize;

use super::anthropic_messages::{AnthropicUsage, UntoldWrites};
use super::counts::{Count, Merge};
use super::facts::{Ending, Facts};
use super::gemini::{self, GeminiUsage};
use super::interactions::InteractionUsage;
use super::openai_responses;
use super::openai_usage::OpenAiUsage;
use super::scan::{Found, Sink, Take};
use super::shape::Shape;
use crate::domain::tokens::Usage;

/// The longest `usage` that is read; Anthropic's passes take about 300 bytes each.
pub(super) const USAGE_BYTES: usize = 64 * 1024;
/// The longest model, tier or reason that is read.
pub(super) const WORD_BYTES: usize = 256;
/// The longest error that is read.
pub(super) const ERROR_BYTES: usize = 16 * 1024;

/// A path, how much of its value is shown, and what it means.
pub(super) type Row = (&'static [&'static str], Take, Meaning);

/// What a value in an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A report of usage.
    Usage,
    /// A report of usage at the start, whose output is a placeholder.
    StartUsage,
    Model,
    ResponseId,
    ServiceTier,
    /// The type of an event.
    Kind,
    /// The code of an error event.
    Code,
    Error,
    /// Why generation ended, or the status of the response.
    Finish,
    /// Why a prompt was not answered.
    Blocked,
    /// Why a response is incomplete.
    Reason,
    /// Generated text.
    Text,
    /// Shown reasoning.
    Reasoning,
    /// A mark that the part is reasoning.
    Reasoned,
    /// Name and arguments of a call of the client's tools.
    ToolText,
    /// What the model says instead of an answer.
    Refusal,
    /// What was looked up for the answer.
    LookedUp,
    /// The type of a note on a part of the text.
    Annotation,
    /// The list of choices.
    Choices,
    /// One of them.
    Choice,
    /// The type of an output item.
    Item,
    /// The type of its action.
    Action,
    /// The end of an output item in the list of a whole response.
    ListedItem,
    /// The end of the output item that an event carries.
    StreamedItem,
    /// A search of Gemini's grounding.
    Query,
    /// The length of audio, in seconds.
    Duration,
    /// What only a line of a batch's results has.
    ResultLine,
    /// The number of a content block.
    Block,
}

/// What the type of an event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum EventKind {
    /// The stream ends with it.
    Terminal,
    /// It is an error, with which the stream ends.
    Error,
    /// It carries a whole output item.
    ItemDone,
    /// A content block begins with it.
    BlockStart,
    /// A content block ends with it.
    BlockStop,
    #[default]
    Other,
}

/// The reports of usage so far.
#[derive(Debug)]
enum Reports {
    OpenAi(Box<OpenAiUsage>),
    Anthropic(Box<AnthropicUsage>),
    Gemini(Box<GeminiUsage>),
    Interactions(Box<InteractionUsage>),
}

/// What the event or body being read has said so far.
#[derive(Debug, Default)]
struct Current {
    kind: EventKind,
    block: Option<u32>,
    code: Option<Box<str>>,
    choices: Option<u8>,
    has_choice: bool,
    has_usage: bool,
    item: Option<usize>,
    action: Option<usize>,
    /// The event carries an output item.
    has_item: bool,
    /// Server tools of the items that a whole response lists, and whether it lists any items.
    listed: Tally,
    lists_items: bool,
    queries: u64,
}

impl Current {
    fn take_item(&mut self) -> (Option<usize>, Option<usize>) {
        (self.item.take(), self.action.take())
    }
}

type Tally = [u32; openai_responses::SERVER_TOOLS.len()];

/// Facts in the making.
#[derive(Debug)]
pub(super) struct Gather {
    shape: Shape,
    reports: Reports,
    facts: Facts,
    current: Current,
    /// A report other than the one at the start has come.
    has_closing_usage: bool,
    calls_client_tools: bool,
    /// Something has come that only this dialect says.
    is_understood: bool,
    is_filtered: bool,
    /// The model has refused in words.
    is_refused: bool,
    /// Server tools by the items of the stream, and by those that the last whole response listed, if it did.
    streamed: Tally,
    listed: Option<Tally>,
    /// The length of audio that a transcription tells beside its usage.
    seconds: u64,
    /// The word that the last report of a status said: the answer is still being made.
    is_pending: bool,
    /// The line belongs to the results of a batch.
    is_result: bool,
    open_block: Option<u32>,
}

impl Gather {
    pub(super) fn new(shape: Shape) -> Self {
        let reports = match shape {
            Shape::Chat
            | Shape::Responses
            | Shape::Embeddings
            | Shape::Images
            | Shape::Audio
            | Shape::Speech
            | Shape::ResponsesLine => Reports::OpenAi(Box::default()),
            Shape::Messages | Shape::MessagesLine => Reports::Anthropic(Box::default()),
            Shape::Gemini | Shape::Cache => Reports::Gemini(Box::default()),
            Shape::Interactions => Reports::Interactions(Box::default()),
        };
        Self {
            shape,
            reports,
            facts: Facts::default(),
            current: Current::default(),
            has_closing_usage: false,
            calls_client_tools: false,
            is_understood: false,
            is_filtered: false,
            is_refused: false,
            streamed: Tally::default(),
            listed: None,
            seconds: 0,
            is_pending: false,
            is_result: false,
            open_block: None,
        }
    }

    pub(super) fn mark_broken(&mut self) {
        self.facts.broken = true;
    }

    /// All of a whole body has come: what its status says is final.
    pub(super) fn mark_whole(&mut self) {
        self.facts.pending = self.is_pending;
        self.facts.terminal = true;
    }

    pub(super) fn mark_terminal(&mut self) {
        self.facts.terminal = true;
    }

    /// An event has ended: says whether it is the usage-only event of a chat stream, `choices: []` with an object
    /// `usage`. `name` is that of its `event:` line.
    pub(super) fn end_event(&mut self, name: &[u8]) -> bool {
        let event = std::mem::take(&mut self.current);
        match event.kind {
            EventKind::Terminal => self.facts.terminal = true,
            EventKind::Error => self.fail(event.code.unwrap_or_else(|| "error".into())),
            _ if name == b"error" => self.fail("error".into()),
            EventKind::ItemDone if event.has_item => count(&mut self.streamed, event.item, event.action),
            EventKind::BlockStart => self.open_block = event.block,
            EventKind::BlockStop => self.open_block = None,
            EventKind::ItemDone | EventKind::Other => {}
        }
        self.facts.grounding_queries = self.facts.grounding_queries.max(event.queries);
        if event.lists_items {
            self.listed = Some(event.listed);
        }
        event.has_usage && event.choices == Some(b'[') && !event.has_choice
    }

    /// Whether the line that has ended belongs to the results of a batch.
    pub(super) const fn is_result(&self) -> bool {
        self.is_result
    }

    /// Bytes of text so far, if they bound what was generated.
    pub(super) fn seen(&self) -> Option<u64> {
        Some(self.facts.text_bytes).filter(|_| !self.facts.reasoned && !self.facts.broken)
    }

    /// The content block that has begun and not ended.
    pub(super) const fn open_block(&self) -> Option<u32> {
        self.open_block
    }

    /// Whether a client that has read so far waits for nothing more.
    pub(super) const fn is_terminal(&self) -> bool {
        // Gemini has no terminal event: the reason why it ended is the last thing that it tells.
        self.facts.terminal || (matches!(self.shape, Shape::Gemini) && self.facts.ending.is_some())
    }

    /// Whether the answer speaks its dialect and has not told its end.
    pub(super) const fn is_open(&self) -> bool {
        self.is_understood && !is_over(&self.facts)
    }

    /// What has been learned, once nothing follows.
    pub(super) fn facts(mut self, untold: UntoldWrites) -> Facts {
        let told = self.facts.service_tier.take();
        if self.facts.usage_events > 0 {
            match &self.reports {
                Reports::OpenAi(usage) => usage.tell(&mut self.facts),
                Reports::Anthropic(usage) => usage.tell(untold, &mut self.facts),
                Reports::Gemini(usage) if self.shape == Shape::Cache => usage.tell_stored(&mut self.facts),
                Reports::Gemini(usage) => usage.tell(&mut self.facts),
                Reports::Interactions(usage) => usage.tell(&mut self.facts),
            }
        }
        self.tell_media();
        let tally = self.listed.unwrap_or(self.streamed);
        let (closes_once, is_terminal) = (self.closes_once(), self.is_terminal());
        let mut facts = self.facts;
        facts.service_tier = facts.service_tier.or(told);
        let seems_done = matches!(facts.ending, Some(Ending::Stop | Ending::Other));
        if self.calls_client_tools && seems_done {
            facts.ending = Some(Ending::ToolCalls);
        }
        if self.is_filtered || self.is_refused && seems_done {
            facts.ending = Some(Ending::Refusal);
        }
        facts.terminal = is_terminal;
        facts.usage_final = self.has_closing_usage && (closes_once || is_over(&facts));
        if let Some(usage) = &mut facts.usage {
            facts.reasoned |= usage.reasoning > 0;
            add_tools(usage, &tally);
        }
        facts
    }

    /// Whether the report that is not the one at the start comes only at the end.
    const fn closes_once(&self) -> bool {
        !matches!(self.shape, Shape::Chat | Shape::Gemini | Shape::Interactions)
    }

    /// Adds what the operation alone tells of the output, where the report has no details, and the length of the audio
    /// that was heard, where it has none: whole seconds, rounded up.
    fn tell_media(&mut self) {
        let Reports::OpenAi(report) = &self.reports else { return };
        if self.facts.usage.is_none() && self.seconds > 0 {
            self.facts.usage = Some(Usage { seconds: self.seconds, ..Usage::default() });
            self.has_closing_usage = true;
        }
        let Some(usage) = &mut self.facts.usage else { return };
        match self.shape {
            Shape::Images if !report.tells_image_output() => usage.image_out = usage.output,
            Shape::Speech => usage.audio_out = usage.output,
            // Mistral's transcriptions are paid by the second; the tokens of their audio, which only the total tells, are
            // no output.
            Shape::Audio if report.prompt_audio_seconds.get() > 0 => {
                self.facts.untold_tokens = 0;
                *usage = Usage { seconds: report.prompt_audio_seconds.get(), ..Usage::default() };
            }
            Shape::Images
            | Shape::Audio
            | Shape::Chat
            | Shape::Responses
            | Shape::Embeddings
            | Shape::Messages
            | Shape::Gemini
            | Shape::Cache
            | Shape::Interactions
            | Shape::MessagesLine
            | Shape::ResponsesLine => {}
        }
    }

    fn fail(&mut self, error: Box<str>) {
        self.facts.error.get_or_insert(error);
        self.facts.ending = Some(Ending::Failed);
        self.facts.terminal = true;
    }

    fn usage(&mut self, value: Found<'_>) {
        if value.first != b'{' {
            return;
        }
        self.current.has_usage = true;
        let is_read = match &mut self.reports {
            Reports::OpenAi(usage) => merged(&mut **usage, value.raw),
            Reports::Anthropic(usage) => merged(&mut **usage, value.raw),
            Reports::Gemini(usage) => serde_json::from_slice(value.raw).map(|later| usage.follow_with(later)).is_ok(),
            Reports::Interactions(usage) => merged(&mut **usage, value.raw),
        };
        self.facts.broken |= !is_read;
        self.facts.usage_events += u32::from(is_read);
    }

    fn item(&mut self, word: &[u8]) {
        self.current.item = openai_responses::server_tool(word);
        self.calls_client_tools |= openai_responses::is_client_tool(word);
        self.facts.reasoned |= matches!(word, b"reasoning" | b"thinking" | b"redacted_thinking");
    }

    fn error(&mut self, value: Found<'_>) {
        if let Some(code) = error_code(value.raw) {
            self.fail(code);
        }
    }

    fn text(&mut self, value: Found<'_>) -> u64 {
        let bytes = match value.first {
            b'"' => value.end - value.start - 2,
            b'[' | b'{' => value.end - value.start,
            _ => 0,
        } as u64;
        self.facts.text_bytes += bytes;
        bytes
    }
}

impl Sink for Gather {
    fn found(&mut self, which: usize, value: Found<'_>) {
        let Some((_, _, meaning)) = self.shape.rows().get(which) else { return };
        self.is_understood |= matches!(self.shape, Shape::Gemini);
        match meaning {
            Meaning::Usage => {
                self.usage(value);
                self.has_closing_usage |= value.first == b'{';
            }
            Meaning::StartUsage => self.usage(value),
            Meaning::ResponseId => keep_word(&mut self.facts.response_id, value),
            Meaning::Model => keep_word(&mut self.facts.served_model, value),
            Meaning::ServiceTier => keep_word(&mut self.facts.service_tier, value),
            Meaning::Kind => {
                self.is_understood = true;
                self.current.kind = self.shape.kind(word(value));
            }
            Meaning::Code => keep_word(&mut self.current.code, value),
            Meaning::Error => self.error(value),
            Meaning::Finish => {
                self.facts.ending = self.shape.ending(word(value), value.raw).or(self.facts.ending);
                self.is_pending = matches!(word(value), b"queued" | b"in_progress");
            }
            Meaning::Blocked => self.facts.ending = gemini::blocked(word(value), value.raw).or(self.facts.ending),
            Meaning::Reason => self.is_filtered |= word(value) == b"content_filter",
            Meaning::Text => {
                self.text(value);
            }
            Meaning::Reasoning => self.facts.reasoned |= self.text(value) > 0,
            Meaning::Reasoned => self.facts.reasoned |= value.first == b't',
            Meaning::ToolText => self.calls_client_tools |= self.text(value) > 0,
            Meaning::Refusal => self.is_refused |= value.first == b'"' && value.end - value.start > 2,
            Meaning::LookedUp => self.facts.looked_up |= matches!(value.first, b'{' | b'[' | b'"'),
            Meaning::Annotation => self.facts.looked_up |= word(value) == b"url_citation",
            Meaning::Choices => {
                self.is_understood = true;
                self.current.choices = Some(value.first);
            }
            Meaning::Choice => self.current.has_choice = true,
            Meaning::Item => self.item(word(value)),
            Meaning::Action => self.current.action = openai_responses::action(word(value)),
            Meaning::ListedItem => {
                self.current.lists_items = true;
                let (item, action) = self.current.take_item();
                count(&mut self.current.listed, item, action);
            }
            Meaning::StreamedItem => self.current.has_item = true,
            Meaning::Query => self.current.queries += 1,
            Meaning::Duration => self.seconds = serde_json::from_slice::<Count>(value.raw).map_or(0, Count::get),
            Meaning::ResultLine => self.is_result = true,
            Meaning::Block => self.current.block = serde_json::from_slice(value.raw).ok(),
        }
    }
}

/// Whether the answer has told its end.
const fn is_over(facts: &Facts) -> bool {
    facts.terminal || facts.ending.is_some()
}

fn merged<'a, T: Merge + Deserialize<'a>>(known: &mut T, raw: &'a [u8]) -> bool {
    serde_json::from_slice(raw).map(|later| known.merge(later)).is_ok()
}

/// Counts an output item, with its action if it is a web search.
fn count(tally: &mut Tally, item: Option<usize>, action: Option<usize>) {
    let is_search = item == Some(0);
    for which in item.into_iter().chain(action.filter(|_| is_search)) {
        tally[which] = tally[which].saturating_add(1);
    }
}

fn add_tools(usage: &mut Usage, tally: &Tally) {
    for (name, calls) in openai_responses::SERVER_TOOLS.iter().zip(tally).filter(|(_, calls)| **calls > 0) {
        usage.add_server_tool(name, u64::from(*calls));
    }
}

/// The bytes between the quotes of a string; nothing for anything else. The words that matter have no escapes.
fn word(value: Found<'_>) -> &[u8] {
    match value.raw {
        [b'"', inner @ .., b'"'] => inner,
        _ => &[],
    }
}

/// Keeps a text, allocating only where it differs from the one kept.
fn keep_word(kept: &mut Option<Box<str>>, value: Found<'_>) {
    if word(value).is_empty() || kept.as_deref().is_some_and(|kept| kept.as_bytes() == word(value)) {
        return;
    }
    if let Ok(text) = serde_json::from_slice::<Box<str>>(value.raw) {
        *kept = Some(text);
    }
}
