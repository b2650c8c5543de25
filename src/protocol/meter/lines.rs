//! [`Lines`]: the results of a batch, a JSON object a line, each with an answer of its own in it.
//!
//! Files of any kind come this way, so that a first line which is no result ends the reading.
//!
//! Invariant: besides what each answered line is billed for, only the line being read is kept; a batch has at most
//! [`LINES_MAX`] lines.

use crate::domain::tokens::Usage;
use crate::protocol::anthropic_messages::UntoldWrites;
use crate::protocol::facts::{BilledCall, Facts};
use crate::protocol::gather::Gather;
use crate::protocol::scan::Scanner;
use crate::protocol::shape::Shape;

/// Lines of one batch: Anthropic allows 100,000 requests
/// (<https://docs.anthropic.com/en/docs/build-with-claude/batch-processing>), OpenAI 50,000.
const LINES_MAX: usize = 200_000;

/// Reads the lines.
#[derive(Debug)]
pub(super) struct Lines {
    shape: Shape,
    /// The line that is being read; nothing between lines.
    line: Option<Box<(Scanner, Gather)>>,
    calls: Vec<BilledCall>,
    total: Usage,
    results: usize,
    is_other: bool,
    is_broken: bool,
}

impl Lines {
    pub(super) fn new(shape: Shape) -> Self {
        let (calls, total) = (Vec::new(), Usage::default());
        Self { shape, line: None, calls, total, results: 0, is_other: false, is_broken: false }
    }

    pub(super) fn read(&mut self, chunk: &[u8]) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            if self.is_other || self.is_broken {
                return;
            }
            self.piece(piece);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// What all lines told; the whole only if nothing was missing.
    pub(super) fn end(mut self) -> Facts {
        self.end_line();
        let is_batch = !self.is_other && !self.is_broken && self.results > 0;
        Facts {
            usage: is_batch.then_some(self.total),
            usage_final: is_batch,
            calls: if is_batch { self.calls } else { Vec::new() },
            batch: is_batch,
            terminal: !self.is_broken,
            broken: self.is_broken,
            ..Facts::default()
        }
    }

    fn piece(&mut self, piece: &[u8]) {
        if self.line.is_none() && piece.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let shape = self.shape;
        let (scanner, gather) = &mut **self.line.get_or_insert_with(|| Box::new((Scanner::new(), Gather::new(shape))));
        if scanner.feed(shape.plan(), piece, gather).is_err() {
            self.fail();
        }
    }

    fn end_line(&mut self) {
        let Some(line) = self.line.take() else { return };
        let (mut scanner, mut gather) = *line;
        if scanner.finish(self.shape.plan(), &mut gather).is_err() || !gather.is_result() || self.results == LINES_MAX {
            return self.fail();
        }
        self.results += 1;
        gather.end_event(b"");
        let facts = gather.facts(UntoldWrites::default());
        self.is_broken |= facts.broken;
        let passes = match facts.calls.is_empty() {
            false => facts.calls,
            true => facts.usage.map(|usage| BilledCall { model: None, usage }).into_iter().collect(),
        };
        for pass in passes {
            self.total.add(&pass.usage);
            self.calls.push(BilledCall { model: pass.model.or_else(|| facts.served_model.clone()), ..pass });
        }
    }

    /// The line is no result: then the file is none, unless it began as one.
    fn fail(&mut self) {
        self.is_other = self.results == 0;
        self.is_broken = !self.is_other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"model":"claude-x","stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":3,"service_tier":"batch"}}}}"#;
    const FAILED: &str = r#"{"custom_id":"b","result":{"type":"errored","error":{"type":"invalid_request"}}}"#;
    const OPENAI: &str = r#"{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"request_id":"r","body":{"model":"gpt-x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}},"error":null}"#;

    fn check(shape: Shape, text: &str, expect: Option<(usize, u64, u64)>, broken: bool) {
        for step in [1, 7, 64, text.len().max(1)] {
            let mut lines = Lines::new(shape);
            text.as_bytes().chunks(step).for_each(|chunk| lines.read(chunk));
            let facts = lines.end();
            let found = facts.usage.map(|usage| (facts.calls.len(), usage.input, usage.output));
            assert_eq!((found, facts.batch, facts.broken), (expect, expect.is_some(), broken), "{text} by {step}");
        }
    }

    #[test]
    fn each_answer_of_a_batch_is_billed() {
        check(Shape::MessagesLine, &format!("{DONE}\n{FAILED}\n{DONE}\n"), Some((2, 20, 6)), false);
        check(Shape::MessagesLine, &format!("{DONE}\r\n\r\n{DONE}"), Some((2, 20, 6)), false);
        check(Shape::ResponsesLine, &format!("{OPENAI}\n{OPENAI}\n"), Some((2, 14, 4)), false);
        check(Shape::MessagesLine, FAILED, Some((0, 0, 0)), false);
    }

    #[test]
    fn what_is_no_whole_batch_is_not_billed() {
        check(Shape::MessagesLine, &format!("{DONE}\n{}", &DONE[..90]), None, true);
        check(Shape::MessagesLine, &format!("{DONE}\n{{\"a\":1}}\n"), None, true);
        check(Shape::ResponsesLine, "{\"custom_id\":\"a\",\"method\":\"POST\",\"body\":{}}\n", None, false);
        check(Shape::ResponsesLine, "a,b\n1,2\n", None, false);
        check(Shape::ResponsesLine, "\u{89}PNG\r\n\u{1a}\n", None, false);
        check(Shape::ResponsesLine, "", None, false);
    }
}
