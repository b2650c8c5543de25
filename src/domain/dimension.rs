//! [`Dimension`]: what the rows of a report can be grouped by, and [`Label`]: a row's value in one of them.
//!
//! A request has many tags, and counts once: `tag` groups by the whole set of them, `tag:NAME` by the value of one, so
//! that both add up to the total like every other grouping.

use std::fmt;
use std::sync::Arc;

use super::account::Account;
use super::subject::Subject;
use super::utc::{Day, Hour, When};

/// What rows can be grouped by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// The team that pays.
    Team,
    /// The user who is billed.
    User,
    /// The key by its id.
    Key,
    /// The model that was sent to the upstream.
    Model,
    /// The model that the client asked for.
    RequestedModel,
    /// The upstream.
    Upstream,
    /// What was asked for.
    Operation,
    /// All tags together.
    Tags,
    /// The value of one tag; the whole word, as in `tag:feature`.
    Tag(Arc<str>),
    /// The complexity that routing found.
    Tier,
    /// What the response cache did.
    Cache,
    /// The day on which the request arrived, in the report's time zone.
    Day,
    /// The hour in which the request arrived, in the report's time zone.
    Hour,
}

/// Why a list of dimensions is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimensionError {
    /// There is no such dimension.
    Unknown(Box<str>),
    /// It is named twice.
    Twice(Dimension),
}

/// The value of a row in one dimension.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Label {
    /// A date.
    Day(Day),
    /// An hour of a date.
    Hour(Hour),
    /// A word of our own.
    Word(&'static str),
    /// A name.
    Name(Arc<str>),
    /// The entry has none: no team, no user, no model.
    None,
    /// All that came after as many rows as a report may have.
    Other,
}

/// What a word of `--by` that names one tag begins with.
const TAG: &str = "tag:";

impl Dimension {
    /// All but the single tags.
    pub const ALL: [Self; 12] = [
        Self::Team,
        Self::User,
        Self::Key,
        Self::Model,
        Self::RequestedModel,
        Self::Upstream,
        Self::Operation,
        Self::Tags,
        Self::Tier,
        Self::Cache,
        Self::Day,
        Self::Hour,
    ];

    /// The word in `--by`, and the name of the column.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Team => "team",
            Self::User => "user",
            Self::Key => "key",
            Self::Model => "model",
            Self::RequestedModel => "requested_model",
            Self::Upstream => "upstream",
            Self::Operation => "operation",
            Self::Tags => "tag",
            Self::Tag(word) => word,
            Self::Tier => "tier",
            Self::Cache => "cache",
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }

    /// Whether it is about time.
    #[must_use]
    pub const fn is_time(&self) -> bool {
        matches!(self, Self::Day | Self::Hour)
    }

    /// Reads names that commas separate, as in `team,model`; nothing is the empty list.
    pub fn list(text: &str) -> Result<Vec<Self>, DimensionError> {
        let mut dimensions = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let dimension = Self::named(word).ok_or_else(|| DimensionError::Unknown(word.into()))?;
            if dimensions.contains(&dimension) {
                return Err(DimensionError::Twice(dimension));
            }
            dimensions.push(dimension);
        }
        Ok(dimensions)
    }

    /// The value of `subject` at `when`.
    #[must_use]
    pub fn label(&self, subject: &Subject, when: When) -> Label {
        match self {
            Self::Team => maybe(subject.team.as_ref()),
            Self::User => maybe(subject.user.as_ref()),
            Self::Key => maybe(Some(&subject.key)),
            Self::Model => maybe(Some(&subject.model)),
            Self::RequestedModel => maybe(Some(&subject.requested_model)),
            Self::Upstream => maybe(Some(&subject.upstream)),
            Self::Operation => subject.operation.map_or(Label::None, |operation| Label::Word(operation.name())),
            Self::Tags => all_tags(subject),
            Self::Tag(word) => subject.tag(&word[TAG.len()..]).map_or(Label::None, |value| Label::Name(value.into())),
            Self::Tier => subject.tier.map_or(Label::None, |tier| Label::Word(tier.name())),
            Self::Cache => subject.cache.map_or(Label::None, |cache| Label::Word(cache.name())),
            Self::Day => Label::Day(when.day),
            Self::Hour => Label::Hour(when.hour),
        }
    }

    /// What of `subject` decides its labels in the dimensions `by`; the rest is left out.
    #[must_use]
    pub fn keep(by: &[Self], subject: &Subject) -> Subject {
        let blank = Account { key: Arc::default(), user: None, team: None, tags: Arc::default() };
        let mut kept = Subject::of_account(&blank);
        for dimension in by {
            match dimension {
                Self::Team => kept.team.clone_from(&subject.team),
                Self::User => kept.user.clone_from(&subject.user),
                Self::Key => kept.key.clone_from(&subject.key),
                Self::Model => kept.model.clone_from(&subject.model),
                Self::RequestedModel => kept.requested_model.clone_from(&subject.requested_model),
                Self::Upstream => kept.upstream.clone_from(&subject.upstream),
                Self::Operation => kept.operation = subject.operation,
                Self::Tags | Self::Tag(_) => kept.tags.clone_from(&subject.tags),
                Self::Tier => kept.tier = subject.tier,
                Self::Cache => kept.cache = subject.cache,
                Self::Day | Self::Hour => {}
            }
        }
        kept
    }

    fn named(word: &str) -> Option<Self> {
        if word.strip_prefix(TAG).is_some_and(|name| !name.is_empty()) {
            return Some(Self::Tag(word.into()));
        }
        Self::ALL.into_iter().find(|dimension| dimension.name() == word)
    }
}

