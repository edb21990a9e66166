//! What a version says: of its key, of the account, and of its own bytes.

use crate::error::MAX_KEY_LEN;

/// What a version says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Value,
    Tombstone,
    TagOnly,
    /// Physically removed: not live, and hides what lies below.
    Gone,
}

/// Where in the account a key's own weight (one key, its length) is booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Nowhere,
    /// With the key's persistent bits, which no rollback takes back.
    Always,
    /// In the segment that the version itself is stamped with.
    Here,
    /// In an older segment.
    Segment(u64),
}

/// What a version adds to the account once it is stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delta {
    /// Length of the key: the weight that moves from `minus` to `plus`.
    pub(crate) key_len: u32,
    /// Value bytes won or lost against the newest live version below.
    pub(crate) value: i64,
    pub(crate) minus: Place,
    pub(crate) plus: Place,
}

impl Delta {
    /// Keys and bytes, if all of it is booked in the segment of the version itself.
    #[inline]
    pub(crate) fn here(&self) -> Option<(i64, i64)> {
        let keys = |place| match place {
            Place::Nowhere => Some(0),
            Place::Here => Some(1),
            Place::Always | Place::Segment(_) => None,
        };
        let keys = keys(self.plus)? - keys(self.minus)?;
        Some((keys, self.value + keys * i64::from(self.key_len)))
    }
}

/// What never changes of a version, beside its bytes, in one word:
///
/// | bits | |
/// |---|---|
/// | 0, 1 | the state |
/// | 2 | whether it is inline |
/// | 3 | whether it has a tag |
/// | 4 to 11 | of an inline one the length of the value; of a chained one two places, two bits each |
/// | 12 to 31 | the length of the key |
#[derive(Clone, Copy)]
pub(crate) struct Facts(u32);

const INLINE: u32 = 1 << 2;
const TAGGED: u32 = 1 << 3;
const DETAIL_AT: u32 = 4;
const KEY_LEN_AT: u32 = 12;
const _: () = assert!(MAX_KEY_LEN < 1 << (u32::BITS - KEY_LEN_AT));

impl Facts {
    fn new(state: State, tag: u32, key_len: usize, detail: u8) -> Facts {
        let tagged = if tag == 0 { 0 } else { TAGGED };
        let (key_len, detail) = (key_len as u32, u32::from(detail));
        Facts(state as u32 | tagged | detail << DETAIL_AT | key_len << KEY_LEN_AT)
    }

    /// Those of an inline version.
    pub(crate) fn inline(state: State, tag: u32, key_len: usize, value_len: u8) -> Facts {
        Facts(Facts::new(state, tag, key_len, value_len).0 | INLINE)
    }

    pub(super) fn chained(state: State, tag: u32, delta: &Delta) -> Facts {
        let places = delta.minus.kind() | delta.plus.kind() << 2;
        Facts::new(state, tag, delta.key_len as usize, places)
    }

    pub(super) fn state(self) -> State {
        match self.0 & 0b11 {
            0 => State::Value,
            1 => State::Tombstone,
            2 => State::TagOnly,
            _ => State::Gone,
        }
    }

    pub(super) fn is_inline(self) -> bool {
        self.0 & INLINE != 0
    }

    pub(super) fn has_tag(self) -> bool {
        self.0 & TAGGED != 0
    }

    pub(super) fn tag_len(self) -> usize {
        if self.has_tag() { size_of::<u32>() } else { 0 }
    }

    pub(super) fn detail(self) -> u8 {
        (self.0 >> DETAIL_AT) as u8
    }

    #[inline]
    pub(crate) fn key_len(self) -> usize {
        (self.0 >> KEY_LEN_AT) as usize
    }

    /// Bytes behind the header of an entry whose first version this is.
    pub(crate) fn inline_len(self) -> usize {
        self.key_len() + usize::from(self.detail()) + self.tag_len()
    }

    /// Bytes behind the header of a chained version whose value has this length.
    pub(super) fn chained_len(self, value_len: usize) -> usize {
        value_len + self.tag_len() + self.segment_len()
    }

    fn segment_len(self) -> usize {
        match self.places() {
            [Place::SEGMENT, _] | [_, Place::SEGMENT] => size_of::<u64>(),
            _ => 0,
        }
    }

    /// The kinds of the two places of a chained version.
    pub(super) fn places(self) -> [u8; 2] {
        [self.detail() & 0b11, self.detail() >> 2]
    }
}

impl Place {
    const SEGMENT: u8 = 3;

    fn kind(self) -> u8 {
        match self {
            Place::Nowhere => 0,
            Place::Always => 1,
            Place::Here => 2,
            Place::Segment(_) => Place::SEGMENT,
        }
    }

    pub(super) fn of_kind(kind: u8, segment: impl FnOnce() -> u64) -> Place {
        match kind {
            0 => Place::Nowhere,
            1 => Place::Always,
            2 => Place::Here,
            _ => Place::Segment(segment()),
        }
    }

    pub(super) fn segment(self) -> Option<u64> {
        match self {
            Place::Segment(segment) => Some(segment),
            _ => None,
        }
    }
}
