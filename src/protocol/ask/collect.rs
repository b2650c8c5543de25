//! [`Collector`]: turns the values that a scan finds into an [`Ask`].
//!
//! Values inside a block, a message or a tool come before the end of it, in any order: they are noted, and judged
//! at the end. A kind that is not known counts as a document, whose size nobody can tell, never as nothing.

use super::calls::Recent;
use super::kinds::{self, ItemKind, Kind};
use super::notes::{BlockNote, ToolNote, TurnNote, UsageNote, replace};
use super::spoken::Role;
use super::tables::{Block, GOOGLES_LIMIT, Mean, Root, Tool, Turn};
use super::tools::Turns;
use super::values;
use super::{Ask, IncludeUsage, MODEL_BYTES_MAX, Malformed, ModelSpan, ServerTool, text};
use crate::protocol::scan::{Found, Sink};

/// Places of output limits that are kept; no client gives more.
const LIMITS_MAX: usize = 8;

/// Server tools that are kept; a request with more has no bound.
const SERVER_TOOLS_MAX: usize = 64;

/// Notes what is found.
#[derive(Debug)]
pub(super) struct Collector {
    /// On the heap from the start, since it is handed on and large.
    pub(super) ask: Box<Ask>,
    means: &'static [Mean],
    wrong: Option<Malformed>,
    has_model: bool,
    usage: UsageNote,
    turn: TurnNote,
    blocks: [BlockNote; 2],
    tool: ToolNote,
    turns: Turns,
    recent: Recent,
    /// Names of the output limit that were seen, as bits.
    limits: u8,
    limit_is_odd: bool,
    has_settings: bool,
}

impl Sink for Collector {
    fn found(&mut self, which: usize, value: Found<'_>) {
        match self.means.get(which) {
            Some(Mean::Root(root)) => self.root(*root, value),
            Some(Mean::Turn(turn)) => self.turn(*turn, value),
            Some(Mean::Block(depth, block)) => self.block(*depth, *block, value),
            Some(Mean::Tool(tool)) => self.tool(*tool, value),
            None => {}
        }
    }

    fn escaped(&mut self, unit: u16) {
        self.ask.expansion_bytes += text::escaped_growth(unit);
    }
}

impl Collector {
    pub(super) fn new(means: &'static [Mean]) -> Self {
        Self {
            ask: Box::new(Ask { choices: 1, ..Ask::default() }),
            means,
            wrong: None,
            has_model: false,
            usage: UsageNote::default(),
            turn: TurnNote::default(),
            blocks: Default::default(),
            tool: ToolNote::default(),
            turns: Turns::default(),
            recent: Recent::default(),
            limits: 0,
            limit_is_odd: false,
            has_settings: false,
        }
    }

    /// What nobody could route, if such was found.
    pub(super) fn wrong(&self) -> Result<(), Malformed> {
        self.wrong.map_or(Ok(()), Err)
    }

    /// The whole ask of a body of so many bytes.
    pub(super) fn finish(mut self, bytes: usize) -> Box<Ask> {
        let ask = &mut *self.ask;
        ask.limit_is_odd = self.limit_is_odd;
        if self.limit_is_odd {
            ask.output_limit = None;
        }
        ask.tool_results = self.turns.results();
        ask.calls = self.recent.take();
        ask.parallel_tools |= self.turns.are_parallel();
        let features = &mut ask.features;
        features.bytes = values::size(bytes);
        features.stream = ask.stream;
        features.output_limit = ask.output_limit.map_or(0, |limit| u32::try_from(limit).unwrap_or(u32::MAX));
        features.choices = u32::try_from(ask.choices).unwrap_or(u32::MAX);
        features.in_tool_loop = self.turns.in_loop();
        features.server_tools = values::size(ask.server_tools.len());
        self.ask
    }

    fn refuse(&mut self, at: usize, what: &'static str, param: &'static str) {
        self.wrong.get_or_insert(Malformed { at, what, param: Some(param) });
    }

