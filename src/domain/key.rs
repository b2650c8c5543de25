//! What a key may be used for, as it was said: [`Lists`], one for each [`Kind`] of thing.
//!
//! It only holds what was said; whether a name is on a list is decided by the config room's `Permit`.

/// Names or patterns on one list. Nothing: there is no such list, and all is allowed.
pub type List = Option<Box<[Box<str>]>>;

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Models that are sent, as patterns.
    Models,
    /// Upstreams, as patterns of their names.
    Upstreams,
    /// Operations, by their words in the ledger or the part before the dot.
    Operations,
    /// Tools that the client runs, as patterns of their names.
    Tools,
    /// Tools that the provider runs, as patterns of their types.
    ServerTools,
    /// Networks that the key may be used from.
    Networks,
}

/// A list for each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists([List; 6]);

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Models, Self::Upstreams, Self::Operations, Self::Tools, Self::ServerTools, Self::Networks];

    /// The word in config and interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Upstreams => "upstreams",
            Self::Operations => "operations",
            Self::Tools => "tools",
            Self::ServerTools => "server_tools",
            Self::Networks => "networks",
        }
    }
}

impl Lists {
    /// The list of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Option<&[Box<str>]> {
        self.0[kind as usize].as_deref()
    }

    /// Sets the list of a kind.
    pub fn set(&mut self, kind: Kind, list: List) {
        self.0[kind as usize] = list;
    }

    /// Whether there is no list at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}
