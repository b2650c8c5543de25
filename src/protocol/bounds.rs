//! [`Bounds`]: how many tokens a request can be billed for at most, before it is sent.
//!
//! Byte-level tokenizers start from one token a byte and only merge, so the bytes of a body bound the tokens of its
//! text; framing and escapes only lengthen it. Margins cover what providers add around it. What the body does not
//! hold (files, stored conversations, documents) is bounded by the model's context window. What runs again at the
//! provider (server tools) is bounded by the number of runs. What nobody can bound says so, and is never zero.
//!
//! Invariant: more of anything in a request never gives a smaller bound.

use super::ask::Ask;

/// Tokens that a provider may add for each message.
const MESSAGE_MARGIN: u64 = 64;

/// Tokens that a provider may add for each request.
const REQUEST_MARGIN: u64 = 512;

/// Tokens that a provider may add to explain tools to the model.
const TOOLS_MARGIN: u64 = 1_024;

/// Tokens of one image where the model's own maximum is not known.
///
/// The largest documented: gpt-4o-mini bills 2,833 + 5,667 a tile, and at most eight tiles, for one image.
pub const IMAGE_TOKENS_MAX: u64 = 50_000;

/// What is known of the model that will be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelFacts {
    /// Its context window in tokens.
    pub context: Option<u64>,
    /// The most it puts out in one answer, in tokens.
    pub max_output: Option<u64>,
    /// The most that one image costs it, in tokens.
    pub image_tokens: Option<u64>,
    /// It bills reasoning beside the output that the limit holds (xAI's chat completions).
    pub reasoning_outside: bool,
    /// It searches or calls tools although no request asks for it (Groq's compound models, Perplexity's).
    pub runs_on_its_own: bool,
}

/// What a request can be billed for at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Prompt tokens, over all passes.
    pub input_tokens: u64,
    /// Generated tokens, over all answers; `None` where neither request nor model names a limit.
    pub output_tokens: Option<u64>,
    /// Calls of tools that run at the provider.
    pub server_tool_calls: u64,
    /// Why the numbers here are no bound.
    pub unbounded: Option<Unbounded>,
}

/// Why a request has no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unbounded {
    /// It is billed after the answer.
    Background,
    /// A tool runs at the provider as often as the model likes.
    ServerTools,
    /// Passes beside the answer are billed: compaction, an advisor, a fallback model.
    OutsidePasses,
    /// It needs a context window, and the model's is not known.
    NoContextWindow,
    /// Neither the request nor the model limits the output.
    NoOutputLimit,
    /// A field has a form that cannot be read.
    OddField,
}

impl Unbounded {
    /// The word in refusals and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::ServerTools => "server_tools",
            Self::OutsidePasses => "outside_passes",
            Self::NoContextWindow => "no_context_window",
            Self::NoOutputLimit => "no_output_limit",
            Self::OddField => "odd_field",
        }
    }
}

impl Bounds {
    /// Bounds an ask for a model; `generates` is false for operations without output, and `ceiling` is the policy's
    /// own output limit for one answer, in tokens.
    #[must_use]
    pub fn of(ask: &Ask, model: &ModelFacts, generates: bool, ceiling: Option<u64>) -> Self {
        let calls = server_calls(ask);
        let passes = calls.unwrap_or(0).saturating_add(1);
        let input = input_of_one_pass(ask, model);
        let input_tokens = match (passes, model.context) {
            (1, _) => input.unwrap_or(0),
            (_, Some(context)) => context.saturating_mul(passes),
            (_, None) => input.unwrap_or(0).saturating_mul(passes),
        };
        let needs_window = input.is_none() || passes > 1 && model.context.is_none();
        let output_tokens = if generates { output(ask, model, ceiling, passes) } else { Some(0) };
        let unbounded = [
            (ask.odd, Unbounded::OddField),
            (ask.features.background, Unbounded::Background),
            (ask.outside_passes, Unbounded::OutsidePasses),
            (calls.is_none() || model.runs_on_its_own, Unbounded::ServerTools),
            (needs_window, Unbounded::NoContextWindow),
            (output_tokens.is_none(), Unbounded::NoOutputLimit),
        ];
        let unbounded = unbounded.into_iter().find_map(|(holds, why)| holds.then_some(why));
        Self { input_tokens, output_tokens, server_tool_calls: calls.unwrap_or(0), unbounded }
    }
}

/// How often tools can run at the provider; `None`: as often as the model likes.
fn server_calls(ask: &Ask) -> Option<u64> {
    if ask.server_tools.is_empty() {
        return Some(0);
    }
    let declared = ask.server_tools.iter().try_fold(0_u64, |sum, tool| Some(sum.saturating_add(tool.uses_max?)));
    match (declared, ask.server_calls_max) {
        (Some(declared), Some(max)) => Some(declared.min(max)),
        (declared, max) => declared.or(max),
    }
}

/// The prompt of one pass; `None` where only a context window bounds it and none is known.
fn input_of_one_pass(ask: &Ask, model: &ModelFacts) -> Option<u64> {
    let features = &ask.features;
    let unseen = features.documents + features.audios + features.videos > 0 || features.stored_context;
    if unseen {
        return model.context;
    }
    let has_tools = features.tool_bytes > 0;
    let text = u64::from(features.bytes).saturating_sub(ask.image_bytes).saturating_add(ask.expansion_bytes);
    let margins = REQUEST_MARGIN
        + MESSAGE_MARGIN * u64::from(features.messages)
        + if has_tools { TOOLS_MARGIN + u64::from(features.tool_bytes) } else { 0 };
    let images = u64::from(features.images).saturating_mul(model.image_tokens.unwrap_or(IMAGE_TOKENS_MAX));
    let bound = text.saturating_add(margins).saturating_add(images);
    Some(model.context.map_or(bound, |context| bound.min(context)))
}

