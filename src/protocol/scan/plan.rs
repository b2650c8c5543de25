//! [`Plan`]: which paths a scanner looks for, compiled level by level.

/// Levels below the root in which a wanted path may end.
pub(super) const LEVELS: usize = 10;

/// One path whose value is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Pattern<'a> {
    /// Keys from the root; `"*"` is any element of an array, `"%"` any key of an object, `"a|b"` one key or the other.
    pub path: &'a [&'static str],
    /// How much of the value to show.
    pub take: Take,
}

/// How much of a wanted value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Where it stands; its bytes are not kept, and patterns may lead inside it.
    Span,
    /// Its first so many raw bytes as well. Patterns that lead inside such a value find nothing.
    Bytes(usize),
}

/// Compiled patterns: what to look for, level by level. At most 64. The default one looks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// For each level: the keys that lead on, with the patterns that they serve.
    keys: [Vec<(&'static str, u64)>; LEVELS],
    /// What tells those keys apart, nearly always, without a look at them.
    tags: [Vec<u16>; LEVELS],
    /// For each level: the patterns that take any element of an array there.
    pub(super) any: [u64; LEVELS],
    /// For each level: the patterns that take any key of an object there.
    any_key: [u64; LEVELS],
    /// For each level: the patterns that end there.
    pub(super) ends: [u64; LEVELS],
    pub(super) takes: Vec<Take>,
    /// The patterns whose bytes are kept.
    kept: u64,
}

impl Plan {
    /// Compiles patterns.
    ///
    /// # Errors
    /// Says which rule a pattern breaks: at most 64 of them, each of 1 to 10 steps.
    pub fn new(patterns: &[Pattern<'_>]) -> Result<Self, &'static str> {
        let mut plan = Self::default();
        if patterns.len() > 64 {
            return Err("a plan holds at most 64 patterns");
        }
        for (number, pattern) in patterns.iter().enumerate() {
            if pattern.path.is_empty() || pattern.path.len() > LEVELS {
                return Err("a path has 1 to 10 steps");
            }
            let bit = 1_u64 << number;
            for (level, step) in pattern.path.iter().enumerate() {
                plan.step(level, step, bit);
            }
            plan.ends[pattern.path.len() - 1] |= bit;
            plan.takes.push(pattern.take);
            plan.kept |= if matches!(pattern.take, Take::Bytes(_)) { bit } else { 0 };
        }
        Ok(plan)
    }

    fn step(&mut self, level: usize, step: &'static str, bit: u64) {
        match step {
            "*" => self.any[level] |= bit,
            "%" => self.any_key[level] |= bit,
            _ => step.split('|').for_each(|key| self.key(level, key, bit)),
        }
    }

    fn key(&mut self, level: usize, key: &'static str, bit: u64) {
        if let Some((_, bits)) = self.keys[level].iter_mut().find(|(known, _)| *known == key) {
            *bits |= bit;
        } else {
            self.keys[level].push((key, bit));
            self.tags[level].push(tag_of(key.as_bytes()));
        }
    }

    /// The patterns that `key` serves on `level`.
    pub(super) fn under(&self, level: usize, key: &[u8]) -> u64 {
        let (tag, keys) = (tag_of(key), &self.keys[level]);
        for (place, known) in self.tags[level].iter().enumerate() {
            if *known == tag && keys[place].0.as_bytes() == key {
                return keys[place].1 | self.any_key[level];
            }
        }
        self.any_key[level]
    }
}

/// The first byte of a key and its length.
fn tag_of(key: &[u8]) -> u16 {
    let first = key.first().copied().unwrap_or(0);
    u16::from(first) << 8 | u16::try_from(key.len()).unwrap_or(u16::MAX) & 0xff
}

/// The largest number of bytes that any of these patterns keeps.
pub(super) fn keep_limit(plan: &Plan, whole: u64) -> Option<usize> {
    let mut kept = whole & plan.kept;
    let mut limit = None;
    while kept != 0 {
        let which = kept.trailing_zeros() as usize;
        kept &= kept - 1;
        if let Take::Bytes(bytes) = plan.takes[which] {
            limit = limit.max(Some(bytes));
        }
    }
    limit
}
