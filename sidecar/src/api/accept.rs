//! Which form of answer a request's `Accept` header asks for.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::problem::{Problem, ProblemKind};

/// The forms that a query's answer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerFormat {
    Json,
    Ndjson,
    ArrowStream,
}

const FORMATS: [AnswerFormat; 3] = [
    AnswerFormat::Json,
    AnswerFormat::Ndjson,
    AnswerFormat::ArrowStream,
];

impl AnswerFormat {
    /// The format for the `Accept` headers of a request; JSON where there is none.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let accepted: Vec<&str> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        if accepted.is_empty() {
            return Ok(Self::Json);
        }
        let accepted = accepted.join(",");
        best(&accepted).ok_or_else(|| {
            let known: Vec<&str> = FORMATS.iter().map(|format| format.media_type()).collect();
            let detail = format!("Accept: expected one of {}, found {accepted:?}", known.join(", "));
            Problem::new(ProblemKind::NotAcceptable, detail)
        })
    }

    /// The `Content-Type` of the answer.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::ArrowStream => "application/vnd.apache.arrow.stream",
        }
    }
}

/// The known media range with the highest weight (RFC 9110, section 12.5.1); among equals the first.
fn best(accept: &str) -> Option<AnswerFormat> {
    let mut best: Option<(AnswerFormat, f32)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, |text| text.parse().unwrap_or(0.0));
        let format = match media_type.as_str() {
            "*/*" | "application/*" => Some(AnswerFormat::Json),
            "application/ndjson" => Some(AnswerFormat::Ndjson),
            other => FORMATS.into_iter().find(|format| format.media_type() == other),
        };
        if let Some(format) = format
            && weight > best.map_or(0.0, |(_, weight)| weight)
        {
            best = Some((format, weight));
        }
    }
    best.map(|(format, _)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_known_media_type_wins() {
        use AnswerFormat::{ArrowStream, Json, Ndjson};
        for (accept, expected) in [
            ("*/*", Some(Json)),
            ("application/*;q=0.2", Some(Json)),
            ("application/json", Some(Json)),
            ("Application/X-NDJSON", Some(Ndjson)),
            (
                "application/vnd.apache.arrow.stream, application/json",
                Some(ArrowStream),
            ),
            ("application/json;q=0.5, application/x-ndjson", Some(Ndjson)),
            ("text/html, application/json; charset=utf-8; q=0.1", Some(Json)),
            ("application/json;q=0", None),
            ("text/csv", None),
            ("", None),
        ] {
            assert_eq!(best(accept), expected, "{accept}");
        }
    }
}
