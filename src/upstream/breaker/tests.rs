//! What breakers make of attempts that go well, fail, hang, or break off.

use std::time::Duration;

use super::rest::PROBE_WAIT_US;
use super::*;

const SECOND: u64 = 1_000_000;

fn breakers() -> Arc<Breakers> {
    let policy = Breaking { failures: 5, window: Duration::from_secs(30), cooldown: Duration::from_secs(60) };
    Arc::new(Breakers::new("u".into(), policy))
}

fn topic(model: &Arc<str>) -> Topic<'_> {
    Topic { model, operation: Operation::ChatCompletions }
}

fn fail(breakers: &Breakers, model: &Arc<str>, times: u64, at_us: u64) {
    (0..times).for_each(|_| breakers.note(topic(model), Health::Failing, None, at_us));
}

#[test]
fn five_failures_open_it_and_one_probe_at_a_time_closes_it() {
    let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
    let ask = |at_us| breakers.ask(topic(&model), Need::OneOfSeveral, at_us);
    let at = 1_000 * SECOND;
    fail(&breakers, &model, 4, at);
    assert!(ask(at).unwrap().is_none());
    fail(&breakers, &model, 1, at + SECOND);
    let wait = ask(at + SECOND).unwrap_err();
    assert!((15 * SECOND / 4..=5 * SECOND).contains(&wait), "{wait}");
    assert!(breakers.ask(topic(&"other".into()), Need::OneOfSeveral, at + SECOND).unwrap().is_none());
    // What comes late of attempts that left before proves nothing.
    breakers.note(topic(&model), Health::Well, None, at + 2 * SECOND);
    fail(&breakers, &model, 9, at + 2 * SECOND);
    assert_eq!(breakers.states(at + 2 * SECOND), [(model.clone(), State::Open)]);
    let later = at + 6 * SECOND;
    assert_eq!(breakers.states(later), [(model.clone(), State::HalfOpen)]);
    let probe = ask(later).unwrap().unwrap();
    assert!(ask(later).is_err());
    drop(probe);
    let probe = ask(later).unwrap().unwrap();
    breakers.note(topic(&model), Health::Failing, Some(&probe), later);
    drop(probe);
    assert!(ask(later + 7 * SECOND).is_err());
    let last = later + 10 * SECOND;
    let probe = ask(last).unwrap().unwrap();
    breakers.note(topic(&model), Health::Well, Some(&probe), last);
    drop(probe);
    assert_eq!(breakers.states(last), [(model.clone(), State::Closed)]);
    assert!(ask(last).unwrap().is_none());
    assert_eq!(breakers.opened(), 1);
}

/// Attempts of an outage that lasts, and when it was seen to be over, in seconds after its end.
fn outage(need: Need, seconds: u64) -> (u64, u64) {
    let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
    fail(&breakers, &model, 5, 0);
    let mut attempts = 0;
    for at_us in (0..).map(|tenth| tenth * SECOND / 10) {
        let Ok(Some(probe)) = breakers.ask(topic(&model), need, at_us) else { continue };
        if at_us >= seconds * SECOND {
            return (attempts, at_us / SECOND - seconds);
        }
        attempts += 1;
        breakers.note(topic(&model), Health::Failing, Some(&probe), at_us);
    }
    unreachable!()
}

#[test]
fn rests_grow_with_the_outage_and_never_beyond_the_cooldown() {
    for seconds in [1, 7, 30, 67, 200, 1_000, 3_600] {
        let (attempts, late) = outage(Need::OneOfSeveral, seconds);
        assert!(late <= 60.min(5 + seconds), "{seconds}: {late}");
        assert!(attempts <= 4 + seconds / 45, "{seconds}: {attempts}");
        let (attempts, late) = outage(Need::LastResort, seconds);
        assert!(late <= 1 && attempts <= seconds + 10 + seconds / 45, "{seconds}: {attempts} {late}");
    }
}

