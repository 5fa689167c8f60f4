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

/// The fields of a request that are its prompt, in OpenAI's protocol and in the Open Inference Protocol's extension.
#[derive(Deserialize)]
struct Prompt<'a> {
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
}

/// The hashes of a request's prompt, without its last block if that is not whole. None for what is no prompt.
pub(crate) fn blocks(body: &[u8]) -> Vec<u64> {
    let Ok(prompt) = serde_json::from_slice::<Prompt<'_>>(body) else { return Vec::new() };
    let mut hash = 0;
    if let Some(model) = prompt.model {
        // An adapter is asked by a name of its own and has a cache of its own.
        hash = next(hash, model.get().as_bytes());
    }
    let parts = [prompt.tools, prompt.messages, prompt.prompt, prompt.text_input];
    let parts: Vec<&[u8]> = parts.into_iter().flatten().map(|part| part.get().as_bytes()).collect();
    let mut hashes = Vec::new();
    for part in parts {
        for block in part.chunks_exact(BLOCK) {
            if hashes.len() == MOST {
                return hashes;
            }
            hash = next(hash, block);
            hashes.push(hash);
        }
        // What is left of a part is a beginning of the next one.
        hash = next(hash, part.chunks_exact(BLOCK).remainder());
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

    use super::{BLOCK, MOST, blocks};

    fn of(body: &serde_json::Value) -> Vec<u64> {
        blocks(body.to_string().as_bytes())
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
            assert_eq!(blocks(body.as_bytes()), Vec::<u64>::new(), "{body}");
        }
        assert_eq!(of(&json!({"prompt": "x".repeat(BLOCK * MOST * 2)})).len(), MOST);
        assert!(!of(&json!({"text_input": "x".repeat(BLOCK)})).is_empty());
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
