//! Any entries, any range of time, any moment of the clerk's work: index and journal come to what a naive fold does.

use std::ops::Range;

use proptest::prelude::*;
use tollgate::domain::adjustment::{Adjustment, Direction};
use tollgate::domain::entry::Entry;
use tollgate::domain::money::Usd;
use tollgate::domain::sums::Sums;
use tollgate::store::clerk::open_sled;
use tollgate::store::{Grain, Index, Ledger, Reader, Record, verify};

use super::sample::{entry_at, folded, keep, naive};
use crate::journal::sample::{NOW_MS, folder, small};

prop_compose! {
    /// In the order in which they end; one that ends late arrived up to half an hour before.
    fn some_entries()(times in prop::collection::vec((0..60 * 3_600_000_u64, 0..1_800_000_u64), 1..60)) -> Vec<Entry> {
        let mut times = times;
        times.sort_unstable();
        let entry = |((end_ms, took_ms), number): ((u64, u64), u64)| entry_at(number, end_ms.saturating_sub(took_ms));
        times.into_iter().zip(0..).map(entry).collect()
    }
}

fn some_range() -> impl Strategy<Value = Range<u64>> {
    let moment = || prop_oneof![Just(0), Just(u64::MAX), NOW_MS - 900_000..NOW_MS + 61 * 3_600_000];
    (moment(), moment()).prop_map(|(one, other)| one.min(other)..one.max(other))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn index_and_journal_come_to_the_naive_fold(
        entries in some_entries(), ranges in prop::collection::vec(some_range(), 1..6), (in_index, in_tail) in (0..60_usize, 0..60_usize),
    ) {
        let in_index = in_index.min(entries.len());
        let in_tail = in_tail.min(entries.len() - in_index);
        for open in [open_sled, |_: &std::path::Path| Ok(Index::Memory(Box::default()))] {
            let folder = folder();
            let kept = keep(folder.path(), small(), open, None, NOW_MS);
            kept.post(entries[..in_index].iter().cloned());
            kept.clerk.round();
            kept.post(entries[in_index..in_index + in_tail].iter().cloned());
            let written = &entries[..in_index + in_tail];
            for range in &ranges {
                let expect = naive(written, range.clone());
                prop_assert_eq!(&folded(&kept.ledger(folder.path()), range.clone()), &expect);
                prop_assert_eq!(&folded(&Ledger::of_journal(folder.path()), range.clone()), &expect);
            }
            kept.stop();
            prop_assert_eq!(verify(folder.path()).unwrap().odd, vec![]);
        }
    }
}

#[test]
fn a_request_is_found_through_the_index_as_in_the_journal() {
    let folder = folder();
    let kept = keep(folder.path(), small(), open_sled, None, NOW_MS);
    let entries: Vec<Entry> = (0..600).map(|number| entry_at(number, number * 40_000)).collect();
    kept.post(entries[..400].iter().cloned());
    kept.clerk.round();
    kept.post(entries[400..].iter().cloned());
    for entry in entries.iter().step_by(37) {
        let expect = Reader::open(folder.path()).find(entry.id).unwrap();
        assert!(expect.is_some());
        assert_eq!(kept.ledger(folder.path()).find(entry.id).unwrap(), expect);
    }
    assert_eq!(kept.ledger(folder.path()).find(entry_at(9_000, 5).id).unwrap(), None);
    kept.stop();
    let later = Ledger::open(folder.path());
    assert!(later.find(entries[3].id).unwrap().is_some());
}

#[test]
fn an_adjustment_counts_in_reports_and_totals() {
    let folder = folder();
    let kept = keep(folder.path(), small(), open_sled, None, NOW_MS);
    let entry = entry_at(1, 0);
    kept.post([entry.clone()]);
    let adjust = |direction, pico| Adjustment {
        id: tollgate::domain::ids::RequestId::new(NOW_MS + 5, pico),
        at_ms: NOW_MS + 5,
        account: entry.account.clone(),
        upstream: "openai".into(),
        model: entry.model.clone(),
        direction,
        amount: Usd::from_pico(pico),
        actor: "ada".into(),
        reason: "the invoice says less".into(),
        request: Some(entry.id),
    };
    for adjustment in [adjust(Direction::Charge, 7), adjust(Direction::Credit, 5)] {
        let seat = kept.journal.post(&Record::Adjustment(Box::new(adjustment))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(kept.journal.synced(seat)).unwrap();
    }
    kept.clerk.round();
    let mut total = Sums::default();
    kept.ledger(folder.path()).fold(0..u64::MAX, Grain::Range, &mut |_, _, sums| total.join(sums)).unwrap();
    assert_eq!((total.charged.pico(), total.credited.pico(), total.requests), (7, 5, 1));
    kept.stop();
    let totals = verify(folder.path()).unwrap().totals;
    let whole = totals.of(&tollgate::domain::account::Scope::Organisation);
    assert_eq!((whole.spent, whole.credited.pico()), (total.spend.plus(Usd::from_pico(7)), 5));
}
