//! The `usage` object of everything that speaks like OpenAI: chat completions, responses, embeddings.
//!
//! One set of rules serves all providers, since their numbers tell them apart: where reasoning lies outside of
//! `completion_tokens` (xAI's chat), `total_tokens` says so.
//!
//! Invariant: cached and written tokens lie inside the prompt here, and are clamped to it.

use super::counts::{Cost, Count, Details, Lenient, Named, usage_fields};
use super::facts::Facts;
use crate::domain::money::Usd;
use crate::domain::tokens::Usage;

/// Pico-dollars in one of xAI's ticks of 1e-10 USD.
const TICK_PICO: u128 = 100;

usage_fields! {
    /// What is read of it. Chat says `prompt` and `completion`, Responses say `input` and `output`.
    OpenAiUsage {
        prompt_tokens: Count,
        input_tokens: Count,
        completion_tokens: Count,
        output_tokens: Count,
        total_tokens: Count,
        prompt_tokens_details: Details<PromptDetails>,
        /// Transcriptions leave out an s.
        #[serde(alias = "input_token_details")]
        input_tokens_details: Details<PromptDetails>,
        completion_tokens_details: Details<CompletionDetails>,
        output_tokens_details: Details<CompletionDetails>,
        /// Some hosts of open models, Moonshot.
        cached_tokens: Count,
        /// Mistral.
        num_cached_tokens: Count,
        /// DeepSeek; hits and misses add up to the prompt.
        prompt_cache_hit_tokens: Count,
        prompt_cache_miss_tokens: Count,
        /// Hosts of Claude behind a chat API.
        cache_read_input_tokens: Count,
        cache_creation_input_tokens: Count,
        /// Transcriptions priced by duration.
        seconds: Count,
        /// Mistral; of a chat only a detail, whose tokens are told.
        prompt_audio_seconds: Count,
        /// OpenRouter, Vercel, Perplexity.
        cost: Cost,
        cost_details: Details<CostDetails>,
        is_byok: Lenient<bool>,
        /// xAI.
        cost_in_usd_ticks: Count,
        server_side_tool_usage_details: Lenient<Named>,
        num_sources_used: Count,
        /// Perplexity.
        num_search_queries: Count,
    }
}

usage_fields! {
    /// Parts of the prompt.
    PromptDetails {
        cached_tokens: Count,
        cache_write_tokens: Count,
        cache_write_tokens_details: Details<WriteDetails>,
        audio_tokens: Count,
        image_tokens: Count,
        cached_tokens_details: Details<CachedDetails>,
    }
}

usage_fields! {
    /// Written tokens by lifetime (OpenAI SDK 3.54).
    WriteDetails {
        ttl_12h_tokens: Count,
    }
}

usage_fields! {
    /// Parts of what was read from the cache.
    CachedDetails {
        audio_tokens: Count,
        image_tokens: Count,
    }
}

usage_fields! {
    /// Parts of the completion; rejected predictions are billed as output and lie inside it.
    CompletionDetails {
        reasoning_tokens: Count,
        audio_tokens: Count,
        image_tokens: Count,
    }
}

usage_fields! {
    /// OpenRouter: what the provider behind it charges.
    CostDetails {
        upstream_inference_cost: Cost,
    }
}

impl super::counts::Merge for bool {
    fn merge(&mut self, later: Self) {
        *self |= later;
    }
}

impl OpenAiUsage {
    /// Whether it says how much of the output is images.
    pub(super) const fn tells_image_output(&self) -> bool {
        self.output_tokens_details.0.image_tokens.0.is_some()
    }