#[test]
fn an_attempt_that_hangs_keeps_no_last_resort_from_an_upstream_that_is_back() {
    let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
    fail(&breakers, &model, 5, 0);
    let ask = |second: u64| breakers.ask(topic(&model), Need::LastResort, second * SECOND);
    let hanging = [1, 2].map(|second| ask(second).unwrap().unwrap());
    let probe = ask(3).unwrap().unwrap();
    assert_eq!(ask(4).unwrap_err(), PROBE_WAIT_US, "four at once");
    breakers.note(topic(&model), Health::Well, Some(&probe), 4 * SECOND);
    assert!(ask(4).unwrap().is_none());
    hanging.iter().for_each(|probe| breakers.note(topic(&model), Health::Failing, Some(probe), 5 * SECOND));
    assert_eq!(breakers.states(5 * SECOND), [(model.clone(), State::Closed)]);
}

#[test]
fn failures_that_are_old_or_few_among_many_do_not() {
    let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
    for step in 0..20 {
        fail(&breakers, &model, 1, step * 8 * SECOND);
    }
    assert_eq!(breakers.opened(), 0, "four failures within any 30 seconds");
    fail(&breakers, &model, 1, 1_000 * SECOND);
    let well = |times: u64| (0..times).for_each(|_| breakers.note(topic(&model), Health::Well, None, 1_001 * SECOND));
    well(10);
    for _ in 0..50 {
        fail(&breakers, &model, 1, 1_001 * SECOND);
        well(1);
    }
    assert_eq!(breakers.opened(), 0, "51 of 111");
    for _ in 0..5 {
        fail(&breakers, &model, 2, 1_001 * SECOND);
    }
    assert_eq!(breakers.opened(), 1, "61 of 121, and ten in a row");
}

#[test]
fn a_thousand_good_answers_do_not_put_off_an_outage() {
    let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
    fail(&breakers, &model, 1, SECOND);
    (0..1_000).for_each(|_| breakers.note(topic(&model), Health::Well, None, 2 * SECOND));
    fail(&breakers, &model, 9, 3 * SECOND);
    assert_eq!(breakers.opened(), 0);
    fail(&breakers, &model, 1, 3 * SECOND);
    assert_eq!(breakers.opened(), 1);
}

#[test]
fn names_that_clients_make_up_take_bounded_memory_and_share_a_breaker() {
    let breakers = breakers();
    for number in 0..3_000 {
        fail(&breakers, &number.to_string().into(), 1, SECOND);
    }
    assert!(breakers.states(SECOND).len() <= MODELS_MAX + 1);
    assert!(breakers.ask(topic(&"one more".into()), Need::OneOfSeveral, SECOND).is_err());
    assert!(breakers.ask(topic(&"7".into()), Need::OneOfSeveral, SECOND).unwrap().is_none());
    // They are forgotten when their window is over.
    fail(&breakers, &"real".into(), 1, 100 * SECOND);
    assert_eq!(breakers.states(100 * SECOND).len(), 2);
}

#[test]
fn probes_that_hang_put_off_the_recovery_by_one_rest() {
    for (need, hung, late_s) in [(Need::OneOfSeveral, 1, 10), (Need::LastResort, 3, 5)] {
        let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
        fail(&breakers, &model, 5, 0);
        let ask = |at_us| breakers.ask(topic(&model), need, at_us);
        let seconds = (0..).map(|tenth| tenth * SECOND / 10);
        let hanging: Vec<_> = seconds.filter_map(|at_us| Some((ask(at_us).ok()??, at_us))).take(hung).collect();
        // From here on the upstream is well.
        let (_, last_us) = hanging[hung - 1];
        let back_us = (0..).map(|tenth| last_us + tenth * SECOND / 10).find(|at_us| ask(*at_us).is_ok()).unwrap();
        assert!(back_us - last_us <= late_s * SECOND, "{need:?}: {} s", (back_us - last_us) / SECOND);
        // What the hanging ones say of their failure has counted, and what they say of an answer is heard.
        let before = breakers.ask(topic(&model), Need::OneOfSeveral, back_us).map(|_| ());
        breakers.note(topic(&model), Health::Failing, Some(&hanging[0].0), back_us);
        assert_eq!(breakers.ask(topic(&model), Need::OneOfSeveral, back_us).map(|_| ()), before, "{need:?}");
        breakers.note(topic(&model), Health::Well, Some(&hanging[0].0), back_us);
        assert_eq!(breakers.states(back_us), [(model.clone(), State::Closed)]);
    }
}

