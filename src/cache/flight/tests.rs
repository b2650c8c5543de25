//! Flights: who leads, who follows, and what becomes of the errand.

use super::*;
use crate::cache::{KeyMaker, Namespace};
use crate::domain::refusal::Cause;

fn key() -> Key {
    KeyMaker::new(&Namespace::Shared).finish()
}

fn lead(flights: &Arc<Flights>, bytes_max: usize) -> (Lead, Seat) {
    let Boarding::Lead(lead, seat) = flights.board(key(), bytes_max) else { panic!("somebody leads already") };
    (lead, seat)
}

fn follow(flights: &Arc<Flights>) -> Seat {
    let Boarding::Follow(seat) = flights.board(key(), 0) else { panic!("nobody leads") };
    seat
}

fn next(seat: &mut Seat) -> Option<Next> {
    match seat.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => Some(next),
        Poll::Pending => None,
    }
}

/// The next piece, or a failure of the test where nothing will ever wake who waits for it.
async fn arriving(seat: &mut Seat) -> Next {
    let next = std::future::poll_fn(|context| seat.poll_next(context));
    tokio::time::timeout(std::time::Duration::from_secs(60), next).await.expect("nobody was told of a piece")
}

fn has_room(lead: &Lead) -> bool {
    lead.poll_room(&Context::from_waker(Waker::noop())).is_ready()
}

fn head() -> Head {
    Head { status: StatusCode::OK, headers: HeaderMap::new(), stale: None, by: By::default() }
}

fn piece(bytes: usize) -> Bytes {
    vec![b'x'; bytes].into()
}

#[test]
fn all_read_the_same_and_the_late_from_the_start() {
    let flights = Arc::new(Flights::default());
    let (bring, mut leader) = lead(&flights, 100);
    let mut early = follow(&flights);
    assert!(next(&mut early).is_none());
    bring.push(piece(10), false);
    let mut late = follow(&flights);
    bring.push(piece(20), true);
    assert_eq!(flights.count(), 0);
    for seat in [&mut leader, &mut early, &mut late] {
        assert!(matches!(next(seat), Some(Next::Piece(piece)) if piece.len() == 10) && !seat.has_read_all());
        assert!(matches!(next(seat), Some(Next::Last(piece)) if piece.len() == 20) && seat.has_read_all());
        assert!(matches!(next(seat), Some(Next::Over)));
    }
    bring.end(true);
}

#[test]
fn who_falls_behind_is_cut_and_the_leader_is_waited_for() {
    let flights = Arc::new(Flights::default());
    let (bring, mut leader) = lead(&flights, 100);
    let mut slow = follow(&flights);
    for _ in 0..3 {
        bring.push(piece(50), false);
    }
    assert!(!has_room(&bring) && flights.count() == 0, "nobody boards a flight whose start may be gone soon");
    assert!(matches!(next(&mut leader), Some(Next::Piece(_))) && has_room(&bring));
    for _ in 0..1_000 {
        while next(&mut leader).is_some() {}
        assert!(has_room(&bring));
        bring.push(piece(50), false);
        assert!(bring.flight.state().bytes <= 150);
    }
    assert!(matches!(next(&mut slow), Some(Next::Cut)));
    drop(leader);
    for _ in 0..100 {
        bring.push(piece(50), false);
        assert!(has_room(&bring) && bring.flight.state().bytes <= 100, "without a leader nobody is waited for");
    }
    // A piece beyond the limit passes alone.
    bring.push(piece(500), false);
    assert_eq!(bring.flight.state().pieces.len(), 1);
}

#[test]
fn a_leader_that_reads_nothing_is_waited_for_until_others_are_kept_waiting() {
    let flights = Arc::new(Flights::default());
    let (bring, mut leader) = lead(&flights, 100);
    let mut other = follow(&flights);
    (0..3).for_each(|_| bring.push(piece(50), false));
    bring.overtake();
    assert!(!has_room(&bring), "the other has not read what is there");
    while next(&mut other).is_some() {}
    assert!(!has_room(&bring));
    bring.overtake();
    for _ in 0..100 {
        assert!(has_room(&bring) && bring.flight.state().bytes <= 150);
        bring.push(piece(50), false);
        assert!(matches!(next(&mut other), Some(Next::Piece(_))));
    }
    assert!(matches!(next(&mut leader), Some(Next::Cut)), "it is one of those who fall behind");
}

#[tokio::test]
async fn whoever_waits_for_the_whole_learns_how_it_ends() {
    for (pieces, is_whole, waited) in
        [(1, true, Waited::Whole), (1, false, Waited::Broken), (3, true, Waited::TooLong), (0, true, Waited::Whole)]
    {
        let flights = Arc::new(Flights::default());
        let (bring, _leader) = lead(&flights, 100);
        let other = follow(&flights);
        let waiting = tokio::spawn(async move { other.wait().await });
        tokio::task::yield_now().await;
        (0..pieces).for_each(|_| bring.push(piece(50), false));
        bring.end(is_whole);
        assert_eq!(waiting.await.unwrap(), waited);
    }
}

