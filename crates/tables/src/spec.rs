//! What to read of the user's files, and by which rules.

use crate::error::TablesError;
use crate::op::Shape;
use serde::{Deserialize, Serialize};
use tensor::{Cycle, Duplicates, Small, SplitPart, TimeBin};

/// What becomes of a row that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// The ingest fails and names the first one in the order (file, row).
    #[default]
    Reject,
    /// It is left out and counted by its reason.
    Skip,
}

/// Values that the model can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueRule {
    /// Any finite value.
    #[default]
    Finite,
    /// Zero or more.
    NonNegative,
    /// More than zero.
    Positive,
}

/// What the events of rows count: their names as text, an integer's in decimals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRule {
    /// The column: text or integers.
    pub column: String,
    /// What a value of each is multiplied by, above 0, in the order of the names.
    pub weights: Vec<(String, f64)>,
}

/// Settings are checked: weights are numbers.
impl Eq for EventRule {}

impl EventRule {
    /// The weight of an event; `None` where it has no name.
    pub fn weight(&self, name: &str) -> Option<f64> {
        let place = self
            .weights
            .binary_search_by(|(known, _)| known.as_str().cmp(name));
        place.ok().map(|place| self.weights[place].1)
    }
}

/// Where contexts come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContextSpec {
    /// The ids of a column: any integer, text or binary column.
    Column(String),
    /// The places of the times in a cycle.
    Cycle(Cycle),
}

/// Why a row cannot be used. The order is that in which a row is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BadReason {
    /// The user is null.
    NullUser,
    /// The product is null.
    NullProduct,
    /// The time is null.
    NullTime,
    /// The time lies beyond what can be numbered.
    TimeOutOfRange,
    /// The time lies before the first bin of the data set that an update adds to.
    BeforeFirstBin,
    /// The context is null.
    NullContext,
    /// The event is null.
    NullEvent,
    /// The event has no weight.
    UnknownEvent,
    /// The value is null.
    NullValue,
    /// The value is not a number.
    NanValue,
    /// The value is infinite.
    InfiniteValue,
    /// The value leaves the range of f32.
    ValueOutOfRange,
    /// The value is forbidden by the [`ValueRule`].
    ForbiddenValue,
    /// The time is not wanted. No fault of the row: it is left out and counted, whatever becomes of bad rows.
    OutsideRange,
}

impl BadReason {
    /// The key under which such rows are counted.
    pub fn key(self) -> &'static str {
        match self {
            BadReason::NullUser => "null_user",
            BadReason::NullProduct => "null_product",
            BadReason::NullTime => "null_time",
            BadReason::TimeOutOfRange => "time_out_of_range",
            BadReason::BeforeFirstBin => "before_first_bin",
            BadReason::NullContext => "null_context",
            BadReason::NullEvent => "null_event",
            BadReason::UnknownEvent => "unknown_event",
            BadReason::NullValue => "null_value",
            BadReason::NanValue => "nan_value",
            BadReason::InfiniteValue => "infinite_value",
            BadReason::ValueOutOfRange => "value_out_of_range",
            BadReason::ForbiddenValue => "forbidden_value",
            BadReason::OutsideRange => "outside_range",
        }
    }

    /// The end of the sentence about such a row.
    pub fn fault(self, rule: ValueRule) -> &'static str {
        match self {
            BadReason::NullUser
            | BadReason::NullProduct
            | BadReason::NullTime
            | BadReason::NullContext
            | BadReason::NullEvent
            | BadReason::NullValue => "is null",
            BadReason::UnknownEvent => "is an event without a weight",
            BadReason::TimeOutOfRange => "is a time beyond what can be numbered",
            BadReason::BeforeFirstBin => {
                "lies before the first time bin of the data set, which cannot begin earlier (ingest all files anew for that)"
            }
            BadReason::NanValue => "is not a number",
            BadReason::InfiniteValue => "is infinite",
            BadReason::ValueOutOfRange => "leaves the range of f32",
            BadReason::OutsideRange => "lies outside the range of times",
            BadReason::ForbiddenValue if rule == ValueRule::Positive => {
                "is not positive, as the model wants"
            }
            BadReason::ForbiddenValue => "is negative, which the model forbids",
        }
    }
}

