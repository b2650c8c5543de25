//! The admin interface and the commands that read the ledger: who may come in, and what they are told.

mod access;
mod ledger;
pub mod commands;
mod books;
mod reconcile;
mod past;
mod state;

/// A config with all that these tests look at.
const CONFIG: &str = "\
[server]
admin_token = { env = \"TOKEN\" }
[money]
time_zone = \"Europe/Berlin\"
[teams.search]
[keys.ci]
secret = { env = \"KEY\" }
team = \"search\"
";
