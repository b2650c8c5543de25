//! The programs of a run: where they are, and how they are started and ended.

use std::error::Error;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the reference programs may lie, seen from the project's root.
const REFERENCE: &str = "../shared/perf";

/// How long a program may take until it listens.
const START: Duration = Duration::from_secs(10);

/// The cores of proxies, and of everything else.
pub const PROXY_CORE: u8 = 0;
pub const OTHER_CORE: u8 = 1;

/// The programs that a run needs besides Tollgate.
pub struct Programs {
    folder: Option<PathBuf>,
}

/// A program that runs until it is dropped.
pub struct Running(Child);

impl Programs {
    /// Builds the reference programs if they are there, else takes the small ones of this bench.
    pub fn find() -> Result<Self, Box<dyn Error>> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(REFERENCE).join("Cargo.toml");
        if !manifest.exists() {
            eprintln!("{REFERENCE} is not there: using the small programs of this bench");
            return Ok(Self { folder: None });
        }
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/perf");
        let source = target.join("source");
        // It may be read-only, and cargo writes a lock file beside the manifest.
        copy(manifest.parent().unwrap_or(Path::new(".")), &source)?;
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let built = build
            .args(["build", "--release", "--quiet"])
            .current_dir(&source)
            .env("CARGO_TARGET_DIR", &target)
            .status()?;
        if !built.success() {
            return Err("the reference programs do not build".into());
        }
        Ok(Self { folder: Some(target.join("release")) })
    }

    /// The command that runs `program` on `core`.
    pub fn command(&self, program: &str, core: u8) -> Result<Command, Box<dyn Error>> {
        let mut command = pinned(core);
        match &self.folder {
            Some(folder) => command.arg(folder.join(program)),
            None => command.arg(std::env::current_exe()?).arg(program),
        };
        Ok(command)
    }

    /// The provider, once it listens.
    pub fn provider(&self, address: &str) -> Result<Running, Box<dyn Error>> {
        let mut provider = self.command("mock", OTHER_CORE)?;
        provider.args(["--listen", address]);
        Running::start(provider, address).map(|(running, _)| running)
    }

    /// What the numbers were measured with.
    pub fn name(&self) -> &'static str {
        if self.folder.is_some() { "the programs of ../shared/perf" } else { "the programs of benches/overhead" }
    }
}

/// A command on one core.
pub fn pinned(core: u8) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]);
    command
}

impl Running {
    /// Starts `command` and waits until it listens on `address`; says how long that took.
    pub fn start(mut command: Command, address: &str) -> Result<(Self, Duration), Box<dyn Error>> {
        let began = Instant::now();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let running = Self(child);
        let address = address.parse()?;
        while began.elapsed() < START {
            if TcpStream::connect_timeout(&address, START).is_ok() {
                return Ok((running, began.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("nothing listens on {address}").into())
    }

    /// Its process id; `taskset` has become the program itself.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Ends it.
    pub fn end(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            std::fs::write(place, std::fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
