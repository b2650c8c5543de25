//! The fields of a provider's `usage` object, read so that no odd value can hurt.
//!
//! A number may come as an integer, a float, a string, `null` or nonsense: what is no count is treated as not sent, a
//! negative one as zero. It never wraps and computes with no float.
//!
//! Invariant: the last value sent for a field wins; nothing is summed.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::money::Usd;

/// Takes over what a later report of the same thing says.
pub(super) trait Merge {
    /// Replaces what `later` knows.
    fn merge(&mut self, later: Self);
}

/// Declares the fields of a usage object: absent ones stay unknown, and of two reports the later one wins by field.
macro_rules! usage_fields {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(default)]
        pub(super) struct $name {
            $($(#[$field_doc])* pub(super) $field: $kind,)*
        }

        impl $crate::protocol::counts::Merge for $name {
            fn merge(&mut self, later: Self) {
                $($crate::protocol::counts::Merge::merge(&mut self.$field, later.$field);)*
            }
        }
    };
}

pub(super) use usage_fields;

/// A count, if one was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) Option<u64>);

impl Count {
    /// The count, zero if none was sent.
    pub(super) fn get(self) -> u64 {
        self.0.unwrap_or(0)
    }

    /// The larger of two names for the same thing.
    pub(super) fn or_larger(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }
}

