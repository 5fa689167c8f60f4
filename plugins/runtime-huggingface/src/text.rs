//! Text of tokens that come one by one: never half a character, and an end where a stop text occurs.

use purlin_sdk::serving::FinishReason;

/// What takes the place of bytes that are no character yet.
const UNFINISHED: char = '\u{fffd}';

/// Of a prompt, so many tokens are looked at: whether a word begins with a space may depend on the one before it.
const BEFORE: usize = 6;

/// Tokens that never become a character, after which they are given as they are.
const HELD: usize = 16;

/// Turns tokens to text, piece by piece.
pub(crate) struct TextMaker {
    /// Tokens that the next piece depends on: those up to `given` became text already.
    window: Vec<u32>,
    given: usize,
}

impl TextMaker {
    /// For an answer to a prompt.
    pub(crate) fn after(prompt: &[u32]) -> TextMaker {
        let window = prompt[prompt.len().saturating_sub(BEFORE)..].to_vec();
        TextMaker { given: window.len(), window }
    }

    /// The text of one more token; empty where it is not a whole character yet. `text` is the text of tokens.
    pub(crate) fn push(&mut self, token: u32, text: impl Fn(&[u32]) -> String) -> String {
        self.window.push(token);
        let (before, all) = (text(&self.window[..self.given]), text(&self.window));
        let held = self.window.len() - self.given;
        if all.ends_with(UNFINISHED) && held < HELD {
            return String::new();
        }
        let piece = all.get(before.len()..).unwrap_or_default().to_owned();
        self.window.drain(..self.given);
        self.given = self.window.len();
        piece
    }

    /// What is left when no token comes any more.
    pub(crate) fn rest(&self, text: impl Fn(&[u32]) -> String) -> String {
        let (before, all) = (text(&self.window[..self.given]), text(&self.window));
        all.get(before.len()..).unwrap_or_default().to_owned()
    }
}

/// Looks for the texts that end a generation, and holds back what may be the beginning of one.
pub(crate) struct Stops {
    texts: Vec<String>,
    held: String,
}

impl Stops {
    /// For these texts, none of which is empty.
    pub(crate) fn new(texts: Vec<String>) -> Stops {
        Stops { texts: texts.into_iter().filter(|text| !text.is_empty()).collect(), held: String::new() }
    }

    /// What can be given of one more piece, and whether that is the end.
    pub(crate) fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        let first = self.texts.iter().filter_map(|text| self.held.find(text.as_str())).min();
        if let Some(end) = first {
            self.held.truncate(end);
            return (std::mem::take(&mut self.held), true);
        }
        let begun = self.texts.iter().map(|text| begun(&self.held, text)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - begun);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What is held back when nothing comes any more.
    pub(crate) fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// How many bytes at the end of a text are the beginning of another.
fn begun(text: &str, other: &str) -> usize {
    let most = text.len().min(other.len() - 1);
    (1..=most).rev().find(|length| text.as_bytes().ends_with(&other.as_bytes()[..*length])).unwrap_or(0)
}

/// Why a generation ended that gave so many tokens of those that it was allowed.
pub(crate) fn reason(given: u32, allowed: u32) -> FinishReason {
    if given >= allowed { FinishReason::Length } else { FinishReason::Stop }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{Stops, TextMaker};

    /// Tokens are bytes.
    fn text(tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().map(|token| *token as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn pieces(prompt: &str, answer: &[u8]) -> (Vec<String>, String) {
        let prompt: Vec<u32> = prompt.bytes().map(u32::from).collect();
        let mut maker = TextMaker::after(&prompt);
        let pieces = answer.iter().map(|byte| maker.push(u32::from(*byte), text)).collect();
        (pieces, maker.rest(text))
    }

    #[test]
    fn a_character_comes_whole() {
        let (made, rest) = pieces("p", "aé€🦀b".as_bytes());
        assert_eq!(made, ["a", "", "é", "", "", "€", "", "", "", "🦀", "b"]);
        assert_eq!(rest, "");
        let (made, rest) = pieces("p", &"x€".as_bytes()[..3]);
        assert_eq!((made.concat().as_str(), rest.as_str()), ("x", "\u{fffd}"));
    }

    #[test]
    fn a_stop_ends_and_is_not_given() {
        let mut stops = Stops::new(vec!["END".to_owned(), "###".to_owned(), String::new()]);
        assert_eq!(stops.push("one E"), ("one ".to_owned(), false));
        assert_eq!(stops.push("N"), (String::new(), false));
        assert_eq!(stops.push("t "), ("ENt ".to_owned(), false));
        assert_eq!(stops.push("#"), (String::new(), false));
        assert_eq!(stops.push("##END"), (String::new(), true));
        let mut stops = Stops::new(vec!["aab".to_owned()]);
        assert_eq!(stops.push("aaa"), ("a".to_owned(), false));
        assert_eq!(stops.rest(), "aa");
    }

    proptest! {
        #[test]
        fn pieces_put_together_are_the_text(prompt in "\\PC{0,12}", answer in "\\PC{0,40}") {
            let (pieces, rest) = pieces(&prompt, answer.as_bytes());
            prop_assert_eq!(pieces.concat() + &rest, answer);
        }

        #[test]
        fn no_tokens_make_it_panic(prompt: Vec<u8>, answer: Vec<u8>) {
            let prompt: Vec<u32> = prompt.into_iter().map(u32::from).collect();
            let mut maker = TextMaker::after(&prompt);
            for byte in answer {
                maker.push(u32::from(byte), text);
            }
            maker.rest(text);
        }

        #[test]
        fn nothing_is_lost_before_a_stop(pieces in proptest::collection::vec("[ab€]{0,4}", 0..12),
            stop in "[ab€]{1,3}") {
            let mut stops = Stops::new(vec![stop.clone()]);
            let (mut given, mut ended) = (String::new(), false);
            for piece in &pieces {
                let (more, end) = stops.push(piece);
                given += &more;
                if end {
                    ended = true;
                    break;
                }
            }
            let whole = pieces.concat();
            if ended {
                prop_assert_eq!(Some(given.len()), whole.find(&stop));
            } else {
                given += &stops.rest();
                prop_assert!(!whole.contains(&stop));
                prop_assert_eq!(given, whole);
            }
        }
    }
}
