//! Reports: what was asked for, by whatever way, and the ledger folded into an answer.
//!
//! The command line and the admin interface use the same reader of parameters, the same fold and the same printers, so
//! that they cannot differ.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::query::{self, BadQuery};
use super::reprice::Prices;
use super::rows::{self, RowFormat};
use super::zone::{Days, Zone, ZoneError};
use super::{Answer, reply};
use crate::app::App;
use crate::domain::focus;
use crate::domain::report::{Dimension, DimensionError, Query, Report, Repriced, Sums, Table};
use crate::domain::report_text::Format;
use crate::domain::subject::Subject;
use crate::store::{Grain, Ledger, ReadError, Told};

/// The longest wait for requests that have just ended. A disk that hangs longer keeps no report from what is readable.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// The parameters of a report.
pub const PARAMETERS: [&str; 7] = ["by", "since", "until", "format", "tz", "reprice", "rows"];

/// A report that was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it is about.
    pub query: Query,
    /// How it is to be written, if that was said.
    pub format: Option<Format>,
    /// Whether single lines are asked for, and how they are to be written.
    pub rows: Option<RowFormat>,
    pub(super) zone: Zone,
}

/// What is wrong with the parameters of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// The query string cannot be taken apart.
    Query(BadQuery),
    /// There is no such parameter.
    Unknown(Box<str>),
    /// A parameter is there twice.
    Twice(&'static str),
    /// Rows cannot be grouped like that.
    By(DimensionError),
    /// A time, or the time zone, cannot be read.
    Time(&'static str, ZoneError),
    /// There is no such format.
    Format(Box<str>),
    /// It is neither to be repriced nor not.
    Reprice(Box<str>),
    /// Lines cannot be written like that.
    Rows(Box<str>),
    /// Lines are not grouped, repriced, or written in the formats of reports.
    RowsOnly,
    /// It would end before it begins.
    Backwards,
    /// FOCUS has rows and days of its own.
    Focus,
}

impl Request {
    /// Reads names and values; what is not said is everything, in `default_zone`. `now_ms` is the time.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        default_zone: &Zone,
        now_ms: u64,
    ) -> Result<Self, BadRequest> {
        let mut said: [Option<&str>; PARAMETERS.len()] = [None; PARAMETERS.len()];
        for (name, value) in pairs {
            let place = PARAMETERS.iter().position(|known| *known == name);
            let place = place.ok_or_else(|| BadRequest::Unknown(name.into()))?;
            if said[place].replace(value).is_some() {
                return Err(BadRequest::Twice(PARAMETERS[place]));
            }
        }
        let [by, since, until, format, tz, reprice, rows] = said;
        let is_repriced = match reprice {
            None | Some("false") => false,
            Some("true") => true,
            Some(word) => return Err(BadRequest::Reprice(word.into())),
        };
        let rows = rows.map(|word| RowFormat::named(word).ok_or_else(|| BadRequest::Rows(word.into()))).transpose()?;
        if rows.is_some() && (by.is_some() || format.is_some() || is_repriced) {
            return Err(BadRequest::RowsOnly);
        }
        let format =
            format.map(|word| Format::named(word).ok_or_else(|| BadRequest::Format(word.into()))).transpose()?;
        let default_zone = if format == Some(Format::Focus) { &Zone::utc() } else { default_zone };
        let zone = tz.map_or_else(|| Ok(default_zone.clone()), Zone::named);
        let zone = zone.map_err(|error| BadRequest::Time("tz", error))?;
        let moment = |name, text: Option<&str>| {
            let moment = text.map(|text| zone.moment(text, now_ms)).transpose();
            moment.map_err(|error| BadRequest::Time(name, error))
        };
        let (from_ms, until_ms) = (moment("since", since)?, moment("until", until)?);
        if from_ms.zip(until_ms).is_some_and(|(from_ms, until_ms)| from_ms > until_ms) {
            return Err(BadRequest::Backwards);
        }
        let mut by = Dimension::list(by.unwrap_or_default()).map_err(BadRequest::By)?;
        if format == Some(Format::Focus) {
            if !by.is_empty() || zone.name() != "UTC" || is_repriced {
                return Err(BadRequest::Focus);
            }
            by = focus::BY.to_vec();
        }
        let query = Query { by, from_ms, until_ms, time_zone: zone.name().into(), is_repriced };
        Ok(Self { query, format, rows, zone })
    }

    /// The time that it is about, in unix milliseconds.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<u64> {
        self.query.from_ms.unwrap_or(0)..self.query.until_ms.unwrap_or(u64::MAX)
    }

    /// The name of the time zone of its days.
    #[must_use]
    pub fn time_zone(&self) -> &str {
        self.zone.name()
    }
}

