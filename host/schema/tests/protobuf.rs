//! Bodies that Kubernetes' own serializer wrote (`tests/protobuf/vectors.go`) against the JSON that Go makes of them, and
//! bodies that nobody wrote.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use purlin_schema::protobuf::{ProtobufError, reads};
use serde_json::{Value, json};

/// Reads a body whose envelope names its kind.
fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    purlin_schema::protobuf::decode(body, "", "")
}

#[derive(serde::Deserialize)]
struct Vector {
    body: String,
    object: Value,
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.body).unwrap()
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("protobuf/bodies.json")).unwrap()
}

fn pod() -> Vec<u8> {
    let found = vectors().into_iter().find(|vector| vector.object["kind"] == "Pod").unwrap();
    found.bytes()
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// A body of `kind` whose message is `raw`.
fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &meta), field(2, raw)].concat()
}

#[test]
fn bodies_become_the_json_that_go_makes_of_them() {
    for vector in vectors() {
        let object = decode(&vector.bytes()).unwrap();
        assert_eq!(object, vector.object, "{:#}\nis not\n{:#}", object, vector.object);
    }
}

#[test]
fn a_body_cut_short_is_refused() {
    for vector in vectors() {
        let bytes = vector.bytes();
        let whole: Vec<usize> = (0..bytes.len()).filter(|end| decode(&bytes[..*end]).is_ok()).collect();
        // Only where one of the envelope's four fields ends do the bytes before it stand for themselves.
        assert!(whole.len() <= 3, "{} cut at {whole:?}", vector.object);
    }
}

#[test]
fn what_is_no_envelope_is_refused() {
    assert_eq!(decode(b""), Err(ProtobufError::Empty));
    assert_eq!(decode(b"{}"), Err(ProtobufError::Prefix));
    assert_eq!(decode(b"k8s\0"), Err(ProtobufError::Empty));
    assert_eq!(
        decode(&body("", "Pod", b"")),
        Err(ProtobufError::UnknownKind { api_version: String::new(), kind: "Pod".into() })
    );
    assert_eq!(
        decode(&body("example.com/v1", "Trial", b"")),
        Err(ProtobufError::UnknownKind { api_version: "example.com/v1".into(), kind: "Trial".into() })
    );
}

#[test]
fn an_envelope_without_a_kind_holds_what_is_expected() {
    let object = purlin_schema::protobuf::decode(&body("", "", b""), "v1", "Pod").unwrap();
    assert_eq!((&object["apiVersion"], &object["kind"]), (&json!("v1"), &json!("Pod")));
    assert!(reads("v1", "Pod") && !reads("example.com/v1", "Pod"));
}

#[test]
fn a_field_of_another_type_names_itself() {
    let error = decode(&body("v1", "ConfigMap", &[0x08, 0x01])).unwrap_err();
    assert_eq!(error.to_string(), "proto: wrong wire type for field metadata of api.core.v1.ConfigMap");
    let not_text = field(1, &field(1, &[0xff]));
    let error = decode(&body("v1", "ConfigMap", &not_text)).unwrap_err();
    assert!(matches!(error, ProtobufError::Value { field: "name", .. }), "{error}");
}

#[test]
fn pieces_of_a_message_are_merged_and_of_scalars_the_last_counts() {
    let first = field(1, &[field(1, b"old"), field(3, b"space")].concat());
    let second = field(1, &field(1, b"new"));
    let object = decode(&body("v1", "ConfigMap", &[first, second].concat())).unwrap();
    assert_eq!(object["metadata"], json!({"name": "new", "namespace": "space"}));
}

#[test]
fn packed_numbers_are_read() {
    // PodSpec.securityContext (14) with supplementalGroups (4).
    let context = field(4, &[1, 0x96, 0x01]);
    let object = decode(&body("v1", "Pod", &field(2, &field(14, &context)))).unwrap();
    assert_eq!(object["spec"]["securityContext"]["supplementalGroups"], json!([1, 150]));
}

#[test]
fn a_fraction_is_read_back_from_its_text_as_itself() {
    // Found by fuzzing: JSONSchemaProps.maximum (9), in the schema of a CRD's version.
    let maximum = 10.000000000931324_f64;
    let props = [vec![9 << 3 | 1], maximum.to_bits().to_le_bytes().to_vec()].concat();
    let version = [field(1, b"v1"), field(4, &field(1, &props))].concat();
    let body = body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &field(2, &field(7, &version)));
    let object = decode(&body).unwrap();
    let read = &object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["maximum"];
    assert_eq!(read, &json!(maximum), "{object}");
    assert_eq!(&serde_json::from_str::<Value>(&read.to_string()).unwrap(), read);
}

#[test]
fn nesting_without_end_is_refused() {
    // JSONSchemaProps.not (28) needs a tag of two bytes.
    let mut schema = Vec::new();
    for _ in 0..2_000 {
        let inner = field(0, &schema);
        schema = [&[0xe2, 0x01], &inner[1..]].concat();
    }
    let version = field(4, &field(1, &schema));
    let raw = field(2, &field(7, &version));
    let bytes = body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &raw);
    assert_eq!(decode(&bytes), Err(ProtobufError::TooDeep));
}

#[test]
fn embedded_json_may_not_be_deeper_than_what_is_read_back() {
    let deep = [vec![b'['; 120], vec![b']'; 120]].concat();
    let bytes = body("apps/v1", "ControllerRevision", &field(2, &field(1, &deep)));
    assert_eq!(decode(&bytes), Err(ProtobufError::TooDeep));
}

#[test]
fn empty_messages_do_not_grow_without_bound() {
    // Containers (2 of PodSpec), each of two bytes.
    let containers = [0x12, 0x00].repeat(1_000_000);
    let bytes = body("v1", "Pod", &field(2, &containers));
    assert_eq!(decode(&bytes), Err(ProtobufError::TooManyMessages));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
        let _ = decode(&[b"k8s\0", bytes.as_slice()].concat());
        for kind in ["Pod", "Secret", "DeleteOptions"] {
            let _ = decode(&body("v1", kind, &bytes));
        }
        let _ = decode(&body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &bytes));
    }

    #[test]
    fn a_changed_body_never_panics(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = pod();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode(&bytes);
    }
}
