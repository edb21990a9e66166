//! The input: what is written to each row, and what is left in the end. All of it follows from the row's number.

/// Odd, so that multiplying by it is a permutation: keys come in no order.
const SCATTER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Its inverse modulo 2^64, by Newton's iteration.
const GATHER: u64 = {
    let mut inverse = SCATTER;
    let mut step = 0;
    while step < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(SCATTER.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
};

pub struct Row {
    number: u64,
}

impl Row {
    pub fn new(number: u64) -> Row {
        Row { number }
    }

    /// The row that has the key.
    pub fn of_key(key: &[u8]) -> Option<Row> {
        let number = u64::from_be_bytes(key.try_into().ok()?).wrapping_mul(GATHER);
        Some(Row { number })
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn key(&self) -> [u8; 8] {
        self.number.wrapping_mul(SCATTER).to_be_bytes()
    }

    pub fn value(&self, version: u8, len: usize) -> Vec<u8> {
        let mut value = vec![version; len.max(9)];
        value[..8].copy_from_slice(&self.number.to_le_bytes());
        value
    }

    /// Which of the row's versions the value is.
    pub fn version_of(&self, value: &[u8]) -> Option<u8> {
        let (number, rest) = value.split_first_chunk::<8>()?;
        let version = *rest.first()?;
        (u64::from_le_bytes(*number) == self.number && rest.iter().all(|&byte| byte == version))
            .then_some(version)
    }

    /// The version that is left in the end; `None` if the row is deleted.
    pub fn last_version(&self) -> Option<u8> {
        match self.number {
            number if number % 16 == 0 => None,
            number if number % 10 == 0 => Some(1),
            _ => Some(0),
        }
    }
}

/// One write: a version of a row, or its deletion.
pub struct Change {
    pub number: u64,
    pub version: Option<u8>,
}

/// The writes of the rows whose number is `first` modulo `step`: a row's change comes when half of the rows have followed it.
pub fn changes(rows: u64, first: u64, step: u64) -> impl Iterator<Item = Change> {
    let delay = (rows / 2).next_multiple_of(step);
    (first..rows + delay)
        .step_by(step as usize)
        .flat_map(move |now| {
            let inserted = (now < rows).then_some(Change {
                number: now,
                version: Some(0),
            });
            let earlier = now.checked_sub(delay).filter(|&number| number < rows);
            let changed = earlier.map(Row::new).and_then(|row| {
                let version = row.last_version();
                (version != Some(0)).then_some(Change {
                    number: row.number,
                    version,
                })
            });
            inserted.into_iter().chain(changed)
        })
}

/// Number of writes over all rows.
pub fn count(rows: u64) -> u64 {
    let changed = (0..rows).filter(|&number| Row::new(number).last_version() != Some(0));
    rows + changed.count() as u64
}
