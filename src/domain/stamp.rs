//! [`Stamp`]: what routing saw of a request, in the last bytes of its features in the ledger, so that the past can be learned
//! from and routed again.
//!
//! Layout, version 2 of the features: as version 1, and the rest of byte 18's bits are [`Stamp::marks`]; bytes 19 to 24 are
//! the route, 25 how likely a small model fails (in 255ths), 26 the tier that was judged (0 to 2, 3 for none) and above it
//! whether that was sure, 27 to 31 the conversation.
//!
//! Invariant: it holds hashes and numbers, never words; features of version 1 have no stamp and are never taken for one.

use super::entry::{FEATURE_BYTES, Tier};
use super::features::{VERSION, VERSION_STAMPED};

const MARKS_AT: usize = 18;
const ROUTE_AT: usize = 19;
const SCORE_AT: usize = 25;
const JUDGED_AT: usize = 26;
const TALK_AT: usize = 27;

/// Flags of features take the lower bits of their last byte.
const MARKS_SHIFT: u32 = 3;

/// Bits of a route.
pub const ROUTE_BITS: u32 = 48;

/// Bits of a conversation.
pub const TALK_BITS: u32 = 40;

/// What routing saw of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The route, in [`ROUTE_BITS`]; 0 for none.
    pub route: u64,
    /// The conversation, in [`TALK_BITS`]; 0 for none.
    pub talk: u64,
    /// Thousandths: how likely a small model fails.
    pub score: u16,
    /// The tier that was judged, and whether that was sure.
    pub judged: Option<(Tier, bool)>,
    /// Whether a program writes code with it.
    pub is_agent: bool,
    /// Whether it is a title, a probe, or the like.
    pub is_housekeeping: bool,
    /// Whether sampling is set.
    pub sampling: bool,
    /// Whether several tools are called at once.
    pub parallel_tools: bool,
    /// Whether it asks for something that no catalogue speaks of.
    pub special: bool,
}

impl Stamp {
    const fn marks(&self) -> [bool; 5] {
        [self.is_agent, self.is_housekeeping, self.sampling, self.parallel_tools, self.special]
    }

    /// Puts it into the features of an entry.
    pub fn write(&self, bytes: &mut [u8; FEATURE_BYTES]) {
        if !matches!(bytes[0], VERSION | VERSION_STAMPED) {
            return;
        }
        bytes[0] = VERSION_STAMPED;
        bytes[MARKS_AT] &= (1 << MARKS_SHIFT) - 1;
        for (number, _) in (MARKS_SHIFT..).zip(self.marks()).filter(|(_, set)| *set) {
            bytes[MARKS_AT] |= 1 << number;
        }
        bytes[ROUTE_AT..SCORE_AT].copy_from_slice(&self.route.to_be_bytes()[2..]);
        bytes[SCORE_AT] = u8::try_from(u32::from(self.score.min(1_000)) * 255 / 1_000).unwrap_or(u8::MAX);
        bytes[JUDGED_AT] = self.judged.map_or(3, |(tier, is_sure)| tier as u8 | u8::from(is_sure) << 2);
        bytes[TALK_AT..].copy_from_slice(&self.talk.to_be_bytes()[3..]);
    }

    /// What the features of an entry hold of it.
    #[must_use]
    pub fn read(bytes: &[u8; FEATURE_BYTES]) -> Option<Self> {
        if bytes[0] != VERSION_STAMPED {
            return None;
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let mark = |number: u32| bytes[MARKS_AT] & (1 << (MARKS_SHIFT + number)) != 0;
        let tier = Tier::ALL.get(usize::from(bytes[JUDGED_AT] & 3)).copied();
        Some(Self {
            route: number(&bytes[ROUTE_AT..SCORE_AT]),
            talk: number(&bytes[TALK_AT..]),
            score: u16::try_from((u32::from(bytes[SCORE_AT]) * 1_000).div_ceil(255)).unwrap_or(u16::MAX),
            judged: tier.map(|tier| (tier, bytes[JUDGED_AT] & 4 != 0)),
            is_agent: mark(0),
            is_housekeeping: mark(1),
            sampling: mark(2),
            parallel_tools: mark(3),
            special: mark(4),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::features::Features;
    use super::*;

    #[test]
    fn a_stamp_is_read_back_and_leaves_the_features_alone() {
        let features = Features { bytes: 16, tools: 3, stream: true, in_tool_loop: true, ..Features::default() };
        for (judged, mark) in [(None, true), (Some((Tier::Complex, true)), false), (Some((Tier::Simple, false)), true)]
        {
            let stamp = Stamp {
                route: (1 << ROUTE_BITS) - 2,
                talk: 1 << (TALK_BITS - 1),
                score: 612,
                judged,
                is_agent: mark,
                sampling: !mark,
                special: mark,
                ..Stamp::default()
            };
            let mut bytes = features.quantise();
            assert_eq!(Stamp::read(&bytes), None);
            stamp.write(&mut bytes);
            assert_eq!((Stamp::read(&bytes), Features::read(&bytes)), (Some(stamp), Some(features)));
            Stamp::default().write(&mut bytes);
            assert_eq!(Stamp::read(&bytes), Some(Stamp::default()));
        }
    }
}
