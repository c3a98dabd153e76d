//! What is wrong with the fields of a request.
//!
//! **Invariant:** of one object at most [`ERRORS_MAX`] are told, so that no answer is many times as large as its request. All are
//! counted.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use crate::content::FieldProblem;
use crate::notification::{AudienceError, NameError};

/// More than an object has that somebody wrote with some of the fields in mind.
const ERRORS_MAX: usize = 32;

/// One wrong place in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldError {
    /// JSON pointer to it.
    #[schema(examples("/to"))]
    pub pointer: String,
    /// What is wrong, for programs.
    #[schema(examples("audience"))]
    pub code: &'static str,
    /// What is wrong, for people.
    #[schema(examples("must be user:ID, topic:NAME or everyone"))]
    pub detail: String,
    /// What may have been meant.
    #[schema(value_type = String, examples("did you mean user:1?"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What is wrong with an object.
#[derive(Clone, Debug, Default)]
pub struct FieldErrors {
    told: Vec<FieldError>,
    count: usize,
}

impl FieldErrors {
    /// Notes one, which is made only if it is told.
    pub fn note(&mut self, error: impl FnOnce() -> FieldError) {
        self.count += 1;
        if self.told.len() < ERRORS_MAX {
            self.told.push(error());
        }
    }

    /// Notes those of an object that stands within this one.
    pub fn append(&mut self, inner: FieldErrors) {
        let untold = inner.count - inner.told.len();
        inner.told.into_iter().for_each(|error| self.note(|| error));
        self.count += untold;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether one of those that are told stands at such a place.
    pub fn any_at(&self, is_there: impl Fn(&str) -> bool) -> bool {
        self.told.iter().any(|error| is_there(&error.pointer))
    }

    /// Those that are told.
    pub fn told(self) -> Vec<FieldError> {
        self.told
    }
}

impl From<FieldError> for FieldErrors {
    fn from(error: FieldError) -> FieldErrors {
        FieldErrors { told: vec![error], count: 1 }
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.told.as_slice() {
            [error] if self.count == 1 => write!(f, "`{}` {}", error.pointer, error.detail),
            told if told.len() < self.count => {
                write!(f, "{} fields are wrong; these are the first {}", self.count, told.len())
            }
            _ => write!(f, "{} fields are wrong", self.count),
        }
    }
}

impl FieldError {
    /// A wrong field.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> FieldError {
        FieldError { pointer: pointer.into(), code, detail: detail.into(), hint: None }
    }

    /// With the name that may have been meant.
    #[must_use]
    pub fn with_hint(mut self, meant: Option<&str>) -> FieldError {
        self.hint = meant.map(|name| format!("did you mean {name}?"));
        self
    }

    /// The code of what is wrong with a field of the content.
    pub fn code_of(problem: FieldProblem) -> &'static str {
        match problem {
            FieldProblem::Empty => "empty",
            FieldProblem::TooLong { .. } => "too_long",
            FieldProblem::Character | FieldProblem::Invisible => "character",
            FieldProblem::Url => "url",
            FieldProblem::TooDeep => "too_deep",
            FieldProblem::TooMany { .. } => "too_many",
            FieldProblem::Language => "language",
        }
    }

    /// An audience.
    pub fn audience(pointer: String, given: &str, error: AudienceError) -> FieldError {
        let code = match error {
            AudienceError::Kind => "audience",
            AudienceError::Name(NameError::Empty) => "empty",
            AudienceError::Name(NameError::TooLong) => "too_long",
            AudienceError::Name(NameError::Character) => "character",
        };
        let mut field = FieldError::new(pointer, code, error.to_string());
        if error == AudienceError::Kind {
            field.hint = audience_meant(given);
        }
        field
    }
}

/// What a mistyped audience may have meant.
fn audience_meant(given: &str) -> Option<String> {
    let (kind, name) = given.split_once(':').unwrap_or((given, ""));
    let nearest = nearest(kind, ["user", "topic", "everyone"])?;
    match (nearest, name) {
        ("everyone", _) => Some("did you mean everyone?".into()),
        (_, "") => None,
        (nearest, name) if name.len() <= 40 => Some(format!("did you mean {nearest}:{name}?")),
        (nearest, _) => Some(format!("did you mean {nearest}:…?")),
    }
}

/// The known name that is most like the given one, if any is.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&given.to_lowercase(), name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutant: all are told.
    #[test]
    fn of_many_wrong_fields_the_first_are_told_and_all_are_counted() {
        let error = |number: usize| FieldError::new(format!("/{number}"), "unknown_field", "is not a field");
        let mut errors = FieldErrors::from(error(0));
        assert_eq!(errors.to_string(), "`/0` is not a field");
        let mut inner = FieldErrors::default();
        (1..ERRORS_MAX).for_each(|number| inner.note(|| error(number)));
        errors.append(inner);
        assert_eq!(errors.to_string(), "32 fields are wrong");
        let mut inner = FieldErrors::default();
        (0..2 * ERRORS_MAX).for_each(|number| inner.note(|| error(number)));
        errors.append(inner);
        errors.note(|| unreachable!("it is not told"));
        assert_eq!(errors.to_string(), "97 fields are wrong; these are the first 32");
        assert_eq!(errors.told(), (0..ERRORS_MAX).map(error).collect::<Vec<_>>());
    }
}
