//! Tokenizers of each sort against what the original makes of the same texts; `tests/fixtures/make.py` makes both.

use std::path::Path;

use proptest::prelude::proptest;
use serde::Deserialize;

use super::Tokens;

#[derive(Deserialize)]
struct Case {
    text: String,
    complete: Vec<u32>,
    bare: Vec<u32>,
    decoded: String,
}

const SORTS: &[&str] = &["wordpiece", "byte-level", "llama3", "sentencepiece", "unigram"];

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn tokens(sort: &str) -> Tokens {
    Tokens::read(&fixture(&format!("{sort}.json"))).unwrap()
}

#[test]
fn tokens_are_those_of_the_original() {
    for sort in SORTS {
        let tokens = tokens(sort);
        let cases: Vec<Case> = serde_json::from_slice(&fixture(&format!("{sort}.cases.json"))).unwrap();
        assert!(cases.len() > 20);
        for case in cases {
            assert_eq!(tokens.of(&case.text, true).unwrap(), case.complete, "{sort}: {:?}", case.text);
            assert_eq!(tokens.of(&case.text, false).unwrap(), case.bare, "{sort}: {:?}", case.text);
            assert_eq!(tokens.text(&case.complete), case.decoded, "{sort}: {:?}", case.text);
        }
    }
}

#[test]
fn texts_are_cut_and_keep_their_case_where_that_is_said() {
    let mut tokens = tokens("wordpiece");
    let (lower, upper) = (tokens.of("dog", false).unwrap(), tokens.of("DOG", false).unwrap());
    assert_eq!(lower, upper);
    tokens.keep_case().unwrap();
    assert_ne!(tokens.of("DOG", false).unwrap(), lower);
    tokens.cut_after(5).unwrap();
    let cut = tokens.of("the quick brown fox jumps over the lazy dog", true).unwrap();
    assert_eq!((cut.len(), cut[0], cut[4]), (5, 2, 3), "the marks at both ends stay");
}

#[test]
fn what_is_no_tokenizer_is_refused() {
    for content in ["", "{}", "[]", r#"{"model": {"type": "Nothing"}}"#] {
        assert!(Tokens::read(content.as_bytes()).is_err(), "{content}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*|[\\x00-\\x7f]{0,20}", sort in 0..SORTS.len()) {
        thread_local! {
            static ALL: Vec<Tokens> = SORTS.iter().map(|sort| tokens(sort)).collect();
        }
        ALL.with(|all| {
            let made = all[sort].of(&text, true).unwrap();
            all[sort].text(&made);
        });
    }
}
