//! What is noted of a value until its end tells what it was.
//!
//! Notes are cleared, not dropped, so that a long conversation takes no memory for each of its turns.

use std::ops::Range;

use super::kinds::{ItemKind, Kind};
use super::spoken::{Role, Texts};

#[derive(Debug, Default)]
pub(super) struct UsageNote {
    pub(super) explicit: Option<bool>,
    pub(super) is_odd: bool,
    pub(super) members: usize,
}

/// A message or item that has not ended.
#[derive(Debug, Default)]
pub(super) struct TurnNote {
    pub(super) role: Role,
    pub(super) texts: Texts,
    pub(super) kind: ItemKind,
    pub(super) call_id: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) called_id: Vec<u8>,
    pub(super) called_name: Vec<u8>,
    pub(super) arguments: Range<usize>,
    pub(super) text_bytes: usize,
    pub(super) has_tools: bool,
    /// What a model thought, or what is left of a conversation that was cut.
    pub(super) is_thought: bool,
}

/// A content block that has not ended.
#[derive(Debug, Default)]
pub(super) struct BlockNote {
    pub(super) kind: Option<Kind>,
    /// How often its kind was told.
    pub(super) kinds: usize,
    pub(super) data: Option<Range<usize>>,
    pub(super) id: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) is_call: bool,
    pub(super) arguments: Range<usize>,
    pub(super) members: u32,
    pub(super) known_members: u32,
    pub(super) result_id: Vec<u8>,
    pub(super) result_name: Vec<u8>,
    pub(super) is_error: bool,
}

#[derive(Debug, Default)]
pub(super) struct ToolNote {
    pub(super) kind: Option<Box<str>>,
    pub(super) uses_max: Option<u64>,
    /// A field was told twice, and parsers differ in which they take.
    pub(super) is_odd: bool,
    pub(super) members: u32,
    pub(super) client_members: u32,
    pub(super) functions: u32,
}

impl TurnNote {
    /// Whether somebody said this, in words.
    pub(super) fn is_said(&self) -> bool {
        !self.has_tools && !self.is_thought && self.kind == ItemKind::Message
    }

    pub(super) fn clear(&mut self) {
        self.role = Role::Human;
        self.texts.clear();
        self.is_thought = false;
        self.kind = ItemKind::Message;
        self.text_bytes = 0;
        self.has_tools = false;
        self.call_id.clear();
        self.name.clear();
        self.called_id.clear();
        self.called_name.clear();
        self.arguments = 0..0;
    }
}

impl BlockNote {
    /// A kind that is told twice is read by each provider in its own way: then nothing is taken off the bound.
    pub(super) fn tell(&mut self, kind: Kind) {
        self.kinds += 1;
        self.kind = Some(kind);
    }

    pub(super) fn clear(&mut self) {
        self.kind = None;
        self.arguments = 0..0;
        self.kinds = 0;
        self.data = None;
        self.is_call = false;
        self.members = 0;
        self.known_members = 0;
        self.is_error = false;
        self.id.clear();
        self.name.clear();
        self.result_id.clear();
        self.result_name.clear();
    }
}

/// Keeps the bytes instead of those before.
pub(super) fn replace(kept: &mut Vec<u8>, raw: &[u8]) {
    kept.clear();
    kept.extend_from_slice(raw);
}
