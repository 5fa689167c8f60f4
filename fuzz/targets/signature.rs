//! What a registry gives as a signature: the signed document, a Sigstore bundle, and keys in PEM.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_registry::Digest;
use purlin_registry::signature::{
    Expected, Outcome, PrivateKey, PublicKey, Stored, TrustedKey, bundle, payload, verify,
};

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfLc0Vd67BSNv7BMMoATXUcUXN1qp
87Gw2zeVkMfUwDCzgvfUepb++y2wb/aEPWhSR6loYbLI1///Y6xENgQ3ig==
-----END PUBLIC KEY-----
";

fuzz_target!(|data: &[u8]| {
    let _ = (payload::read(data), bundle::read(data));
    let text = String::from_utf8_lossy(data);
    let _ = (PublicKey::from_pem(&text), PrivateKey::from_pem(&text, b""));
    let keys = [TrustedKey { name: "k".to_owned(), key: PublicKey::from_pem(KEY).unwrap() }];
    let digest = Digest::of(b"");
    let expected = Expected { digest: &digest, signed_as: &[] };
    let (head, rest) = data.split_at(data.len() / 2);
    let stored = [
        Stored::Bundle(data.to_vec()),
        Stored::Simple { payload: head.to_vec(), signature: String::from_utf8_lossy(rest).into_owned() },
    ];
    // Nobody has that key's other half.
    assert!(!matches!(verify(&stored, &keys, expected), Outcome::Valid { .. }));
});
