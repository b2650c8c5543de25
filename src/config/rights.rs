//! [`Rights`]: what a key may be used for, ready to be asked, and [`Permit`]: what holds for one caller.
//!
//! A list that was not said allows everything; one that is empty allows nothing.
//!
//! Invariant: nothing here tells a caller what others may do, or what is on a list.

use std::net::IpAddr;
use std::sync::Arc;

use super::glob::Glob;
use super::limits::{covers, is_operation, operation_words};
use super::subnet::Subnet;
use crate::domain::key::{Kind, Lists};
use crate::domain::operation::Operation;

/// What a key may be used for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    models: Option<Vec<Glob>>,
    upstreams: Option<Vec<Glob>>,
    operations: Option<Vec<Box<str>>>,
    tools: Option<Vec<Glob>>,
    server_tools: Option<Vec<Glob>>,
    networks: Option<Vec<Subnet>>,
}

/// What one caller may do: the lists of its key, and in place of those that the key does not have, the defaults.
///
/// Cheap to clone; the default one allows everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permit {
    own: Option<Arc<Rights>>,
    default: Option<Arc<Rights>>,
}

/// `[defaults.key]` and `[defaults.passthrough]`, as far as they say what may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultRights {
    /// Keys that the config does not name, and `local`.
    pub key: Option<Arc<Rights>>,
    /// Callers whose own credential passes through.
    pub passthrough: Option<Arc<Rights>>,
}

impl Rights {
    /// What `lists` say; nothing if they allow everything.
    ///
    /// # Errors
    /// The first item that cannot be on its list, and why.
    pub fn of(lists: &Lists) -> Result<Option<Arc<Self>>, (Kind, String)> {
        if lists.is_empty() {
            return Ok(None);
        }
        let globs = |kind| parsed(lists, kind, |text| Glob::parse(text).map_err(|error| error.to_string()));
        Ok(Some(Arc::new(Self {
            models: globs(Kind::Models)?,
            upstreams: globs(Kind::Upstreams)?,
            operations: parsed(lists, Kind::Operations, operation)?,
            tools: globs(Kind::Tools)?,
            server_tools: globs(Kind::ServerTools)?,
            networks: parsed(lists, Kind::Networks, |text| Subnet::parse(text).map_err(|error| error.to_string()))?,
        })))
    }

    /// The lists as they read in a config.
    #[must_use]
    pub fn lists(&self) -> Lists {
        let texts = |globs: &Option<Vec<Glob>>| globs.as_ref().map(|globs| globs.iter().map(text_of).collect());
        let mut lists = Lists::default();
        lists.set(Kind::Models, texts(&self.models));
        lists.set(Kind::Upstreams, texts(&self.upstreams));
        lists.set(Kind::Operations, self.operations.as_ref().map(|words| words.iter().cloned().collect()));
        lists.set(Kind::Tools, texts(&self.tools));
        lists.set(Kind::ServerTools, texts(&self.server_tools));
        let networks = self.networks.as_ref();
        lists.set(Kind::Networks, networks.map(|all| all.iter().map(|one| one.to_string().into()).collect()));
        lists
    }
}

impl Permit {
    /// What holds for a caller with `own` lists, where `default` fills the gaps.
    #[must_use]
    pub const fn new(own: Option<Arc<Rights>>, default: Option<Arc<Rights>>) -> Self {
        Self { own, default }
    }

    /// Whether requests may be sent for `model`, as it is named to the upstream.
    #[must_use]
    pub fn allows_model(&self, model: &str) -> bool {
        self.any(|rights| rights.models.as_deref(), |glob| glob.matches(model))
    }

    /// Whether requests may go to the upstream called `name`.
    #[must_use]
    pub fn allows_upstream(&self, name: &str) -> bool {
        self.any(|rights| rights.upstreams.as_deref(), |glob| glob.matches(name))
    }

    /// Whether `operation` may be asked for.
    #[must_use]
    pub fn allows_operation(&self, operation: Operation) -> bool {
        self.any(|rights| rights.operations.as_deref(), |word| covers(word, operation))
    }

    /// Whether the request may declare the tool `name`, which the client runs.
    #[must_use]
    pub fn allows_tool(&self, name: &str) -> bool {
        self.any(|rights| rights.tools.as_deref(), |glob| glob.matches(name))
    }