    fn root(&mut self, root: Root, value: Found<'_>) {
        let is_set = value.first != b'n';
        let ask = &mut self.ask;
        match root {
            Root::Model => self.model(value),
            Root::Stream => ask.stream = values::is_yes(value.raw),
            Root::StreamOptions => self.stream_options(value),
            Root::StreamOption => self.usage.members += 1,
            Root::IncludeUsage => match value.first {
                b't' | b'f' => self.usage.explicit = Some(value.first == b't'),
                _ => self.usage.is_odd = true,
            },
            Root::OutputLimit(name) => self.output_limit(name, value),
            // Parsers differ in which of two they take.
            Root::Settings => {
                self.limit_is_odd |= std::mem::replace(&mut self.has_settings, true);
                ask.settings = Some(value.start..value.end);
            }
            Root::Choices => match values::count(value.raw) {
                Some(count) => ask.choices = ask.choices.max(count),
                None => ask.odd |= is_set,
            },
            Root::ServiceTier => ask.odd |= twice(&mut ask.service_tier, value.raw),
            Root::Geo => ask.odd |= twice(&mut ask.geo, value.raw),
            Root::Speed => ask.odd |= twice(&mut ask.speed, value.raw),
            Root::CacheTtl => {
                ask.features.caches |= is_set;
                ask.cache_ttl_s = ask.cache_ttl_s.max(values::lifetime_s(value.raw).unwrap_or(0));
            }
            Root::Caches => ask.features.caches |= is_set,
            Root::Prediction if is_set => ask.prediction_bytes += length(value),
            Root::Prediction => {}
            Root::Background => ask.features.background |= is_set && value.raw != b"false",
            Root::Previous => {
                ask.features.stored_context |= is_set;
                ask.previous_response = values::boxed(value.raw);
            }
            Root::Stored => ask.features.stored_context |= is_set,
            Root::Session => ask.session = values::boxed(value.raw),
            Root::Reasoning => {
                ask.features.reasoning |= is_set && !says(value.raw, &["none", "disabled", "false"]);
                ask.rare_effort |= says(value.raw, &["\"none\"", "\"minimal\"", "\"xhigh\"", "\"max\""]);
            }
            Root::Budget => {
                ask.features.reasoning |= is_set && value.raw != b"0";
                ask.thinking_budget = ask.thinking_budget.max(values::count(value.raw).unwrap_or(0));
            }
            // One is the default of every provider.
            Root::Sampling => ask.sampling |= is_set && !matches!(value.raw, b"1" | b"1.0" | b"{}"),
            Root::Parallel => ask.parallel_tools |= value.first == b't',
            // A recorded `"mode": "pro"` billed 1,549 prompt tokens for 20.
            Root::Mode => ask.outside_passes |= is_set && value.raw != b"\"standard\"",
            Root::Format => ask.features.structured |= says(value.raw, &["json"]),
            Root::FormatAt if is_set => ask.format_at = Some(value.start..value.end),
            Root::FormatAt => {}
            Root::ToolChoice => {
                ask.features.tool_forced |= value.first == b'{' || says(value.raw, &["required", "any", "ANY", "tool"]);
            }
            Root::Logprobs => ask.features.logprobs |= is_set && value.raw != b"false" && value.raw != b"0",
            Root::Modalities => ask.features.audio_out |= says(value.raw, &["audio", "AUDIO"]),
            Root::Edit => ask.outside_passes |= says(value.raw, &["compact"]),
            Root::Fallback => ask.outside_passes |= is_set,
            Root::System => {
                ask.features.system_bytes += values::size(value.end - value.start);
                ask.spoken.system(value.start..value.end);
            }
        }
    }

    fn model(&mut self, value: Found<'_>) {
        if self.has_model {
            return self.refuse(value.start, "\"model\" is given twice", "model");
        }
        self.has_model = true;
        if value.end - value.start > MODEL_BYTES_MAX + 2 {
            return self.refuse(value.start, "\"model\" is too long", "model");
        }
        match values::boxed(value.raw) {
            Some(text) => self.ask.model = Some(ModelSpan { text, span: value.start..value.end }),
            // Some clients send null where the path or a stored prompt names the model.
            None if value.first == b'n' => {}
            None => self.refuse(value.start, "\"model\" must be a string", "model"),
        }
    }

    fn stream_options(&mut self, value: Found<'_>) {
        let note = std::mem::take(&mut self.usage);
        self.ask.include_usage = match (value.first, note.explicit) {
            (b'n', _) => IncludeUsage::Null(value.start..value.end),
            _ if note.is_odd => IncludeUsage::Odd,
            (b'{', Some(choice)) => IncludeUsage::Explicit(choice),
            (b'{', None) => IncludeUsage::Without { insert_at: value.start + 1, is_empty: note.members == 0 },
            _ => IncludeUsage::Odd,
        };
    }

