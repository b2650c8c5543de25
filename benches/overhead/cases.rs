//! What is measured: kinds of load, which Tollgate answers it, and what it may cost.

/// A kind of load, and what it may cost.
pub struct Case {
    /// What the table calls it.
    pub name: &'static str,
    /// For the load generator.
    pub options: &'static [&'static str],
    /// For the provider.
    pub query: &'static str,
    /// Which Tollgate answers.
    pub features: Features,
    /// What it may cost.
    pub goals: &'static [Goal],
}

/// What a Tollgate is told to do besides passing on, metering, writing the journal and the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Features {
    /// Nothing, and routing observes, as it is built in.
    Plain,
    /// Nothing at all: routing is off.
    Unrouted,
    /// Caps and limits on the key and on its team.
    Caps,
    /// Routing is enforced.
    Routing,
    /// Answers are kept.
    Cache,
    /// All of that.
    All,
    /// All of that, and an upstream that fails is asked all the same.
    Soak,
}

/// A bound, compared with the bare proxy in the same rounds.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At most so many times its CPU.
    Cpu(f64),
    /// At most so many times its CPU more than a Tollgate without the features takes in the same rounds.
    CpuAdded(f64),
    /// At most so many times its median latency.
    Median(f64),
    /// At most so many microseconds more than its median latency.
    MedianAdded(f64),
}

const ONE: &[&str] = &["--conns", "1", "--bytes", "512"];
const MANY: &[&str] = &["--conns", "64", "--bytes", "512"];
const LARGE: &[&str] = &["--conns", "16", "--bytes", "20000"];
const HUGE: &[&str] = &["--conns", "16", "--bytes", "200000"];
const STREAM: &[&str] = &["--conns", "1", "--stream", "1"];
const STREAMS: &[&str] = &["--conns", "64", "--stream", "1"];
/// Few enough that all are kept before anything is counted.
const ONE_AGAIN: &[&str] = &["--conns", "1", "--bytes", "512", "--distinct", "64"];
const MANY_AGAIN: &[&str] = &["--conns", "64", "--bytes", "512", "--distinct", "64"];
const LARGE_AGAIN: &[&str] = &["--conns", "16", "--bytes", "20000", "--distinct", "64"];

/// The rows of the table.
pub const CASES: [Case; 13] = [
    case("0.5 KB, 1 connection", ONE, Features::Plain, &[Goal::MedianAdded(60.0)]),
    case("0.5 KB, 64 connections", MANY, Features::Plain, &[Goal::Cpu(1.6)]),
    case("20 KB, 16 connections", LARGE, Features::Plain, &[Goal::Cpu(2.0)]),
    case("200 KB, 16 connections", HUGE, Features::Plain, &[Goal::Cpu(3.0)]),
    case("stream of 64 events, 1 connection", STREAM, Features::Plain, &[Goal::Median(1.3)]),
    case("stream of 64 events, 64 connections", STREAMS, Features::Plain, &[Goal::Cpu(1.3)]),
    case("caps and limits in two scopes, 0.5 KB, 64 connections", MANY, Features::Caps, &[Goal::CpuAdded(0.15)]),
    case("routing enforced, not off, 0.5 KB, 64 connections", MANY, Features::Routing, &[Goal::CpuAdded(0.2)]),
    case("cache misses, 0.5 KB, 64 connections", MANY, Features::Cache, &[Goal::CpuAdded(0.15)]),
    case("cache hits, 0.5 KB, 64 connections", MANY_AGAIN, Features::Cache, &[Goal::Cpu(1.0)]),
    case("cache hits, 20 KB, 16 connections", LARGE_AGAIN, Features::Cache, &[Goal::Cpu(1.5)]),
    case("cache hits, 0.5 KB, 1 connection", ONE_AGAIN, Features::Cache, &[Goal::Median(0.75)]),
    case("everything on, all misses, 0.5 KB, 64 connections", MANY, Features::All, &[Goal::Cpu(2.1)]),
];

/// 2,000 streams that stay open over the measured time.
pub const OPEN_STREAMS: Case = Case {
    query: "?chunk_ms=100",
    ..case("2,000 open streams", &["--conns", "2000", "--stream", "1", "--ramp", "2"], Features::Plain, &[])
};

const fn case(
    name: &'static str,
    options: &'static [&'static str],
    features: Features,
    goals: &'static [Goal],
) -> Case {
    Case { name, options, query: "", features, goals }
}

impl Case {
    /// Whether a Tollgate without the features has to take part, since what they add is asked for.
    pub fn is_compared(&self) -> bool {
        self.goals.iter().any(|goal| matches!(goal, Goal::CpuAdded(_)))
    }
}

impl Features {
    /// What is left without them.
    pub const fn without(self) -> Self {
        match self {
            Self::Routing => Self::Unrouted,
            Self::Plain | Self::Unrouted | Self::Caps | Self::Cache | Self::All | Self::Soak => Self::Plain,
        }
    }

    /// The part of the config that says so, with the key that the load has.
    pub fn config(self) -> String {
        let (caps, routing, cache) = match self {
            Self::Plain | Self::Unrouted => (false, false, false),
            Self::Caps => (true, false, false),
            Self::Routing => (false, true, false),
            Self::Cache => (false, false, true),
            Self::All | Self::Soak => (true, true, true),
        };
        let bounds = "caps = { day = \"100000\", month = \"1000000\" }\nlimits = { requests_per_minute = 100000000, \
                      tokens_per_minute = 1000000000000, in_flight = 10000 }\n";
        let bounds = if caps { bounds } else { "" };
        let mut text = format!(
            "[teams.bench]\n{bounds}\n[keys.bench]\nsecret = {{ env = \"OVERHEAD_KEY\" }}\nteam = \"bench\"\n{bounds}\n"
        );
        if routing {
            text.push_str("[routing]\nmode = \"enforce\"\nroutable = [\"*\"]\n\n");
        }
        if self == Self::Unrouted {
            text.push_str("[routing]\nmode = \"off\"\n\n");
        }
        if cache {
            // The load asks for a temperature above 0.
            text.push_str("[cache]\nmode = \"exact\"\nstore_sampled = true\n\n");
        }
        text
    }

    /// The part of the config of the upstream.
    pub const fn upstream(self) -> &'static str {
        match self {
            Self::Soak => "breaker_failures = 0\n",
            Self::Plain | Self::Unrouted | Self::Caps | Self::Routing | Self::Cache | Self::All => "",
        }
    }
}
