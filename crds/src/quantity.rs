//! Kubernetes quantities such as `20Gi`, `500m`, `1e9`, read as numbers.
//!
//! Owns: the number a text means. Does not own: writing quantities; they are passed on as they were written.
//! Grammar: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A text that is no quantity, or is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a quantity; expected a form like 500m, 2, 512Mi or 20Gi")]
pub struct QuantityError {
    found: String,
}

/// The quantity as a whole number of bytes (or of whatever it counts), rounded up.
///
/// # Errors
/// When the text is no quantity, is negative, or is beyond 2^63-1.
pub fn bytes(quantity: &Quantity) -> Result<u64, QuantityError> {
    Ok(nanos(quantity)?.div_ceil(NANOS) as u64)
}

/// The quantity in billionths of its unit; the largest is 2^63-1 units.
pub(crate) fn nanos(quantity: &Quantity) -> Result<u128, QuantityError> {
    parse(&quantity.0).ok_or_else(|| QuantityError {
        found: quantity.0.clone(),
    })
}

pub(crate) const NANOS: u128 = 1_000_000_000;

fn parse(text: &str) -> Option<u128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let number_length = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .count();
    let (number, suffix) = text.split_at(number_length);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 9 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let numerator = digits.checked_mul(suffix_in_nanos(suffix)?)?;
    let value = numerator.div_ceil(10_u128.pow(fraction.len() as u32));
    (value <= i64::MAX as u128 * NANOS).then_some(value)
}

fn suffix_in_nanos(suffix: &str) -> Option<u128> {
    let binary = |power: u32| Some(NANOS << (10 * power));
    match suffix {
        "n" => Some(1),
        "u" => Some(1_000),
        "m" => Some(1_000_000),
        "" => Some(NANOS),
        "k" => Some(NANOS * 1_000),
        "M" => Some(NANOS * 1_000_000),
        "G" => Some(NANOS * 1_000_000_000),
        "T" => Some(NANOS * 1_000_000_000_000),
        "P" => Some(NANOS * 1_000_000_000_000_000),
        "E" => Some(NANOS * 1_000_000_000_000_000_000),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            match u32::try_from(exponent.checked_add(9)?).ok()? {
                power @ 0..=27 => Some(10_u128.pow(power)),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity(text.to_owned())
    }

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("1", 1),
            ("1.5Gi", 1_610_612_736),
            ("20Gi", 21_474_836_480),
            ("512Mi", 536_870_912),
            ("1k", 1_000),
            ("1e3", 1_000),
            ("2E", 2_000_000_000_000_000_000),
            ("100m", 1),
            ("1500m", 2),
            ("7Ei", 7 << 60),
            (".5G", 500_000_000),
        ] {
            assert_eq!(bytes(&quantity(text)), Ok(expected), "{text}");
        }
        assert_eq!(nanos(&quantity("250m")), Ok(250_000_000));
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_its_text() {
        for text in [
            "",
            ".",
            "-1Gi",
            "1 Gi",
            "Gi",
            "1GiB",
            "1.2.3",
            "ten",
            "8Ei",
            "1e",
            "1e99",
            "1e2147483647",
            "99999999999E",
        ] {
            let error = bytes(&quantity(text)).unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
