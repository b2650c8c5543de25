//! The config as its users meet it: what is wrong and where, what overrides what, and what the shipped file says.

mod policy;
mod shipped;

use std::path::PathBuf;

use tollgate::config::{Anonymous, Config, Environment, IncludeUsage, LoadOptions};
use tollgate::domain::money::Usd;
use tollgate::domain::operation::Dialect;

const KEY: &str = "tg_0123456789abcdef0123";

fn env(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn secrets() -> Environment {
    env(&[("K", KEY), ("K2", "tg_another-key-of-20-bytes"), ("SHORT", "tg_short"), ("EMPTY", ""), ("ODD", "a b")])
}

/// Every error of `text`, without the name of the file.
fn errors(text: &str) -> String {
    let Err(errors) = Config::parse(text, "t", &secrets()) else { return String::new() };
    errors.to_string().lines().map(|line| line.strip_prefix("t:").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn parsed(text: &str) -> Config {
    Config::parse(text, "t", &secrets()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Each text has exactly this error.
pub fn check(cases: &[(&str, &str)]) {
    for (text, expect) in cases {
        assert_eq!(errors(text), *expect, "\n{text}");
    }
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    check(&[
        ("[server]\nlistne = \"x\"", "2:1: server.listne: unknown key; did you mean \"listen\"?"),
        ("[sever]", "1:2: sever: unknown key; did you mean \"server\"?"),
        ("server.drains = 1", "1:8: server.drains: unknown key; did you mean \"drain_s\"?"),
        ("[server]\ntime_zone = \"UTC\"", "2:1: server.time_zone: unknown key here; did you mean money.time_zone?"),
        (
            "[store]\ncolour = 1",
            "2:1: store.colour: unknown key; known here: path, lock_wait_s, sync_interval_ms, segment_mib, unsynced_records_max, retention_days",
        ),
        ("[teams.a]\nx = 1", "2:1: teams.a.x: unknown key; known here: limits, caps, on_exceed, enforcement, alerts"),
        ("[prices.\"a/b\"]\ninptu = \"1\"", "2:1: prices.\"a/b\".inptu: unknown key; did you mean \"input\"?"),
        ("[prices.m]\nserch = \"1\"", "2:1: prices.m.serch: unknown key; did you mean \"search\"?"),
        (
            "[keys.a]\nsecret = { envv = \"K\" }",
            "2:10: keys.a.secret: needs one of { env = \"NAME\" }, { file = \"PATH\" } or { command = [\"PROGRAM\", ...] }\n2:12: keys.a.secret.envv: unknown key; did you mean \"env\"?",
        ),
    ]);
}

#[test]
fn keys_of_later_versions_are_refused_and_not_ignored() {
    let later = "not enforced by this version of tollgate, so it is refused rather than ignored";
    let text = "[models.\"gpt-*\"]\nlimits = {}";
    assert_eq!(errors(text), format!("2:1: models.\"gpt-*\".limits: {later}"));
}

#[test]
fn wrong_values_say_what_is_right() {
    check(&[
        ("[server]\nlisten = 4000", "2:10: server.listen: must be a string, not an integer"),
        (
            "[server]\nlisten = \":4000\"",
            "2:10: server.listen: not an address and a port, such as \"127.0.0.1:4000\" or \"0.0.0.0:4000\" for every interface",
        ),
        ("[server]\nanonymous = \"on\"", "2:13: server.anonymous: must be \"off\" or \"loopback\""),
        ("[server]\ndrain_s = -1", "2:11: server.drain_s: must be from 0 to 86400"),
        (
            "[server]\ndrain_s = 99999999999999999999999999999999999999999",
            "2:11: server.drain_s: must be from 0 to 86400",
        ),
        ("[server]\ndrain_s = 1.5", "2:11: server.drain_s: must be an integer, not a float"),
        (
            "[server]\nallow_passthrough_credentials = \"yes\"",
            "2:33: server.allow_passthrough_credentials: must be true or false, not a string",
        ),
        ("server = 1", "1:10: server: must be a table, not an integer"),
        (
            "[money]\ntime_zone = \"Mars\"",
            "2:13: money.time_zone: not a time zone; use an IANA name such as \"Europe/Berlin\"",
        ),
        (
            "[prices.m]\ninput = 1.20",
            "2:9: prices.m.input: prices are strings, as in \"1.20\", so that they stay exact",
        ),
        ("[prices.m]\ninput = \"-1\"", "2:9: prices.m.input: not a decimal number such as \"12.50\""),
        ("[prices.m]\nsearch = \"1e-2\"", "2:10: prices.m.search: not a decimal number such as \"12.50\""),
        ("[prices.m]\ninput = \"0.0000001\"", "2:9: prices.m.input: more decimals than can be kept"),
        ("[prices.m]\nmcp = 0", "2:7: prices.m.mcp: prices are strings, as in \"1.20\", so that they stay exact"),
        ("[prices.m]\ncontext = 0", "2:11: prices.m.context: must be from 1 to 1000000000"),
        (
            "[server]\nbody_limit_mib = 600",
            "1:2: server.body_memory_mib: must be at least body_limit_mib, or the largest body is never read",
        ),
        (
            "[server]\nadmin_listen = \"localhost:4000\"",
            "2:16: server.admin_listen: the same address as server.listen; clients and admins need one each",
        ),
    ]);
}

#[test]
fn upstreams_are_checked() {
    check(&[
        ("[upstreams.x]", "1:12: upstreams.x.base_url: missing; as in base_url = \"https://api.deepseek.com\""),
        (
            "[upstreams.x]\nbase_url = \"api.x.ai\"",
            "2:12: upstreams.x.base_url: not a URL such as \"https://api.openai.com\"",
        ),
        ("[upstreams.x]\nbase_url = \"ftp://x\"", "2:12: upstreams.x.base_url: must start with http:// or https://"),
        (
            "[upstreams.x]\nbase_url = \"https://u:p@x\"",
            "2:12: upstreams.x.base_url: must hold no credentials; name them with api_key = { env = \"NAME\" }",
        ),
        (
            "[upstreams.x]\nbase_url = \"https://x/?key=1\"",
            "2:12: upstreams.x.base_url: must have no query and no fragment; requests bring their own",
        ),
        (
            "[upstreams.x]\nbase_url = \"https://x/v1/\"",
            "2:12: upstreams.x.base_url: must not end with the API version; the path of each request brings it along",
        ),
        (
            "[upstreams.openai]\nmodels = [\"gpt-*\", \"o?\"]",
            "2:20: upstreams.openai.models: \"o?\": the only wildcard is *",
        ),
        (
            "[upstreams.openai]\nmodels = \"gpt-*\"",
            "2:10: upstreams.openai.models: must be a list of strings, not a string",
        ),
        (
            "[upstreams.openai]\ndialect = \"grok\"",
            "2:11: upstreams.openai.dialect: must be \"openai\" or \"anthropic\" or \"gemini\"",
        ),
        (
            "[upstreams.gemini]\ninclude_usage = \"splice\"",
            "2:17: upstreams.gemini.include_usage: only the dialect \"openai\" has this option; the others always send usage",
        ),
        (
            "[upstreams.\"a/b\"]\nbase_url = \"https://x\"",
            "1:12: upstreams.\"a/b\": the name stands in the path /u/NAME/, so it takes only letters, digits, - _ and .",
        ),
    ]);
}

#[test]
fn callers_are_checked() {
    let advice = "to make one: echo \"tg_$(openssl rand -hex 24)\"";
    check(&[
        ("[keys.a]", "1:7: keys.a.secret: missing; as in secret = { env = \"TOLLGATE_KEY_CI\" }"),
        (
            "[keys.a]\nsecret = { env = \"SHORT\" }",
            &format!("2:10: keys.a.secret: env SHORT must start with tg_ and have at least 20 bytes; {advice}"),
        ),
        (
            "[keys.a]\nsecret = { env = \"K\" }\n[keys.b]\nsecret = { env = \"K\" }",
            "4:10: keys.b.secret: the same secret as that of the key \"a\"",
        ),
        (
            "[keys.local]\nsecret = { env = \"K\" }",
            "1:7: keys.local: this id is reserved for callers without a key of their own",
        ),
        (
            "[teams.a]\n[teams.b]\n[keys.k]\nsecret = { env = \"K\" }\nteam = \"c\"",
            "5:8: keys.k.team: there is no [teams.c]; the teams are a, b",
        ),
        ("[teams.a]\n[users.u]\nteam = \"c\"", "3:8: users.u.team: there is no [teams.c]; the teams are a"),
        (
            "[keys.a]\nsecret = { env = \"K\" }\ntags = { \"a=b\" = \"c\" }",
            "3:10: keys.a.tags: \"a=b\": a tag is NAME = \"VALUE\" without commas or =",
        ),
        (
            &format!("[keys.a]\nsecret = {{ env = \"K\" }}\ntags = {{ a = \"{}\" }}", "b".repeat(63)),
            "3:10: keys.a.tags: \"a\": longer than 64 bytes as NAME=VALUE",
        ),
        (
            "[keys.a]\nsecret = { env = \"K\" }\ntags = { a=\"1\",b=\"1\",c=\"1\",d=\"1\",e=\"1\",f=\"1\",g=\"1\",h=\"1\",i=\"1\" }",
            "3:8: keys.a.tags: at most 8 tags, not 9",
        ),
    ]);
}

#[test]
fn secrets_come_from_variables_files_and_commands_only() {
    let advice = "a secret is not written into the config; use { env = \"NAME\" }, { file = \"PATH\" } or { command = [\"PROGRAM\", ...] }";
    let either = "needs one of { env = \"NAME\" }, { file = \"PATH\" } or { command = [\"PROGRAM\", ...] }";
    check(&[
        ("[upstreams.openai]\napi_key = \"sk-canary\"", &format!("2:11: upstreams.openai.api_key: {advice}")),
        (
            "[upstreams.openai]\napi_key = { env = \"NONE\" }",
            "2:11: upstreams.openai.api_key: environment variable NONE is not set",
        ),
        ("[upstreams.openai]\napi_key = { env = \"EMPTY\" }", "2:11: upstreams.openai.api_key: env EMPTY is empty"),
        (
            "[upstreams.openai]\napi_key = { env = \"ODD\" }",
            "2:11: upstreams.openai.api_key: env ODD holds a space or a character that a header cannot carry",
        ),
        ("[upstreams.openai]\napi_key = {}", &format!("2:11: upstreams.openai.api_key: {either}")),
        (
            "[upstreams.openai]\napi_key = { env = \"K\", file = \"k\" }",
            &format!("2:11: upstreams.openai.api_key: {either}"),
        ),
        (
            "[server]\nadmin_token = { env = \"NONE\" }",
            "2:15: server.admin_token: environment variable NONE is not set",
        ),
        (
            "[upstreams.openai]\napi_key = { command = [\"false\", \"canary\"] }",
            "2:11: upstreams.openai.api_key: command false failed with exit status: 1; run it by hand to see why",
        ),
        (
            "[upstreams.openai]\napi_key = { command = [\"echo\", \"two words\"] }",
            "2:11: upstreams.openai.api_key: command echo holds a space or a character that a header cannot carry",
        ),
        (
            "[keys.a]\nsecret = []",
            "2:10: keys.a.secret: an empty list; name at least one { env = \"NAME\" }, { file = \"PATH\" } or { command = [\"PROGRAM\", ...] }",
        ),
        ("[server]\nadmin_token = { env = \"SHORT\" }", "2:15: server.admin_token: must have at least 16 bytes"),
        (
            "[server]\nadmin_token = { file = \"/nowhere/t\" }",
            "2:15: server.admin_token: file /nowhere/t cannot be read: No such file or directory (os error 2)",
        ),
    ]);
}

#[test]
fn a_secret_file_lies_beside_the_config_and_loses_its_line_break() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), format!("{KEY}\r\n")).unwrap();
    let name = folder.path().join("tollgate.toml").display().to_string();
    let config = Config::parse("[keys.a]\nsecret = { file = \"key\" }", &name, &env(&[])).unwrap();
    assert_eq!(&*config.key(KEY).unwrap().account.key, "a");
    assert!(config.key("tg_0123456789abcdef0124").is_none());
}

#[test]
fn an_open_address_needs_somebody_who_may_call() {
    let open = "[server]\nlisten = \"0.0.0.0:4000\"\nallow_passthrough_credentials = false\n";
    let expect = "2:10: server.listen: this address is reachable from other machines, but nobody there could call: \
                  add a [keys.NAME], or set allow_passthrough_credentials = true";
    let never = "3:13: server.anonymous: \"loopback\" could never apply: server.listen takes no connections over the loopback address";
    check(&[
        (open, expect),
        (&format!("{open}[keys.a]\nsecret = {{ env = \"K\" }}"), ""),
        ("[server]\nlisten = \"[::]:4000\"", ""),
        ("[server]\nlisten = \"127.0.0.1:4000\"\nallow_passthrough_credentials = false", ""),
        ("[server]\nlisten = \"10.0.0.1:4000\"\nanonymous = \"loopback\"", never),
    ]);
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_file() {
    let text = "[server]\nlisten = 1\nlistne = 1\n\n[teams.search]\ncaps = {}\n\n[upstreams.x]\nmodels = [\"[\"]\n";
    let lines: Vec<String> =
        errors(text).lines().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "2:10 server.listen",
            "3:1 server.listne",
            "6:8 teams.search.caps",
            "8:12 upstreams.x.base_url",
            "9:11 upstreams.x.models"
        ]
    );
    let syntax = errors("[server]\nlisten = \n\n[store]\npath = \"data\"\npath = \"b\"\nxx = [1,\n");
    assert_eq!(
        syntax.lines().map(|line| line.split(':').next().unwrap()).collect::<Vec<_>>(),
        ["2", "6", "7"],
        "{syntax}"
    );
}

#[test]
fn hosts_tell_provider_dialect_and_include_usage() {
    let (splice, keep) = (IncludeUsage::Splice, IncludeUsage::Keep);
    for (name, url, provider, dialect, include_usage) in [
        ("a", "https://api.openai.com", "openai", Dialect::OpenAi, splice),
        ("a", "https://eu.api.openai.com/", "openai", Dialect::OpenAi, splice),
        ("a", "https://my.openai.azure.com/openai", "azure", Dialect::OpenAi, splice),
        ("a", "https://api.anthropic.com", "anthropic", Dialect::Anthropic, keep),
        ("a", "https://generativelanguage.googleapis.com", "google", Dialect::Gemini, keep),
        ("a", "https://europe-west1-aiplatform.googleapis.com", "vertex", Dialect::Gemini, keep),
        ("a", "https://api.groq.com/openai", "groq", Dialect::OpenAi, keep),
        ("a", "https://OpenRouter.ai/api", "openrouter", Dialect::OpenAi, keep),
        ("a", "https://api.openai.com.evil.example", "a", Dialect::OpenAi, keep),
        ("a", "http://notapi.openai.com", "a", Dialect::OpenAi, keep),
        ("local", "http://127.0.0.1:8080", "local", Dialect::OpenAi, keep),
    ] {
        let config = parsed(&format!("[upstreams.{name}]\nbase_url = \"{url}\""));
        let upstream = config.upstream(name).unwrap();
        let found = (&*upstream.provider, upstream.dialect, upstream.include_usage);
        assert_eq!(found, (provider, dialect, include_usage), "{url}");
    }
    let config = parsed("[upstreams.o]\nbase_url = \"http://127.0.0.1:1/x/\"\nprovider = \"openai\"");
    assert_eq!(
        (config.upstreams[0].include_usage, config.upstreams[0].base_url.to_string()),
        (splice, "http://127.0.0.1:1/x".to_owned())
    );
}

#[test]
fn the_first_match_serves_a_model_else_the_first_of_the_dialect() {
    let config = parsed(
        "[upstreams.zeta]\nbase_url = \"http://z\"\n[upstreams.deepseek]\nbase_url = \"http://d\"\nmodels = [\"deepseek-*\"]\n\
         [upstreams.alpha]\nbase_url = \"http://a\"\nmodels = [\"deepseek-*\", \"x\"]",
    );
    for (model, name) in [("gpt-5", "zeta"), ("deepseek-chat", "deepseek"), ("x", "alpha")] {
        assert_eq!(&*config.upstream_for(Dialect::OpenAi, model).unwrap().name, name);
    }
    assert!(config.upstream_for(Dialect::Anthropic, "claude").is_none());
}

#[test]
fn a_key_is_billed_to_its_own_team_or_to_that_of_its_user() {
    let config = parsed(
        "[users.ada]\nteam = \"a\"\n[keys.k1]\nsecret = { env = \"K\" }\nuser = \"ada\"\ntags = { z = \"1\", a = \"2\" }\n\
         [keys.k2]\nsecret = { env = \"K2\" }\nuser = \"eve\"\nteam = \"b\"\nattribute = true",
    );
    let account = &config.key(KEY).unwrap().account;
    assert_eq!((account.user.as_deref(), account.team.as_deref()), (Some("ada"), Some("a")));
    assert_eq!(account.tags.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["a", "z"]);
    let second = &config.keys["k2"];
    assert_eq!((second.account.team.as_deref(), second.attribute), (Some("b"), true));
    assert!(config.users.contains_key("eve"), "a user that only a key names exists");
}

#[test]
fn without_a_file_providers_are_served_with_the_keys_in_the_environment() {
    let config = Config::builtin(&env(&[("OPENAI_API_KEY", "sk-canary"), ("GEMINI_API_KEY", "")])).unwrap();
    let keys: Vec<_> = config.upstreams.iter().map(|up| (&*up.name, !up.api_keys.is_empty())).collect();
    assert_eq!(keys, [("openai", true), ("anthropic", false), ("gemini", false)]);
    assert_eq!(config.server.anonymous, Anonymous::Loopback);
    assert_eq!(config.upstream("gemini").unwrap().dialect, Dialect::Gemini);
    let filed = Config::parse("", "t", &env(&[("ANTHROPIC_API_KEY", "sk-canary")])).unwrap();
    assert_eq!(filed.server.anonymous, Anonymous::Off);
    assert!(!filed.upstream("anthropic").unwrap().api_keys.is_empty());
    assert_eq!(parsed("[upstreams.deepseek]\nbase_url = \"http://d\"").upstreams.len(), 1);
}

/// What loading an empty file with these overrides yields.
fn load(sets: &[&str], variables: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.toml");
    std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\n[users.\"ada@example.com\"]\n").unwrap();
    let options = LoadOptions {
        file: Some(file),
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        env: env(variables),
        ..LoadOptions::default()
    };
    Config::load(&options).map_err(|errors| errors.to_string())
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let port = |sets: &[&str], variables: &[(&str, &str)]| {
        load(sets, variables).unwrap().server.listen.address().unwrap().port()
    };
    let variable = ("TOLLGATE_SERVER__LISTEN", "0.0.0.0:2");
    assert_eq!(port(&[], &[]), 1);
    assert_eq!(port(&[], &[variable]), 2);
    assert_eq!(port(&["server.listen=0.0.0.0:3"], &[variable]), 3);
    assert_eq!(port(&["server.listen=\"0.0.0.0:3\"", "server.listen = 0.0.0.0:4"], &[]), 4);
    assert_eq!(port(&[], &[("TOLLGATE_DATA", "x"), ("TOLLGATE_KEY_CI", "y"), ("TOLLGATE_ADMIN_TOKEN", "z")]), 1);

    let config = load(
        &[
            "upstreams.openai.models=[\"a*\"]",
            "prices.\"my.model=1\".input=1.20",
            "server.drain_s=5",
            "users.\"ada@example.com\".team=search",
        ],
        &[("TOLLGATE_SERVER__ALLOW_PASSTHROUGH_CREDENTIALS", "false"), ("TOLLGATE_USERS__ADA_EXAMPLE_COM__TEAM", "b")],
    )
    .unwrap();
    assert!(config.upstream("openai").unwrap().serves("ab"), "an override adds to the built-in upstreams");
    assert_eq!((config.upstreams.len(), config.server.drain.as_secs()), (3, 5));
    let prices: Vec<_> = config.prices["my.model=1"].prices().collect();
    assert_eq!(prices, [("input", Usd::parse("1.20").unwrap())]);
    assert!(!config.server.allow_passthrough_credentials);
    assert_eq!(config.users["ada@example.com"].as_deref(), Some("search"));
}

#[test]
fn errors_of_overrides_name_the_flag_or_the_variable_and_never_the_value() {
    for (set, expect) in [
        ("server.listen=canary", "--set server.listen: server.listen: not an address"),
        ("server.lisen=canary", "--set server.lisen: server.lisen: unknown key; did you mean"),
        ("server.drain_s=canary", "--set server.drain_s: server.drain_s: must be an integer, not a string"),
        (
            "upstreams.openai.api_key=canary",
            "--set upstreams.openai.api_key: upstreams.openai.api_key: a secret is not",
        ),
        ("server.listen.x=canary", "--set server.listen.x: server.listen: must be a string, not a table"),
        ("canary", "--set number 1: expected KEY=VALUE"),
        ("[x]=canary", "--set [x]: not a key"),
        ("=canary", "--set : not a key"),
    ] {
        let errors = load(&[set], &[]).unwrap_err();
        assert!(errors.starts_with(expect), "{errors}");
        assert!(set == "canary" || !errors.contains("canary"), "{errors}");
    }
    for (name, expect) in [
        ("TOLLGATE_SERVER__LISTEN", "TOLLGATE_SERVER__LISTEN: server.listen: not an address"),
        ("TOLLGATE_SERVRE__LISTEN", "TOLLGATE_SERVRE__LISTEN: servre: unknown key; did you mean \"server\"?"),
        ("TOLLGATE_SERVER__", "TOLLGATE_SERVER__: not a key"),
    ] {
        let errors = load(&[], &[(name, "canary")]).unwrap_err();
        assert!(errors.starts_with(expect) && !errors.contains("canary"), "{errors}");
    }
    let options = LoadOptions { file: Some(PathBuf::from("/nowhere/x.toml")), ..LoadOptions::default() };
    let errors = Config::load(&options).unwrap_err().to_string();
    assert!(errors.starts_with("/nowhere/x.toml: cannot be read: "), "{errors}");
}

#[test]
fn a_preset_fills_in_what_a_section_leaves_out() {
    let upstream = |text: &str| {
        let config = Config::parse(&format!("[upstreams.x]\n{text}\n"), "t.toml", &env(&[])).unwrap();
        let upstream = config.upstream("x").unwrap().clone();
        let models: Vec<_> = upstream.models.iter().map(|glob| glob.as_str().to_owned()).collect();
        let told = (upstream.base_url.to_string(), upstream.provider.to_string(), upstream.dialect.name());
        (told, models.join(" "), upstream.include_usage, upstream.drop_version, upstream.free)
    };
    let told = |url: &str, provider: &str| (url.to_owned(), provider.to_owned(), "openai");
    let keep = IncludeUsage::Keep;
    for (text, expect) in [
        ("preset = \"groq\"", (told("https://api.groq.com/openai", "groq"), String::new(), keep, false, false)),
        ("preset = \"xai\"", (told("https://api.x.ai", "xai"), "grok-*".to_owned(), keep, false, false)),
        (
            "preset = \"zai\"\nmodels = [\"glm-5\"]\ndrop_version = false",
            (told("https://api.z.ai/api/paas/v4", "zai"), "glm-5".to_owned(), keep, false, false),
        ),
        (
            "preset = \"azure\"\nbase_url = \"https://r.openai.azure.com\"",
            (told("https://r.openai.azure.com", "azure"), String::new(), IncludeUsage::Splice, false, false),
        ),
        (
            "preset = \"vllm\"\nfree = true\nprovider = \"mine\"",
            (told("http://127.0.0.1:8000", "mine"), String::new(), keep, false, true),
        ),
        (
            "preset = \"perplexity\"",
            (told("https://api.perplexity.ai", "perplexity"), "sonar*".to_owned(), keep, true, false),
        ),
    ] {
        assert_eq!(upstream(text), expect, "{text}");
    }
    assert!(errors("[upstreams.x]\npreset = \"snowflake\"\n").contains("ACCOUNT.snowflakecomputing.com"));
    assert!(errors("[upstreams.x]\npreset = \"nobody\"\n").contains("no such preset; there are openai, anthropic"));
}
