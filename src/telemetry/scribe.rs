//! [`Scribe`]: the thread that turns ended requests into log lines and numbers, off their own path.
//!
//! A request hands over a pointer and goes on: it formats nothing, writes nothing, and wakes the thread only if
//! nothing has happened for a second. The thread collects for [`GATHER`], then writes everything in one go.
//!
//! It never makes a request wait: where the log cannot be written as fast as requests end, lines are dropped and
//! counted. Numbers are never dropped.
//!
//! Invariant: each request that was handed over is counted in the metrics exactly once.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::line::{ToolResult, write_llm_call, write_tool_call};
use super::metrics::Metrics;
use crate::domain::entry::Entry;

/// Requests that wait for the thread; about 16 MB. At [`GATHER`] that is a million requests a second.
pub const QUEUE_RECORDS_MAX: usize = 16_384;

/// How long the thread collects before it writes.
pub const GATHER: Duration = Duration::from_millis(10);

/// Times [`GATHER`] without a record before the thread sleeps until it is woken, which costs the one who wakes it
/// about 10 us: much more than a look at an empty queue costs the thread.
const QUIET_ROUNDS_MAX: u32 = 100;

/// Bytes of text that the thread keeps room for between writes.
const TEXT_BYTES_KEPT: usize = 1 << 20;

/// An ended request.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its row in the ledger.
    pub entry: Box<Entry>,
    /// The tool results that came with it.
    pub tools: Vec<ToolResult>,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Nowhere: only the metrics are kept.
    Nowhere,
    /// The process' standard error.
    StandardError,
    /// The end of a file, which is made if it is not there (mode 0640).
    File(PathBuf),
}

/// The hand that records go to. Dropping it lets the thread end when it has written what is there;
/// [`Scribe::finish`] waits for that.
#[derive(Debug)]
pub struct Scribe {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    wake: thread::Thread,
}

/// Is shown every record, on the scribe's thread, or on a request's where the thread is behind.
pub type Observer = Box<dyn Fn(&Record) + Send + Sync>;

struct Shared {
    metrics: Arc<Metrics>,
    observer: Option<Observer>,
    queue: Mutex<Queue>,
    /// Told after each write.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    records: Vec<Record>,
    /// Whether the thread sleeps until it is woken, rather than for a moment.
    is_asleep: bool,
    is_closing: bool,
    handed: u64,
    written: u64,
}

/// Where the thread writes.
struct Sink {
    target: Target,
    /// Whether the last write failed, so that it may have left half a line.
    is_torn: bool,
}

enum Target {
    Nowhere,
    StandardError,
    File(File),
    #[cfg(test)]
    Test(Box<dyn Write + Send>),
}

impl Scribe {
    /// Opens the log and starts the thread. Fails if the file or the thread cannot be had.
    pub fn start(destination: Destination, metrics: Arc<Metrics>, observer: Option<Observer>) -> io::Result<Self> {
        let target = match destination {
            Destination::Nowhere => Target::Nowhere,
            Destination::StandardError => Target::StandardError,
            Destination::File(path) => Target::File(open(path)?),
        };
        Self::start_on(target, metrics, observer)
    }

    fn start_on(target: Target, metrics: Arc<Metrics>, observer: Option<Observer>) -> io::Result<Self> {
        let shared = Arc::new(Shared { metrics, observer, queue: Mutex::default(), written: Condvar::new() });
        let sink = Sink { target, is_torn: false };
        let theirs = shared.clone();
        let thread = thread::Builder::new().name("tollgate-scribe".to_owned()).spawn(move || run(&theirs, sink))?;
        let wake = thread.thread().clone();
        Ok(Self { shared, thread: Mutex::new(Some(thread)), wake })
    }

    /// Takes over an ended request. Costs a short lock; waits for nothing.
    pub fn hand(&self, record: Record) {
        let mut queue = self.shared.queue();
        if queue.records.len() >= QUEUE_RECORDS_MAX || queue.is_closing {
            drop(queue);
            return self.shared.count_without_lines(&record);
        }
        queue.records.push(record);
        queue.handed += 1;
        let was_asleep = std::mem::take(&mut queue.is_asleep);
        drop(queue);
        if was_asleep {
            self.wake.unpark();
        }
    }

