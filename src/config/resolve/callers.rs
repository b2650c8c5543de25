//! `[teams.NAME]`, `[users.NAME]` and `[keys.NAME]`: who may call and who is billed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{Setting, rights};
use crate::config::parts::{Key, KeyIndex, TAG_BYTES_MAX, TAGS_MAX, Upstream};
use crate::config::read::Section;
use crate::config::schema::{KEY, TEAM, USER};
use crate::config::secret::{Secret, Vault, digest_of};
use crate::domain::account::Account;

/// Shorter keys can be guessed.
const KEY_BYTES_MIN: usize = 20;

/// Longer names are mistakes, and every row of the ledger would carry them.
const NAME_BYTES_MAX: usize = 128;

/// Everybody that the config names.
#[derive(Default)]
pub(super) struct Callers {
    pub teams: BTreeSet<Arc<str>>,
    pub users: BTreeMap<Arc<str>, Option<Arc<str>>>,
    pub keys: BTreeMap<Arc<str>, Arc<Key>>,
    pub by_digest: KeyIndex,
}

pub(super) fn callers(
    root: &Section<'_>,
    setting: &Setting<'_>,
    upstreams: &[Arc<Upstream>],
    zone: &TimeZone,
) -> Callers {
    let mut callers = Callers::default();
    for (name, section) in root.sections("teams", &TEAM) {
        check_name(&section, name);
        callers.teams.insert(name.into());
    }
    for (name, section) in root.sections("users", &USER) {
        check_name(&section, name);
        let team = callers.team(&section);
        callers.users.insert(name.into(), team);
    }
    for (id, section) in root.sections("keys", &KEY) {
        check_name(&section, id);
        if id == "local" || id.starts_with("pass:") {
            section.complain_whole("this id is reserved for callers without a key of their own");
        }
        rights::check_upstreams(&section, upstreams);
        callers.add_key(id, &section, &setting.vault, zone);
    }
    callers
}

impl Callers {
    fn add_key(&mut self, id: &str, section: &Section<'_>, vault: &Vault<'_>, zone: &TimeZone) {
        let user: Option<Arc<str>> = section.text("user").map(Arc::from);
        let team = self.team(section);
        let team = team.or_else(|| self.users.get(user.as_ref()?)?.clone());
        if let Some(user) = &user {
            self.users.entry(user.clone()).or_default();
        }
        let account = Account { key: id.into(), user, team, tags: tags(section) };
        let attribute = section.flag("attribute", false);
        let (rights, expires_ms) = (rights::rights(section), rights::expires(section, zone));
        let secrets = secrets(section, vault);
        if secrets.is_empty() {
            return;
        }
        let digests: Vec<_> = secrets.iter().map(|secret| digest_of(secret.expose())).collect();
        let key = Arc::new(Key { account, attribute, secrets, rights, expires_ms });
        for digest in digests {
            if let Some(twin) = self.by_digest.0.insert(digest, key.clone()) {
                section.complain("secret", format!("the same secret as that of the key {:?}", twin.account.key));
            }
        }
        self.keys.insert(id.into(), key);
    }

    /// The team that a section names; it must be declared, once any is.
    fn team(&self, section: &Section<'_>) -> Option<Arc<str>> {
        let team = section.text("team")?;
        if !self.teams.is_empty() && !self.teams.contains(team) {
            let known: Vec<&str> = self.teams.iter().map(|team| &**team).collect();
            section.complain("team", format!("there is no [teams.{team}]; the teams are {}", known.join(", ")));
        }
        Some(team.into())
    }
}

/// The secrets of a key: one, or the old and the new one while callers go over.
fn secrets(section: &Section<'_>, vault: &Vault<'_>) -> Vec<Secret> {
    if section.find("secret").is_none() {
        section.complain("secret", "missing; as in secret = { env = \"TOLLGATE_KEY_CI\" }");
        return Vec::new();
    }
    let secrets = vault.secrets(section, "secret");
    for secret in &secrets {
        if !secret.expose().starts_with("tg_") || secret.expose().len() < KEY_BYTES_MIN {
            let rule = format!("{} must start with tg_ and have at least {KEY_BYTES_MIN} bytes", secret.origin());
            section.complain("secret", format!("{rule}; to make one: echo \"tg_$(openssl rand -hex 24)\""));
        }
    }
    secrets
}

fn tags(section: &Section<'_>) -> Arc<[(Box<str>, Box<str>)]> {
    let mut tags = section.pairs("tags");
    if tags.len() > TAGS_MAX {
        section.complain("tags", format!("at most {TAGS_MAX} tags, not {}", tags.len()));
    }
    for (name, value, place) in &tags {
        let odd = |text: &str| text.is_empty() || text.contains(|letter: char| letter == ',' || letter.is_control());
        if odd(name) || odd(value) || name.contains('=') {
            section.complain_at(place, "tags", format!("{name:?}: a tag is NAME = \"VALUE\" without commas or ="));
        }
        if name.len() + 1 + value.len() > TAG_BYTES_MAX {
            section.complain_at(place, "tags", format!("{name:?}: longer than {TAG_BYTES_MAX} bytes as NAME=VALUE"));
        }
    }
    tags.sort_unstable_by_key(|(name, ..)| *name);
    tags.into_iter().map(|(name, value, _)| (name.into(), value.into())).collect()
}

fn check_name(section: &Section<'_>, name: &str) {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
        section.complain_whole(format!("a name has 1 to {NAME_BYTES_MAX} bytes and no control characters"));
    }
}
