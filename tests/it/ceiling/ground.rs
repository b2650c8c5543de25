//! What the simulation stands on: its configs, its chance, a disk that is never slow, and copies of folders.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tollgate::app::{App, Surroundings};
use tollgate::clock::Clock;
use tollgate::config::{Config, Environment};
use tollgate::store::disk::{Disk, LogFile, RealDisk};

const CONFIG: &str = r#"
[server]
admin_token = { env = "TOKEN" }
[money]
time_zone = "Europe/Berlin"
[organisation]
caps = { month = "40", week = "15", total = "300" }
[teams.search]
caps = { day = "3", rolling = [{ usd = "1.5", hours = 5 }] }
[teams.shop]
[users.ada]
caps = { day = "2" }
[keys.a]
secret = { env = "KEY_A" }
team = "search"
user = "ada"
tags = { feature = "find" }
[keys.b]
secret = { env = "KEY_B" }
team = "shop"
caps = { week = "4" }
[defaults.key]
caps = { day = "1" }
[models."big-*"]
caps = { day = "2.5" }
[tags."feature=find"]
caps = { month = "20" }
"#;

/// What a reload puts in the place of what in the config: nothing, other amounts, other windows and scopes.
pub const CHANGES: [&[(&str, &str)]; 4] = [
    &[],
    &[("week = \"15\"", "week = \"9\""), ("day = \"3\"", "day = \"4\""), ("week = \"4\"", "week = \"2\"")],
    &[
        ("{ day = \"2\" }", "{ day = \"2\", month = \"30\" }"),
        ("big-*", "small"),
        ("total = \"300\"", "total = \"200\""),
    ],
    &[
        ("[tags.\"feature=find\"]\ncaps = { month = \"20\" }\n", ""),
        ("{ week = \"4\" }", "{ rolling = [{ usd = \"2\", hours = 3 }] }"),
    ],
];

/// Chance, from a seed.
pub struct Dice(pub u64);

/// A disk that never waits for the platter: what is written survives a killed process all the same.
#[derive(Debug)]
struct Quick;

#[derive(Debug)]
struct QuickFile(Box<dyn LogFile>);

impl Dice {
    /// splitmix64.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

impl Disk for Quick {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(QuickFile(RealDisk.create(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(QuickFile(RealDisk.append(path)?)))
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl LogFile for QuickFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

pub fn config(folder: &Path, variant: usize) -> Config {
    let text = format!("{CONFIG}\n[store]\npath = {:?}\n[log]\nlevel = \"error\"\n", folder.join("data"));
    let text = CHANGES[variant].iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    let secret = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let env: Environment = [
        secret("TOKEN", "tga_for_tests_only"),
        secret("KEY_A", "tg_aaaaaaaaaaaaaaaaaaaaaaaa"),
        secret("KEY_B", "tg_bbbbbbbbbbbbbbbbbbbbbbbb"),
    ]
    .into();
    Config::parse(&text, "test.toml", &env).unwrap_or_else(|errors| panic!("{errors}"))
}

pub fn open(folder: &Path, now_us: &Arc<AtomicU64>, variant: usize) -> Arc<App> {
    let surroundings =
        Surroundings { clock: Clock::Manual(now_us.clone()), disk: Arc::new(Quick), ..Surroundings::default() };
    Arc::new(App::open(config(folder, variant), surroundings).unwrap())
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if std::fs::symlink_metadata(&path).unwrap().is_file() {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
