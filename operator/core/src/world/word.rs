//! Words that stand in very many objects, kept once: kinds, groups, namespaces, names of methods and ports.
//!
//! JSON text → the [`Text`] that an earlier object has, if there is one
//!
//! Ten thousand routes hold two hundred thousand texts of which two thousand differ: twenty megabytes that say nothing.
//!
//! **Invariant:** what is decoded equals what would be decoded without it.
//!
//! Must not know: what a word means.

use crate::key::Text;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Deserializer, de};
use std::{cell::RefCell, fmt};

/// So many words are remembered; then it begins anew, so that whoever writes many different ones costs no memory.
const MOST: usize = 4096;

thread_local! {
    static WORDS: RefCell<FxHashSet<Text>> = RefCell::default();
}

/// One text for all that are equal.
pub fn shared(text: &str) -> Text {
    WORDS.with_borrow_mut(|words| {
        if let Some(known) = words.get(text) {
            return known.clone();
        }
        if words.len() >= MOST {
            words.clear();
        }
        let new = Text::from(text);
        words.insert(new.clone());
        new
    })
}

/// For `deserialize_with`.
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
    deserializer.deserialize_str(Visitor)
}

/// For `deserialize_with` beside `default`.
pub(super) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Text>, D::Error> {
    Ok(Option::<Word>::deserialize(deserializer)?.map(|word| word.0))
}

struct Word(Text);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        word(deserializer).map(Self)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(shared(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn equal_words_are_one_however_many_others_come_between() {
        let first = shared("Gateway");
        assert!(Arc::ptr_eq(&first, &shared("Gateway")));
        for number in 0..2 * MOST {
            assert_eq!(&*shared(&number.to_string()), number.to_string());
            assert!(WORDS.with_borrow(FxHashSet::len) <= MOST);
        }
        assert_eq!(first, shared("Gateway"), "the same text, if not the same memory");
    }

    #[test]
    fn what_is_no_text_is_refused_as_ever() {
        assert!(serde_json::from_str::<Word>("1").is_err());
        assert_eq!(serde_json::from_str::<Option<Word>>("null").unwrap().map(|word| word.0), None);
    }
}