impl Merge for Count {
    fn merge(&mut self, later: Self) {
        self.0 = later.0.or(self.0);
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("anything")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Count, E> {
        Ok(Count(Some(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Count, E> {
        Ok(Count(Some(u64::try_from(value).unwrap_or(0))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Count, E> {
        Ok(Count(whole_units(&value.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Count, E> {
        Ok(Count(whole_units(value.trim())))
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
        while items.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }
}

/// The number in `text`, rounded up; a negative one is zero, a huge one the largest there is.
fn whole_units(text: &str) -> Option<u64> {
    if let Some(magnitude) = text.strip_prefix('-') {
        return scaled(magnitude, 0).map(|_| 0);
    }
    scaled(text, 0).map(|units| u64::try_from(units).unwrap_or(u64::MAX))
}

/// An amount of dollars, if one was sent: a decimal, a text of one, or an object with a `total_cost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost(pub(super) Option<Usd>);

impl Merge for Cost {
    fn merge(&mut self, later: Self) {
        self.0 = later.0.or(self.0);
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Parts {
            total_cost: Cost,
        }
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        Ok(if raw.starts_with('{') {
            serde_json::from_str::<Parts>(raw).map_or(Self(None), |parts| parts.total_cost)
        } else {
            Self(dollars(raw.trim_matches('"')))
        })
    }
}

/// Decimal dollars, rounded up to a pico-dollar. A negative amount is no cost that could be believed.
fn dollars(text: &str) -> Option<Usd> {
    scaled(text, 12).map(Usd::from_pico)
}

/// The non-negative decimal in `text` times `10^places`, rounded up; too large a number is the largest there is.
fn scaled(text: &str, places: i64) -> Option<u128> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(part.bytes());
    if whole.is_empty() || !digits().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let shift = exponent.saturating_add(places).saturating_sub(i64::try_from(part.len()).ok()?);
    let mut value: u128 = 0;
    for byte in digits() {
        value = value.saturating_mul(10).saturating_add(u128::from(byte - b'0'));
    }
    let power = u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX);
    let factor = if value == 0 { 1 } else { 10_u128.checked_pow(power).unwrap_or(u128::MAX) };
    Some(if shift >= 0 { value.saturating_mul(factor) } else { value.div_ceil(factor) })
}

/// A text, if one was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) Option<Box<str>>);

impl Merge for Text {
    fn merge(&mut self, later: Self) {
        if later.0.is_some() {
            self.0 = later.0;
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(raw.get()).ok()))
    }
}

/// An object or a list that may be `null` or something else altogether, which counts as not sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Lenient<T>(pub(super) T);

impl<T: Merge> Merge for Lenient<T> {
    fn merge(&mut self, later: Self) {
        self.0.merge(later.0);
    }
}

impl<'de, T: DeserializeOwned + Default> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(raw.get()).unwrap_or_default()))
    }
}

/// An object whose fields take any value, read on the way; anything else counts as not sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Details<T>(pub(super) T);

impl<T: Merge> Merge for Details<T> {
    fn merge(&mut self, later: Self) {
        self.0.merge(later.0);
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Details<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DetailsVisitor(PhantomData))
    }
}

struct DetailsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for DetailsVisitor<T> {
    type Value = Details<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Details<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Details)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Details<T>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Details::default())
    }

    fn visit_unit<E>(self) -> Result<Details<T>, E> {
        Ok(Details::default())
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Details<T>, E> {
        Ok(Details::default())
    }

    fn visit_u64<E>(self, _value: u64) -> Result<Details<T>, E> {
        Ok(Details::default())
    }

    fn visit_i64<E>(self, _value: i64) -> Result<Details<T>, E> {
        Ok(Details::default())
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Details<T>, E> {
        Ok(Details::default())
    }

    fn visit_str<E>(self, _value: &str) -> Result<Details<T>, E> {
        Ok(Details::default())
    }
}

impl<T> Merge for Option<Vec<T>> {
    fn merge(&mut self, later: Self) {
        if later.is_some() {
            *self = later;
        }
    }
}

/// Counts by name, in the order sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named(pub(super) Vec<(Box<str>, u64)>);

impl Merge for Named {
    fn merge(&mut self, later: Self) {
        for (name, count) in later.0 {
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = count,
                None => self.0.push((name, count)),
            }
        }
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor)
    }
}

struct NamedVisitor;

impl<'de> Visitor<'de> for NamedVisitor {
    type Value = Named;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of counts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Named, A::Error> {
        let mut named = Named::default();
        while let Some((name, count)) = items.next_entry::<Box<str>, Count>()? {
            if let Some(count) = count.0 {
                named.0.push((name, count));
            }
        }
        Ok(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_counts_are_clamped_or_ignored() {
        for (json, expect) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("7.2", Some(8)),
            ("1e3", Some(1000)),
            ("\"12\"", Some(12)),
            ("-5", Some(0)),
            ("-0.5", Some(0)),
            ("1e300", Some(u64::MAX)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("null", None),
            ("\"many\"", None),
            ("true", None),
            ("[1,{\"a\":2}]", None),
            ("{\"a\":[1]}", None),
        ] {
            assert_eq!(serde_json::from_str::<Count>(json).unwrap().0, expect, "{json}");
        }
    }

    #[test]
    fn costs_are_exact_and_round_up() {
        for (json, pico) in [
            ("0.0160614", Some(16_061_400_000)),
            ("4e-05", Some(40_000_000)),
            ("4.1400000000000003e-05", Some(41_400_001)),
            ("0.0004970133333333333", Some(497_013_334)),
            ("1.13E-05", Some(11_300_000)),
            ("2", Some(2_000_000_000_000)),
            ("0", Some(0)),
            ("0e-99999", Some(0)),
            ("\"0.5\"", Some(500_000_000_000)),
            ("{\"total_cost\":0.005,\"request_cost\":0.005}", Some(5_000_000_000)),
            ("1e-40", Some(1)),
            ("9e99", Some(u128::MAX)),
            ("-1", None),
            ("null", None),
            ("{}", None),
            ("[]", None),
        ] {
            assert_eq!(serde_json::from_str::<Cost>(json).unwrap().0.map(Usd::pico), pico, "{json}");
        }
    }

    usage_fields! {
        Detail {
            a: Count,
        }
    }

    #[test]
    fn what_is_no_object_counts_as_not_sent() {
        assert_eq!(serde_json::from_str::<Lenient<Named>>("{\"a\":1,\"b\":null}").unwrap().0.0, [("a".into(), 1)]);
        let detail = serde_json::from_str::<Details<Detail>>("{\"a\":1,\"b\":{\"a\":[2]}}").unwrap();
        assert_eq!(detail.0.a.get(), 1);
        for json in ["null", "3", "-3", "0.5", "true", "\"x\"", "\"\\u00e4\"", "[1,{\"a\":1}]"] {
            assert_eq!(serde_json::from_str::<Lenient<Named>>(json).unwrap().0, Named::default(), "{json}");
            assert_eq!(serde_json::from_str::<Details<Detail>>(json).unwrap().0.a, Count(None), "{json}");
        }
    }
}