fn maybe(name: Option<&Arc<str>>) -> Label {
    name.filter(|name| !name.is_empty()).map_or(Label::None, |name| Label::Name(name.clone()))
}

fn all_tags(subject: &Subject) -> Label {
    if subject.tags.is_empty() {
        return Label::None;
    }
    let tags: Vec<String> = subject.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Label::Name(tags.join(",").into())
}

impl fmt::Display for DimensionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => {
                let known = Dimension::ALL.each_ref().map(Dimension::name).join(", ");
                write!(out, "{word:?} is nothing to group by; known are {known}, {TAG}NAME")
            }
            Self::Twice(dimension) => write!(out, "\"{}\" is named twice", dimension.name()),
        }
    }
}

impl std::error::Error for DimensionError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample;

    #[test]
    fn dimensions_are_read_from_text() {
        use Dimension::{Model, Tag, Tags, Team};
        let check =
            |text, expect| assert_eq!(Dimension::list(text).map_err(|error| error.to_string()), expect, "{text}");
        check("team, model", Ok(vec![Team, Model]));
        check("tag,tag:env", Ok(vec![Tags, Tag("tag:env".into())]));
        check("", Ok(vec![]));
        check("team,team", Err("\"team\" is named twice".to_owned()));
        let known =
            "team, user, key, model, requested_model, upstream, operation, tag, tier, cache, day, hour, tag:NAME";
        check("tean", Err(format!("\"tean\" is nothing to group by; known are {known}")));
        check("tag:", Err(format!("\"tag:\" is nothing to group by; known are {known}")));
    }

    #[test]
    fn every_dimension_has_a_label() {
        let entry = sample::entry();
        let (subject, when) = (Subject::of(&entry), When::utc(entry.at_ms));
        let name = |text: &str| Label::Name(text.into());
        for (by, expect) in [
            ("team", name("search")),
            ("user", Label::None),
            ("key", name("ci")),
            ("model", name("claude-haiku-5-5")),
            ("requested_model", name("claude-opus-5-5")),
            ("upstream", name("anthropic")),
            ("operation", Label::Word("messages")),
            ("tag", name("env=prod,feature=search")),
            ("tag:env", name("prod")),
            ("tag:none", Label::None),
            ("tier", Label::Word("simple")),
            ("cache", Label::Word("miss")),
            ("day", Label::Day(when.day)),
            ("hour", Label::Hour(when.hour)),
        ] {
            let dimensions = Dimension::list(by).unwrap();
            assert_eq!(dimensions[0].label(&subject, when), expect, "{by}");
            assert_eq!(dimensions[0].label(&Dimension::keep(&dimensions, &subject), when), expect, "{by}");
        }
    }
}
