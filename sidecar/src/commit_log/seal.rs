//! A commit record's own checksum: a flipped bit would still be JSON, and name another version.
//!
//! Form: the record's JSON object with one more field, the last one: `,"checksum":"<BLAKE3 of the object before, hex>"}`.
//! The hash is over the bytes as they are in the store, so that no reader has to write JSON exactly as the writer did.

const FIELD: &[u8] = b",\"checksum\":\"";
const END: &[u8] = b"\"}";
/// Hexadecimal digits of the hash.
const DIGITS: usize = 64;

/// Adds the checksum to a JSON object.
pub(super) fn seal(mut object: Vec<u8>) -> Vec<u8> {
    let hash = blake3::hash(&object).to_hex();
    object.pop();
    object.extend_from_slice(FIELD);
    object.extend_from_slice(hash.as_bytes());
    object.extend_from_slice(END);
    object
}

/// The JSON object without its checksum.
///
/// # Errors
/// What is wrong: there is no checksum, or it is not that of the object.
pub(super) fn unseal(sealed: &[u8]) -> Result<Vec<u8>, String> {
    let trailer = FIELD.len() + DIGITS + END.len();
    let parts = sealed.len().checked_sub(trailer).map(|end| sealed.split_at(end));
    let digits = parts.and_then(|(_, trailer)| trailer.strip_prefix(FIELD)?.strip_suffix(END));
    let (Some((object, _)), Some(digits)) = (parts, digits) else {
        return Err("it does not end with a checksum: it was cut off or changed".to_owned());
    };
    let mut object = object.to_vec();
    object.push(b'}');
    let found = blake3::hash(&object).to_hex();
    if found.as_bytes() == digits {
        Ok(object)
    } else {
        Err("its checksum is not that of its content: it was changed after it was written".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &[u8] = br#"{"seq":42,"tables":[{"table":"A","version":7}]}"#;

    #[test]
    fn a_sealed_object_is_still_one_json_object() {
        let sealed = seal(OBJECT.to_vec());
        let parsed: serde_json::Value = serde_json::from_slice(&sealed).unwrap();
        assert_eq!(parsed["seq"], 42);
        assert_eq!(parsed["checksum"].as_str().map(str::len), Some(DIGITS));
        assert_eq!(unseal(&sealed).unwrap(), OBJECT);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let sealed = seal(OBJECT.to_vec());
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(unseal(&sealed[..length]).is_err(), "cut to {length}");
        }
        assert!(unseal(OBJECT).is_err());
    }
}