#[tokio::test]
async fn a_lead_is_handed_on_and_a_failure_is_shared() {
    let flights = Arc::new(Flights::default());
    let (first, mut leader) = lead(&flights, 100);
    let mut other = follow(&flights);
    first.start(Start::HandedOn(Refusal::new(Cause::CapExceeded, "x")));
    assert!(matches!(leader.start().await, Some(Start::HandedOn(_))));
    assert!(matches!(other.start().await, Some(Start::HandedOn(_))));
    let (second, _seat) = lead(&flights, 100);
    let mut waiting = follow(&flights);
    drop(first);
    assert_eq!(flights.count(), 1, "the end of one flight is not that of the next");
    second.start(Start::Failed(Refusal::new(Cause::UpstreamTimeout, "x")));
    assert!(matches!(waiting.start().await, Some(Start::Failed(_))));
    let (third, _seat) = lead(&flights, 100);
    let mut waiting = follow(&flights);
    drop(third);
    assert!(waiting.start().await.is_none());
    assert!(matches!(next(&mut waiting), Some(Next::Broken)));
}

/// An errand that never comes to an end, and tells when it is dropped.
fn endless() -> (Work, Arc<()>) {
    let alive = Arc::new(());
    let held = alive.clone();
    let errand = async move {
        std::future::pending::<()>().await;
        drop(held);
    };
    (Box::pin(errand), alive)
}

#[tokio::test]
async fn an_errand_that_nobody_waits_for_is_ended() {
    let flights = Arc::new(Flights::default());
    let (_bring, leader) = lead(&flights, 100);
    let (errand, alive) = endless();
    leader.run(errand);
    let follower = follow(&flights);
    drop(leader);
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&alive), 2, "somebody waits still");
    drop(follower);
    tokio::task::yield_now().await;
    assert_eq!((Arc::strong_count(&alive), flights.count()), (1, 0));
}

#[tokio::test]
async fn a_leader_that_is_alone_runs_its_errand_and_ends_it_by_leaving() {
    let flights = Arc::new(Flights::default());
    let (bring, mut leader) = lead(&flights, 100);
    leader.run(Box::pin(async move {
        bring.start(Start::Head(Arc::new(head())));
        bring.push(piece(10), true);
        bring.end(true);
    }));
    let Some(Start::Head(head)) = leader.start().await else { panic!("there is an answer") };
    assert!(matches!(leader.whole(head), Ok((head, body)) if head.status == StatusCode::OK && body.len() == 10));

    let (_bring, leader) = lead(&flights, 100);
    let (errand, alive) = endless();
    leader.run(errand);
    drop(leader);
    assert_eq!((Arc::strong_count(&alive), flights.count()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_follows_needs_no_leader_that_reads() {
    let flights = Arc::new(Flights::default());
    let (bring, mut leader) = lead(&flights, 100);
    let (go, mut gone) = tokio::sync::mpsc::channel::<()>(1);
    leader.run(Box::pin(async move {
        bring.start(Start::Head(Arc::new(head())));
        let _signal = gone.recv().await;
        bring.push(piece(10), false);
        bring.push(piece(20), true);
        bring.end(true);
    }));
    let Some(Start::Head(head)) = leader.start().await else { panic!("there is an answer") };
    assert!(leader.whole(head).is_err(), "more is to come");
    assert!(next(&mut leader).is_none());
    let mut follower = follow(&flights);
    go.send(()).await.unwrap();
    let mut lengths = Vec::new();
    while let Next::Piece(piece) | Next::Last(piece) = arriving(&mut follower).await {
        lengths.push(piece.len());
    }
    assert_eq!(lengths, [10, 20], "though the leader was not asked for anything");
    assert!(matches!(next(&mut leader), Some(Next::Piece(piece)) if piece.len() == 10));
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_while_the_leader_runs_its_errand_is_not_forgotten() {
    let flights = Arc::new(Flights::default());
    let (bring, mut leader) = lead(&flights, 100);
    let (seats, mut seated) = tokio::sync::mpsc::channel(1);
    let others = flights.clone();
    leader.run(Box::pin(async move {
        // Somebody comes in the middle of the leader's own run, as on another thread.
        seats.send(follow(&others)).await.unwrap();
        tokio::task::yield_now().await;
        bring.push(piece(10), true);
        bring.end(true);
    }));
    assert!(next(&mut leader).is_none());
    let mut follower = seated.recv().await.unwrap();
    for seat in [&mut follower, &mut leader] {
        // The task runs it now, and nobody polls the leader for it.
        let piece = arriving(seat).await;
        assert!(matches!(piece, Next::Last(piece) if piece.len() == 10));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_before_there_is_an_errand_is_not_forgotten() {
    let flights = Arc::new(Flights::default());
    let (bring, leader) = lead(&flights, 100);
    let mut follower = follow(&flights);
    leader.run(Box::pin(async move {
        bring.push(piece(10), true);
        bring.end(true);
    }));
    let piece = arriving(&mut follower).await;
    assert!(matches!(piece, Next::Last(piece) if piece.len() == 10), "though the leader runs nothing");
}
