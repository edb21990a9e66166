//! Words for the `dictionary` keys: byte strings of varying length with shared beginnings, in no fixed layout.
//!
//! A word is the syllables of its number in a mixed base, so that numbers and words match one to one and a table of
//! any size can be made without a word list. Neighbouring numbers share their first syllables, as neighbours in a
//! dictionary do.

const ONSETS: [&str; 16] = [
    "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr",
];
const NUCLEI: [&str; 4] = ["a", "e", "i", "ou"];
const CODAS: [&str; 4] = ["", "n", "r", "x"];
const ENDINGS: [&str; 8] = ["", "s", "ed", "er", "ing", "ly", "ness", "able"];

const SYLLABLES: usize = ONSETS.len() * NUCLEI.len() * CODAS.len();

fn push_syllable(word: &mut Vec<u8>, number: usize) {
    let coda = number % CODAS.len();
    let nucleus = number / CODAS.len() % NUCLEI.len();
    let onset = number / CODAS.len() / NUCLEI.len() % ONSETS.len();
    for part in [ONSETS[onset], NUCLEI[nucleus], CODAS[coda]] {
        word.extend_from_slice(part.as_bytes());
    }
}

/// Appends word number `number` to `out`.
///
/// Stem and ending are parted by a hyphen, which no syllable holds; with that, no two numbers give one word unless
/// two runs of syllables read alike, and those the caller drops.
pub fn push_word(out: &mut Vec<u8>, number: usize) {
    let ending = number % ENDINGS.len();
    let mut stem = number / ENDINGS.len();
    let mut digits = [0usize; 8];
    let mut used = 0;
    loop {
        digits[used] = stem % SYLLABLES;
        used += 1;
        stem /= SYLLABLES;
        if stem == 0 {
            break;
        }
    }
    for digit in digits[..used].iter().rev() {
        push_syllable(out, *digit);
    }
    if !ENDINGS[ending].is_empty() {
        out.push(b'-');
        out.extend_from_slice(ENDINGS[ending].as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::push_word;
    use std::collections::HashSet;

    #[test]
    fn words_vary_in_length_and_hardly_ever_collide() {
        let mut words = HashSet::new();
        let mut lengths = HashSet::new();
        for number in 0..200_000 {
            let mut word = Vec::new();
            push_word(&mut word, number);
            lengths.insert(word.len());
            words.insert(word);
        }
        assert!(lengths.len() > 8, "{} lengths", lengths.len());
        assert!(words.len() > 190_000, "{} distinct words", words.len());
    }
}
