//! What pickles build, and that any pickle ends.

use proptest::prelude::*;
use purlin_pickle::{Error, Limits, Pickle, Value};

fn read(content: &[u8]) -> Result<Pickle, Error> {
    Pickle::read(content.to_vec(), Limits::default())
}

/// An array of two rows and three columns that numpy wrote in columns, in Python's protocol 2 and big-endian.
const COLUMNS: &[u8] = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02K\x03\x86cnumpy\n\
dtype\nU\x02i2K\x00K\x01\x87R(K\x03U\x01>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x88U\x0c\x00\x01\x00\x04\x00\x02\x00\x05\x00\x03\x00\x06tb.";

#[test]
fn arrays_are_read_by_rows() {
    let pickle = read(COLUMNS).expect("a pickle");
    let root = pickle.root();
    assert_eq!(root.shape(), Some(vec![2, 3]));
    assert_eq!(root.integers(), Ok(vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(root.floats(), Ok(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    assert!(root.texts().is_err());
}

#[test]
fn objects_are_names_with_attributes() {
    let pickle =
        read(b"\x80\x02csome.module\nThing\n)\x81}(U\x01aK\x07U\x01b]K\x01aU\x01cNub.").expect("a pickle");
    let root = pickle.root();
    assert_eq!(root.class(), Some(("some.module", "Thing")));
    assert_eq!(root.attribute("a").and_then(|value| value.integer()), Some(7));
    assert_eq!(root.attribute("b").and_then(|value| value.items()).map(|items| items.len()), Some(1));
    assert!(root.attribute("c").is_some_and(|value| value.is_none()));
    assert!(root.attribute("d").is_none());
}

#[test]
fn protocol_0_is_read() {
    let pickle =
        read(b"(dp0\nVa\\u00e4\np1\n(lp2\nI01\naI-5\naF2.5\naL12345678901234567890L\nas.").expect("a pickle");
    let items = pickle.root().entry("a\u{e4}").and_then(|value| value.items()).expect("a list");
    assert_eq!(items[0].truth(), Some(true));
    assert_eq!(items[1].integer(), Some(-5));
    assert_eq!(items[2].number(), Some(2.5));
    assert!(matches!(items[3].value(), Value::Huge));
}

#[test]
fn what_only_python_has_is_refused() {
    let cases: [(&[u8], &str); 7] = [
        (b"P1\n.", "outside the pickle"),
        (b"\x80\x02\x82\x01.", "registry"),
        (b"\x80\x05\x97.", "buffer"),
        (b"\xff.", "none of a pickle's"),
        (b"\x80\x02]", "ends"),
        (b"\x80\x02.", "stack is empty"),
        (b"\x80\x02h\x05.", "remembered as 5"),
    ];
    for (content, says) in cases {
        let error = read(content).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn what_inflates_without_end_is_refused() {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b'N'; 4 << 20]).expect("a stream in memory");
    let bomb = encoder.finish().expect("a stream in memory");
    let error = Pickle::read(bomb, Limits { bytes: 1 << 20, ..Limits::default() }).expect_err("a refusal");
    assert_eq!(error, Error::Limit { what: "bytes once it is inflated", limit: 1 << 20 });
}

/// Whole instructions, so that programs of them go far.
const INSTRUCTIONS: [&[u8]; 34] = [
    b"(",
    b"0",
    b"1",
    b"2",
    b"N",
    b"\x88",
    b"\x89",
    b"K\x02",
    b"G\x40\x00\x00\x00\x00\x00\x00\x00",
    b"U\x01a",
    b"U\x02f8",
    b"]",
    b"}",
    b")",
    b"\x8f",
    b"t",
    b"l",
    b"d",
    b"\x85",
    b"\x86",
    b"\x87",
    b"a",
    b"e",
    b"s",
    b"u",
    b"\x90",
    b"R",
    b"b",
    b"\x81",
    b"q\x01",
    b"h\x01",
    b"cnumpy\ndtype\n",
    b"cnumpy\n_reconstruct\n",
    b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_program_ends(program in prop::collection::vec(prop::sample::select(&INSTRUCTIONS[..]), 0..80)) {
        let content = [program.concat().as_slice(), b"."].concat();
        if let Ok(pickle) = read(&content) {
            let root = pickle.root();
            let _ = (root.floats(), root.integers(), root.texts(), root.items(), root.entries(), root.shape());
        }
    }

    #[test]
    fn damaged_arrays_are_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut content = COLUMNS.to_vec();
        for (index, byte) in changes {
            let index = index.index(content.len());
            content[index] = byte;
        }
        if let Ok(pickle) = read(&content) {
            let root = pickle.root();
            let _ = (root.floats(), root.integers(), root.texts(), root.shape());
        }
    }
}
