//! [`Thresholds`]: which parts of which caps have been told, once per window, also across restarts.
//!
//! What was told is kept in a small file beside the journal. Lost, it costs one more alert for each window.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bank::local::Standing;
use crate::domain::account::Scope;
use crate::domain::alert::Kind;
use crate::domain::cap::{Share, Window};

use super::traffic::Finding;

/// Windows whose state is read back at most, against a file that is none of ours.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What was told so far.
#[derive(Debug)]
pub(super) struct Thresholds {
    path: PathBuf,
    told: HashMap<Spot, Told>,
    is_changed: bool,
}

/// A window of a scope, by the words it has in the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Spot {
    scope: Box<str>,
    name: Box<str>,
    window: Box<str>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    share: Share,
    resets_ms: Option<u64>,
}

impl Thresholds {
    /// Takes up what the file says.
    pub(super) fn read(path: PathBuf) -> Self {
        let told = load(&path).unwrap_or_default();
        Self { path, told, is_changed: false }
    }

    /// The highest part of the cap that spend has newly reached.
    pub(super) fn look(&mut self, standing: &Standing, shares: &[Share]) -> Option<Finding> {
        let reached = shares.iter().rev().copied().find(|share| standing.spent >= share.of(standing.cap));
        let spot = Spot::of(&standing.scope, standing.window);
        let Some(share) = reached else {
            self.is_changed |= self.told.remove(&spot).is_some();
            return None;
        };
        // A rolling window has no end of its own: it is told anew once spend has fallen below.
        let resets_ms = standing.resets_ms.filter(|_| !matches!(standing.window, Window::Rolling { .. }));
        match self.told.get(&spot) {
            Some(told) if told.resets_ms == resets_ms && told.share >= share => return None,
            Some(_) | None => {}
        }
        self.told.insert(spot, Told { share, resets_ms });
        self.is_changed = true;
        Some(finding(standing, share))
    }

    /// Writes the file if anything was told since. A disk that fails costs a repeated alert after the next start.
    pub(super) fn keep(&mut self) {
        if !std::mem::take(&mut self.is_changed) {
            return;
        }
        let row = |(spot, told): (&Spot, &Told)| {
            json!({"scope": spot.scope, "name": spot.name, "window": spot.window,
                   "share": told.share.to_string(), "resets_ms": told.resets_ms})
        };
        let text = Value::from(self.told.iter().map(row).collect::<Vec<_>>()).to_string();
        if let Err(error) = write(&self.path, &text) {
            tracing::warn!(%error, path = %self.path.display(), "what was told of caps cannot be kept");
        }
    }
}

impl Spot {
    fn of(scope: &Scope, window: Window) -> Self {
        Self { scope: scope.kind().into(), name: scope.name().into(), window: window.to_string().into() }
    }
}

fn finding(standing: &Standing, share: Share) -> Finding {
    let whose = match standing.scope.name() {
        "" => format!("the {}", standing.scope.kind()),
        name => format!("the {} {name:?}", standing.scope.kind()),
    };
    Finding {
        kind: Kind::CapShare,
        message: format!(
            "{whose} has spent ${} of the ${} of its cap ({}), which is {share} of it or more",
            standing.spent, standing.cap, standing.window
        ),
        value: standing.spent.to_string(),
        threshold: share.of(standing.cap).to_string(),
    }
}

fn load(path: &Path) -> Option<HashMap<Spot, Told>> {
    if std::fs::metadata(path).ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let read = |row: &Value| {
        let text = |name: &str| row.get(name)?.as_str().map(Box::from);
        let spot = Spot { scope: text("scope")?, name: text("name")?, window: text("window")? };
        let share = Share::parse(row.get("share")?.as_str()?).ok()?;
        Some((spot, Told { share, resets_ms: row.get("resets_ms")?.as_u64() }))
    };
    Some(rows.iter().filter_map(read).collect())
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Usd;

    fn standing(spent: u128, resets_ms: u64) -> Standing {
        Standing {
            scope: Scope::Team("search".into()),
            window: Window::Day,
            cap: Usd::from_pico(100),
            spent: Usd::from_pico(spent),
            held: Usd::ZERO,
            resets_ms: Some(resets_ms),
        }
    }

    #[test]
    fn each_part_is_told_once_a_window_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.json");
        let shares = ["0.5", "0.8", "1"].map(|text| Share::parse(text).unwrap());
        let mut thresholds = Thresholds::read(path.clone());
        let look = |thresholds: &mut Thresholds, spent, resets_ms| {
            let found = thresholds.look(&standing(spent, resets_ms), &shares);
            thresholds.keep();
            found.map(|finding| finding.threshold)
        };
        let usd = |pico| Some(Usd::from_pico(pico).to_string());
        assert_eq!(look(&mut thresholds, 49, 1), None);
        assert_eq!(look(&mut thresholds, 50, 1), usd(50));
        assert_eq!(look(&mut thresholds, 79, 1), None);
        let mut thresholds = Thresholds::read(path);
        assert_eq!(look(&mut thresholds, 79, 1), None, "told before the restart");
        assert_eq!(look(&mut thresholds, 100, 1), usd(100), "the highest only");
        assert_eq!(look(&mut thresholds, 90, 1), None, "a correction takes nothing back");
        assert_eq!(look(&mut thresholds, 60, 2), usd(50), "another day");
    }
}
