//! Records as bytes: what is written is read back, and no bytes make the reader panic.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use tollgate::domain::account::{Account, Scope};
use tollgate::domain::adjustment::TopUp;
use tollgate::domain::entry::{Attempt, CacheUse, Entry, FEATURE_BYTES, Outcome, PriceRef, Tier};
use tollgate::domain::ids::{AttemptId, RequestId};
use tollgate::domain::key::{Digest, Grant, KeyAct, KeyEvent, Kind, Lists};
use tollgate::domain::lesson::Lesson;
use tollgate::domain::money::Usd;
use tollgate::domain::operation::{Dialect, Operation};
use tollgate::domain::tokens::{Usage, UsageSource};
use tollgate::store::codec::{CodecError, Line, decode, encode};
use tollgate::store::{Close, Open, RateRecord, Record, Reloaded, Skim, Start, Unsettled};

use super::sample::{entry, open};

const SOURCES: [UsageSource; 4] =
    [UsageSource::Reported, UsageSource::Counted, UsageSource::Assumed, UsageSource::None];

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn shared() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Into::into)
}

fn maybe_text() -> impl Strategy<Value = Option<Box<str>>> {
    option::of(text().prop_map(Into::into))
}

fn money() -> impl Strategy<Value = Option<Usd>> {
    option::of(any::<u128>().prop_flat_map(|pico| (0..128_u32).prop_map(move |shift| Usd::from_pico(pico >> shift))))
}

fn attempt_id() -> impl Strategy<Value = AttemptId> {
    (any::<u128>(), any::<u8>()).prop_map(|(id, ordinal)| AttemptId { request: RequestId(id), ordinal })
}

fn account() -> impl Strategy<Value = Account> {
    let tag = (text(), text()).prop_map(|(name, value)| (name.into(), value.into()));
    (shared(), option::of(shared()), option::of(shared()), vec(tag, 0..4)).prop_map(|(key, user, team, tags)| Account {
        key,
        user,
        team,
        tags: tags.into(),
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::Organisation),
        shared().prop_map(Scope::Team),
        shared().prop_map(Scope::User),
        shared().prop_map(Scope::Key),
        shared().prop_map(Scope::Model),
        shared().prop_map(Scope::Tag),
    ]
}

fn usage() -> impl Strategy<Value = Usage> {
    let bucket = || prop_oneof![3 => Just(0_u64), 1 => any::<u64>()];
    let tools = vec((text().prop_map(Into::into), any::<u64>()), 0..3);
    (vec(bucket(), 20), tools).prop_map(|(bucket, server_tools)| Usage {
        input: bucket[0],
        cache_read: bucket[1],
        cache_write: bucket[2],
        cache_write_5m: bucket[3],
        cache_write_1h: bucket[4],
        cache_write_12h: bucket[5],
        output: bucket[6],
        reasoning: bucket[7],
        audio_in: bucket[8],
        audio_out: bucket[9],
        audio_cached: bucket[10],
        image_in: bucket[11],
        image_out: bucket[12],
        image_cached: bucket[13],
        video_in: bucket[14],
        document_in: bucket[15],
        tool_prompt: bucket[16],
        stored_tokens: bucket[17],
        seconds: bucket[18],
        search_units: bucket[19],
        server_tools,
    })
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let names = (any::<u8>(), shared(), shared(), any::<u16>());
    (names, select(Outcome::ALL), select(&SOURCES[..]), money()).prop_map(
        |((ordinal, upstream, model, status), outcome, usage_source, cost)| Attempt {
            ordinal,
            upstream,
            model,
            status,
            outcome,
            usage_source,
            cost,
        },
    )
}