    fn output_limit(&mut self, name: u8, value: Found<'_>) {
        let bit = 1 << name;
        self.limit_is_odd |= self.limits & bit != 0;
        self.limits |= bit;
        if value.first == b'n' {
            self.ask.null_limits.push(value.start..value.end);
            self.limit_is_odd |= self.ask.null_limits.len() > LIMITS_MAX;
            return;
        }
        if self.ask.limit_spans.len() < LIMITS_MAX {
            self.ask.limit_spans.push(value.start..value.end);
        }
        // Others may take the text of a number for none.
        let is_number = value.first != b'"' || name == GOOGLES_LIMIT;
        match values::count(value.raw).filter(|_| is_number) {
            Some(limit) => self.ask.output_limit = Some(self.ask.output_limit.unwrap_or(0).max(limit)),
            None => self.limit_is_odd = true,
        }
    }

    fn turn(&mut self, turn: Turn, value: Found<'_>) {
        let is_text = value.first == b'"';
        let note = &mut self.turn;
        match turn {
            Turn::List if is_text => {
                self.text(value);
                self.ask.spoken.turn(Role::Human, &mut self.turn.texts);
            }
            Turn::List | Turn::Blocks => self.ask.odd |= !matches!(value.first, b'[' | b'n'),
            Turn::End => self.end_turn(value),
            Turn::Role => note.role = Role::of(value.raw),
            Turn::Type => {
                note.kind = kinds::item_kind(value.raw);
                note.is_thought = kinds::is_thought(value.raw);
            }
            Turn::CallId => replace(&mut note.call_id, value.raw),
            Turn::Name => replace(&mut note.name, value.raw),
            Turn::CalledId => replace(&mut note.called_id, value.raw),
            Turn::CalledName => replace(&mut note.called_name, value.raw),
            Turn::Arguments => note.arguments = value.start..value.end,
            Turn::CallsEnd => {
                self.turns.call(&note.called_id, &note.called_name);
                self.recent.add(&note.called_name, std::mem::take(&mut note.arguments));
                note.called_id.clear();
                note.called_name.clear();
                note.has_tools = true;
                self.ask.features.calls += 1;
            }
            Turn::Audio => self.ask.features.audios += u32::from(value.first == b'{'),
            Turn::Signed => self.ask.features.signed_reasoning |= value.first != b'n',
            Turn::Text if is_text => self.text(value),
            // One block where a list of them is usual.
            Turn::Text => self.ask.odd |= value.first == b'{' && note.kind == ItemKind::Message,
        }
    }

    fn text(&mut self, value: Found<'_>) {
        let bytes = value.end - value.start;
        self.turn.text_bytes += bytes;
        self.turn.texts.push(value.start..value.end);
        self.ask.features.text_bytes = self.ask.features.text_bytes.saturating_add(values::size(bytes));
    }

    fn end_turn(&mut self, value: Found<'_>) {
        let features = &mut self.ask.features;
        // A token's number is no message.
        if !matches!(value.first, b'{' | b'"' | b'[') {
            return;
        }
        features.messages += 1;
        let note = &mut self.turn;
        match note.kind {
            _ if note.role == Role::Tool => {
                self.turns.result(&note.call_id, &note.name, None);
                features.results += 1;
                note.has_tools = true;
            }
            ItemKind::Result => {
                self.turns.result(&note.call_id, &[], None);
                features.results += 1;
                note.has_tools = true;
            }
            ItemKind::Call => {
                self.turns.call(&note.call_id, &note.name);
                self.recent.add(&note.name, std::mem::take(&mut note.arguments));
                features.calls += 1;
                note.has_tools = true;
            }
            ItemKind::Image => features.images += 1,
            ItemKind::Stored => features.documents += 1,
            ItemKind::Message | ItemKind::Plain => {}
        }
        if !note.has_tools {
            self.turns.other();
        }
        features.last_bytes = values::size(note.text_bytes);
        if value.first == b'"' {
            self.text(value);
        }
        if self.turn.is_said() {
            self.ask.spoken.turn(self.turn.role, &mut self.turn.texts);
        }
        self.turn.clear();
    }

    fn block(&mut self, depth: usize, block: Block, value: Found<'_>) {
        let note = &mut self.blocks[depth];
        match block {
            Block::End => self.end_block(depth, value),
            Block::Type => note.tell(kinds::block_kind(value.raw)),
            Block::Mime => note.tell(kinds::mime_kind(value.raw)),
            Block::File => note.tell(Kind::Document),
            Block::Text if value.first == b'"' => self.text(value),
            Block::Text => {}
            Block::Data if value.first == b'"' => note.data = Some(value.start..value.end),
            Block::Data => {}
            Block::Id => replace(&mut note.id, value.raw),
            Block::Name => {
                replace(&mut note.name, value.raw);
                note.is_call = true;
            }
            Block::Arguments => note.arguments = value.start..value.end,
            Block::ResultId => replace(&mut note.result_id, value.raw),
            Block::ResultName => {
                replace(&mut note.result_name, value.raw);
                note.kind = Some(Kind::Result);
            }
            Block::IsError => note.is_error = value.raw == b"true",
            Block::Error => note.is_error = value.first != b'n',
            Block::Member => note.members += 1,
            Block::KnownMember => note.known_members += 1,
            Block::Signed => self.ask.features.signed_reasoning |= value.first != b'n',
        }
    }

