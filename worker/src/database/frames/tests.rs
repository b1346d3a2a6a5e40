//! Frames are followed wherever they are cut, and what has passed is counted.

use super::*;

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend((body.len() as u32 + 4).to_be_bytes());
    frame.extend(body);
    frame
}

#[test]
fn a_query_is_owed_until_the_server_is_ready_wherever_its_answer_is_cut() {
    let answer = [frame(b'D', &[7; 300]), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat();
    for cut in 0..=answer.len() {
        let mut frames = Frames::default();
        frames.sends(&frame(b'Q', b"select 1\0"));
        assert!(!frames.are_at_rest());
        frames.receives(&answer[..cut]);
        assert_eq!(frames.are_at_rest(), cut == answer.len(), "cut at {cut}");
        frames.receives(&answer[cut..]);
        assert!(frames.are_at_rest());
        assert_eq!(frames.settled(), 1);
    }
}

#[test]
fn half_a_frame_sent_is_no_rest() {
    let query = frame(b'Q', b"select 1\0");
    for cut in 1..query.len() {
        let mut frames = Frames::default();
        frames.sends(&query[..cut]);
        assert!(!frames.are_at_rest(), "cut at {cut}");
    }
}

#[test]
fn half_a_notice_received_is_no_rest() {
    let mut frames = Frames::default();
    frames.receives(&frame(b'N', b"SNOTICE\0\0")[..7]);
    assert!(!frames.are_at_rest());
}

#[test]
fn an_open_or_failed_transaction_is_no_rest() {
    for (status, expected) in [(b"T", Transaction::Open), (b"E", Transaction::Failed)] {
        let mut frames = Frames::default();
        frames.sends(&frame(b'Q', b"begin\0"));
        frames.receives(&[frame(b'C', b"BEGIN\0"), frame(b'Z', status)].concat());
        assert!(frames.owe_nothing() && !frames.are_at_rest());
        assert_eq!(frames.transaction(), expected);
        assert_eq!(frames.settled(), 0);
    }
}

#[test]
fn a_copy_in_that_was_asked_for_with_a_sync_owes_one_answer_when_it_is_done() {
    let mut frames = Frames::default();
    frames.sends(&[frame(b'B', b"\0"), frame(b'E', b"\0"), frame(b'S', b"")].concat());
    frames.receives(&[frame(b'2', b""), frame(b'G', b"\0\0\0")].concat());
    assert!(!frames.owe_nothing());
    frames.sends(&frame(b'd', b"1\n"));
    frames.sends(&[frame(b'c', b""), frame(b'S', b"")].concat());
    assert!(!frames.owe_nothing());
    frames.receives(&[frame(b'C', b"COPY 1\0"), frame(b'Z', b"I")].concat());
    assert!(frames.are_at_rest());
}

#[test]
fn a_copy_in_that_nobody_ends_is_never_at_rest() {
    let mut frames = Frames::default();
    frames.sends(&frame(b'Q', b"copy t from stdin\0"));
    frames.receives(&frame(b'G', b"\0\0\0"));
    assert!(!frames.owe_nothing() && !frames.are_at_rest());
}

#[test]
fn a_copy_in_that_fails_before_its_sync_is_read_leaves_a_session_that_is_never_at_rest() {
    let mut frames = Frames::default();
    frames.sends(&[frame(b'B', b"\0"), frame(b'E', b"\0"), frame(b'S', b"")].concat());
    frames.receives(&[frame(b'2', b""), frame(b'G', b"\0\0\0")].concat());
    frames.sends(&[frame(b'f', b"\0"), frame(b'S', b"")].concat());
    frames.receives(&[frame(b'E', b"\0"), frame(b'Z', b"I")].concat());
    frames.sends(&frame(b'Q', b"select 1\0"));
    frames.receives(&frame(b'Z', b"I"));
    frames.receives(&[frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat());
    assert!(!frames.are_at_rest());
}

#[test]
fn an_error_is_followed_by_no_more_than_its_end() {
    let mut frames = Frames::default();
    frames.sends(&frame(b'Q', b"select 1/0\0"));
    assert!(!frames.owe_no_more_than_an_end());
    frames.receives(&frame(b'E', b"\0"));
    assert!(frames.owe_no_more_than_an_end() && !frames.owe_nothing());
    frames.receives(&frame(b'Z', b"I"));
    frames.sends(&frame(b'Q', b"select 1\0"));
    assert!(!frames.owe_no_more_than_an_end());
}

#[test]
fn a_statement_has_begun_to_be_executed_once_it_is_bound() {
    let mut frames = Frames::default();
    frames.sends(&[frame(b'B', b"\0"), frame(b'E', b"\0"), frame(b'S', b"")].concat());
    assert!(!frames.have_bound());
    frames.receives(&frame(b'2', b""));
    assert!(frames.have_bound());
    frames.sends(&frame(b'B', b"\0"));
    assert!(!frames.have_bound());
}

#[test]
fn a_commit_among_other_statements_has_worked_before_the_server_is_ready() {
    let mut frames = Frames::default();
    frames.sends(&frame(b'Q', b"begin; insert; commit; select\0"));
    frames.receives(&[frame(b'C', b"BEGIN\0"), frame(b'C', b"INSERT 0 1\0"), frame(b'C', b"COMMIT\0")].concat());
    assert!(frames.have_worked());
    assert_eq!(frames.settled(), 0);
}

#[test]
fn a_setting_that_the_server_tells_of_is_counted() {
    let mut frames = Frames::default();
    let before = frames.tally();
    frames.receives(&[frame(b'S', b"TimeZone\0Asia/Tokyo\0"), frame(b'C', b"SET\0")].concat());
    assert!(frames.tally().has_changed_since(&before));
}

fn run(name: &[u8]) -> Vec<u8> {
    let bind = [b"\0", name, b"\0\0\0\0\0\0\0and what the parameters are, at some length"].concat();
    [frame(b'B', &bind), frame(b'E', b"\0\0\0\0\0"), frame(b'S', b"")].concat()
}

#[test]
fn executions_are_counted_if_nothing_else_happens() {
    let mut frames = Frames::default();
    frames.sends(&frame(b'Q', b"set role joe\0"));
    frames.receives(&[frame(b'C', b"SET\0"), frame(b'Z', b"I")].concat());
    let before = frames.tally();
    assert_eq!(frames.tally().only_executions_since(&before), Some(0));
    for _ in 0..2 {
        frames.sends(&run(b"s7"));
        frames.receives(&[frame(b'2', b""), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat());
    }
    assert_eq!(frames.tally().only_executions_since(&before), Some(2));
    for other in [b'Q', b'P', b'D', b'F', b'C', b'd', b'B', b'E'] {
        let mut frames = Frames::default();
        let before = frames.tally();
        frames.sends(&[run(b"s7"), frame(other, b"\0\0\0\0\0")].concat());
        assert_eq!(frames.tally().only_executions_since(&before), None, "{}", other as char);
    }
    for (kind, body) in [(b'E', &b"\0"[..]), (b'S', b"TimeZone\0Asia/Tokyo\0")] {
        let before = frames.tally();
        frames.receives(&frame(kind, body));
        assert_eq!(frames.tally().only_executions_since(&before), None, "{}", kind as char);
    }
}

#[test]
fn the_name_of_the_statement_that_was_bound_last_is_known_wherever_the_frame_is_cut() {
    let sent = run(b"s12345");
    for cut in 0..sent.len() {
        let mut frames = Frames::default();
        assert_eq!(frames.last_bound(), None);
        frames.sends(&sent[..cut]);
        frames.sends(&sent[cut..]);
        assert_eq!(frames.last_bound(), Some("s12345"), "cut at {cut}");
        assert!(frames.sent.is_between());
        frames.sends(&run(b"s1"));
        assert_eq!(frames.last_bound(), Some("s1"));
    }
    for foreign in [&b""[..], b"s", b"mine", b"s1\"; drop table x", b"s1234567890123456789012345"] {
        let mut frames = Frames::default();
        frames.sends(&run(foreign));
        assert_eq!(frames.last_bound(), None);
    }
    let mut frames = Frames::default();
    frames.sends(&frame(b'B', b"portal\0s7\0"));
    assert_eq!(frames.last_bound(), None);
}

#[test]
fn preparing_a_statement_settles_nothing() {
    let mut frames = Frames::default();
    frames.sends(&[frame(b'P', b"s0\0select 1\0\0\0"), frame(b'D', b"Ss0\0"), frame(b'S', b"")].concat());
    frames.receives(&[frame(b'1', b""), frame(b't', b"\0\0"), frame(b'n', b""), frame(b'Z', b"I")].concat());
    assert!(frames.are_at_rest());
    assert_eq!(frames.settled(), 0);
}
