//! The commands as they are run: the same answers with and without a server, and their exit codes.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};
use tokio::process::Command;
use tollgate::admin::Door;
use tollgate::server::run::CONTROL_SOCKET;

use super::CONFIG;
use super::ledger::{closing, entry};
use crate::harness::{House, KEY, TOKEN, app, environment};

async fn tollgate(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(line.split_whitespace()).current_dir(folder).env_clear().envs(environment());
    command.kill_on_drop(true).output().await.unwrap()
}

/// Runs a command; its exit code, stdout and stderr.
pub async fn run(folder: &Path, line: &str) -> (i32, String, String) {
    let output = tollgate(folder, line).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Answers on the control socket until `work` is done.
pub async fn serving<T>(house: &House, work: impl Future<Output = T>) -> T {
    let path = house.folder.path().join("data").join(CONTROL_SOCKET);
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            house.serve(stream, Door::Socket).await;
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = serve => unreachable!("serving has no end"),
    };
    drop(listener);
    // A child that another test is just starting shares the socket for a moment; who connects then gets no answer.
    let gone = async {
        while UnixStream::connect(&path).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the socket stays open");
    done
}

const FILE: &str = "--config tollgate.toml";

#[tokio::test]
async fn reports_are_the_same_with_and_without_a_server() {
    let house = app(CONFIG);
    let mut last = None;
    for number in 0..9 {
        let team = ["search", "chat", ""][number % 3];
        last = Some(house.settle(entry(team, number as u64), closing(number as u128 * 1_000_000_007)).await);
    }
    let lines = [
        format!("report {FILE}"),
        format!("report {FILE} --by team,model --format csv --since 2026-11-22 --tz UTC"),
        format!("report {FILE} --by day --by team --format json --until 2026-11-24T00:00:00+01:00"),
        format!("ledger show {} {FILE}", last.unwrap()),
    ];
    let folder = house.folder.path().to_owned();
    let mut served = Vec::new();
    serving(&house, async {
        for line in &lines {
            served.push(run(&folder, line).await);
        }
    })
    .await;
    for (line, (exit, out, talk)) in lines.iter().zip(&served) {
        assert_eq!((*exit, talk.as_str()), (0, ""), "{line}");
        assert!(!out.is_empty(), "{line}");
        // Nobody listens at the socket any more, as after a kill; the journal is still open for writing.
        assert_eq!(&run(&folder, line).await, &(0, out.clone(), String::new()), "{line}");
    }
    drop(house.app);
    for (line, answer) in lines.iter().zip(&served) {
        assert_eq!(&run(&folder, line).await, answer, "{line}");
    }
}

#[tokio::test]
async fn mistakes_are_told_apart() {
    let house = app(CONFIG);
    let folder = house.folder.path();
    std::fs::write(folder.join("bad.toml"), "[server]\nlisten = \"x\"\n[nothing]\n").unwrap();
    let unknown = "01kam3v2x8e9qh5t7c4rwz0ybn";
    for (line, expect, says) in [
        (format!("report {FILE} --by price"), 64, "by: \"price\" is nothing to group by"),
        (format!("report {FILE} --since yesterday"), 64, "since: \"yesterday\" is no moment"),
        (format!("report {FILE} --tz Berlin"), 64, "tz: \"Berlin\" is no time zone"),
        (format!("report {FILE} --format xml"), 64, "known are table, csv, json"),
        ("report --config bad.toml".to_owned(), 78, "bad.toml:2:10: server.listen"),
        ("check --config bad.toml".to_owned(), 78, "bad.toml:3:2: nothing"),
        ("check --config absent.toml".to_owned(), 78, "cannot be read"),
        (format!("check {FILE} --key nobody"), 1, "known: ci"),
        (format!("ledger show {unknown} {FILE}"), 1, unknown),
        ("health ftp://x".to_owned(), 64, "an example is http://127.0.0.1:4000"),
        ("serve --threads 0".to_owned(), 64, "0 is not in 1..=1024"),
    ] {
        let (exit, out, talk) = run(folder, &line).await;
        assert_eq!((exit, out.as_str()), (expect, ""), "{line}: {talk}");
        assert!(talk.contains(says), "{line}: {talk}");
    }
}

#[tokio::test]
async fn check_shows_what_is_meant_and_no_secret() {
    let house = app(CONFIG);
    let folder = house.folder.path();
    let (exit, out, talk) = run(folder, &format!("check {FILE}")).await;
    assert_eq!(exit, 0);
    assert!(out.contains("time_zone = \"Europe/Berlin\"") && out.contains("secret = \"***\"  # env KEY"), "{out}");
    assert!(talk.contains("tollgate.toml: ok, config "), "{talk}");
    let (exit, sheet, _) = run(folder, &format!("check {FILE} --key ci")).await;
    assert_eq!(exit, 0);
    assert!(sheet.contains("team       search\n") && sheet.contains("caps       none\nlimits     none\n"), "{sheet}");
    assert!(![out, talk, sheet].iter().any(|text| text.contains(KEY) || text.contains(TOKEN)));
}

#[tokio::test]
async fn health_is_that_of_the_address() {
    let house = app(CONFIG);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            house.serve(stream, Door::Tcp { peer: peer.ip() }).await;
        }
    };
    let folder = house.folder.path();
    // A port that is taken and where nobody listens.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let (port, closed) = (address.port(), taken.local_addr().unwrap());
    let check = async {
        assert_eq!(run(folder, &format!("health http://{address}")).await.0, 0);
        assert_eq!(run(folder, &format!("health {FILE} --set server.listen=0.0.0.0:{port}")).await.0, 0);
        assert_eq!(run(folder, &format!("health http://{address}/admin")).await.0, 1, "401 is not live");
        assert_eq!(run(folder, &format!("health http://{closed}")).await.0, 1);
    };
    tokio::select! {
        () = check => {}
        () = serve => unreachable!("serving has no end"),
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let house = app(CONFIG);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["check", "--config", "tollgate.toml"]).current_dir(house.folder.path());
    command.env_clear().envs(environment()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
}
