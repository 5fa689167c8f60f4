//! Files that are no models, or were made to do harm: each is refused, and nothing of it is run.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use purlin_tabular::Table;
use runtime_sklearn::Model;

/// Models of each way of writing and of each kind of estimator, small ones.
const MODELS: [&str; 14] = [
    "columns",
    "forest",
    "gradient",
    "histogram",
    "linear",
    "logistic-names",
    "mlp",
    "neighbors-regressor",
    "one-hot-first",
    "polynomialfeatures",
    "svc",
    "svr-poly",
    "tree-missing",
    "gaussian-nb",
];

fn models() -> &'static [Vec<u8>] {
    static MODELS_READ: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    MODELS_READ.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let read = |name: &&str| {
            let read = |ending| fs::read(folder.join(format!("{name}.{ending}")));
            let content =
                read("joblib").or_else(|_| read("pkl")).unwrap_or_else(|error| panic!("{name}: {error}"));
            inflated(content)
        };
        MODELS.iter().map(read).collect()
    })
}

/// Damage to what is compressed is found by its checksum, and would test nothing else.
fn inflated(content: Vec<u8>) -> Vec<u8> {
    use std::io::Read;
    let mut found = Vec::new();
    let read = match content.first() {
        Some(0x78) => flate2::read::ZlibDecoder::new(content.as_slice()).read_to_end(&mut found),
        Some(0x1f) => flate2::read::GzDecoder::new(content.as_slice()).read_to_end(&mut found),
        _ => return content,
    };
    read.expect("a stream that joblib wrote");
    found
}

fn refusal(content: &[u8]) -> String {
    match Model::read(content.to_vec()) {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    }
}

fn survives(content: Vec<u8>) {
    if let Ok(model) = Model::read(content)
        && model.columns().count < 1000
    {
        let table = Table::new(model.columns().count, vec![1.5; model.columns().count * 2]);
        let _ = model.predict(table.clone());
        let _ = model.probabilities(table);
    }
}

#[test]
fn a_call_is_a_name_and_is_not_made() {
    let error = refusal(b"cos\nsystem\n(S'touch /tmp/taken'\ntR.");
    assert!(error.contains("os.system"), "{error}");
}

#[test]
fn what_is_not_served_is_named() {
    let object =
        |module: &str, class: &str| format!("c{module}\n{class}\n)\u{81}}}S'n_features_in_'\nI4\nsb.");
    let cases = [
        (object("sklearn.ensemble._voting", "VotingClassifier"), "VotingClassifier"),
        (object("xgboost.sklearn", "XGBClassifier"), "xgboost.sklearn.XGBClassifier"),
        (object("sklearn.linear_model._ridge", "Ridge"), "coef_"),
    ];
    for (content, says) in cases {
        // NEWOBJ is one byte, which is no character of UTF-8.
        let content: Vec<u8> = content.chars().map(|character| character as u8).collect();
        let error = refusal(&content);
        assert!(error.contains(says), "{error}");
    }
    assert!(refusal(b"BZh91AY").contains("bz2"));
    assert!(refusal(b"\x80\x09.").contains("protocol 9"));
    assert!(refusal(b"\x80\x04\x97.").contains("buffer"));
    assert!(refusal(b"").contains("ends"));
    assert!(refusal(b"N.").contains("None"));
}

#[test]
fn what_refers_to_itself_is_refused() {
    // A pipeline whose steps are fifty times itself.
    let mut content = b"\x80\x02csklearn.pipeline\nPipeline\n)\x81q\x00}q\x01U\x05stepsq\x02](".to_vec();
    for _ in 0..50 {
        content.extend_from_slice(b"U\x01ah\x00\x86");
    }
    content.extend_from_slice(b"esb.");
    let error = refusal(&content);
    assert!(error.contains("within each other"), "{error}");
}

#[test]
fn little_does_not_become_much() {
    // A text of a megabyte that is made into bytes ten thousand times.
    let mut content = b"\x80\x02c_codecs\nencode\nq\x00X\x00\x00\x10\x00".to_vec();
    content.extend(std::iter::repeat_n(b'a', 1 << 20));
    content.extend_from_slice(b"U\x06latin1\x86q\x01");
    for _ in 0..10_000 {
        content.extend_from_slice(b"h\x00h\x01R");
    }
    content.push(b'.');
    let error = refusal(&content);
    assert!(error.contains("more than"), "{error}");
    // Pickles within each other, as joblib writes arrays of objects.
    let wrapper = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(S'shape'\n)S'order'\nS'C'\nS'dtype'\ncnumpy\ndtype\n(S'O8'\ntRub";
    let error = refusal(&wrapper.repeat(20));
    assert!(error.contains("pickles within each other"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    /// A model in which a few bytes were changed is served or refused.
    #[test]
    fn damage_is_survived(
        model in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
        cut in prop::bool::weighted(0.2),
    ) {
        let mut content = model.get(models()).clone();
        for (index, byte) in changes {
            let index = index.index(content.len());
            content[index] = byte;
        }
        if cut {
            content.truncate(end.index(content.len()));
        }
        survives(content);
    }

    /// A part of one model in the place of a part of another.
    #[test]
    fn mixtures_are_survived(
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        places in prop::array::uniform3(any::<prop::sample::Index>()),
        length in 1..200_usize,
    ) {
        let (one, other) = (one.get(models()), other.get(models()));
        let (start, end, from) = (places[0].index(one.len()), places[1].index(one.len()), places[2].index(other.len()));
        let part = &other[from..(from + length).min(other.len())];
        survives([&one[..start], part, &one[end.max(start)..]].concat());
    }

    #[test]
    fn any_bytes_are_survived(content in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(content);
    }
}
