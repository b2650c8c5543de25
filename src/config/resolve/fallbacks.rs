//! `fallback` of `[models."GLOB"]`: who is asked where an upstream has failed.

use std::sync::Arc;

use crate::config::glob::Glob;
use crate::config::parts::Upstream;
use crate::config::read::Section;
use crate::config::resilience::{Chain, Fallback, Fallbacks};

/// Upstreams and models that are tried for one request.
const FALLBACKS_MAX: usize = 8;

/// The caps' reader checks the sections' keys and patterns.
pub(super) fn fallbacks(root: &Section<'_>, upstreams: &[Arc<Upstream>]) -> Fallbacks {
    let chain = |(pattern, section): &(&str, Section<'_>)| {
        let said = section.texts("fallback");
        if said.len() > FALLBACKS_MAX {
            section.complain("fallback", format!("at most {FALLBACKS_MAX}"));
        }
        let chain: Vec<_> = said.iter().map(|(text, _)| fallback(text, upstreams)).collect();
        for ((text, place), _) in
            said.iter().zip(&chain).filter(|((text, _), _)| text.is_empty() || text.ends_with(':'))
        {
            section.complain_at(
                place,
                "fallback",
                format!("{text:?} is no \"UPSTREAM\", \"MODEL\" or \"UPSTREAM:MODEL\""),
            );
        }
        let answer = section.text("fallback_answer").map(Arc::from);
        if answer.as_deref() == Some("") {
            section.complain("fallback_answer", "must say something to whoever reads it");
        }
        let chain = Chain { others: chain, answer };
        Some((Glob::parse(pattern).ok()?, chain)).filter(|(_, chain)| *chain != Chain::default())
    };
    root.unchecked("models").iter().filter_map(chain).collect()
}

/// `UPSTREAM`, `UPSTREAM:MODEL`, or `MODEL`, whose name may itself hold a colon.
fn fallback(text: &str, upstreams: &[Arc<Upstream>]) -> Fallback {
    let named = |name: &str| upstreams.iter().find(|upstream| *upstream.name == *name).map(|it| it.name.clone());
    let said = text.into();
    if let Some(upstream) = named(text) {
        return Fallback { said, upstream: Some(upstream), model: None };
    }
    match text.split_once(':').and_then(|(name, model)| Some((named(name)?, model))) {
        Some((upstream, model)) => Fallback { said, upstream: Some(upstream), model: Some(model.into()) },
        None => Fallback { said, upstream: None, model: Some(text.into()) },
    }
}
