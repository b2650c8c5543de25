//! The file that is shipped: it works, names every key, and is printed without its secrets.

use std::path::PathBuf;

use tollgate::config::{Config, DEFAULT_FILE};

use crate::papers::Papers;

use super::{KEY, env, errors, secrets};

/// The shipped file, and the same with every commented-out key said; the files that it names then are those of `papers`.
fn shipped(papers: &Papers) -> (String, String) {
    let text = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(DEFAULT_FILE)).unwrap();
    let said =
        |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#'])).unwrap_or(line).to_owned();
    let all = text.lines().map(said).collect::<Vec<_>>().join("\n");
    let path = |name: &str| papers.path(name);
    let named = [("server", "server"), ("clients", "ca"), ("company", "ca"), ("openai", "ca"), ("tollgate", "client")];
    let all = named.iter().fold(all, |all, (example, paper)| {
        all.replace(&format!("tls/{example}.pem"), &path(&format!("{paper}.pem")))
            .replace(&format!("tls/{example}.key"), &path(&format!("{paper}.key")))
    });
    (text, all)
}

#[test]
fn the_shipped_file_works_as_it_stands_and_says_every_key_with_its_default() {
    let papers = Papers::new();
    let (text, all) = shipped(&papers);
    let some = env(&[
        ("OPENAI_API_KEY", "sk-canary"),
        ("DEEPSEEK_API_KEY", "sk-x"),
        ("AZURE_API_KEY_1", "sk-1"),
        ("AZURE_API_KEY_2", "sk-2"),
        ("TOLLGATE_KEY_CI", KEY),
        ("TOLLGATE_ADMIN_TOKEN", "0123456789abcdef"),
    ]);
    let mut plain = Config::parse(&text, DEFAULT_FILE, &env(&[])).unwrap();
    plain.file = None;
    assert_eq!(plain, Config::builtin(&env(&[])).unwrap(), "as without a file");

    let full = Config::parse(&all, DEFAULT_FILE, &some).unwrap_or_else(|errors| panic!("{errors}"));
    let mut server = full.server.clone();
    server.admin_token = None;
    assert_eq!(server.tls.take().unwrap().handshake_timeout.as_secs(), 10);
    let default = Config::builtin(&some).unwrap();
    assert_eq!((server, &full.store, &full.money), (default.server.clone(), &default.store, &default.money));
    assert_eq!((full.log.format, full.log.level), (default.log.format, default.log.level));
    let mut openai = (**full.upstream("openai").unwrap()).clone();
    openai.models.clear();
    (openai.way.ca, openai.way.identity) = ([None, None], None);
    assert_eq!(openai, **default.upstream("openai").unwrap());
}

#[test]
fn the_shipped_file_names_every_key_that_is_enforced() {
    let papers = Papers::new();
    let (_, all) = shipped(&papers);
    let unknown = |section: &str| errors(&format!("[{section}]\nzzzzzzzzzzzzzzzzzzzz = 1\n"));
    for section in [
        "server",
        "server.tls",
        "network",
        "store",
        "money",
        "log",
        "upstreams.openai",
        "keys.ci",
        "prices.my-finetune",
        "alerts",
    ] {
        let text = unknown(section);
        let listed = text.split("known here: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        for key in listed.split(", ") {
            let said = [format!("{key} = "), format!("[{section}.{key}]"), format!("[[{section}.{key}]]")];
            assert!(all.lines().any(|line| said.iter().any(|said| line.starts_with(said))), "{section}.{key}");
        }
    }
}

#[test]
fn what_is_printed_reads_back_and_holds_no_secret() {
    let papers = Papers::new();
    let (_, all) = shipped(&papers);
    let variables = [
        ("OPENAI_API_KEY", "sk-canary"),
        ("DEEPSEEK_API_KEY", "sk-canary2"),
        ("AZURE_API_KEY_1", "sk-canary3"),
        ("AZURE_API_KEY_2", "sk-canary4"),
        ("TOLLGATE_KEY_CI", "tg_canary-0123456789"),
        ("TOLLGATE_ADMIN_TOKEN", "canary0123456789"),
    ];
    let config = Config::parse(&all, "t", &env(&variables)).unwrap();
    let printed = config.render_starred();
    assert!(!printed.contains("canary") && !format!("{config:?}").contains("canary"), "{printed}");
    assert!(printed.contains("api_key = \"***\"  # env OPENAI_API_KEY"), "{printed}");

    let sourced: Vec<String> = printed
        .lines()
        .map(|line| match line.split_once(" = \"***\"  # env ") {
            Some((key, name)) => format!("{key} = {{ env = \"{name}\" }}"),
            None => match line.split_once("  # env ").filter(|_| line.starts_with("api_keys = ")) {
                Some((keys, names)) => {
                    names.split(", env ").fold(keys.to_owned(), |keys, name| keys.replacen("***", name, 1))
                }
                None => line.to_owned(),
            },
        })
        .collect();
    let again = Config::parse(&sourced.join("\n"), "t", &env(&variables)).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again, config);
    assert_eq!(again.hash(), config.hash());
    assert_eq!(config.hash().len(), 12);
    assert_ne!(config.hash(), Config::builtin(&env(&[])).unwrap().hash());
}

#[test]
fn a_cut_file_is_an_error_or_a_config_but_never_a_panic() {
    let papers = Papers::new();
    let (_, all) = shipped(&papers);
    for cut in (0..all.len()).step_by(41).filter(|cut| all.is_char_boundary(*cut)) {
        for text in [&all[..cut], &all[cut..]] {
            let Err(errors) = Config::parse(text, "t", &secrets()) else { continue };
            assert!(errors.to_string().lines().all(|line| line.starts_with("t:")), "{errors}");
        }
    }
}

#[test]
fn the_example_for_containers_works() {
    let path = "config/examples/compose.toml";
    let text = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let variables = env(&[("TOLLGATE_KEY_APP", KEY), ("OPENAI_API_KEY", "sk-x")]);
    let config = Config::parse(&text, path, &variables).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(
        config.key(KEY).is_some() && config.upstream("openai").is_some_and(|upstream| !upstream.api_keys.is_empty())
    );
    assert!(!config.server.allow_passthrough_credentials);
}
