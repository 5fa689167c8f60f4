//! What is accepted, and everything that is not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NAME: &str = "ghcr.io/acme/tuner";

struct Fixture {
    key: PrivateKey,
    digest: Digest,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { key: PrivateKey::generate().expect("key"), digest: Digest::of(b"artifact") }
    }

    fn trusted(&self) -> Vec<TrustedKey> {
        vec![TrustedKey { name: "acme".to_owned(), key: self.key.public() }]
    }

    /// A signature by the right key over any document.
    fn over(&self, payload: &[u8]) -> Stored {
        Stored::Simple { payload: payload.to_vec(), signature: STANDARD.encode(self.key.sign(payload)) }
    }

    fn good(&self) -> Stored {
        self.over(&payload::write(NAME, &self.digest).expect("payload"))
    }

    fn verify(&self, stored: &[Stored]) -> Outcome {
        verify(stored, &self.trusted(), Expected { digest: &self.digest, signed_as: &[] })
    }

    fn verify_as(&self, stored: &Stored, names: &[&str]) -> Outcome {
        let signed_as: Vec<String> = names.iter().map(ToString::to_string).collect();
        let expected = Expected { digest: &self.digest, signed_as: &signed_as };
        verify(std::slice::from_ref(stored), &self.trusted(), expected)
    }

    fn statement(&self) -> Value {
        json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": self.digest.hex()}}],
            "predicateType": bundle::SIGN_PREDICATE, "predicate": {},
        })
    }

    fn bundle(&self, statement: &Value, payload_type: &str) -> Stored {
        let payload = statement.to_string();
        let message = format!("DSSEv1 {} {payload_type} {} {payload}", payload_type.len(), payload.len());
        Stored::Bundle(
            json!({
                "mediaType": bundle::MEDIA_TYPE,
                "verificationMaterial": {"publicKey": {"hint": "x"}},
                "dsseEnvelope": {
                    "payload": STANDARD.encode(&payload), "payloadType": payload_type,
                    "signatures": [{"sig": STANDARD.encode(self.key.sign(message.as_bytes()))}],
                },
            })
            .to_string()
            .into_bytes(),
        )
    }
}

fn valid() -> Outcome {
    Outcome::Valid { key: "acme".to_owned() }
}

fn problem(outcome: Outcome) -> String {
    let Outcome::Invalid { problems } = outcome else { panic!("{outcome:?} is not `Invalid`") };
    problems.join("; ")
}

#[test]
fn a_signature_by_a_trusted_key_counts() {
    let fixture = Fixture::new();
    assert_eq!(fixture.verify(&[fixture.good()]), valid());
    assert_eq!(fixture.verify(&[]), Outcome::Missing);
}

#[test]
fn the_document_is_what_cosign_writes() {
    let digest = Digest::of(b"");
    let text =
        String::from_utf8(payload::write("localhost:5000/a", &digest).expect("payload")).expect("text");
    let expected = format!(
        "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"localhost:5000/a\"}},\"image\":\
         {{\"docker-manifest-digest\":\"{digest}\"}},\"type\":\"cosign container image signature\"}},\"optional\":null}}"
    );
    assert_eq!(text, expected);
}

#[test]
fn another_key_does_not_count() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    assert_eq!(fixture.verify(&[other.good()]), Outcome::NoMatchingKey { found: 1 });
    // With no key at all nothing is signed by one of them.
    let expected = Expected { digest: &fixture.digest, signed_as: &[] };
    assert_eq!(verify(&[fixture.good()], &[], expected), Outcome::NoMatchingKey { found: 1 });
}

#[test]
fn one_good_signature_among_bad_ones_is_enough() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let wrong = fixture.over(&payload::write(NAME, &Digest::of(b"other")).expect("payload"));
    let broken = Stored::Unreadable("damaged".to_owned());
    assert_eq!(fixture.verify(&[other.good(), wrong, broken, fixture.good()]), valid());
}

#[test]
fn a_signature_of_another_artifact_is_refused() {
    let fixture = Fixture::new();
    let other = Digest::of(b"other");
    let stored = fixture.over(&payload::write(NAME, &other).expect("payload"));
    assert!(problem(fixture.verify(&[stored])).contains(other.as_str()));
}