/// What can be generated. A limit holds for each sampling of a server tool's loop and for each answer.
fn output(ask: &Ask, model: &ModelFacts, ceiling: Option<u64>, passes: u64) -> Option<u64> {
    // Where zero is what a field has that nobody has set, it is no limit.
    let said = ask.output_limit.filter(|limit| *limit > 0);
    let enforced = [said, model.max_output, ceiling].into_iter().flatten().min()?;
    let outside = if model.reasoning_outside { model.max_output? } else { 0 };
    let answer = enforced.saturating_mul(passes).saturating_add(outside).saturating_add(ask.prediction_bytes);
    Some(answer.saturating_mul(ask.choices.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::features::Features;
    use crate::protocol::ask::ServerTool;

    const FACTS: ModelFacts = ModelFacts {
        context: Some(200_000),
        max_output: Some(8_000),
        image_tokens: Some(1_600),
        reasoning_outside: false,
        runs_on_its_own: false,
    };

    fn plain() -> Ask {
        let features = Features { bytes: 1_000, messages: 2, ..Features::default() };
        Ask { choices: 1, output_limit: Some(500), features, ..Ask::default() }
    }

    fn check(change: impl Fn(&mut Ask), input: u64, output: Option<u64>, unbounded: Option<Unbounded>) {
        let mut ask = plain();
        change(&mut ask);
        let bounds = Bounds::of(&ask, &FACTS, true, None);
        assert_eq!((bounds.input_tokens, bounds.output_tokens, bounds.unbounded), (input, output, unbounded));
    }

    #[test]
    fn the_input_is_bounded_by_bytes_margins_and_window() {
        let base = 1_000 + 512 + 128;
        check(|_| {}, base, Some(500), None);
        check(|ask| ask.features.tool_bytes = 300, base + 1_024 + 300, Some(500), None);
        check(|ask| ask.expansion_bytes = 30, base + 30, Some(500), None);
        check(|ask| ask.features.bytes = 900_000, 200_000, Some(500), None);
        check(|ask| (ask.features.images, ask.image_bytes) = (2, 800), base - 800 + 3_200, Some(500), None);
        check(|ask| ask.features.documents = 1, 200_000, Some(500), None);
        check(|ask| ask.features.audios = 1, 200_000, Some(500), None);
        check(|ask| ask.features.stored_context = true, 200_000, Some(500), None);
    }

    #[test]
    fn the_output_is_bounded_by_the_smallest_limit_that_is_enforced() {
        let input = 1_640;
        check(|ask| ask.output_limit = None, input, Some(8_000), None);
        check(|ask| ask.output_limit = Some(u64::MAX), input, Some(8_000), None);
        check(|ask| ask.output_limit = Some(0), input, Some(8_000), None);
        check(|ask| ask.choices = 3, input, Some(1_500), None);
        check(|ask| ask.prediction_bytes = 70, input, Some(570), None);
        let of = |facts, ceiling| Bounds::of(&plain(), &facts, true, ceiling).output_tokens;
        assert_eq!(of(FACTS, Some(200)), Some(200));
        assert_eq!(of(ModelFacts { reasoning_outside: true, ..FACTS }, None), Some(8_500));
        assert_eq!(of(ModelFacts::default(), None), Some(500));
        assert_eq!(Bounds::of(&plain(), &FACTS, false, None).output_tokens, Some(0));
    }

    #[test]
    fn what_runs_at_the_provider_is_bounded_by_its_runs_or_not_at_all() {
        let tool = |uses_max| ServerTool { kind: "web_search_20250305".into(), uses_max };
        check(|ask| ask.server_tools = vec![tool(Some(2)), tool(Some(1))], 800_000, Some(2_000), None);
        check(|ask| ask.server_tools = vec![tool(Some(2)), tool(None)], 1_640, Some(500), Some(Unbounded::ServerTools));
        check(|ask| (ask.server_tools, ask.server_calls_max) = (vec![tool(None)], Some(1)), 400_000, Some(1_000), None);
        check(|ask| ask.features.background = true, 1_640, Some(500), Some(Unbounded::Background));
        check(|ask| ask.outside_passes = true, 1_640, Some(500), Some(Unbounded::OutsidePasses));
        check(|ask| ask.odd = true, 1_640, Some(500), Some(Unbounded::OddField));
    }

    #[test]
    fn an_unknown_model_has_a_bound_only_for_what_the_body_shows() {
        let unknown = ModelFacts::default();
        let bounds = |change: fn(&mut Ask)| {
            let mut ask = plain();
            change(&mut ask);
            Bounds::of(&ask, &unknown, true, None).unbounded
        };
        assert_eq!(bounds(|_| {}), None);
        assert_eq!(bounds(|ask| ask.features.images = 1), None);
        assert_eq!(bounds(|ask| ask.features.documents = 1), Some(Unbounded::NoContextWindow));
        assert_eq!(bounds(|ask| ask.output_limit = None), Some(Unbounded::NoOutputLimit));
        let wilful = ModelFacts { runs_on_its_own: true, ..FACTS };
        assert_eq!(Bounds::of(&plain(), &wilful, true, None).unbounded, Some(Unbounded::ServerTools));
    }
}
