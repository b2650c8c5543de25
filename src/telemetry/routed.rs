//! [`Routed`]: what routing decided, counted from the ledger's entries.

use super::family::{Family, Label};
use crate::domain::entry::Entry;
use crate::domain::routing::Rule;

/// What stands before the model that would have been sent, in an entry's reason.
const OBSERVED: &str = "observed: ";

/// Decisions by tier, rule, mode and model.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) decisions: Family<u64>,
}

impl Routed {
    pub(super) fn new() -> Self {
        Self { decisions: Family::new(&["tier", "rule", "mode", "model"]) }
    }

    /// Where a decision counts, if there was one: `model` is the one that was sent, or where routing only observes, would have
    /// been.
    pub(super) fn place(&mut self, entry: &Entry) -> Option<usize> {
        let (mode, rule, model) = decided(entry)?;
        let tier = entry.tier.map_or("none", |tier| tier.name());
        let labels = [Label::Known(tier), Label::Known(rule.name()), Label::Known(mode), Label::Open(model)];
        Some(self.decisions.place(&labels))
    }
}

/// How, by which rule, and for which model.
fn decided(entry: &Entry) -> Option<(&'static str, Rule, &str)> {
    let observed = entry.reason.strip_prefix(OBSERVED).and_then(|observed| observed.rsplit_once(", "));
    let (mode, model, rule) = match observed {
        Some((model, rule)) => ("observe", model, rule),
        // What would not have been changed is told as what was asked for.
        None if &*entry.reason == Rule::Requested.name() => ("observe", &*entry.model, &*entry.reason),
        None => ("enforce", &*entry.model, &*entry.reason),
    };
    let rule = Rule::ALL.into_iter().find(|known| known.name() == rule)?;
    // Nothing was to be decided.
    (rule != Rule::Requested || entry.tier.is_some()).then_some((mode, rule, model))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::Tier;
    use crate::domain::sample;

    #[test]
    fn decisions_are_told_apart_from_other_reasons() {
        let check = |reason: &str, tier, expect: Option<(&str, &str, &str)>| {
            let mut entry = sample::entry();
            (entry.reason, entry.tier) = (reason.into(), tier);
            let found = decided(&entry).map(|(mode, rule, model)| (mode, rule.name(), model));
            assert_eq!(found, expect, "{reason}");
        };
        let model = &*sample::entry().model;
        check("tier", Some(Tier::Simple), Some(("enforce", "tier", model)));
        check("opt out", None, Some(("enforce", "opt out", model)));
        check("observed: a, b, no cheaper model", Some(Tier::Medium), Some(("observe", "no cheaper model", "a, b")));
        check("requested model", Some(Tier::Complex), Some(("observe", "requested model", model)));
        check("requested model", None, None);
        check("fallback", Some(Tier::Simple), None);
        check("cap_exceeded", None, None);
    }
}
