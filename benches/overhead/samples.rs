//! What was measured of each proxy, round by round, and what comes of it.

use serde_json::Value;

use super::cases::{Case, Goal};

/// The samples of one proxy in one case.
#[derive(Default)]
pub struct Samples {
    cpu_us: Vec<f64>,
    rps: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    rss_mib: Vec<f64>,
    errors: f64,
}

/// A case as it was measured, all proxies in the same rounds.
#[derive(Default)]
pub struct Measured {
    /// The bare proxy.
    pub bare: Samples,
    /// The Tollgate that the case is about.
    pub ours: Samples,
    /// One without its features, where what they add is asked for.
    pub without: Option<Samples>,
}

/// The first line of the table, and the one under it.
pub const HEAD: &str = "| case | CPU, multiple of bare | goal | bare, us | Tollgate, us | spread | p50, multiple of bare | \
                        p50 added, us | p99 added, us | requests/s |\n|---|--:|---|--:|--:|--:|--:|--:|--:|--:|";

impl Samples {
    /// Adds what the load generator says.
    pub fn add(&mut self, report: &Value) {
        let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap_or_default();
        self.cpu_us.push(number("/cpu_us_per_req"));
        self.rps.push(number("/rps"));
        self.p50_us.push(number("/latency_us/p50"));
        self.p99_us.push(number("/latency_us/p99"));
        self.rss_mib.push(number("/rss_peak_kb") / 1024.0);
        self.errors += number("/errors");
    }

    /// The most memory in any round, MiB.
    pub fn rss_max(&self) -> f64 {
        self.rss_mib.iter().copied().fold(0.0, f64::max)
    }
}

impl Measured {
    /// The case's line of the table.
    pub fn row(&self, case: &Case) -> String {
        let (bare, ours) = (&self.bare, &self.ours);
        let ratios = ratios(&ours.cpu_us, &bare.cpu_us);
        let (least, most) =
            ratios.iter().fold((f64::MAX, 0.0), |(least, most), ratio| (ratio.min(least), ratio.max(most)));
        let errors = bare.errors + ours.errors + self.without.as_ref().map_or(0.0, |without| without.errors);
        let failed = if errors > 0.0 { format!(" {errors} errors") } else { String::new() };
        let goals: Vec<String> = case.goals.iter().map(|goal| self.judge(*goal)).collect();
        format!(
            "| {}{failed} | **{:.2}** | {} | {:.1} | {:.1} | {least:.2} to {most:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
            case.name,
            median(&ratios),
            goals.join(", "),
            median(&bare.cpu_us),
            median(&ours.cpu_us),
            median(&self::ratios(&ours.p50_us, &bare.p50_us)),
            self.added(|samples| &samples.p50_us),
            self.added(|samples| &samples.p99_us),
            median(&ours.rps),
        )
    }

    fn judge(&self, goal: Goal) -> String {
        let (bare, ours) = (&self.bare, &self.ours);
        let (name, unit, value, limit) = match goal {
            Goal::Cpu(limit) => ("CPU", "", median(&ratios(&ours.cpu_us, &bare.cpu_us)), limit),
            Goal::CpuAdded(limit) => ("CPU added", "", self.cpu_added(), limit),
            Goal::Median(limit) => ("p50", "", median(&ratios(&ours.p50_us, &bare.p50_us)), limit),
            Goal::MedianAdded(limit) => ("p50 added", " us", self.added(|samples| &samples.p50_us), limit),
        };
        let verdict = if value <= limit { "met" } else { "**missed**" };
        format!("{name} {value:.2}{unit}, at most {limit}{unit}: {verdict}")
    }

    /// The median over the rounds of what is added to the bare proxy.
    fn added(&self, of: fn(&Samples) -> &Vec<f64>) -> f64 {
        let pairs = of(&self.ours).iter().zip(of(&self.bare));
        median(&pairs.map(|(ours, bare)| ours - bare).collect::<Vec<_>>())
    }

    /// The median over the rounds of what the features add to a Tollgate without them, in multiples of bare.
    fn cpu_added(&self) -> f64 {
        let Some(without) = &self.without else { return f64::NAN };
        let rounds = self.ours.cpu_us.iter().zip(&without.cpu_us).zip(&self.bare.cpu_us);
        median(&rounds.map(|((ours, without), bare)| (ours - without) / bare).collect::<Vec<_>>())
    }
}

fn ratios(ours: &[f64], bare: &[f64]) -> Vec<f64> {
    ours.iter().zip(bare).map(|(ours, bare)| ours / bare).collect()
}

/// The middle one, or the upper of the two in the middle.
pub fn median(numbers: &[f64]) -> f64 {
    let mut numbers = numbers.to_vec();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