/// What to read and how. Part of the data set's lineage, `parts` by way of the order of the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanSpec {
    /// The column of users: any integer, text or binary column.
    pub user: String,
    /// The column of products, likewise.
    pub product: String,
    /// The column of times: date, timestamp (any unit; a zone is brought to UTC, none is taken as UTC) or
    /// integer. Integers are seconds since 1970-01-01T00:00:00Z, and bin numbers where `time_bin` is `None`.
    pub time: Option<String>,
    /// The column of values: integer, float or decimal. Without one each row counts 1.
    pub value: Option<String>,
    /// What the events of rows count; values are multiplied by it before duplicates are combined.
    pub event: Option<EventRule>,
    /// Whether values below 0 are kept, to be taken off the others of their pair by every view.
    pub nets: bool,
    /// The width of a time bin.
    pub time_bin: TimeBin,
    /// Contexts, where there are any.
    pub context: Option<ContextSpec>,
    /// What becomes of several rows of one (user, product, bin, context). `Count` ignores values.
    pub duplicates: Duplicates,
    /// What becomes of bad rows.
    pub on_bad_row: OnBadRow,
    /// Values that the model can take.
    pub value_rule: ValueRule,
    /// The part of each file, in the order of the files; empty: all are `Train`.
    pub parts: Vec<SplitPart>,
}

impl ScanSpec {
    /// The named columns with their roles.
    pub fn roles(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let time = self.time.as_deref().map(|column| ("time", column));
        let value = self.value.as_deref().map(|column| ("value", column));
        let context = self.context_column().map(|column| ("context", column));
        let event = self.event.as_ref();
        let event = event.map(|rule| ("event", rule.column.as_str()));
        [
            ("user", self.user.as_str()),
            ("product", self.product.as_str()),
        ]
        .into_iter()
        .chain(time)
        .chain(context)
        .chain(value)
        .chain(event)
    }

    /// The column of contexts, where they have one of their own.
    pub fn context_column(&self) -> Option<&str> {
        match &self.context {
            Some(ContextSpec::Column(column)) => Some(column),
            _ => None,
        }
    }

    /// The cycle whose places are the contexts.
    pub fn cycle(&self) -> Option<Cycle> {
        match self.context {
            Some(ContextSpec::Cycle(cycle)) => Some(cycle),
            _ => None,
        }
    }

    /// The shape of a record.
    pub fn shape(&self) -> Shape {
        Shape {
            small: Small {
                time: self.time.is_some(),
                context: self.context.is_some(),
            },
            value: self.has_values(),
        }
    }

    /// Whether values are read at all.
    pub fn reads_values(&self) -> bool {
        self.value.is_some() && self.duplicates != Duplicates::Count
    }

    /// Whether interactions have values of their own: those of a column, or the weights of events.
    pub fn has_values(&self) -> bool {
        self.reads_values() || self.event.is_some()
    }

    /// The part of a file.
    pub fn part(&self, file: usize) -> SplitPart {
        self.parts.get(file).copied().unwrap_or(SplitPart::Train)
    }

    /// Checks what can be checked without a file.
    ///
    /// # Errors
    /// Where one column plays two roles, or the parts do not match the files.
    pub fn check(&self, files: usize) -> Result<(), TablesError> {
        let roles: Vec<_> = self.roles().collect();
        for (i, (second, column)) in roles.iter().enumerate() {
            if let Some((first, _)) = roles[..i].iter().find(|(_, other)| other == column) {
                return Err(TablesError::SameColumn {
                    column: (*column).to_owned(),
                    first,
                    second,
                });
            }
        }
        if !self.parts.is_empty() && self.parts.len() != files {
            return Err(TablesError::Malformed(
                "a part must be given for every file or for none",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_plays_one_role() {
        let spec = |time: Option<&str>| ScanSpec {
            user: "u".into(),
            product: "p".into(),
            time: time.map(str::to_owned),
            value: Some("v".into()),
            event: None,
            nets: false,
            time_bin: TimeBin::Week,
            context: None,
            duplicates: Duplicates::Sum,
            on_bad_row: OnBadRow::Reject,
            value_rule: ValueRule::Finite,
            parts: vec![],
        };
        assert!(spec(None).check(1).is_ok());
        let sentence = spec(Some("p")).check(1).unwrap_err().to_string();
        assert_eq!(
            sentence,
            "column `p` is named both as product and as time: name another column"
        );
        let roles: Vec<_> = spec(Some("t")).roles().map(|(role, _)| role).collect();
        assert_eq!(roles, ["user", "product", "time", "value"]);
    }
}
