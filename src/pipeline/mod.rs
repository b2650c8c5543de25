//! THE LIFE OF A REQUEST, one stage a file, in the order of the lines of [`answer`].
//!
//! ```text
//! arrive    the head taken apart; one config for the whole request
//! identify  whom to answer, whom to bill             -> from here on the request has exactly one ledger entry
//! read      the body, once, bounded, scanned
//! route     which upstream, which model
//! reserve   the worst case, written down             -> from here on the attempt has exactly one open and close record
//! dispatch  splice, scrub, send, wait for the head
//! deliver   whole answers at once, streams through the tap, which settles when they end
//! ```
//!
//! Each stage is one function that takes what the stages before it made, and whose output proves that it ran. What goes
//! wrong is a [`Refusal`], and only `respond` turns it into HTTP.

pub mod arrive;
pub mod identify;
pub mod read;
pub mod route;
pub mod reserve;
pub mod dispatch;
pub mod deliver;
pub mod tap;
pub mod abandon;
pub mod settle;
pub mod respond;
pub mod body;

use std::net::IpAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::app::App;
use crate::bank::tab::Tab;
use crate::domain::entry::Entry;
use crate::domain::operation::Dialect;
use crate::domain::refusal::{Cause, Refusal};
use arrive::Arrival;
use body::Body;
use identify::Caller;
use read::Call;
use respond::Told;
use route::Decision;

/// Answers one request of a client.
pub async fn answer(app: Arc<App>, peer: IpAddr, request: Request<Incoming>) -> Response<Body> {
    let _in_flight = app.metrics.in_flight.enter();
    let mut arrival = match arrive::arrive(&app, request, peer) {
        Ok(arrival) => arrival,
        Err(turned) => return turn_away(&app, *turned).await,
    };
    let (id, dialect) = (arrival.id, arrival.endpoint.dialect);
    let caller = match identify::identify(&app, &arrival) {
        Ok(caller) => caller,
        Err(refusal) => return unheard(&app, arrival, &refusal).await,
    };
    let mut tab = open_tab(&app, &arrival, &caller);
    let (call, decision) = match prepare(&app, &mut arrival, &caller, &mut tab).await {
        Ok(prepared) => prepared,
        Err(refusal) => {
            tab.refuse(&refusal);
            return unheard(&app, arrival, &refusal).await;
        }
    };
    match send(&app, arrival, call, &decision, tab).await {
        Ok(response) => response,
        Err(refusal) => respond::refuse(&refusal, dialect, id),
    }
}

/// The stages in which nothing has been written down yet.
async fn prepare(
    app: &App,
    arrival: &mut Arrival,
    caller: &Caller,
    tab: &mut Tab,
) -> Result<(Call, Decision), Refusal> {
    let call = read::read(app, arrival).await?;
    describe(&call, tab);
    let decision = route::route(arrival, caller, &call)?;
    let entry = tab.entry();
    entry.upstream = decision.provider.config.name.clone();
    entry.requested_model = decision.requested.clone();
    entry.model = decision.model.clone();
    entry.reason = decision.reason.into();
    Ok((call, decision))
}

/// The stages that cost money. On an error the request has its entry.
async fn send(
    app: &Arc<App>,
    arrival: Arrival,
    call: Call,
    decision: &Decision,
    tab: Tab,
) -> Result<Response<Body>, Refusal> {
    let told = Told {
        id: arrival.id,
        requested: decision.requested.clone(),
        model: decision.model.clone(),
        reason: decision.reason,
    };
    let bill = reserve::reserve(app, &arrival, &call, decision, tab).await?;
    let answer = dispatch::dispatch(app, arrival, call, decision, bill).await?;
    deliver::deliver(app, answer, decision, &told).await
}

/// A request that is turned away by its head alone; nobody is billed, so that there is no entry.
async fn turn_away(app: &App, mut turned: arrive::TurnedAway) -> Response<Body> {
    let silence_max = app.snapshot.load().config.server.body_timeout;
    read::read_out(&mut turned.body, silence_max).await;
    log_unidentified(turned.id, &turned.refusal);
    respond::refuse(&turned.refusal, turned.dialect, turned.id)
}

/// A refusal before the body was read: it is read out, since a client in the middle of sending would see a reset.
async fn unheard(app: &App, mut arrival: Arrival, refusal: &Refusal) -> Response<Body> {
    let silence_max = app.snapshot.load().config.server.body_timeout;
    read::read_out(&mut arrival.body, silence_max).await;
    respond::refuse(refusal, arrival.endpoint.dialect, arrival.id)
}
