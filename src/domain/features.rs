//! [`Features`]: what a request looks like from outside, counted, and its 32 bytes in the ledger.
//!
//! They hold sizes and kinds, never words, so that the past can be routed and priced again under another config
//! without a prompt on disk.
//!
//! Layout, version 1: byte 0 is the version; bytes 1 to 16 are [`Features::sizes`] in their order on a logarithmic
//! scale of eight steps an octave; byte 17 and 18 are flags, lowest bit first, in the order of [`Features::flags`];
//! the rest is zero, or in version 2 a [`Stamp`](super::stamp::Stamp).
//!
//! Invariant: reading what was written and writing it again gives the same bytes.

use super::entry::FEATURE_BYTES;

/// The layout without a stamp.
pub const VERSION: u8 = 1;

/// The same with what routing saw: see `stamp`.
pub const VERSION_STAMPED: u8 = 2;

/// Where the flags stand.
const FLAGS_AT: usize = 17;

/// What a request looks like from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Bytes of the body.
    pub bytes: u32,
    /// Of those: bytes of text in system prompt, messages and inputs, quotes and escapes included.
    pub text_bytes: u32,
    /// Bytes of the system prompt.
    pub system_bytes: u32,
    /// Bytes of text in the last message.
    pub last_bytes: u32,
    /// Bytes of tool declarations.
    pub tool_bytes: u32,
    /// Messages, items or inputs.
    pub messages: u32,
    /// Tools declared that the client runs.
    pub tools: u32,
    /// Tools declared that run at the provider.
    pub server_tools: u32,
    /// Tool calls in the history.
    pub calls: u32,
    /// Tool results in the history.
    pub results: u32,
    /// Images.
    pub images: u32,
    /// Documents, inline or by reference.
    pub documents: u32,
    /// Pieces of audio.
    pub audios: u32,
    /// Videos.
    pub videos: u32,
    /// The output limit in tokens; 0 if there is none.
    pub output_limit: u32,
    /// How many answers are asked for; 0 or 1 is one.
    pub choices: u32,
    /// The answer is to be streamed.
    pub stream: bool,
    /// Reasoning is asked for.
    pub reasoning: bool,
    /// The answer must be JSON.
    pub structured: bool,
    /// A tool must be called.
    pub tool_forced: bool,
    /// Log probabilities are asked for.
    pub logprobs: bool,
    /// The history holds reasoning that only the model that made it can read.
    pub signed_reasoning: bool,
    /// Audio is asked for.
    pub audio_out: bool,
    /// The answer is to be made in the background.
    pub background: bool,
    /// The prompt goes on from something that the provider stored.
    pub stored_context: bool,
    /// A lifetime in the provider's prompt cache is asked for.
    pub caches: bool,
    /// The last message is a tool's result.
    pub in_tool_loop: bool,
}

impl Features {
    /// The sizes, in the order of their bytes.
    #[must_use]
    pub const fn sizes(&self) -> [u32; 16] {
        [
            self.bytes,
            self.text_bytes,
            self.system_bytes,
            self.last_bytes,
            self.tool_bytes,
            self.messages,
            self.tools,
            self.server_tools,
            self.calls,
            self.results,
            self.images,
            self.documents,
            self.audios,
            self.videos,
            self.output_limit,
            self.choices,
        ]
    }

    /// The flags, in the order of their bits.
    #[must_use]
    pub const fn flags(&self) -> [bool; 11] {
        [
            self.stream,
            self.reasoning,
            self.structured,
            self.tool_forced,
            self.logprobs,
            self.signed_reasoning,
            self.audio_out,
            self.background,
            self.stored_context,
            self.caches,
            self.in_tool_loop,
        ]
    }

    /// The bytes for the ledger.
    #[must_use]
    pub fn quantise(&self) -> [u8; FEATURE_BYTES] {
        let mut bytes = [0; FEATURE_BYTES];
        bytes[0] = VERSION;
        for (byte, size) in bytes[1..FLAGS_AT].iter_mut().zip(self.sizes()) {
            *byte = step(size);
        }
        for (number, _) in self.flags().iter().enumerate().filter(|(_, set)| **set) {
            bytes[FLAGS_AT + number / 8] |= 1 << (number % 8);
        }
        bytes
    }

    /// What the bytes of an entry say: each size as the smallest of its step. `None` for an unknown version.
    #[must_use]
    pub fn read(bytes: &[u8; FEATURE_BYTES]) -> Option<Self> {
        if !matches!(bytes[0], VERSION | VERSION_STAMPED) {
            return None;
        }
        let size = |number: usize| size(bytes[1 + number]);
        let flag = |number: usize| bytes[FLAGS_AT + number / 8] & (1 << (number % 8)) != 0;
        Some(Self {
            bytes: size(0),
            text_bytes: size(1),
            system_bytes: size(2),
            last_bytes: size(3),
            tool_bytes: size(4),
            messages: size(5),
            tools: size(6),
            server_tools: size(7),
            calls: size(8),
            results: size(9),
            images: size(10),
            documents: size(11),
            audios: size(12),
            videos: size(13),
            output_limit: size(14),
            choices: size(15),
            stream: flag(0),
            reasoning: flag(1),
            structured: flag(2),
            tool_forced: flag(3),
            logprobs: flag(4),
            signed_reasoning: flag(5),
            audio_out: flag(6),
            background: flag(7),
            stored_context: flag(8),
            caches: flag(9),
            in_tool_loop: flag(10),
        })
    }
}

/// The step of a size: 0 for none, exact up to 16, then eight steps for each doubling.
fn step(size: u32) -> u8 {
    let Some(octave) = size.checked_ilog2() else { return 0 };
    let eighth = ((u64::from(size) << 3) >> octave) & 7;
    u8::try_from(u64::from(octave) * 8 + eighth + 1).unwrap_or(u8::MAX)
}

/// The smallest size of a step.
fn size(step: u8) -> u32 {
    let Some(code) = step.checked_sub(1) else { return 0 };
    let (octave, eighth) = (code / 8, u64::from(code % 8));
    u32::try_from(((8 + eighth) << octave) >> 3).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_loses_less_than_an_eighth() {
        for value in (0..70_000).chain([1 << 20, (1 << 26) + 1, 1 << 31]) {
            let read = size(step(value));
            assert!(read <= value && u64::from(value) * 8 <= u64::from(read) * 9, "{value} reads as {read}");
            assert!(value > 16 || read == value, "{value}");
        }
    }

    #[test]
    fn what_was_read_is_written_the_same() {
        let features = Features {
            bytes: 116_213,
            text_bytes: 90_001,
            messages: 31,
            tools: 24,
            output_limit: 32_000,
            stream: true,
            in_tool_loop: true,
            ..Features::default()
        };
        let bytes = features.quantise();
        let read = Features::read(&bytes).unwrap();
        assert_eq!(read.quantise(), bytes);
        assert_eq!((read.tools, read.messages, read.stream, read.in_tool_loop), (24, 30, true, true));
        assert_eq!(Features::read(&[9; FEATURE_BYTES]), None);
    }

    #[test]
    fn each_size_and_flag_has_its_own_place() {
        let mut bytes = [0; FEATURE_BYTES];
        bytes[0] = VERSION;
        bytes[1..FLAGS_AT].iter_mut().zip(40..).for_each(|(byte, step)| *byte = step);
        for bits in [(0x55, 0x02), (0xaa, 0x05)] {
            (bytes[FLAGS_AT], bytes[FLAGS_AT + 1]) = bits;
            assert_eq!(Features::read(&bytes).unwrap().quantise(), bytes);
        }
    }
}