    /// Waits until everything that was handed over so far is written and counted, at most `wait`; says whether it is.
    pub fn catch_up(&self, wait: Duration) -> bool {
        let queue = self.shared.queue();
        let target = queue.handed;
        self.wake.unpark();
        self.shared.wait(queue, wait, |queue| queue.written < target)
    }

    /// Writes what is there and ends the thread; waits at most `wait`, since a log that nobody reads may block it.
    /// Says whether all was written. Requests handed over later are counted, and have no lines.
    pub fn finish(&self, wait: Duration) -> bool {
        self.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_done = self.shared.wait(self.shared.queue(), wait, |queue| queue.written < queue.handed);
        match thread {
            Some(thread) if is_done => thread.join().is_ok(),
            Some(_) | None => is_done,
        }
    }

    fn close(&self) {
        self.shared.queue().is_closing = true;
        self.wake.unpark();
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, queue: MutexGuard<'_, Queue>, wait: Duration, goes_on: impl Fn(&Queue) -> bool) -> bool {
        let waited = self.written.wait_timeout_while(queue, wait, |queue| goes_on(queue));
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !goes_on(&queue)
    }

    fn count(&self, record: &Record) {
        self.metrics.record(&record.entry);
        if let Some(observer) = &self.observer {
            observer(record);
        }
    }

    /// For a record that finds no room: it costs its request a microsecond, and the log its lines.
    fn count_without_lines(&self, record: &Record) {
        self.count(record);
        self.metrics.log_dropped.add(lines_of(record));
    }

    /// Sleeps until there are records or the end; `None` is the end.
    fn next(&self, mut batch: Vec<Record>) -> Option<Vec<Record>> {
        let mut quiet_rounds = 0_u32;
        loop {
            let mut queue = self.queue();
            if !queue.records.is_empty() {
                std::mem::swap(&mut queue.records, &mut batch);
                return Some(batch);
            }
            if queue.is_closing {
                return None;
            }
            queue.is_asleep = quiet_rounds >= QUIET_ROUNDS_MAX;
            let is_asleep = queue.is_asleep;
            drop(queue);
            if is_asleep {
                thread::park();
            }
            self.gather();
            quiet_rounds = quiet_rounds.saturating_add(1);
        }
    }

    /// Lets records collect, unless the end is near.
    fn gather(&self) {
        let is_closing = self.queue().is_closing;
        if !is_closing {
            thread::park_timeout(GATHER);
        }
    }
}

fn run(shared: &Shared, mut sink: Sink) {
    let mut batch = Vec::new();
    let mut text = String::new();
    while let Some(full) = shared.next(batch) {
        batch = full;
        for record in &batch {
            shared.count(record);
            sink.put(record, &mut text);
        }
        if let Err(error) = sink.write(&text) {
            shared.metrics.log_dropped.add(batch.iter().map(lines_of).sum());
            if !std::mem::replace(&mut sink.is_torn, true) {
                tracing::warn!(%error, "the request log cannot be written; its lines are dropped until it can");
            }
        }
        shared.queue().written += batch.len() as u64;
        shared.written.notify_all();
        batch.clear();
        text.clear();
        text.shrink_to(TEXT_BYTES_KEPT);
        shared.gather();
    }
}