    /// Whether the request may declare a tool of the type `kind`, which the provider runs.
    #[must_use]
    pub fn allows_server_tool(&self, kind: &str) -> bool {
        self.any(|rights| rights.server_tools.as_deref(), |glob| glob.matches(kind))
    }

    /// Whether the key may be used from `address`.
    #[must_use]
    pub fn allows_network(&self, address: IpAddr) -> bool {
        self.any(|rights| rights.networks.as_deref(), |subnet| subnet.holds(address))
    }

    /// Whether only some models may be asked for.
    #[must_use]
    pub fn limits_models(&self) -> bool {
        self.list(|rights| rights.models.as_deref()).is_some()
    }

    /// Whether only some tools may be declared, of either kind.
    #[must_use]
    pub fn limits_tools(&self) -> bool {
        self.list(|rights| rights.tools.as_deref()).is_some()
            || self.list(|rights| rights.server_tools.as_deref()).is_some()
    }

    /// The lists that hold, for people.
    #[must_use]
    pub fn lists(&self) -> Lists {
        let (own, default) = (self.own.as_ref(), self.default.as_ref());
        let mut lists = own.map(|rights| rights.lists()).unwrap_or_default();
        let rest = default.map(|rights| rights.lists()).unwrap_or_default();
        for kind in Kind::ALL {
            if lists.of(kind).is_none() {
                lists.set(kind, rest.of(kind).map(Into::into));
            }
        }
        lists
    }

    fn list<T>(&self, of: impl Fn(&Rights) -> Option<&[T]>) -> Option<&[T]> {
        self.own.as_deref().and_then(&of).or_else(|| self.default.as_deref().and_then(&of))
    }

    fn any<T>(&self, of: impl Fn(&Rights) -> Option<&[T]>, is_meant: impl Fn(&T) -> bool) -> bool {
        self.list(of).is_none_or(|list| list.iter().any(is_meant))
    }
}

fn parsed<T>(
    lists: &Lists,
    kind: Kind,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<Vec<T>>, (Kind, String)> {
    let Some(list) = lists.of(kind) else { return Ok(None) };
    let read = list.iter().map(|text| parse(text).map_err(|why| (kind, format!("{text:?}: {why}"))));
    read.collect::<Result<_, _>>().map(Some)
}

fn operation(word: &str) -> Result<Box<str>, String> {
    match is_operation(word) {
        true => Ok(word.into()),
        false => Err(format!("is no operation; known: {}", operation_words())),
    }
}

fn text_of(glob: &Glob) -> Box<str> {
    glob.as_str().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(kind: Kind, list: &[&str]) -> Option<Arc<Rights>> {
        let mut lists = Lists::default();
        lists.set(kind, Some(list.iter().map(|text| (*text).into()).collect()));
        Rights::of(&lists).unwrap()
    }

    #[test]
    fn no_list_allows_all_and_an_empty_one_nothing() {
        assert!(Permit::default().allows_model("any") && !Permit::default().limits_models());
        let none = Permit::new(rights(Kind::Models, &[]), None);
        assert!(!none.allows_model("any") && none.limits_models() && none.allows_upstream("any"));
    }

    #[test]
    fn a_keys_own_list_stands_in_place_of_the_default() {
        let own = Permit::new(rights(Kind::Models, &["a*"]), rights(Kind::Models, &["b*"]));
        assert!(own.allows_model("ab") && !own.allows_model("b"));
        let gap = Permit::new(rights(Kind::Tools, &["x"]), rights(Kind::Models, &["b*"]));
        assert!(gap.allows_model("b") && !gap.allows_model("a") && !gap.allows_tool("y") && gap.limits_tools());
        assert_eq!(gap.lists().of(Kind::Models), Some(&["b*".into()][..]));
    }

    #[test]
    fn lists_are_read_back() {
        for (kind, list) in [(Kind::Operations, ["chat", "embeddings"]), (Kind::Networks, ["10.0.0.0/8", "::1/128"])] {
            let rights = rights(kind, &list).unwrap();
            assert_eq!(rights.lists().of(kind).unwrap(), list.map(Box::from));
        }
        let permit = Permit::new(rights(Kind::Operations, &["chat"]), None);
        assert!(permit.allows_operation(Operation::ChatCompletions) && !permit.allows_operation(Operation::Messages));
    }
}
