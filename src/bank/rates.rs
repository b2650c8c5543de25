//! [`Rates`]: numbers for rate rows, so that an entry can name the prices it was charged at in four bytes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::entry::PriceRef;
use crate::domain::price::Model;
use crate::store::{Journal, RateRecord, Record};

/// The rows that the journal knows.
#[derive(Debug, Default)]
pub struct Rates {
    /// By version of the book and the model's number in it.
    numbered: HashMap<(Arc<str>, u32), u32>,
    /// Rows of earlier processes, by version and text.
    recorded: HashMap<(Arc<str>, Box<str>), u32>,
    next: u32,
}

impl Rates {
    /// The rows of a journal that was opened.
    #[must_use]
    pub fn new(rows: &[RateRecord]) -> Self {
        let recorded = rows.iter().map(|rate| ((rate.version.clone(), rate.text.clone()), rate.row)).collect();
        let next = rows.iter().map(|rate| rate.row + 1).max().unwrap_or(0);
        Self { numbered: HashMap::new(), recorded, next }
    }

    /// The reference to the rates of `model` in the book `version`; their first use is journaled.
    pub fn price_ref(&mut self, version: &Arc<str>, model: &Model, journal: &Journal) -> PriceRef {
        let number = (version.clone(), model.number());
        let row = match self.numbered.get(&number) {
            Some(row) => *row,
            None => {
                let row = self.record(version, model, journal);
                self.numbered.insert(number, row);
                row
            }
        };
        PriceRef { version: version.clone(), row }
    }

    fn record(&mut self, version: &Arc<str>, model: &Model, journal: &Journal) -> u32 {
        let text: Box<str> = model.row().to_text().into();
        if let Some(row) = self.recorded.get(&(version.clone(), text.clone())) {
            return *row;
        }
        let row = self.next;
        self.next += 1;
        // It goes in front of the entry that names it. A journal that takes no records has refused the request before.
        let _seat = journal.post(&Record::Rate(RateRecord { row, version: version.clone(), text }));
        row
    }
}