impl Sink {
    fn put(&self, record: &Record, text: &mut String) {
        if matches!(self.target, Target::Nowhere) {
            return;
        }
        write_llm_call(&record.entry, text);
        for tool in &record.tools {
            write_tool_call(&record.entry, tool, text);
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.is_torn {
            self.write_all("\n")?;
            self.is_torn = false;
        }
        self.write_all(text)
    }

    fn write_all(&mut self, text: &str) -> io::Result<()> {
        match &mut self.target {
            Target::Nowhere => Ok(()),
            Target::StandardError => io::stderr().lock().write_all(text.as_bytes()),
            Target::File(file) => file.write_all(text.as_bytes()),
            #[cfg(test)]
            Target::Test(writer) => writer.write_all(text.as_bytes()),
        }
    }
}

fn lines_of(record: &Record) -> u64 {
    1 + record.tools.len() as u64
}

fn open(path: PathBuf) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options
        .open(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("request log {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::domain::sample;

    const LONG: Duration = Duration::from_secs(30);

    /// A log whose reader decides when each write ends, and how.
    struct Gate {
        began: mpsc::Sender<()>,
        ends: mpsc::Receiver<io::Result<()>>,
        text: Arc<Mutex<String>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.began.send(()).unwrap();
            self.ends.recv().unwrap()?;
            self.text.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Gated {
        scribe: Scribe,
        metrics: Arc<Metrics>,
        began: mpsc::Receiver<()>,
        end: mpsc::Sender<io::Result<()>>,
        text: Arc<Mutex<String>>,
    }

    fn gated() -> Gated {
        let ((began_in, began), (end, ends)) = (mpsc::channel(), mpsc::channel());
        let (text, metrics) = (Arc::new(Mutex::new(String::new())), Arc::new(Metrics::new(0)));
        let gate = Gate { began: began_in, ends, text: text.clone() };
        let scribe = Scribe::start_on(Target::Test(Box::new(gate)), metrics.clone(), None).unwrap();
        Gated { scribe, metrics, began, end, text }
    }

    fn record() -> Record {
        Record { entry: Box::new(sample::entry()), tools: Vec::new() }
    }

    fn counted(metrics: &Metrics) -> u64 {
        let text = metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix("tollgate_requests_total{")).unwrap_or(" 0");
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    #[test]
    fn lines_are_appended_and_all_written_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.log");
        std::fs::write(&path, "before\n").unwrap();
        let metrics = Arc::new(Metrics::new(0));
        let scribe = Scribe::start(Destination::File(path.clone()), metrics.clone(), None).unwrap();
        let tools = vec![ToolResult { name: "search".into(), success: true }];
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| scribe.hand(Record { tools: tools.clone(), ..record() })));
            }
        });
        assert!(scribe.finish(LONG));
        let text = std::fs::read_to_string(&path).unwrap();
        let with = |event: &str| text.lines().filter(|line| line.contains(event)).count();
        assert_eq!((with("before"), with("\"llm_call\""), with("\"tool_call\"")), (1, 2_000, 2_000));
        assert_eq!((counted(&metrics), metrics.log_dropped.get()), (2_000, 0));
    }

    #[test]
    fn a_stuck_log_drops_lines_but_no_numbers_and_nobody_waits() {
        let Gated { scribe, metrics, began, end, text } = gated();
        scribe.hand(record());
        began.recv().unwrap();
        for _ in 0..QUEUE_RECORDS_MAX + 5 {
            scribe.hand(record());
        }
        assert_eq!(metrics.log_dropped.get(), 5);
        assert!(!scribe.catch_up(Duration::ZERO));
        end.send(Ok(())).unwrap();
        end.send(Ok(())).unwrap();
        assert!(scribe.finish(LONG));
        assert_eq!(counted(&metrics), QUEUE_RECORDS_MAX as u64 + 6);
        assert_eq!(text.lock().unwrap().lines().count(), QUEUE_RECORDS_MAX + 1);
    }

    #[test]
    fn a_failed_write_is_counted_and_leaves_no_half_line_to_the_next() {
        let Gated { scribe, metrics, began: _began, end, text } = gated();
        end.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        scribe.hand(record());
        assert!(scribe.catch_up(LONG));
        assert_eq!((metrics.log_dropped.get(), counted(&metrics)), (1, 1));
        [(), ()].into_iter().for_each(|()| end.send(Ok(())).unwrap());
        scribe.hand(record());
        assert!(scribe.catch_up(LONG));
        let text = text.lock().unwrap();
        assert!(text.starts_with("\n{") && text.lines().count() == 2 && metrics.log_dropped.get() == 1);
    }

    #[test]
    fn after_the_end_requests_are_still_counted() {
        let metrics = Arc::new(Metrics::new(0));
        let scribe = Scribe::start(Destination::Nowhere, metrics.clone(), None).unwrap();
        assert!(scribe.finish(LONG) && scribe.finish(LONG));
        scribe.hand(record());
        assert_eq!((counted(&metrics), metrics.log_dropped.get()), (1, 1));
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_named() {
        let error =
            Scribe::start(Destination::File("/nowhere/at/all".into()), Arc::new(Metrics::new(0)), None).unwrap_err();
        assert!(error.to_string().starts_with("request log /nowhere/at/all: "), "{error}");
    }
}
