//! Reconciling: a provider's export beside the ledger, by day and model. It changes nothing; `adjust` does.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use super::export::{self, BadExport};
use super::query::{self, BadQuery};
use super::report::{flushed, unreadable};
use super::{Answer, reply};
use crate::app::App;
use crate::config::Upstream;
use crate::domain::calendar::{DAY_MS, Day};
use crate::domain::reconcile::{Comparison, Line, Side, Statement, compare};
use crate::domain::reconcile_text::{FORMATS, print};
use crate::domain::report_text::Format;
use crate::store::{Grain, Ledger, ReadError};

/// The parameters.
const PARAMETERS: [&str; 2] = ["upstream", "format"];

/// What is asked for beside the export.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The upstreams of the ledger to compare with; none for all of the export's provider.
    pub upstreams: Vec<Arc<str>>,
    /// How the answer is written, if that was said.
    pub format: Option<Format>,
}

/// Why there is nothing to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoComparison {
    /// The query string cannot be taken apart.
    Query(BadQuery),
    /// There is no such parameter, or it is there twice.
    Parameter(Box<str>),
    /// There is no such format.
    Format(Box<str>),
    /// The export cannot be read.
    Export(BadExport),
    /// No upstream is of the export's provider.
    NoUpstream(&'static str),
}

impl Request {
    /// Reads names and values.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, NoComparison> {
        let mut said: [Option<&str>; PARAMETERS.len()] = [None; PARAMETERS.len()];
        for (name, value) in pairs {
            let place = PARAMETERS.iter().position(|known| *known == name);
            match place.map(|place| said[place].replace(value)) {
                Some(None) => {}
                Some(Some(_)) | None => return Err(NoComparison::Parameter(name.into())),
            }
        }
        let [upstreams, format] = said;
        let known = |word: &str| FORMATS.into_iter().find(|format| format.name() == word);
        let format = format.map(|word| known(word).ok_or_else(|| NoComparison::Format(word.into()))).transpose()?;
        let words = upstreams.unwrap_or_default().split(',').map(str::trim);
        Ok(Self { upstreams: words.filter(|word| !word.is_empty()).map(Into::into).collect(), format })
    }

    /// Reads an export, and finds the upstreams of the ledger that it is about among the `configured` ones.
    ///
    /// # Errors
    /// The export cannot be read, or no upstream is of its provider.
    pub fn read(&self, bytes: &[u8], configured: &[Arc<Upstream>]) -> Result<(Statement, Vec<Arc<str>>), NoComparison> {
        let statement = export::read(bytes).map_err(NoComparison::Export)?;
        if !self.upstreams.is_empty() {
            return Ok((statement, self.upstreams.clone()));
        }
        let own = configured.iter().filter(|upstream| &*upstream.provider == statement.provider);
        let upstreams: Vec<Arc<str>> = own.map(|upstream| upstream.name.clone()).collect();
        if upstreams.is_empty() {
            Err(NoComparison::NoUpstream(statement.provider))
        } else {
            Ok((statement, upstreams))
        }
    }
}

/// Puts `statement` beside what `upstreams` came to in the ledger. It reads files, and takes as long as that takes.
///
/// # Errors
/// The journal is damaged or cannot be read.
pub fn run(ledger: &Ledger, statement: &Statement, upstreams: Vec<Arc<str>>) -> Result<Comparison, ReadError> {
    let start_ms = |day: Day| u64::from(day.0) * DAY_MS;
    let mut lines = Vec::new();
    let range = start_ms(statement.from)..start_ms(statement.until);
    ledger.fold(range, Grain::Day, &mut |at_ms, subject, sums| {
        if upstreams.contains(&subject.upstream) {
            let model = Some(subject.model.clone()).filter(|model| !model.is_empty());
            lines.push(Line { day: Day::of_ms(at_ms), model, side: Side::of(sums) });
        }
    })?;
    Ok(compare(statement, upstreams, &lines))
}

/// `POST /admin/v1/ledger/reconcile` with the export as body.
pub(super) async fn answer(app: &Arc<App>, query: &str, body: &[u8]) -> Answer {
    let snapshot = app.snapshot.load_full();
    let request = match asked(query) {
        Ok(request) => request,
        Err(error) => return reply::error(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
    };
    let (statement, upstreams) = match request.read(body, &snapshot.config.upstreams) {
        Ok(read) => read,
        Err(error) => return reply::error(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
    };
    let (ledger, format) = (app.ledger(), request.format.unwrap_or(Format::Json));
    flushed(app).await;
    match tokio::task::spawn_blocking(move || run(&ledger, &statement, upstreams)).await {
        Ok(Ok(compared)) => reply::text(format.media_type(), print(&compared, format)),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reader failed"),
    }
}

fn asked(query: &str) -> Result<Request, NoComparison> {
    let pairs = query::pairs(query).map_err(NoComparison::Query)?;
    Request::parse(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

impl fmt::Display for NoComparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(error) => write!(out, "{error}"),
            Self::Parameter(name) => {
                write!(out, "{name:?} is no parameter, or is there twice; known are {}", PARAMETERS.join(", "))
            }
            Self::Format(word) => {
                let known = FORMATS.map(Format::name).join(", ");
                write!(out, "format: {word:?} is no format; known are {known}")
            }
            Self::Export(error) => write!(out, "{error}"),
            Self::NoUpstream(provider) => {
                write!(
                    out,
                    "no upstream has provider = \"{provider}\"; name those that the export is about with upstream"
                )
            }
        }
    }
}

impl std::error::Error for NoComparison {}
