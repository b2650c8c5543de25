//! Damaged ends: an interrupted write is cut, anything else stops the start.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tollgate::store::{FrameFault, Journal, OpenError, Options, Reader, verify};

use super::sample::{NOW_MS, folder, reopen, serve};

/// One segment with forty requests, one frame for each write, as a killed process leaves it: nothing is vouched for.
struct Image {
    segment: PathBuf,
    bytes: Vec<u8>,
    /// Where each record's frame begins.
    offsets: Vec<u64>,
}

async fn image(folder: &TempDir) -> Image {
    let options = Options { sync_interval_ms: 60_000, ..Options::default() };
    let (journal, _) = Journal::open(folder.path(), options, NOW_MS).unwrap();
    for number in 0..40 {
        serve(&journal, number).await;
    }
    let segment = folder.path().join("journal/00000000000000000001.log");
    let bytes = fs::read(&segment).unwrap();
    let offsets = Reader::open(folder.path()).records().unwrap().map(|located| located.unwrap().offset).collect();
    drop(journal);
    Image { segment, bytes, offsets }
}

/// Opens `bytes` as the only segment; returns the cut and how many records are left.
fn opened(path: &Path, image: &Image, bytes: &[u8]) -> Result<(Option<u64>, usize), OpenError> {
    fs::write(&image.segment, bytes).unwrap();
    let (journal, recovered) = Journal::open(path, Options::default(), NOW_MS)?;
    let records = usize::try_from(journal.health().next_seq - 1).unwrap();
    Ok((recovered.cut.map(|cut| cut.offset), records))
}

#[tokio::test]
async fn truncated_tails_of_every_length_lose_only_the_torn_frames() {
    check_torn(|bytes, from| bytes.truncate(from)).await;
}

#[tokio::test]
async fn zeroed_tails_of_every_length_lose_only_the_torn_frames() {
    check_torn(|bytes, from| bytes[from..].fill(0)).await;
}

#[tokio::test]
async fn garbled_tails_of_every_length_lose_only_the_torn_frames() {
    check_torn(|bytes, from| bytes[from..].iter_mut().for_each(|byte| *byte ^= 0x5a)).await;
}

async fn check_torn(damage: fn(&mut Vec<u8>, usize)) {
    let folder = folder();
    let image = image(&folder).await;
    for length in 1..=4096 {
        let mut bytes = image.bytes.clone();
        damage(&mut bytes, image.bytes.len() - length);
        let changed = bytes.iter().zip(&image.bytes).position(|(new, old)| new != old).unwrap_or(bytes.len());
        if changed == image.bytes.len() {
            continue;
        }
        // The frame that holds the first changed byte is the first to go.
        let cut = image.offsets.iter().rfind(|offset| **offset <= changed as u64).copied().unwrap();
        let kept = image.offsets.iter().filter(|offset| **offset < cut).count();
        let expect = (Some(cut).filter(|cut| *cut < bytes.len() as u64), kept);
        assert_eq!(opened(folder.path(), &image, &bytes).unwrap(), expect, "{length}");
    }
    let (journal, _) = reopen(folder.path());
    serve(&journal, 99).await;
    drop(journal);
    assert_eq!(verify(folder.path()).unwrap().odd, [], "what is written after a cut fits what is before it");
}

#[tokio::test]
async fn zeros_after_the_last_frame_are_cut() {
    let folder = folder();
    let image = image(&folder).await;
    let end = image.bytes.len() as u64;
    for zeros in [1, 63, 64, 65, 5000] {
        let bytes = [&image.bytes[..], &vec![0; zeros]].concat();
        assert_eq!(opened(folder.path(), &image, &bytes).unwrap(), (Some(end), image.offsets.len()));
    }
}

#[tokio::test]
async fn pages_that_a_power_loss_wrote_out_of_order_are_cut() {
    let folder = folder();
    let image = image(&folder).await;
    let lost = usize::try_from(image.offsets[30]).unwrap();
    let mut bytes = image.bytes.clone();
    bytes[lost..lost + 100].fill(0);
    let kept = image.offsets.iter().filter(|offset| **offset < lost as u64).count();
    assert_eq!(opened(folder.path(), &image, &bytes).unwrap(), (Some(lost as u64), kept));
}

#[tokio::test]
async fn damage_to_what_was_durable_stops_the_start_and_says_where() {
    let folder = folder();
    let image = image(&folder).await;
    // A whole journal is reopened and written on: its new frames vouch for all the old ones.
    fs::write(&image.segment, &image.bytes).unwrap();
    let (journal, _) = Journal::open(folder.path(), Options::default(), NOW_MS).unwrap();
    serve(&journal, 99).await;
    drop(journal);
    let bytes = fs::read(&image.segment).unwrap();
    for offset in [0, image.offsets[0], image.offsets[31], *image.offsets.last().unwrap()] {
        let mut bad = bytes.clone();
        bad[usize::try_from(offset).unwrap() + 70] ^= 1;
        let error = opened(folder.path(), &image, &bad).unwrap_err();
        let OpenError::Bad(place) = &error else { panic!("{error}") };
        assert_eq!((place.offset, &place.why, &place.segment), (offset, &FrameFault::Checksum, &image.segment));
        assert!(error.to_string().contains("tollgate ledger verify"), "{error}");
        assert!(error.to_string().contains("00000000000000000001.log"), "{error}");
        assert_eq!(fs::read(&image.segment).unwrap(), bad, "nothing was cut");
        assert!(verify(folder.path()).is_err());
    }
}

#[tokio::test]
async fn a_frame_that_was_taken_out_breaks_the_chain() {
    let folder = folder();
    let image = image(&folder).await;
    let [from, to] = [image.offsets[10], image.offsets[12]].map(|offset| usize::try_from(offset).unwrap());
    let bytes = [&image.bytes[..from], &image.bytes[to..]].concat();
    let error = opened(folder.path(), &image, &bytes).unwrap_err();
    assert!(matches!(error, OpenError::Bad(bad) if bad.why == FrameFault::Sequence));
    // The same, with the numbers put right: only the hash still tells.
    let mut bytes = image.bytes.clone();
    rewrite(&mut bytes[from..], |frame| frame[200] ^= 1);
    let error = opened(folder.path(), &image, &bytes).unwrap_err();
    assert!(matches!(error, OpenError::Bad(bad) if bad.why == FrameFault::Chain && bad.offset == to as u64));
}

/// Changes the frame at the start of `bytes` and makes its checksum right again.
fn rewrite(bytes: &mut [u8], change: impl FnOnce(&mut [u8])) {
    let length = 64 + u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let frame = &mut bytes[..length];
    change(frame);
    frame[8..12].fill(0);
    let crc = crc32fast::hash(frame);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
}

#[tokio::test]
async fn a_new_segment_that_was_never_finished_is_taken_away() {
    let folder = folder();
    let image = image(&folder).await;
    let next = image.segment.with_file_name("00000000000000000121.log");
    for torn in [&b""[..], &[0; 300], b"TgJ\x02", &image.bytes[..40]] {
        fs::write(&next, torn).unwrap();
        assert_eq!(opened(folder.path(), &image, &image.bytes).unwrap().1, image.offsets.len());
        assert!(!next.exists());
    }
    // The segment before a new one was durable as a whole, so here nothing may be missing.
    fs::write(&next, []).unwrap();
    let error = opened(folder.path(), &image, &image.bytes[..image.bytes.len() - 1]).unwrap_err();
    assert!(matches!(error, OpenError::Bad(bad) if bad.why == FrameFault::Incomplete));
}