#[test]
fn the_name_counts_where_the_policy_wants_one() {
    let fixture = Fixture::new();
    let good = fixture.good();
    for names in [&["ghcr.io/acme"][..], &["ghcr.io/acme/"], &["quay.io", NAME], &[]] {
        assert_eq!(fixture.verify_as(&good, names), valid(), "{names:?}");
    }
    for names in [&["ghcr.io/acm"][..], &["ghcr.io/acme/tuner/x"], &["quay.io"]] {
        assert!(problem(fixture.verify_as(&good, names)).contains("signed as"), "{names:?}");
    }
    let tagged = fixture.over(&payload::write(&format!("{NAME}:1.0"), &fixture.digest).expect("payload"));
    assert_eq!(fixture.verify_as(&tagged, &[NAME]), valid());
}

#[test]
fn what_is_critical_and_unknown_is_refused() {
    let fixture = Fixture::new();
    let good: Value =
        serde_json::from_slice(&payload::write(NAME, &fixture.digest).expect("payload")).expect("json");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut document = good.clone();
        change(&mut document);
        fixture.verify(&[fixture.over(document.to_string().as_bytes())])
    };
    let type_ = changed(&|d| d["critical"]["type"] = json!("atomic container signature"));
    assert!(problem(type_).contains("atomic container signature"));
    assert!(problem(changed(&|d| d["critical"]["expires"] = json!("never"))).contains("expires"));
    problem(changed(&|d| d["critical"]["image"] = json!(null)));
    problem(changed(&|d| *d = json!([])));
    // What is optional is for whoever knows it.
    assert_eq!(changed(&|d| d["optional"] = json!({"creator": "x", "timestamp": 1})), valid());
    // The same name twice would be read one way here and another way elsewhere.
    let text = good.to_string();
    let twice = text.replace("\"type\":", "\"type\":\"x\",\"type\":");
    problem(fixture.verify(&[fixture.over(twice.as_bytes())]));
}

#[test]
fn damage_is_seen() {
    let fixture = Fixture::new();
    let Stored::Simple { payload, signature } = fixture.good() else { panic!("simple") };
    for length in [0, 1, payload.len() - 1] {
        let cut = Stored::Simple { payload: payload[..length].to_vec(), signature: signature.clone() };
        assert_eq!(fixture.verify(&[cut]), Outcome::NoMatchingKey { found: 1 });
    }
    for signature in ["", "%%%", "AAAA", &signature[..signature.len() - 4]] {
        let cut = Stored::Simple { payload: payload.clone(), signature: signature.to_owned() };
        assert_ne!(fixture.verify(&[cut]), valid());
    }
}

#[test]
fn a_bundle_counts_when_it_signs_this_artifact() {
    let fixture = Fixture::new();
    let kind = "application/vnd.in-toto+json";
    assert_eq!(fixture.verify(&[fixture.bundle(&fixture.statement(), kind)]), valid());
    let other = Fixture::new();
    assert_eq!(
        fixture.verify(&[other.bundle(&fixture.statement(), kind)]),
        Outcome::NoMatchingKey { found: 1 }
    );
    let changed = |field: &str, value: Value| {
        let mut statement = fixture.statement();
        statement[field] = value;
        problem(fixture.verify(&[fixture.bundle(&statement, kind)]))
    };
    assert!(changed("subject", json!([{"digest": {"sha256": "00"}}])).contains("was made for 00"));
    assert!(changed("subject", json!([])).contains("was made for"));
    // An attestation about an artifact, even by a trusted key, does not say that it may run.
    assert!(changed("predicateType", json!("https://slsa.dev/provenance/v1")).contains("slsa.dev"));
    assert!(
        problem(fixture.verify(&[fixture.bundle(&fixture.statement(), "text/plain")])).contains("text/plain")
    );
    let bundle = fixture.bundle(&fixture.statement(), kind);
    assert!(problem(fixture.verify_as(&bundle, &["ghcr.io"])).contains("signedAs"));
    problem(fixture.verify(&[Stored::Bundle(b"{".to_vec())]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_changed_bit_is_never_good(at in 0usize..4096, bit in 0u8..8, in_payload: bool) {
        let fixture = Fixture::new();
        let Stored::Simple { mut payload, signature } = fixture.good() else { panic!("simple") };
        let mut signature = STANDARD.decode(signature).expect("base64");
        let target = if in_payload { &mut payload } else { &mut signature };
        let at = at % target.len();
        target[at] ^= 1 << bit;
        let stored = Stored::Simple { payload, signature: STANDARD.encode(signature) };
        prop_assert_ne!(fixture.verify(&[stored]), valid());
    }
}
