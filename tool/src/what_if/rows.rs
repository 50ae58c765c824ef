//! Logged requests as rows of a list, each for equal ones.

use crate::failure::Failure;
use crate::logs::{Logged, Record};
use egress_warden::time::Time;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::time::Duration;

/// Equal requests.
#[derive(Debug)]
pub(super) struct Row {
    /// Its number in the list.
    pub(super) number: usize,
    /// How many requests it stands for.
    pub(super) requests: u64,
    /// When they came: from the start of the first one's millisecond to the end of the last one's. Absent
    /// where that is not known.
    pub(super) times: Option<(Time, Time)>,
    /// The request, without its time.
    pub(super) logged: Box<Logged<'static>>,
}

/// Logged requests, the most frequent first.
#[derive(Debug)]
pub struct Rows(pub(super) Vec<Row>);

impl Rows {
    /// Reads a list in JSON of rows, each `[REQUESTS, FIRST, LAST, …, RECORD]`: the times in milliseconds
    /// since the Unix epoch or `null`, the record as an object or as its text. What stands between is
    /// passed over.
    ///
    /// # Errors
    ///
    /// What is no such list.
    pub fn read(text: &str) -> Result<Self, super::Error> {
        let mut rows: Vec<Row> = serde_json::from_str(text).map_err(|error| {
            let remedy = "give `[REQUESTS, FIRST, LAST, …, RECORD]`";
            super::Error(Failure::new("the rows", error.to_string(), remedy))
        })?;
        for (number, row) in rows.iter_mut().enumerate() {
            row.number = number;
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.requests));
        Ok(Self(rows))
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of a count, two times and a record")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Row, A::Error> {
        let missing = |at| A::Error::invalid_length(at, &self);
        let requests = items.next_element()?.ok_or_else(|| missing(0))?;
        let first: Option<u64> = items.next_element()?.ok_or_else(|| missing(1))?;
        let last: Option<u64> = items.next_element()?.ok_or_else(|| missing(2))?;
        let mut record = None;
        while let Some(item) = items.next_element::<Item>()? {
            record = item.0;
        }
        let record = record.ok_or_else(|| A::Error::custom("a row without a record at its end"))?;
        let times = match (first.zip(last), record.is_undated()) {
            (Some((first, last)), false) => Some(times(first, last).ok_or_else(|| {
                A::Error::custom(format_args!("no times from {first} to {last}"))
            })?),
            (None, _) | (_, true) => None,
        };
        let logged = Box::new(Logged::of_record(record, None));
        Ok(Row { number: 0, requests, times, logged })
    }
}

/// All times that are logged as milliseconds from the first to the last.
fn times(first: u64, last: u64) -> Option<(Time, Time)> {
    let end = Duration::from_millis(last).checked_add(Duration::from_nanos(999_999))?;
    let from = Time::after_epoch(Duration::from_millis(first))?;
    (first <= last).then_some((from, Time::after_epoch(end)?))
}

/// What may stand behind the times: the record, or something else.
struct Item(Option<Record<'static>>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record, or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
        Record::deserialize(MapAccessDeserializer::new(map)).map(|record| Item(Some(record)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        serde_json::from_str(text).map(|record| Item(Some(record))).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Item(None))
    }

    fn visit_unit<E: Error>(self) -> Result<Item, E> {
        Ok(Item(None))
    }
}
