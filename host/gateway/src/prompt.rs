//! What a prompt begins with, as hashes: prompts that begin alike have hashes that begin alike. Who balances over replicas
//! that keep what they computed for a beginning sends a prompt where most of it is known.
//!
//! The prompt is cut into blocks, and the hash of each goes over that of the block before it, as servers of language models
//! name the blocks of their caches. It is text here and tokens there, of which one takes some four bytes, so that a block is
//! sixteen of them. What a server puts around a prompt does not matter: it is the same for all.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Blocks that are looked at: prompts that have so many in common are alike.
const MOST: usize = 1024;

/// Of this process, so that nobody can make prompts that look alike.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The fields of a request that are about its prompt, in OpenAI's protocol and in the Open Inference Protocol's extension.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    // Servers write the tools before the messages.
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    text_input: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
}

/// A request's prompt.
#[derive(Default)]
pub(crate) struct Prompt {
    /// The hashes of its blocks, without the last one if that is not whole. Empty for what is no prompt.
    pub(crate) blocks: Vec<u64>,
    /// Whether the answer is to come as it is made.
    pub(crate) streamed: bool,
}

impl Prompt {
    /// The prompt in a request's body.
    pub(crate) fn read(body: &[u8]) -> Prompt {
        let Ok(fields) = serde_json::from_slice::<Fields<'_>>(body) else { return Prompt::default() };
        let streamed = fields.stream.is_some_and(|stream| stream.get() == "true");
        Prompt { blocks: blocks(&fields), streamed }
    }
}

fn blocks(prompt: &Fields<'_>) -> Vec<u64> {
    let mut hash = 0;
    if let Some(model) = prompt.model {
        // An adapter is asked by a name of its own and has a cache of its own.
        hash = next(hash, model.get().as_bytes());
    }
    let parts = [prompt.tools, prompt.messages, prompt.prompt, prompt.text_input];
    let mut hashes = Vec::new();
    for part in parts.into_iter().flatten() {
        let mut whole = part.get().as_bytes().chunks_exact(BLOCK);
        for block in whole.by_ref() {
            if hashes.len() == MOST {
                return hashes;
            }
            hash = next(hash, block);
            hashes.push(hash);
        }
        // What is left of a part is a beginning of the next one.
        hash = next(hash, whole.remainder());
    }
    hashes
}

fn next(before: u64, block: &[u8]) -> u64 {
    let mut hasher = KEYS.build_hasher();
    hasher.write_u64(before);
    hasher.write(block);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{BLOCK, MOST, Prompt};

    fn of(body: &serde_json::Value) -> Vec<u64> {
        Prompt::read(body.to_string().as_bytes()).blocks
    }

    fn common(a: &[u64], b: &[u64]) -> usize {
        a.iter().zip(b).take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn a_conversation_that_goes_on_begins_with_what_it_was() {
        let system = json!({"role": "system", "content": "You are of help. ".repeat(40)});
        let question = json!({"role": "user", "content": "Where is the tower? ".repeat(20)});
        let first = of(&json!({"model": "m", "messages": [system, question]}));
        let answer = json!({"role": "assistant", "content": "In Paris."});
        let more = json!({"model": "m", "stream": true, "messages": [system, question, answer, question]});
        assert_eq!(common(&first, &of(&more)), first.len());
        let other = json!({"role": "user", "content": "What is the time? ".repeat(20)});
        let shared =
            common(&first, &of(&json!({"temperature": 0, "messages": [system, other], "model": "m"})));
        assert!((10..first.len()).contains(&shared), "{shared} of {}", first.len());
        assert_eq!(common(&first, &of(&json!({"model": "adapter", "messages": [system, question]}))), 0);
    }

    #[test]
    fn what_is_no_prompt_has_no_blocks() {
        for body in
            ["", "no JSON", "[]", "{}", r#"{"inputs":[{"name":"a","data":[1]}]}"#, r#"{"prompt":"short"}"#]
        {
            assert_eq!(Prompt::read(body.as_bytes()).blocks, Vec::<u64>::new(), "{body}");
        }
        assert_eq!(of(&json!({"prompt": "x".repeat(BLOCK * MOST * 2)})).len(), MOST);
        assert!(!of(&json!({"text_input": "x".repeat(BLOCK)})).is_empty());
    }

    #[test]
    fn only_true_asks_for_a_stream() {
        for (stream, expected) in
            [(json!(true), true), (json!(false), false), (json!("true"), false), (json!(null), false)]
        {
            let body = json!({"prompt": "p", "stream": stream}).to_string();
            assert_eq!(Prompt::read(body.as_bytes()).streamed, expected, "{body}");
        }
    }

    proptest! {
        #[test]
        fn as_many_blocks_are_alike_as_the_texts_are(shared in "[a-z]{0,400}", a in "A[a-z]{0,200}", b in "B[a-z]{0,200}") {
            let (one, two) = (of(&json!({"prompt": shared.clone() + &a})), of(&json!({"prompt": shared.clone() + &b})));
            // The text begins after a quotation mark.
            let alike = (shared.len() + 1) / BLOCK;
            prop_assert_eq!(common(&one, &two), alike.min(one.len()).min(two.len()));
        }
    }
}
