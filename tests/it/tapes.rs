//! The recordings: real exchanges with providers, read from `$TOLLGATE_DATA/recordings.tar.gz`.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;
use tollgate::domain::tokens::Usage;

/// The files of the archive by name, or nothing if it is not there.
fn recordings() -> Option<Vec<(String, Vec<u8>)>> {
    let Some(data) = std::env::var_os("TOLLGATE_DATA") else {
        eprintln!("NOT RUN: TOLLGATE_DATA is not set, so there are no recordings to meter");
        return None;
    };
    let packed = std::fs::read(std::path::Path::new(&data).join("recordings.tar.gz")).expect("the recordings");
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut tar).expect("gzip");
    Some(files(&tar))
}

/// The regular files of a ustar archive; long names are not needed here.
fn files(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).trim().to_owned()
    };
    let mut files = Vec::new();
    let mut at = 0;
    while let Some(header) = tar.get(at..at + 512).filter(|header| header[0] != 0) {
        let size = usize::from_str_radix(&text(&header[124..136]), 8).expect("a size in octal");
        if matches!(header[156], b'0' | 0) {
            files.push((text(&header[..100]), tar[at + 512..at + 512 + size].to_vec()));
        }
        at += 512 + size.div_ceil(512) * 512;
    }
    files
}

/// Visits each record but those of the providers `skipped`, with a name for it; says whether there were any.
pub fn each_record(skipped: &[&str], mut visit: impl FnMut(&str, &Value)) -> bool {
    let Some(files) = recordings() else { return false };
    for (path, bytes) in files {
        let provider = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".jsonl");
        if !path.ends_with(".jsonl") || skipped.contains(&provider) {
            continue;
        }
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: Value = serde_json::from_slice(line).expect("a record");
            let name = format!("{provider} {} {}", record["endpoint"], record["id"]).replace('"', "");
            visit(&name, &record);
        }
    }
    true
}

/// Buckets by the names of the recordings; those that are zero are left out.
pub fn buckets(usage: &Usage) -> BTreeMap<&'static str, u64> {
    [
        ("input", usage.input),
        ("cached_read", usage.cache_read),
        ("cache_write", usage.cache_write),
        ("cache_write_5m", usage.cache_write_5m),
        ("cache_write_1h", usage.cache_write_1h),
        ("cache_write_12h", usage.cache_write_12h),
        ("output", usage.output),
        ("reasoning", usage.reasoning),
        ("audio_in", usage.audio_in),
        ("audio_out", usage.audio_out),
        ("audio_cached", usage.audio_cached),
        ("image_in", usage.image_in),
        ("image_out", usage.image_out),
        ("image_cached", usage.image_cached),
        ("video_in", usage.video_in),
        ("document_in", usage.document_in),
        ("tool_prompt", usage.tool_prompt),
        ("stored_tokens", usage.stored_tokens),
        ("seconds", usage.seconds),
        ("search_units", usage.search_units),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .collect()
}

/// The same of a record's `usage_expected` or of one of its `billed_calls`.
pub fn expected_buckets(expected: &Value) -> BTreeMap<&str, u64> {
    const NOTES: [&str; 4] = ["input_total", "n_usage_events", "reported_cost_usd_ticks", "service_tier"];
    let fields = expected.as_object().expect("an object").iter();
    fields
        .filter(|(name, _)| !NOTES.contains(&name.as_str()) && *name != "reported_cost")
        .filter_map(|(name, value)| Some((name.as_str(), value.as_u64()?)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// What is left of a stream without its usage-only events, found the slow way.
pub fn without_usage_events(body: &str) -> String {
    let is_usage_only = |event: &str| {
        let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        data["choices"].as_array().is_some_and(Vec::is_empty) && data["usage"].is_object()
    };
    body.split_inclusive("\n\n").filter(|event| !is_usage_only(event)).collect()
}
