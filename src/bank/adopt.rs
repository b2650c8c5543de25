//! Adopt: another config's caps, while requests are in flight.
//!
//! Amounts and policies may change at any time, since they are asked of the config at each hold. What is counted may not:
//! a window that has just been thought of knows nothing of what was spent before.

use std::collections::BTreeMap;

use super::Bank;
use crate::config::Config;
use crate::domain::account::Scope;
use crate::domain::cap::{Policy, Window};

/// What caps count, without their amounts: equal if the same spend counts in the same windows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    /// Scopes, `*` for the defaults of their kind, and their windows.
    windows: BTreeMap<(&'static str, String), Vec<Window>>,
    /// Keys and users that the config names, who do not get the defaults; and the keys' tags, which caps count by.
    named: Vec<String>,
}

impl Bank {
    /// Goes over from the caps of `before` to those of `config`. Holds stay as they are.
    ///
    /// # Errors
    /// The new caps count what the old ones did not.
    pub fn adopt(&self, before: &Config, config: &Config) -> Result<(), &'static str> {
        if !config.caps.is_empty() && shape(before) != shape(config) {
            return Err(
                "caps count other scopes or windows than before, which only a restart can take from the ledger",
            );
        }
        self.local.rename(&config.caps.named());
        Ok(())
    }
}

fn shape(config: &Config) -> Shape {
    let mut shape = Shape::default();
    let caps = &config.caps;
    if caps.is_empty() {
        return shape;
    }
    for capped in caps.named() {
        shape.add(capped.scope.kind(), capped.scope.name(), &capped.policy);
    }
    for (kind, default) in
        [("key", &caps.default_key), ("user", &caps.default_user), ("passthrough", &caps.default_passthrough)]
    {
        if let Some(policy) = default {
            shape.add(kind, "*", policy);
        }
    }
    shape.named = config.keys.values().map(|key| format!("{:?} {:?}", key.account.key, key.account.tags)).collect();
    shape.named.extend(config.limits.users.keys().map(|user| format!("{:?}", Scope::User(user.clone()))));
    shape
}

impl Shape {
    fn add(&mut self, kind: &'static str, name: &str, policy: &Policy) {
        let mut windows: Vec<Window> = policy.limits.iter().map(|limit| limit.window).collect();
        windows.sort_unstable();
        self.windows.insert((kind, name.to_owned()), windows);
    }
}
