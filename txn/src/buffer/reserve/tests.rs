use super::*;
use crate::error::TxnState;
use crate::flags::KeyFlags;

const LOCK: [FlagOp; 1] = [FlagOp::SetLocked];

fn charged(buffer: &MemBuffer) -> usize {
    buffer.inner().room.charged()
}

#[test]
fn reserved_room_is_not_shown_and_not_given_to_others() {
    let buffer = MemBuffer::builder().buffer_limit(10).build();
    let reservation = buffer.reserve(&["abc", "def"]).unwrap();
    assert_eq!(buffer.stats().size, 0);
    assert!(matches!(
        buffer.set("k", "12345"),
        Err(Error::TxnTooLarge {
            size: 12,
            limit: 10
        })
    ));
    buffer.set("k", "123").unwrap();
    drop(reservation);
    buffer.set("k", "123456789").unwrap();
    assert_eq!(charged(&buffer), 10);
}

#[test]
fn flags_written_through_a_reservation_take_its_room_once() {
    let buffer = MemBuffer::builder().buffer_limit(6).build();
    let mut reservation = buffer.reserve(&["abc", "def"]).unwrap();
    reservation.update_flags("abc", LOCK).unwrap();
    assert_eq!((buffer.size(), charged(&buffer)), (3, 6));
    reservation.update_flags("def", LOCK).unwrap();
    drop(reservation);
    assert_eq!((buffer.size(), charged(&buffer)), (6, 6));
    assert_eq!(buffer.get_flags("def"), Some(KeyFlags::LOCKED));
}

#[test]
fn a_key_that_became_live_meanwhile_gives_its_room_back() {
    let buffer = MemBuffer::builder().buffer_limit(6).build();
    let mut reservation = buffer.reserve(&["abc"]).unwrap();
    buffer.update_flags("abc", []).unwrap();
    assert_eq!((buffer.size(), charged(&buffer)), (3, 6));
    reservation.update_flags("abc", LOCK).unwrap();
    drop(reservation);
    assert_eq!((buffer.size(), charged(&buffer)), (3, 3));
}

#[test]
fn live_keys_need_no_room() {
    let buffer = MemBuffer::builder().buffer_limit(4).build();
    buffer.set("abc", "v").unwrap();
    let mut reservation = buffer.reserve(&["abc"]).unwrap();
    reservation.update_flags("abc", LOCK).unwrap();
    assert!(matches!(
        buffer.reserve(&["abc", "d"]).map(drop),
        Err(Error::TxnTooLarge { size: 5, limit: 4 })
    ));
    assert_eq!(charged(&buffer), 4);
}

#[test]
fn neither_a_cleanup_nor_a_new_limit_loses_or_refuses_what_is_reserved() {
    let buffer = MemBuffer::new();
    let mut reservation = buffer.reserve(&["abc", "def"]).unwrap();
    buffer.set("k", "v").unwrap();
    buffer.set_buffer_limit(8);
    assert_eq!(charged(&buffer), 8);
    assert!(buffer.set("l", "v").is_err());
    let stage = buffer.stage();
    buffer.delete("k").unwrap();
    stage.cleanup().unwrap();
    assert_eq!(charged(&buffer), 8);
    buffer.set_buffer_limit(2);
    buffer.set_key_limit(1);
    reservation.update_flags("abc", LOCK).unwrap();
    reservation.update_flags("def", LOCK).unwrap();
    assert_eq!((buffer.size(), charged(&buffer)), (8, 8));
}

#[test]
fn a_closed_buffer_reserves_nothing_and_takes_no_flags() {
    let buffer = MemBuffer::builder().buffer_limit(10).build();
    let mut reservation = buffer.reserve(&["abc"]).unwrap();
    buffer.close(TxnState::Committing, false).unwrap();
    let closed = |answer: Result<(), Error>| {
        matches!(
            answer,
            Err(Error::TransactionClosed {
                state: TxnState::Committing
            })
        )
    };
    assert!(closed(reservation.update_flags("abc", LOCK)));
    assert!(closed(buffer.reserve(&["def"]).map(drop)));
    drop(reservation);
    assert_eq!((buffer.size(), charged(&buffer)), (0, 0));
}

#[test]
fn closing_refuses_open_stages_or_ends_them() {
    let buffer = MemBuffer::new();
    let stage = buffer.stage();
    buffer.set("k", "v").unwrap();
    assert!(matches!(
        buffer.close(TxnState::Committing, false),
        Err(Error::StageOpen)
    ));
    buffer.set("l", "v").unwrap();
    buffer.close(TxnState::RolledBack, true).unwrap();
    assert!(stage.release().is_err());
    assert!(matches!(
        buffer.delete("k"),
        Err(Error::TransactionClosed {
            state: TxnState::RolledBack
        })
    ));
    assert_eq!(buffer.len(), 2);
}