/// Each half of an entry is a tuple of its own: a strategy takes no more than twelve parts.
fn any_entry() -> impl Strategy<Value = Entry> {
    let who = (any::<u128>(), any::<u64>(), account(), select(&Dialect::ALL[..]), select(&Operation::ALL[..]));
    let what = (shared(), shared(), shared(), maybe_text(), option::of(select(Tier::ALL)), text());
    let how = (select(CacheUse::ALL), any::<bool>(), any::<u16>(), select(Outcome::ALL), vec(maybe_text(), 4));
    let money = (usage(), select(&SOURCES[..]), any::<bool>(), money(), any::<u64>(), money());
    let price = option::of((shared(), any::<u32>()).prop_map(|(version, row)| PriceRef { version, row }));
    let rest = (any::<u32>(), option::of(any::<u32>()), vec(attempt(), 0..4), any::<[u8; FEATURE_BYTES]>());
    (who, what, how, money, price, rest, any::<u32>()).prop_map(|(who, what, how, money, price, rest, requests)| {
        Entry {
            id: RequestId(who.0),
            at_ms: who.1,
            account: who.2,
            dialect: who.3,
            operation: who.4,
            upstream: what.0,
            requested_model: what.1,
            model: what.2,
            served_model: what.3,
            tier: what.4,
            reason: what.5.into(),
            cache: how.0,
            stream: how.1,
            status: how.2,
            outcome: how.3,
            requested_service_tier: how.4[0].clone(),
            service_tier: how.4[1].clone(),
            geo: how.4[2].clone(),
            speed: how.4[3].clone(),
            usage: money.0,
            usage_source: money.1,
            overrun: money.2,
            cost: money.3,
            saved: Usd::from_pico(u128::from(money.4)),
            baseline: (requests % 3 == 0).then_some(Usd::from_pico(u128::from(money.4) << 3)),
            quote: money.5,
            price,
            latency_ms: rest.0,
            first_byte_ms: rest.1,
            attempts: rest.2,
            features: if requests % 2 == 0 { [0; FEATURE_BYTES] } else { rest.3 },
            requests,
        }
    })
}

fn key_event() -> impl Strategy<Value = KeyEvent> {
    let list = option::of(vec(text().prop_map(Into::into), 0..3).prop_map(Vec::into_boxed_slice));
    let grant = (account(), any::<bool>(), option::of(any::<u64>()), vec(list, 6), any::<[u8; 32]>()).prop_map(
        |(account, attribute, expires_ms, said, digest)| {
            let mut lists = Lists::default();
            Kind::ALL.into_iter().zip(said).for_each(|(kind, list)| lists.set(kind, list));
            let Account { user, team, tags, .. } = account;
            KeyAct::Made(Box::new(Grant { user, team, tags, attribute, expires_ms, lists, digest: Digest(digest) }))
        },
    );
    let rotated = (any::<[u8; 32]>(), any::<u64>())
        .prop_map(|(digest, overlap_until_ms)| KeyAct::Rotated { digest: Digest(digest), overlap_until_ms });
    let act = prop_oneof![grant, rotated, Just(KeyAct::Revoked)];
    (any::<u64>(), shared(), text(), text(), act).prop_map(|(at_ms, key, actor, reason, act)| KeyEvent {
        at_ms,
        key,
        actor: actor.into(),
        reason: reason.into(),
        act,
    })
}

fn record() -> impl Strategy<Value = Record> {
    let reloaded = (any::<u64>(), text(), text(), text()).prop_map(|(at_ms, config, actor, reason)| Reloaded {
        at_ms,
        config: config.into(),
        actor: actor.into(),
        reason: reason.into(),
    });
    let top_up = (any::<u128>(), any::<u64>(), scope(), any::<u128>(), text(), text()).prop_map(
        |(id, at_ms, scope, pico, actor, reason)| TopUp {
            id: RequestId(id),
            at_ms,
            scope,
            amount: Usd::from_pico(pico),
            actor: actor.into(),
            reason: reason.into(),
        },
    );
    let open = (attempt_id(), any::<u64>(), account(), shared(), shared(), money()).prop_flat_map(
        |(attempt, at_ms, account, upstream, model, quote)| {
            (select(&Operation::ALL[..]), select(&Dialect::ALL[..])).prop_map(move |(operation, dialect)| Open {
                attempt,
                at_ms,
                account: account.clone(),
                upstream: upstream.clone(),
                model: model.clone(),
                quote,
                operation,
                dialect,
            })
        },
    );
    let close = (attempt_id(), any::<u64>(), any::<u16>(), select(Outcome::ALL), select(&SOURCES[..]), money())
        .prop_map(|(attempt, at_ms, status, outcome, usage_source, cost)| Close {
            attempt,
            at_ms,
            status,
            outcome,
            usage_source,
            cost,
        });
    let rate = (any::<u32>(), shared(), ".{0,3000}").prop_map(|(row, version, text)| RateRecord {
        row,
        version,
        text: text.into(),
    });
    let start = (any::<u64>(), text(), text(), any::<u32>()).prop_map(|(at_ms, boot_id, version, pid)| Start {
        at_ms,
        boot_id: boot_id.into(),
        version: version.into(),
        pid,
    });
    let unsettled = (any::<u64>(), scope(), any::<u64>()).prop_map(|(at_ms, scope, pico)| Unsettled {
        at_ms,
        scope,
        amount: Usd::from_pico(u128::from(pico)),
    });
    let lesson = (any::<u64>(), select(Tier::ALL), any::<u32>(), any::<u32>(), any::<u64>())
        .prop_map(|(route, tier, good, bad, at_ms)| Lesson { route, tier, good, bad, at_ms });
    prop_oneof![
        1 => open.prop_map(Record::Open),
        1 => close.prop_map(Record::Close),
        4 => any_entry().prop_map(|entry| Record::Entry(Box::new(entry))),
        1 => rate.prop_map(Record::Rate),
        1 => start.prop_map(Record::Start),
        1 => unsettled.prop_map(Record::Unsettled),
        1 => key_event().prop_map(|event| Record::Key(Box::new(event))),
        1 => top_up.prop_map(|top_up| Record::TopUp(Box::new(top_up))),
        1 => lesson.prop_map(Record::Lesson),
        1 => reloaded.prop_map(|reloaded| Record::Reloaded(Box::new(reloaded))),
    ]
}

