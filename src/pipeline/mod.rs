//! THE LIFE OF A REQUEST, one stage a file, in the order of the lines of [`answer`].
//!
//! ```text
//! arrive    the head taken apart; one config for the whole request
//! identify  whom to answer, whom to bill             -> from here on the request has exactly one ledger entry
//! enter     a place among the requests at once, or one in the line before them
//! permit    what the caller's key may be used for: by the head, by the body, and by what was decided
//! read      the body, once, bounded, scanned
//! admit     requests and tokens a minute, requests in flight: taken here, corrected when the request is settled
//! route     which upstream, which model
//! judge     one word of a cheap model on how hard it is, where config wants that; then route again
//! recall    the same answer again, if it is kept: then the request ends here
//! join      the same answer for all who ask at the same time: one of them goes on
//! dispatch  one attempt after the other, each with a reserve of its own: the worst case, held and written down; then
//!           splice, scrub, send, wait for the head     -> each attempt has exactly one open and close record
//! escalate  once more one tier up, where a model that took another's place has failed and the client has seen nothing
//! deliver   whole answers at once, streams through the tap, which settles when they end
//! ```
//!
//! Each stage is one function that takes what the stages before it made, and whose output proves that it ran. What goes
//! wrong is a [`Refusal`], and only `respond` turns it into HTTP.

pub mod arrive;
pub mod identify;
mod credential;
mod home;
pub mod permit;
pub mod enter;
pub mod read;
pub mod decode;
pub mod admit;
mod choose;
pub mod learn;
pub mod compare;
mod conversation;
mod housekeeping;
mod equals;
pub mod route;
pub mod judge;
pub mod foresee;
pub mod keep;
pub mod telling;
pub mod case;
pub mod replay;
pub mod recall;
pub mod join;
pub mod afresh;
pub mod reserve;
pub mod metered;
pub mod parcel;
pub mod flight;
pub mod course;
mod downgrade;
pub mod dispatch;
pub mod instead;
pub mod deliver;
pub mod escalate;
pub mod listed;
pub mod tap;
pub mod flow;
pub mod abandon;
pub mod pricing;
pub mod end;
mod health;
pub mod settle;
pub mod respond;
pub mod body;

use std::net::IpAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::app::App;
use crate::bank::tab::{Presence, Tab};
use crate::cache::flight::Boarding;
use crate::domain::entry::Entry;
use crate::domain::ids::RequestId;
use crate::domain::operation::Dialect;
use crate::domain::refusal::{Cause, Refusal};
use crate::domain::routing::Verdict;
use crate::protocol::ask;
use crate::telemetry::line::ToolResult;
use crate::telemetry::scribe::Record;
use admit::Admission;
use arrive::{Arrival, TurnedAway};
use body::Body;
use identify::Caller;
use instead::{Spare, Written};
use join::{Errand, Followed};
use keep::Recording;
use read::Call;
use recall::Recalled;
use respond::Told;
use route::Decision;

