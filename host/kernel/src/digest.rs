//! Numbers and names that follow from an object: seeds, hashes, and the names of trials.
//!
//! Pure: the same input gives the same output in every process and every version, because names and seeds outlive both.

use hmac_sha256::mac;
use serde_json::Value;
use sha2::{Digest, Sha256};

mod hmac_sha256 {
    //! HMAC (RFC 2104) over SHA-256.

    use sha2::{Digest, Sha256};

    const BLOCK: usize = 64;

    pub(super) fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
        let mut block = [0_u8; BLOCK];
        if key.len() > BLOCK {
            block[..32].copy_from_slice(&Sha256::digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let inner =
            Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
        Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
    }
}

/// The seed that every call about an object has.
pub(crate) fn seed(uid: &str) -> u64 {
    first_u64(&Sha256::digest(uid.as_bytes()))
}

/// A hash of a JSON value; objects hash the same whatever the order of their fields.
pub(crate) fn json_hash(value: &Value) -> u64 {
    let mut hasher = Sha256::new();
    hash_into(&mut hasher, value);
    first_u64(&hasher.finalize())
}

/// The name of a trial: the experiment's name, cut so that the whole has at most 63 characters, and eight characters
/// that follow from the experiment's UID and the trial's index.
pub(crate) fn trial_name(experiment: &str, uid: &str, index: u32) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let hash = Sha256::new().chain_update(uid.as_bytes()).chain_update([0]).chain_update(index.to_be_bytes());
    let mut number = first_u64(&hash.finalize());
    let mut suffix = String::with_capacity(8);
    for _ in 0..8 {
        suffix.push(char::from(ALPHABET[(number % 36) as usize]));
        number /= 36;
    }
    let prefix = crate::event::shorten(experiment, 63 - 9).trim_end_matches(['-', '.']);
    format!("{prefix}-{suffix}")
}

/// The token with which a trial may send metrics: good for this trial and no other.
pub(crate) fn push_token(key: &[u8], trial_uid: &str) -> String {
    hex::encode(mac(key, trial_uid.as_bytes()))
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub(crate) fn same_secret(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn first_u64(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn hash_into(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(flag) => hasher.update(if *flag { b"t" } else { b"f" }),
        Value::Number(number) => text_into(hasher, b'#', &number.to_string()),
        Value::String(text) => text_into(hasher, b's', text),
        Value::Array(items) => {
            hasher.update(b"[");
            hasher.update((items.len() as u64).to_be_bytes());
            items.iter().for_each(|item| hash_into(hasher, item));
        }
        Value::Object(fields) => {
            hasher.update(b"{");
            hasher.update((fields.len() as u64).to_be_bytes());
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            for (name, field) in sorted {
                text_into(hasher, b'k', name);
                hash_into(hasher, field);
            }
        }
    }
}

fn text_into(hasher: &mut Sha256, tag: u8, text: &str) {
    hasher.update([tag]);
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{json_hash, push_token, same_secret, trial_name};
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn hmac_gives_the_published_answers() {
        // RFC 4231, test cases 2 and 6.
        assert_eq!(
            hex::encode(super::mac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex::encode(super::mac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn fields_hash_the_same_in_any_order() {
        let left: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":[true,null]}"#).unwrap();
        let right: serde_json::Value = serde_json::from_str(r#"{"b":[true,null],"a":1}"#).unwrap();
        assert_eq!(json_hash(&left), json_hash(&right));
        assert_ne!(json_hash(&json!({"a": "1"})), json_hash(&json!({"a": 1})));
        assert_ne!(json_hash(&json!(["ab", "c"])), json_hash(&json!(["a", "bc"])));
    }

    #[test]
    fn a_token_is_for_one_trial() {
        assert_ne!(push_token(b"key", "one"), push_token(b"key", "two"));
        assert!(same_secret(b"same", b"same") && !same_secret(b"same", b"sane") && !same_secret(b"a", b"ab"));
    }

    #[test]
    fn a_trial_keeps_its_name_for_ever() {
        // Names are in people's clusters: this value must not change.
        assert_eq!(trial_name("random", "a-uid", 0), trial_name("random", "a-uid", 0));
        assert_ne!(trial_name("random", "a-uid", 0), trial_name("random", "a-uid", 1));
        assert_ne!(trial_name("random", "a-uid", 0), trial_name("random", "b-uid", 0));
    }

    proptest! {
        #[test]
        fn a_trial_name_is_a_dns_label(experiment in "[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", index: u32) {
            let name = trial_name(&experiment, "uid", index);
            prop_assert!(name.len() <= 63);
            prop_assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(name.rsplit_once('-').is_some_and(|(_, suffix)| suffix.len() == 8));
        }
    }
}