fn bytes_of(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record.into(), &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn a_record_is_read_back(record in record()) {
        let bytes = bytes_of(&record);
        let entry = match &record {
            Record::Entry(entry) => Some(entry),
            _ => None,
        };
        let skim = entry.map(|entry| Skim {
            at_ms: entry.at_ms,
            key: &entry.account.key,
            user: entry.account.user.as_deref(),
            team: entry.account.team.as_deref(),
            attempts: entry.attempts.iter().map(|attempt| (&*attempt.model, attempt.cost)).collect(),
        });
        assert_eq!(Skim::of(&bytes), Ok(skim));
        assert_eq!(decode(&bytes), Ok(record));
    }

    #[test]
    fn a_garbled_record_is_no_panic(record in record(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = bytes_of(&record);
        let at = at % bytes.len();
        assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        bytes[at] = byte;
        let _ = (decode(&bytes), Skim::of(&bytes));
    }

    #[test]
    fn any_bytes_are_no_panic(kind in 0..14_u8, mut bytes in vec(any::<u8>(), 0..400)) {
        bytes.splice(0..0, [kind, 1]);
        let _ = (decode(&bytes), Skim::of(&bytes));
    }
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_name() {
    let mut bytes = bytes_of(&Record::Open(open(1)));
    bytes[1] = 2;
    assert_eq!(decode(&bytes), Err(CodecError::NewerVersion { kind: 1, version: 2 }));
    bytes[0] = 13;
    assert_eq!(decode(&bytes), Err(CodecError::UnknownKind(13)));
    assert!(CodecError::UnknownKind(13).to_string().contains("a newer version of tollgate"));
}

#[test]
fn an_entry_is_small_and_its_bytes_never_change() {
    let entry = entry(&open(1));
    let mut bytes = Vec::new();
    encode(Line::Entry(&entry), &mut bytes);
    assert!(bytes.len() < 300, "{} bytes", bytes.len());
    // The bytes of version 1. If this fails, journals on disks can no longer be read: add a version instead.
    assert_eq!(crc32fast::hash(&bytes), EXPECTED_CRC);
}

/// The checksum of the entry above in version 1.
const EXPECTED_CRC: u32 = 894_018_548;

#[test]
fn the_bytes_of_keys_and_top_ups_never_change() {
    let (user, team) = (Some("ada".into()), Some("search".into()));
    let tags = [("feature".into(), "search".into())].into();
    let mut lists = Lists::default();
    lists.set(Kind::Models, Some(["gpt-*".into()].into()));
    lists.set(Kind::ServerTools, Some([].into()));
    let digest = Digest([7; 32]);
    let grant = Grant { user, team, tags, attribute: true, expires_ms: Some(1_800_000_000_000), lists, digest };
    let event = |act| KeyEvent { at_ms: 5, key: "ci".into(), actor: "ada".into(), reason: "why".into(), act };
    let scope = Scope::Key("ci".into());
    let amount = Usd::from_pico(5);
    let top_up = TopUp { id: RequestId(9), at_ms: 5, scope, amount, actor: "ada".into(), reason: "why".into() };
    let records = [
        Record::Key(Box::new(event(KeyAct::Made(Box::new(grant))))),
        Record::Key(Box::new(event(KeyAct::Rotated { digest, overlap_until_ms: 6 }))),
        Record::Key(Box::new(event(KeyAct::Revoked))),
        Record::TopUp(Box::new(top_up)),
        Record::Reloaded(Box::new(Reloaded {
            at_ms: 5,
            config: "0011".into(),
            actor: "ada".into(),
            reason: "why".into(),
        })),
    ];
    // As above: these are on disks.
    assert_eq!(
        records.each_ref().map(|record| crc32fast::hash(&bytes_of(record))),
        [3_886_862_444, 3_573_553_470, 2_573_213_592, 4_021_500_405, 1741663502]
    );
}
