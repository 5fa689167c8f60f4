//! Texts to tokens and back, by a model's `tokenizer.json`.

use purlin_sdk::{Fault, fault};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::{Tokenizer, TruncationParams};

use crate::folder::Folder;

/// A model's tokenizer. It neither pads nor cuts by itself.
pub(crate) struct Tokens(Tokenizer);

impl Tokens {
    /// The tokenizer of a folder.
    ///
    /// # Errors
    /// There is none, or it is not one.
    pub(crate) fn load(folder: &Folder) -> Result<Tokens, Fault> {
        if !folder.has("tokenizer.json") {
            let reason = format!(
                "there is no file {} at the source; save it with transformers' `AutoTokenizer.from_pretrained(...).\
                 save_pretrained(...)`",
                folder.path("tokenizer.json")
            );
            return Err(fault::invalid("spec.source.uri", "", reason));
        }
        Tokens::read(&folder.bytes("tokenizer.json")?)
            .map_err(|reason| fault::invalid("spec.source.uri", "", format!("tokenizer.json: {reason}")))
    }

    /// The tokenizer that a file describes.
    pub(crate) fn read(content: &[u8]) -> Result<Tokens, String> {
        let mut tokenizer = Tokenizer::from_bytes(content).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        Ok(Tokens(tokenizer))
    }

    /// Cuts texts after so many tokens, those that are added at both ends included.
    pub(crate) fn cut_after(&mut self, length: usize) -> Result<(), String> {
        let cut = TruncationParams { max_length: length, ..TruncationParams::default() };
        self.0.with_truncation(Some(cut)).map(drop).map_err(|error| error.to_string())
    }

    /// Leaves capitals as they are, where the tokenizer is one of BERT's.
    pub(crate) fn keep_case(&mut self) -> Result<(), String> {
        if let Some(NormalizerWrapper::BertNormalizer(normalizer)) = self.0.get_normalizer() {
            let mut normalizer = *normalizer;
            normalizer.lowercase = false;
            self.0.with_normalizer(Some(normalizer)).map(drop).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The tokens of a text, with those that the model wants at its ends where `complete` says so.
    pub(crate) fn of(&self, text: &str, complete: bool) -> Result<Vec<u32>, String> {
        let encoding = self.0.encode_fast(text, complete).map_err(|error| error.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens, without those that are marks.
    pub(crate) fn text(&self, tokens: &[u32]) -> String {
        // It fails where a decoder is misconfigured, which no later token would mend.
        self.0.decode(tokens, true).unwrap_or_default()
    }

    /// The number of a token.
    pub(crate) fn number(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }
}

#[cfg(test)]
mod tests;