/// Answers one request of a client.
pub async fn answer(app: Arc<App>, peer: IpAddr, request: Request<Incoming>) -> Response<Body> {
    let mut arrival = match arrive::arrive(&app, request, peer) {
        Ok(arrival) => arrival,
        Err(turned) => return turn_away(&app, *turned).await,
    };
    let gauge = app.metrics.in_flight.enter();
    let (id, dialect) = (arrival.id, arrival.endpoint.dialect);
    let caller = match identify::identify(&app, &arrival) {
        Ok(caller) => caller,
        Err(refusal) => {
            unidentified(&app, id, dialect, &refusal);
            return unheard(&app, arrival, &refusal).await;
        }
    };
    let mut tab = open_tab(&app, &arrival, &caller, Presence { gauge, place: None });
    let Prepared { call, admission, short, mut decision } = match prepare(&app, &mut arrival, &caller, &mut tab).await {
        Ok(prepared) => prepared,
        Err(refusal) => {
            tab.refuse(&refusal);
            return unheard(&app, arrival, &refusal).await;
        }
    };
    if decision.asks_judge && short.is_none() {
        (decision, tab) = match Box::pin(consult(&app, &arrival, &caller, &call, &decision, tab)).await {
            Ok(consulted) => consulted,
            Err(refusal) => return Told::of(id, &decision, admission).refuse(&refusal, dialect),
        };
    }
    let mut told = Told::of(id, &decision, admission);
    let mut is_alone = false;
    loop {
        let (mine, recording, name) =
            match recall::recall(&app, &arrival, &caller, &call, &decision.first, &mut told, tab).await {
                Ok(Recalled::Answer(response)) => return in_step(response).await,
                Ok(Recalled::Renew(response, afresh)) => {
                    afresh::ask(&app, arrival, &caller, call, decision, afresh);
                    return response;
                }
                Ok(Recalled::Ask(tab, recording, name)) => (tab, recording, name.filter(|_| !is_alone)),
                Err(refusal) => return told.refuse(&refusal, dialect),
            };
        if let Some(refusal) = short {
            admit::refuse(&app, &refusal, mine);
            return Box::pin(denied(&app, arrival, &refusal, admission)).await;
        }
        let name = name.and_then(|name| join::name(name, &arrival, &caller, &decision, recording.as_deref()));
        let Some(name) = name else {
            let asked = send(&app, &mut arrival, call, &decision, mine, &mut told, recording).await;
            return match asked {
                Ok(response) => response,
                Err(refusal) => Box::pin(denied(&app, arrival, &refusal, admission)).await,
            };
        };
        match app.flights.board(name, arrival.snapshot.config.cache.buffer_bytes_max(call.ask.stream)) {
            Boarding::Lead(lead, seat) => {
                let refused = told.clone();
                let errand = Errand { arrival, call, decision, told, tab: mine, recording };
                let led = Box::pin(join::lead(&app, errand, lead, seat)).await;
                return in_step(led.unwrap_or_else(|refusal| refused.refuse(&refusal, dialect))).await;
            }
            Boarding::Follow(seat) => match Box::pin(join::follow(&app, &arrival, &call, seat, &told, mine)).await {
                Ok(Followed::Answer(response)) => return response,
                Ok(Followed::Again(mine)) => tab = mine,
                Ok(Followed::Alone(mine)) => (tab, is_alone) = (mine, true),
                Err(refusal) => return told.refuse(&refusal, dialect),
            },
        }
    }
}

/// The answer, once all who are ready have theirs. They are written one behind the other then, and a client's machine that is
/// woken by the first is awake for the rest; what waited for an upstream was woken in step anyway.
async fn in_step(response: Response<Body>) -> Response<Body> {
    tokio::task::yield_now().await;
    response
}

/// Our own no to a request that was admitted, behind a body that may still be coming in.
async fn denied(app: &App, arrival: Arrival, refusal: &Refusal, admission: Admission) -> Response<Body> {
    let mut response = unheard(app, arrival, refusal).await;
    admission.write(response.headers_mut());
    response
}

/// What is known of a request when the first stages are behind it.
struct Prepared {
    call: Call,
    admission: Admission,
    /// Why it can only be answered with what is kept.
    short: Option<Refusal>,
    decision: Decision,
}

/// The stages in which nothing has been written down yet.
async fn prepare(app: &App, arrival: &mut Arrival, caller: &Caller, tab: &mut Tab) -> Result<Prepared, Refusal> {
    permit::head(arrival, caller)?;
    enter::enter(app, arrival, &caller.account, tab).await?;
    let call = read::read(app, arrival).await?;
    describe(&call, tab);
    permit::body(arrival, caller, &call)?;
    admit::no_loop(app, arrival, caller, &call)?;
    let (admission, short) = admit::admit(app, arrival, &caller.account, &call.ask, tab)?;
    let decision = decide(app, arrival, caller, &call, Verdict::NotAsked, tab)?;
    Ok(Prepared { call, admission, short, decision })
}

/// Where the request goes, as far as the caller's key lets it.
fn decide(
    app: &App,
    arrival: &Arrival,
    caller: &Caller,
    call: &Call,
    verdict: Verdict,
    tab: &mut Tab,
) -> Result<Decision, Refusal> {
    let mut decision = route::route(app, arrival, caller, call, verdict)?;
    permit::decision(arrival, caller, &mut decision)?;
    let entry = tab.entry();
    entry.requested_model = decision.requested.clone();
    entry.tier = decision.tier;
    decision.first.note(entry);
    Ok(decision)
}

/// Asks a judge, and decides again. On an error the request has its entry.
async fn consult(
    app: &Arc<App>,
    arrival: &Arrival,
    caller: &Caller,
    call: &Call,
    decision: &Decision,
    tab: Tab,
) -> Result<(Decision, Tab), Refusal> {
    let (verdict, mut tab) = judge::judge(app, arrival, caller, call, decision, tab).await?;
    match decide(app, arrival, caller, call, verdict, &mut tab) {
        Ok(decision) => Ok((decision, tab)),
        Err(refusal) => {
            tab.refuse(&refusal);
            Err(refusal)
        }
    }
}