    fn end_block(&mut self, depth: usize, value: Found<'_>) {
        let features = &mut self.ask.features;
        let note = &mut self.blocks[depth];
        // Nobody knows the kind of a block that has a part nobody knows, or two kinds.
        features.documents += u32::from(note.members > note.known_members || note.kinds > 1);
        match note.kind {
            Some(Kind::Image) => {
                features.images += 1;
                let data = note.data.take().filter(|_| note.kinds == 1);
                self.ask.image_bytes += data.map_or(0, |data| data.len() as u64);
            }
            Some(Kind::Document) => features.documents += 1,
            Some(Kind::Audio) => features.audios += 1,
            Some(Kind::Video) => features.videos += 1,
            Some(Kind::Signed) => features.signed_reasoning = true,
            Some(Kind::Call) => {
                self.turns.call(&note.id, &note.name);
                self.recent.add(&note.name, note.arguments.clone());
                features.calls += 1;
                self.turn.has_tools = true;
            }
            Some(Kind::Result) => {
                self.turns.result(&note.result_id, &note.result_name, Some(note.is_error));
                features.results += 1;
                self.turn.has_tools = true;
            }
            // Gemini's calls have no type, only a name.
            None if note.is_call => {
                self.turns.call(&note.id, &note.name);
                self.recent.add(&note.name, note.arguments.clone());
                features.calls += 1;
                self.turn.has_tools = true;
            }
            // Bytes of no kind.
            None if note.data.is_some() => features.documents += 1,
            None if value.first == b'"' => self.text(value),
            Some(Kind::Plain) | None => {}
        }
        self.blocks[depth].clear();
    }

    fn tool(&mut self, tool: Tool, value: Found<'_>) {
        let note = &mut self.tool;
        match tool {
            Tool::List => {
                self.ask.features.tool_bytes += values::size(value.end - value.start);
                self.ask.tools_at.get_or_insert(value.start..value.end);
                self.ask.odd |= !matches!(value.first, b'[' | b'n');
            }
            Tool::Type => {
                note.is_odd |= note.kind.is_some();
                note.kind = values::boxed(value.raw);
            }
            Tool::UsesMax => {
                note.is_odd |= note.uses_max.is_some();
                note.uses_max = values::count(value.raw);
            }
            Tool::Member => note.members += 1,
            Tool::ClientMember => note.client_members += 1,
            Tool::Function => note.functions += 1,
            Tool::End => self.end_tool(),
            Tool::Hidden if value.first != b'n' => self.server_tool("", None),
            Tool::Hidden => {}
            Tool::CallsMax => {
                self.ask.odd |= self.ask.server_calls_max.is_some();
                self.ask.server_calls_max = values::count(value.raw);
            }
        }
    }

    fn end_tool(&mut self) {
        let note = std::mem::take(&mut self.tool);
        if note.members > 0 {
            self.ask.features.tools += note.functions;
            (note.client_members..note.members).for_each(|_| self.server_tool("", None));
            return;
        }
        self.ask.odd |= note.is_odd;
        match note.kind.as_deref() {
            Some(kind) if kind.starts_with("advisor") || kind.ends_with(":advisor") => {
                self.ask.outside_passes = true;
                self.server_tool(kind, note.uses_max);
            }
            Some(kind) if !kinds::runs_at_client(kind) => self.server_tool(kind, note.uses_max),
            Some(_) | None => self.ask.features.tools += 1,
        }
    }

    fn server_tool(&mut self, kind: &str, uses_max: Option<u64>) {
        if self.ask.server_tools.len() < SERVER_TOOLS_MAX {
            self.ask.server_tools.push(ServerTool { kind: kind.into(), uses_max });
        } else {
            self.ask.odd = true;
        }
    }
}

fn length(value: Found<'_>) -> u64 {
    (value.end - value.start) as u64
}

/// Notes a word that has a price of its own; whether it was told before, so that nobody knows which counts.
fn twice(word: &mut Option<Box<str>>, raw: &[u8]) -> bool {
    std::mem::replace(word, values::boxed(raw)).is_some()
}

/// Whether a raw value holds one of these words.
fn says(raw: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| raw.windows(word.len()).any(|part| part == word.as_bytes()))
}