    /// Puts the buckets, and the costs that the provider tells, into `facts`.
    pub(super) fn tell(&self, facts: &mut Facts) {
        let mut usage = self.input();
        self.output(&mut usage);
        for (name, calls) in self.server_side_tool_usage_details.0.0.iter().filter(|(_, calls)| *calls > 0) {
            usage.add_server_tool(&format!("xai.{name}"), *calls);
        }
        let told = usage.input_total().saturating_add(usage.output);
        facts.untold_tokens = self.total_tokens.get().saturating_sub(told);
        let ticks = self.cost_in_usd_ticks.0.map(|ticks| Usd::from_pico(u128::from(ticks) * TICK_PICO));
        facts.reported_cost = self.cost.0.or(ticks);
        facts.reported_cost_elsewhere = self.cost_details.0.upstream_inference_cost.0.filter(|_| self.is_byok.0);
        facts.looked_up |= self.num_sources_used.get().max(self.num_search_queries.get()) > 0;
        facts.usage = Some(usage);
    }

    fn input(&self) -> Usage {
        let (chat, responses) = (&self.prompt_tokens_details.0, &self.input_tokens_details.0);
        let hit_and_miss = self.prompt_cache_hit_tokens.get().saturating_add(self.prompt_cache_miss_tokens.get());
        let prompt = self.prompt_tokens.0.or(self.input_tokens.0).unwrap_or(hit_and_miss);
        let cached = chat
            .cached_tokens
            .or_larger(responses.cached_tokens)
            .or_larger(self.cached_tokens)
            .or_larger(self.num_cached_tokens)
            .or_larger(self.prompt_cache_hit_tokens)
            .or_larger(self.cache_read_input_tokens)
            .get()
            .min(prompt);
        let write = |details: &PromptDetails| details.cache_write_tokens;
        let written = write(chat).or_larger(write(responses)).or_larger(self.cache_creation_input_tokens);
        let lifetimes = |details: &PromptDetails| details.cache_write_tokens_details.0.ttl_12h_tokens;
        let cache_write_12h = lifetimes(chat).or_larger(lifetimes(responses)).get().min(prompt - cached);
        let written = written.get().max(cache_write_12h).min(prompt - cached);
        Usage {
            input: prompt - cached - written,
            cache_read: cached,
            cache_write: written - cache_write_12h,
            cache_write_12h,
            audio_in: chat.audio_tokens.or_larger(responses.audio_tokens).get().min(prompt),
            image_in: chat.image_tokens.or_larger(responses.image_tokens).get().min(prompt),
            audio_cached: chat.cached_tokens_details.0.audio_tokens.get().min(cached),
            image_cached: chat.cached_tokens_details.0.image_tokens.get().min(cached),
            seconds: self.seconds.get(),
            ..Usage::default()
        }
    }

