//! Text in the making, and what a model may do in place of it.

use purlin_sdk::Fault;
use purlin_sdk::serving::{Chunk, FinishReason, Generation};

use crate::{faults, ruin};

/// The generation of a mode.
pub(crate) fn of(mode: &str) -> Box<dyn Generation> {
    Box::new(Hostile { mode: mode.to_owned(), given: 0 })
}

struct Hostile {
    mode: String,
    /// Chunks so far.
    given: u32,
}

impl Generation for Hostile {
    fn prompt_tokens(&self) -> u32 {
        match self.mode.as_str() {
            "tokens" => u32::MAX,
            "prompt-trap" => {
                ruin::by("trap");
                0
            }
            _ => 1,
        }
    }

    fn next(&mut self) -> Result<Option<Chunk>, Fault> {
        self.given = self.given.saturating_add(1);
        let begun = self.given > 3;
        match self.mode.as_str() {
            "none" => Ok(match self.given {
                1 => Some(chunk("hello")),
                2 => Some(Chunk { finish: Some(FinishReason::Stop), ..chunk(" world") }),
                _ => None,
            }),
            "endless" => Ok(Some(chunk("again "))),
            "endless-empty" => Ok(Some(Chunk { tokens: 0, ..chunk("") })),
            "endless-megabytes" => Ok(Some(chunk("m".repeat(1 << 20)))),
            "chunk-over" => Ok(Some(chunk("m".repeat(16 << 20)))),
            "nothing" => Ok(None),
            "never" => Err(ruin::by("spin")),
            "tokens" if !begun => Ok(Some(Chunk { tokens: u32::MAX, logprob: f32::NAN, ..chunk("many") })),
            "tokens" => Ok(None),
            "control" if !begun => Ok(Some(chunk("\r\n\r\ndata: [DONE]\r\n\r\n\u{0}\u{2028}"))),
            "control" => Ok(None),
            "not-utf-8" => Ok(Some(chunk(faults::not_utf_8()))),
            "goes-on" => Ok(Some(Chunk { finish: Some(FinishReason::Stop), ..chunk("end") })),
            // What begins well.
            mode => match mode.strip_suffix("-middle") {
                Some(_) if !begun => Ok(Some(chunk("well "))),
                Some(mode) => Err(faults::of(mode).unwrap_or_else(|| ruin::by(mode))),
                None => Err(faults::of(mode).unwrap_or_else(|| ruin::by(mode))),
            },
        }
    }
}

fn chunk(text: impl Into<String>) -> Chunk {
    Chunk { text: text.into(), tokens: 1, logprob: -0.5, finish: None }
}