#[test]
fn an_upstream_where_every_probe_hangs_is_tried_ever_more_rarely() {
    let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
    fail(&breakers, &model, 5, 0);
    let mut hanging = Vec::new();
    for second in 0..600 {
        hanging.extend(breakers.ask(topic(&model), Need::OneOfSeveral, second * SECOND).ok().flatten());
    }
    assert!((10..=16).contains(&hanging.len()), "{} in ten minutes", hanging.len());
}

#[test]
fn what_breaks_off_behind_its_head_goes_on_where_it_was() {
    let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
    fail(&breakers, &model, 5, 0);
    let mut at_us = 0;
    let mut rests = Vec::new();
    for _ in 0..6 {
        let begun_us = at_us;
        let mut probe = loop {
            at_us += SECOND / 10;
            if let Ok(Some(probe)) = breakers.ask(topic(&model), Need::OneOfSeveral, at_us) {
                break probe;
            }
        };
        rests.push((at_us - begun_us).div_ceil(SECOND));
        probe.note_answer(at_us);
        assert!(!probe.has_flowed(at_us + SECOND) && probe.has_flowed(at_us + 5 * SECOND));
        breakers.note(topic(&model), Health::Failing, Some(&probe), at_us);
    }
    let doubled = [5, 10, 20, 40, 60, 60];
    assert!(rests.iter().zip(doubled).all(|(rest, most)| (most * 3 / 4..=most).contains(rest)), "{rests:?}");
    // One that closes and opens again at once goes on as well, and one that has been closed for a cooldown does not.
    for (pause_s, least_s) in [(1, 45), (60, 3)] {
        let probe = (0..).find_map(|_| {
            at_us += SECOND;
            breakers.ask(topic(&model), Need::OneOfSeveral, at_us).ok()?
        });
        breakers.note(topic(&model), Health::Well, probe.as_ref(), at_us);
        at_us += pause_s * SECOND;
        fail(&breakers, &model, 5, at_us);
        let wait_us = breakers.ask(topic(&model), Need::OneOfSeveral, at_us).unwrap_err();
        assert!(wait_us >= least_s * SECOND, "{pause_s}: {wait_us}");
    }
    let wait_us = breakers.ask(topic(&model), Need::OneOfSeveral, at_us).unwrap_err();
    assert!(wait_us <= 5 * SECOND, "{wait_us}");
}

#[test]
fn an_answer_that_breaks_off_is_no_good_one_as_well() {
    let (breakers, model): (_, Arc<str>) = (breakers(), "m".into());
    for _ in 0..5 {
        assert_eq!(breakers.opened(), 0);
        // Half of all break off.
        [Health::Well, Health::Well, Health::Relapsed]
            .into_iter()
            .for_each(|health| breakers.note(topic(&model), health, None, SECOND));
    }
    assert_eq!(breakers.opened(), 1);
}

#[test]
fn operations_without_a_model_are_told_apart() {
    let (breakers, none) = (breakers(), Arc::<str>::default());
    let of = |operation| Topic { model: &none, operation };
    (0..5).for_each(|_| breakers.note(of(Operation::Files), Health::Failing, None, SECOND));
    assert!(breakers.ask(of(Operation::Files), Need::OneOfSeveral, SECOND).is_err());
    assert!(breakers.ask(of(Operation::Models), Need::OneOfSeveral, SECOND).unwrap().is_none());
    assert_eq!(breakers.states(SECOND), [("files".into(), State::Open)]);
}
