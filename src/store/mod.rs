//! The store: the journal, an append-only log that is the authority for money, and what reads it.
//!
//! Reading order: [`record`] says what is written down, `wire` and `codec` how it looks in bytes, `frame` how bytes are
//! joined into checked and chained frames, `segment` how frames lie in files, [`totals`], `books` and `drafts` what they
//! sum to, `disk` the seam to the file system, `recover` what a start does, [`journal`] (with `queue`, `writer`, [`shared`]
//! and `keeper`) how records get in, and [`read`] and [`mod@verify`] how they get out. Nothing here decides what a request
//! costs, and nothing here ever changes or removes a record.
//!
//! Invariant: a record for which [`Journal::written`] has returned survives a killed process; one for which
//! [`Journal::synced`] has returned survives a power loss.
//! Invariant: the journal stays the authority: whatever else sums its records can be thrown away and built again.

pub mod record;
mod wire;
pub mod codec;
mod entry_codec;
mod brief;
mod skim;
mod adjust_codec;
mod key_codec;
mod lesson_codec;
mod frame;
mod segment;
pub mod totals;
mod books;
mod drafts;
pub mod disk;
mod recover;
mod queue;
mod writer;
pub mod shared;
mod keeper;
pub mod journal;
pub mod read;
pub mod index;
pub mod follow;
mod moved;
pub mod archive;
mod retain;
pub mod spent;
pub mod counted;
mod indexed;
pub mod ledger;
pub mod verify;

pub use archive::Archive;
pub use books::Unfinished;
pub use codec::CodecError;
pub use counted::Counted;
pub use follow::{Counts, Follow};
pub use frame::FrameFault;
pub use index::clerk::{self, Clerk, Watch};
pub use index::{Index, IndexError, Shelf};
pub use journal::{Journal, Recovered, Tip};
pub use ledger::{Grain, Ledger, Told};
pub use queue::Seat;
pub use read::{Found, Located, ReadError, Reader};
pub use record::{Close, Dropped, Open, RateRecord, Record, Reloaded, Start, Unsettled};
pub use recover::OpenError;
pub use segment::{BadFrame, CutTail};
pub use shared::{Health, Options, StoreError};
pub use skim::Skim;
pub use spent::{Spent, archives, spent};
pub use totals::{Total, Totals};
pub use verify::{Report, verify};