/// The stages that cost money. On an error the request has its entry.
async fn send(
    app: &Arc<App>,
    arrival: &mut Arrival,
    call: Call,
    decision: &Decision,
    tab: Tab,
    told: &mut Told,
    recording: Option<Box<Recording>>,
) -> Result<Response<Body>, Refusal> {
    let mut recording = recording;
    let kept = recording.as_mut().and_then(|recording| recording.spare.take());
    let spare = Spare { kept, written: Written::of(arrival, &call, &decision.requested) };
    let mut trail = dispatch::Trail::default();
    let asked = async {
        let served = dispatch::dispatch(app, arrival, &call, decision, tab, &mut trail).await?;
        let recording = recording.map(|recording| match std::ptr::eq(served.candidate, &raw const decision.first) {
            true => recording,
            false => recording.of_other(arrival, &call, served.candidate),
        });
        if !spare.is_empty() && instead::is_failure(&served) {
            return Err(instead::failed(served));
        }
        told.answered(&served);
        if escalate::may_escalate(decision, &served) {
            let escalated = escalate::escalate(app, arrival, call, decision, served, told, recording);
            return Box::pin(escalated).await;
        }
        drop(call);
        if listed::names_auto(arrival) {
            return Box::pin(listed::list(app, arrival.endpoint.dialect, served, told)).await;
        }
        deliver::deliver(app, served, told, recording).await
    };
    let asked = asked.await;
    let instead = |unserved| {
        told.attempts = trail.attempts;
        instead::instead(app, unserved, spare, told)
    };
    asked.or_else(instead).map_err(|refusal| trail.note(refusal))
}

/// A request's line in the ledger, with all that its head tells.
fn open_tab(app: &App, arrival: &Arrival, caller: &Caller, presence: Presence) -> Tab {
    let entry = Entry {
        id: arrival.id,
        at_ms: arrival.at_ms,
        account: caller.account.clone(),
        dialect: arrival.endpoint.dialect,
        operation: arrival.endpoint.operation,
        ..Entry::blank()
    };
    Tab::new(app.bank.clone(), Box::new(entry), arrival.at_us, presence)
}

/// Adds what the body tells.
fn describe(call: &Call, tab: &mut Tab) {
    let entry = tab.entry();
    entry.stream = call.ask.stream;
    entry.requested_service_tier.clone_from(&call.ask.service_tier);
    entry.features = call.ask.features.quantise();
    let result = |seen: &ask::ToolResult| ToolResult { name: seen.name.clone(), success: seen.is_error != Some(true) };
    let results = call.ask.tool_results.iter().map(result).collect();
    tab.note_tools(results);
}

/// Counts a request whose head could not be read at all; whoever reads heads has refused it.
pub fn unread(app: &App, cause: Cause) {
    let refusal = Refusal::new(cause, "the head of the request cannot be read");
    unidentified(app, app.mint.request_id(app.clock.now_ms()), Dialect::OpenAi, &refusal);
}

/// A request that is turned away by its head alone: nobody is billed, so that there is no entry, only a line and a count.
async fn turn_away(app: &App, mut turned: TurnedAway) -> Response<Body> {
    unidentified(app, turned.id, turned.dialect, &turned.refusal);
    read_out(app, &mut turned.body, read::UNKNOWN_BODY_BYTES_MAX).await;
    respond::refuse(&turned.refusal, turned.dialect, turned.id)
}

/// A refusal before the body was read to its end. One that did not come in time is not waited for again.
async fn unheard(app: &App, mut arrival: Arrival, refusal: &Refusal) -> Response<Body> {
    if !matches!(refusal.cause, Cause::BodyTimeout | Cause::Draining)
        && let Some(body) = &mut arrival.body
    {
        let is_brief = matches!(refusal.cause, Cause::Unauthorized | Cause::Overloaded);
        let bytes_max = if is_brief { read::UNKNOWN_BODY_BYTES_MAX } else { read::REFUSED_BODY_BYTES_MAX };
        read_out(app, body, bytes_max).await;
    }
    respond::refuse(refusal, arrival.endpoint.dialect, arrival.id)
}

/// Reads what is left of a refused body, since a client in the middle of sending would see a reset and no refusal.
async fn read_out(app: &App, body: &mut Incoming, bytes_max: u64) {
    let silence_max = app.snapshot.load().config.server.body_timeout;
    read::read_out(&app.drain, body, bytes_max, silence_max).await;
}

/// Tells log and metrics of a request whose caller is not known.
fn unidentified(app: &App, id: RequestId, dialect: Dialect, refusal: &Refusal) {
    let entry = Entry {
        id,
        at_ms: id.at_ms(),
        dialect,
        status: refusal.cause.status(),
        reason: refusal.cause.code().into(),
        ..Entry::blank()
    };
    app.scribe.hand(Record { entry: Box::new(entry), tools: Vec::new() });
}