/// Folds the ledger. It reads files, and takes as long as that takes. `prices` are the present ones; only a report that is
/// repriced needs them, and reads every entry for it.
///
/// # Errors
/// The journal is damaged or cannot be read: part of a sum would be a wrong sum.
pub fn run(ledger: &Ledger, request: &Request, prices: &Prices) -> Result<Table, ReadError> {
    let mut report = Report::new(request.query.clone());
    let mut days = Days::of(request.zone.clone());
    if request.query.is_repriced {
        ledger.tell(request.range(), &mut |told| {
            count(&told, prices, &mut days, &mut report);
            true
        })?;
        return Ok(report.finish());
    }
    let by = &request.query.by;
    let grain = match (by.contains(&Dimension::Hour), by.contains(&Dimension::Day)) {
        (false, false) => Grain::Range,
        (false, true) if request.zone.name() == "UTC" => Grain::Day,
        (true, _) | (false, true) => Grain::Quarter,
    };
    let keep = |subject: &Subject| Dimension::keep(by, subject);
    ledger.fold_as(request.range(), grain, &keep, &mut |at_ms, subject, sums| {
        report.add(subject, days.when(at_ms), sums);
    })?;
    Ok(report.finish())
}

/// Counts a line of the ledger as it was charged, and as it would be now. Where only an archive is left, what was charged
/// stands for both.
fn count(told: &Told<'_>, prices: &Prices, days: &mut Days, report: &mut Report) {
    match told {
        Told::Entry(entry, _) => {
            let (subject, sums) = (Subject::of(entry), Sums::of(entry));
            report.add_repriced(&subject, days.when(entry.at_ms), &sums, prices.again(entry));
        }
        Told::Adjustment(posted, _) => {
            let (subject, sums) = (Subject::of_adjustment(posted), Sums::of_adjustment(posted));
            report.add(&subject, days.when(posted.at_ms), &sums);
        }
        Told::Archived(at_ms, subject, sums) => {
            let repriced = Repriced { spend: sums.spend, unpriced: sums.unpriced };
            report.add_repriced(subject, days.when(*at_ms), sums, repriced);
        }
    }
}

/// `GET /admin/v1/report`: the same report as the command's, as JSON if nothing else is said.
pub(super) async fn answer(app: &Arc<App>, query: &str) -> Answer {
    let snapshot = app.snapshot.load_full();
    let (ledger, zone) = (app.ledger(), Zone::of(snapshot.config.money.time_zone.clone()));
    let request = match asked(query, &zone, app.clock.now_ms()) {
        Ok(request) => request,
        Err(error) => return reply::error(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
    };
    if let Some(format) = request.rows {
        return rows::answer(app, request, format).await;
    }
    let (format, prices) = (request.format.unwrap_or(Format::Json), Prices::of(&snapshot.config));
    flushed(app).await;
    match tokio::task::spawn_blocking(move || run(&ledger, &request, &prices).map(|table| format.print(&table))).await {
        Ok(Ok(text)) => reply::text(format.media_type(), text),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reader failed"),
    }
}

/// Waits until requests that have ended can be read.
pub(super) async fn flushed(app: &App) {
    // A ledger that cannot be written can still be read; `/readyz` says that it is not whole.
    let _ = tokio::time::timeout(FLUSH_WAIT, app.bank.flush()).await;
}

/// The ledger is damaged or cannot be read.
pub(super) fn unreadable(why: &dyn fmt::Display) -> Answer {
    let message = format!("the ledger cannot be read: {why}");
    reply::error(StatusCode::INTERNAL_SERVER_ERROR, "ledger_unreadable", &message)
}

fn asked(query: &str, zone: &Zone, now_ms: u64) -> Result<Request, BadRequest> {
    let pairs = query::pairs(query).map_err(BadRequest::Query)?;
    Request::parse(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())), zone, now_ms)
}

