//! [`Account`]: who is billed for a request, and [`Scope`]: what a total, a cap or a limit counts.

use std::sync::Arc;

/// A tag's name and value.
pub type Tag = (Box<str>, Box<str>);

/// Whom a request is billed to. Cheap to clone: the names are shared with the config that they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The key's id from config, `local`, or `pass:` and a keyed hash for a credential that passes through.
    pub key: Arc<str>,
    /// The user, if the key names one or may attribute.
    pub user: Option<Arc<str>>,
    /// The team, if the key or the user has one.
    pub team: Option<Arc<str>>,
    /// Tags, sorted by name.
    pub tags: Arc<[Tag]>,
}

/// The names of an [`Account`], borrowed from whoever has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payer<'a> {
    /// The key's id.
    pub key: &'a str,
    /// The user, if there is one.
    pub user: Option<&'a str>,
    /// The team, if there is one.
    pub team: Option<&'a str>,
    /// Tags, sorted by name.
    pub tags: Vec<(&'a str, &'a str)>,
}

/// One thing whose spend is summed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everything that passes this Tollgate.
    Organisation,
    /// A team by name.
    Team(Arc<str>),
    /// A user by name.
    User(Arc<str>),
    /// A key by id.
    Key(Arc<str>),
    /// A model, as it was sent to the upstream.
    Model(Arc<str>),
    /// A tag, as `name=value`.
    Tag(Arc<str>),
}

impl Scope {
    /// The scope of this kind and name; the organisation has none, and all others have one.
    #[must_use]
    pub fn named(kind: &str, name: &str) -> Option<Self> {
        let scope: fn(Arc<str>) -> Self = match kind {
            "organisation" => return name.is_empty().then_some(Self::Organisation),
            "team" => Self::Team,
            "user" => Self::User,
            "key" => Self::Key,
            "model" => Self::Model,
            "tag" => Self::Tag,
            _ => return None,
        };
        (!name.is_empty()).then(|| scope(name.into()))
    }

    /// The kind of scope in refusals, reports and the admin interface.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::Team(_) => "team",
            Self::User(_) => "user",
            Self::Key(_) => "key",
            Self::Model(_) => "model",
            Self::Tag(_) => "tag",
        }
    }

    /// The name within its kind; empty for the organisation.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Organisation => "",
            Self::Team(name) | Self::User(name) | Self::Key(name) | Self::Model(name) | Self::Tag(name) => name,
        }
    }
}

impl Account {
    /// Its names.
    #[must_use]
    pub fn payer(&self) -> Payer<'_> {
        let tags = self.tags.iter().map(|(name, value)| (&**name, &**value)).collect();
        Payer { key: &self.key, user: self.user.as_deref(), team: self.team.as_deref(), tags }
    }

    /// Every scope that a request of this account for `model` counts in.
    pub fn scopes<'a>(&'a self, model: &'a str) -> impl Iterator<Item = Scope> + 'a {
        let named = [
            Some(Scope::Organisation),
            self.team.clone().map(Scope::Team),
            self.user.clone().map(Scope::User),
            Some(Scope::Key(self.key.clone())),
            Some(Scope::Model(model.into())),
        ];
        let tags = self.tags.iter().map(|(name, value)| Scope::Tag(format!("{name}={value}").into()));
        named.into_iter().flatten().chain(tags)
    }
}
