//! [`Drafts`]: [`Books`] as they are folded while a journal is written: from bytes, and without decoding what comes to
//! nothing. An attempt is kept as it is written until its request has its entry, which nearly all have a moment later.
//!
//! Invariant: the books that it gives are those that [`Books::apply`] makes of the same records.

use std::collections::HashMap;

use super::books::Books;
use super::brief::{Brief, attempt_of};
use super::codec::{CodecError, decode};
use super::frame;
use crate::domain::ids::RequestId;

/// The sum of some records.
#[derive(Debug)]
pub struct Drafts {
    books: Books,
    /// Opens and closes that are not in `books` yet, as in the body of a frame.
    attempts: HashMap<RequestId, Vec<u8>>,
}

impl Drafts {
    /// Goes on from `books`.
    pub fn new(books: Books) -> Self {
        Self { books, attempts: HashMap::new() }
    }

    /// Folds in the next record.
    pub fn apply(&mut self, record: &[u8]) -> Result<(), CodecError> {
        if let Some((request, at_ms)) = attempt_of(record)? {
            self.books.note_time(at_ms);
            frame::put_bytes(record, self.attempts.entry(request).or_default());
        } else if let Some(brief) = Brief::of(record)? {
            // One that was entered before changes nothing, nor do its attempts.
            if self.books.enter(&brief) {
                self.attempts.remove(&brief.id);
            }
        } else {
            self.books.apply(decode(record)?);
        }
        Ok(())
    }

    /// The books with everything that was folded in.
    pub fn books(&mut self) -> Result<&mut Books, CodecError> {
        for attempts in self.attempts.drain().map(|(_, attempts)| attempts) {
            for record in frame::records(&attempts) {
                self.books.apply(decode(record?)?);
            }
        }
        Ok(&mut self.books)
    }

    /// A snapshot of the books stands in the journal at this place.
    pub fn mark_snapshot(&mut self) {
        self.books.mark_snapshot();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::entry::Entry;
    use crate::domain::ids::AttemptId;
    use crate::domain::money::Usd;
    use crate::domain::sample;
    use crate::store::codec::{Line, encode};
    use crate::store::record::{Close, Open, Record, Unsettled};

    /// A record of one of a few requests; in any order, also in those that no journal has.
    fn record(kind: u8, request: u8, ordinal: u8) -> Record {
        let entry = sample::entry();
        let request = RequestId::new(u64::from(request), u128::from(request));
        let (attempt, at_ms) = (AttemptId { request, ordinal }, 1_000 + u64::from(ordinal));
        let cost = Some(Usd::from_pico(u128::from(ordinal) << 60));
        let (outcome, usage_source) = (entry.outcome, entry.usage_source);
        match kind {
            0 => Record::Open(Open {
                attempt,
                at_ms,
                account: entry.account.clone(),
                upstream: entry.upstream.clone(),
                model: entry.model.clone(),
                quote: cost,
                operation: entry.operation,
                dialect: entry.dialect,
            }),
            1 => Record::Close(Close { attempt, at_ms: at_ms + 9, status: 200, outcome, usage_source, cost }),
            2 => Record::Entry(Box::new(Entry { id: request, cost, ..entry })),
            _ => Record::Unsettled(Unsettled {
                at_ms,
                scope: crate::domain::account::Scope::Organisation,
                amount: Usd::from_pico(3),
            }),
        }
    }

    proptest! {
        #[test]
        fn the_books_are_those_of_whole_records(
            records in prop::collection::vec((0_u8..4, 0_u8..4, 0_u8..3, any::<bool>()), 0..60),
        ) {
            let (mut books, mut drafts) = (Books::default(), Drafts::new(Books::default()));
            for (kind, request, ordinal, is_asked) in records {
                let record = record(kind, request, ordinal);
                let mut bytes = Vec::new();
                encode(Line::from(&record), &mut bytes);
                books.apply(record);
                drafts.apply(&bytes).unwrap();
                if is_asked {
                    prop_assert_eq!(&*drafts.books().unwrap(), &books);
                    books.mark_snapshot();
                    drafts.mark_snapshot();
                }
            }
            prop_assert_eq!(&*drafts.books().unwrap(), &books);
        }
    }
}