    fn output(&self, usage: &mut Usage) {
        let (chat, responses) = (&self.completion_tokens_details.0, &self.output_tokens_details.0);
        let completion = self.completion_tokens.0.or(self.output_tokens.0).unwrap_or(0);
        let reasoning = chat.reasoning_tokens.or_larger(responses.reasoning_tokens).get();
        let with_reasoning = completion.saturating_add(reasoning);
        let prompt = usage.input_total();
        let is_outside = match self.total_tokens.0 {
            Some(total) => total == prompt.saturating_add(with_reasoning),
            None => reasoning > completion,
        };
        usage.output = if is_outside { with_reasoning } else { completion };
        usage.reasoning = reasoning.min(usage.output);
        usage.audio_out = chat.audio_tokens.or_larger(responses.audio_tokens).get().min(usage.output);
        usage.image_out = chat.image_tokens.or_larger(responses.image_tokens).get().min(usage.output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::counts::Merge;

    fn told(reports: &[&str]) -> Facts {
        let mut merged = OpenAiUsage::default();
        for report in reports {
            merged.merge(serde_json::from_str(report).unwrap());
        }
        let mut facts = Facts::default();
        merged.tell(&mut facts);
        facts
    }

    fn check(report: &str, expect: &Usage) {
        assert_eq!(told(&[report]).usage.as_ref(), Some(expect), "{report}");
    }

    #[test]
    fn cached_and_written_tokens_are_taken_out_of_the_prompt() {
        let expect = Usage { input: 8, cache_read: 100, cache_write: 12, output: 5, ..Usage::default() };
        check(
            r#"{"prompt_tokens":120,"completion_tokens":5,"total_tokens":125,
                "prompt_tokens_details":{"cached_tokens":100,"cache_write_tokens":12}}"#,
            &expect,
        );
        check(
            r#"{"input_tokens":120,"output_tokens":5,"input_tokens_details":{"cached_tokens":100,"cache_write_tokens":12}}"#,
            &expect,
        );
        let expect = Usage { cache_write: 7, cache_write_12h: 5, ..expect };
        check(
            r#"{"input_tokens":120,"output_tokens":5,"input_tokens_details":{"cached_tokens":100,"cache_write_tokens":12,
                "cache_write_tokens_details":{"ttl_30m_tokens":7,"ttl_12h_tokens":5}}}"#,
            &expect,
        );
    }

    #[test]
    fn each_name_for_cached_tokens_is_known() {
        let expect = Usage { input: 4, cache_read: 6, output: 1, ..Usage::default() };
        for field in [
            r#""cached_tokens":6"#,
            r#""num_cached_tokens":6"#,
            r#""prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":4"#,
            r#""cache_read_input_tokens":6"#,
            r#""prompt_tokens_details":null,"cached_tokens":6"#,
            r#""prompt_tokens_details":{"cached_tokens":6}"#,
        ] {
            check(&format!(r#"{{"prompt_tokens":10,"completion_tokens":1,{field}}}"#), &expect);
        }
        check(r#"{"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":4,"completion_tokens":1}"#, &expect);
    }

    #[test]
    fn numbers_that_contradict_each_other_are_clamped() {
        let expect = Usage { cache_read: 10, output: 1, ..Usage::default() };
        check(
            r#"{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":99,"cache_write_tokens":9}}"#,
            &expect,
        );
    }

    #[test]
    fn the_total_tells_whether_reasoning_lies_inside_the_completion() {
        let details = r#""completion_tokens_details":{"reasoning_tokens":290}"#;
        let expect = Usage { input: 12, output: 291, reasoning: 290, ..Usage::default() };
        check(&format!(r#"{{"prompt_tokens":12,"completion_tokens":1,"total_tokens":303,{details}}}"#), &expect);
        check(&format!(r#"{{"prompt_tokens":12,"completion_tokens":1,{details}}}"#), &expect);
        check(&format!(r#"{{"prompt_tokens":12,"completion_tokens":291,"total_tokens":303,{details}}}"#), &expect);
    }

    #[test]
    fn the_last_value_of_each_field_wins() {
        let facts = told(&[
            r#"{"prompt_tokens":193,"completion_tokens":null,"total_tokens":null}"#,
            r#"{"prompt_tokens":193,"completion_tokens":7}"#,
            r#"{"completion_tokens":14,"cost":null}"#,
        ]);
        assert_eq!(facts.usage, Some(Usage { input: 193, output: 14, ..Usage::default() }));
    }

    #[test]
    fn a_told_cost_is_exact() {
        let facts = told(&[r#"{"cost":0,"is_byok":true,"cost_details":{"upstream_inference_cost":3.253e-4}}"#]);
        assert_eq!(
            (facts.reported_cost, facts.reported_cost_elsewhere.map(Usd::pico)),
            (Some(Usd::ZERO), Some(325_300_000))
        );
        let facts = told(&[r#"{"cost":4e-05,"is_byok":false,"cost_details":{"upstream_inference_cost":4e-05}}"#]);
        assert_eq!((facts.reported_cost.map(Usd::pico), facts.reported_cost_elsewhere), (Some(40_000_000), None));
        let facts = told(&[r#"{"cost_in_usd_ticks":1466250}"#]);
        assert_eq!(facts.reported_cost.map(Usd::pico), Some(146_625_000));
        assert_eq!(told(&[r#"{"cost":-0.065}"#]).reported_cost, None);
    }

    #[test]
    fn tokens_of_the_total_that_no_field_explains_are_shown() {
        assert_eq!(told(&[r#"{"prompt_tokens":35,"completion_tokens":12,"total_tokens":109}"#]).untold_tokens, 62);
        assert_eq!(told(&[r#"{"prompt_tokens":35,"completion_tokens":12,"total_tokens":1}"#]).untold_tokens, 0);
    }
}