impl fmt::Display for BadRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(error) => write!(out, "{error}"),
            Self::Unknown(name) => write!(out, "{name:?} is no parameter; known are {}", PARAMETERS.join(", ")),
            Self::Twice(name) => write!(out, "{name} is there twice"),
            Self::By(error) => write!(out, "by: {error}"),
            Self::Time(name, error) => write!(out, "{name}: {error}"),
            Self::Format(word) => {
                let known = Format::ALL.map(Format::name).join(", ");
                write!(out, "format: {word:?} is no format; known are {known}")
            }
            Self::Reprice(word) => write!(out, "reprice: {word:?} is neither true nor false"),
            Self::Rows(word) => write!(out, "rows: {word:?} is no format of rows; known are json, csv"),
            Self::RowsOnly => out.write_str("rows are single lines: leave out by, format and reprice"),
            Self::Focus => out.write_str("the format focus has its own rows, and days of UTC: leave out by and tz"),
            Self::Backwards => out.write_str("since is later than until"),
        }
    }
}

impl std::error::Error for BadRequest {}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T13:00:00Z
    const NOW_MS: u64 = 1_795_352_400_000;

    fn parse(query: &str) -> Result<Request, String> {
        asked(query, &Zone::utc(), NOW_MS).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let request = parse("by=team,day&since=today&until=2026-12-01&format=csv&tz=Europe/Berlin").unwrap();
        assert_eq!(request.query.by, [Dimension::Team, Dimension::Day]);
        assert_eq!(request.query.from_ms, Some(NOW_MS - 14 * 3_600_000));
        assert_eq!(&*request.query.time_zone, "Europe/Berlin");
        assert_eq!(request.format, Some(Format::Csv));
        let request = parse("").unwrap();
        assert_eq!(request.query, Query { time_zone: "UTC".into(), ..Query::default() });
    }

    #[test]
    fn mistakes_say_what_is_right() {
        for (query, says) in [
            (
                "by=price",
                "by: \"price\" is nothing to group by; known are team, user, key, model, requested_model, upstream",
            ),
            ("by=team,team", "by: \"team\" is named twice"),
            ("by=team&by=user", "by is there twice"),
            ("from=7d", "\"from\" is no parameter; known are by, since, until, format, tz, reprice, rows"),
            ("since=yesterday", "since: \"yesterday\" is no moment"),
            ("until=7", "until: \"7\" is no moment"),
            ("tz=Berlin", "tz: \"Berlin\" is no time zone; an example is Europe/Berlin"),
            ("format=xml", "format: \"xml\" is no format; known are table, csv, json, focus"),
            ("format=focus&by=team", "the format focus has its own rows"),
            ("since=1d&until=2d", "since is later than until"),
            ("reprice=1", "reprice: \"1\" is neither true nor false"),
            ("rows=xml", "rows: \"xml\" is no format of rows; known are json, csv"),
            ("rows=csv&by=team", "rows are single lines"),
            ("by=%f", "the query has a broken escape"),
        ] {
            let error = parse(query).unwrap_err();
            assert!(error.starts_with(says), "{query}: {error}");
        }
    }
}
