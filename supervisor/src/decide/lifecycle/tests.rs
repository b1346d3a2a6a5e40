use super::*;
use crate::decide::cause::Limit;

const PID: Pid = Pid(712);
const READY: Time = Time(5);
const NOW: Time = Time(9);
const STOP_TIMEOUT: Duration = Duration::from_nanos(30);
const OPERATOR: Cause = Cause::Retired(Wish::Operator);
const SEGFAULT: Exit = Exit::Signal { number: 11, core: true };

fn next(state: &State, input: Input) -> Next {
    step(state, input, NOW, STOP_TIMEOUT)
}

fn states() -> [State; 9] {
    [
        State::Ordered { template: 1, unwanted: Some(Cause::StoppedNow) },
        State::Ordered { template: 1, unwanted: None },
        State::Starting { pid: PID },
        State::Refused { pid: PID, reason: "no database".into() },
        State::Serving { pid: PID, ready: READY },
        State::Draining { pid: PID, ready: READY, was_leaving: false },
        State::Leaving { pid: PID, ready: READY, cause: OPERATOR, deadline: Time(20) },
        State::Trailing { pid: PID, ready: READY, cause: OPERATOR, deadline: Time(20) },
        State::Doomed { pid: PID, ready: Some(READY), cause: Cause::RequestTimeout },
    ]
}

/// One letter for what follows: a capital for a state (`U` unwanted, `F` Refused, `V` Serving, `X` Doomed), `+` gone.
fn letter(next: &Next) -> char {
    match next {
        Next::Become(State::Ordered { unwanted: Some(_), .. }) => 'U',
        Next::Become(State::Ordered { unwanted: None, .. }) => 'O',
        Next::Become(State::Starting { .. }) => 'S',
        Next::Become(State::Refused { .. }) => 'F',
        Next::Become(State::Serving { .. }) => 'V',
        Next::Become(State::Draining { .. }) => 'D',
        Next::Become(State::Leaving { .. }) => 'L',
        Next::Become(State::Trailing { .. }) => 'T',
        Next::Become(State::Doomed { .. }) => 'X',
        Next::Gone(_) => '+',
        Next::Stalled(_) => '!',
        Next::Gossip => 'g',
        Next::Repeat => 'r',
        Next::Mistake(_) => 'm',
    }
}

fn dies(state: &State, exit: Exit) -> Cause {
    match next(state, Input::Died(exit)) {
        Next::Gone(death) => death.cause,
        other => panic!("{state:?} survived {exit:?}: {other:?}"),
    }
}

#[test]
fn every_cell_of_the_table_leads_where_it_should() {
    // One column each for Ordered but unwanted, Ordered, Starting, Refused, Serving, Draining, Leaving, Trailing, Doomed.
    let table = [
        (Input::Forked(PID), "XSrrrrrrr"),
        (Input::NotForked("EAGAIN".into()), "++ggggggg"),
        (Input::Ready, "ggVgrrrrg"),
        (Input::Refused("no".into()), "ggFrggggg"),
        (Input::Leaving(OPERATOR), "ggggLrrrg"),
        (Input::Trailing, "gggggrTrg"),
        (Input::Overdue, "!!XXXXXXr"),
        (Input::Died(Exit::Status(0)), "mm+++++++"),
        (Input::TemplateLost(1), "++ggggggg"),
        (Input::TemplateLost(2), "ggggggggg"),
        (Input::Retire(OPERATOR), "mmmmLrrrr"),
        (Input::Drain, "mmmmDrDDr"),
        (Input::Kill(Cause::StoppedNow), "rUXXXXXXr"),
    ];
    for (input, expected) in table {
        let row: String = states().iter().map(|state| letter(&next(state, input.clone()))).collect();
        assert_eq!(row, expected, "{input:?}");
    }
}

#[test]
fn a_worker_that_refused_died_of_what_it_said() {
    let [_, _, _, refused, ..] = states();
    assert_eq!(dies(&refused, Exit::Status(1)), Cause::BootFailed("no database".into()));
    assert_eq!(dies(&refused, SEGFAULT), Cause::BootFailed("no database".into()));
}

#[test]
fn a_worker_that_was_asked_to_leave_and_leaves_cleanly_died_of_what_it_was_asked_for_and_otherwise_not() {
    let [.., draining, leaving, trailing, _] = states();
    for (state, asked) in [(draining, Cause::Retired(Wish::Stop)), (leaving, OPERATOR), (trailing, OPERATOR)] {
        assert_eq!(dies(&state, Exit::Status(0)), asked);
        assert_eq!(dies(&state, Exit::Status(3)), Cause::Exited(3));
        assert_eq!(dies(&state, SEGFAULT), Cause::Signal { number: 11, core: true });
    }
}

#[test]
fn a_kill_that_is_not_ours_is_the_kernels_or_somebody_elses() {
    let [.., serving, _, _, _, _] = states();
    assert_eq!(dies(&serving, Exit::Signal { number: 9, core: false }), Cause::KilledFromOutside);
    assert_eq!(dies(&serving, Exit::OutOfMemory), Cause::KilledForMemory);
}

#[test]
fn the_first_cause_to_leave_for_stands() {
    let [.., serving, _, _, _, _] = states();
    let Next::Become(leaving) = next(&serving, Input::Leaving(Cause::Recycled(Limit::Requests))) else {
        panic!("it does not leave");
    };
    assert_eq!(next(&leaving, Input::Retire(OPERATOR)), Next::Repeat);
    assert_eq!(dies(&leaving, Exit::Status(0)), Cause::Recycled(Limit::Requests));
}

#[test]
fn one_that_only_sends_what_is_left_keeps_the_deadline_it_had() {
    let [.., leaving, trailing, _] = states();
    assert_eq!(next(&leaving, Input::Trailing), Next::Become(trailing.clone()));
    assert_eq!(trailing.deadline(), leaving.deadline());
}

#[test]
fn a_serving_worker_that_exits_unasked_is_not_retired_even_with_status_zero() {
    let [.., serving, _, _, _, _] = states();
    assert_eq!(dies(&serving, Exit::Status(0)), Cause::Exited(0));
}

#[test]
fn the_cause_we_killed_for_outlives_the_exit_and_every_later_kill() {
    let [.., doomed] = states();
    assert_eq!(next(&doomed, Input::Kill(Cause::StoppedNow)), Next::Repeat);
    assert_eq!(dies(&doomed, Exit::Status(0)), Cause::RequestTimeout);
    assert_eq!(dies(&doomed, SEGFAULT), Cause::RequestTimeout);
}

#[test]
fn a_passed_deadline_means_what_the_worker_was_doing() {
    let causes: Vec<_> = states()
        .iter()
        .filter_map(|state| match next(state, Input::Overdue) {
            Next::Become(State::Doomed { cause, .. }) => Some(cause),
            _ => None,
        })
        .collect();
    let refused = Cause::BootFailed("no database".into());
    let request = Cause::RequestTimeout;
    assert_eq!(causes, [Cause::BootTimeout, refused, request.clone(), request.clone(), request.clone(), request]);
}

#[test]
fn only_a_death_after_ready_says_since_when_it_was() {
    let ready: Vec<_> = states()
        .iter()
        .filter_map(|state| match next(state, Input::Died(SEGFAULT)) {
            Next::Gone(death) => Some(death.ready),
            _ => None,
        })
        .collect();
    let since = Some(READY);
    assert_eq!(ready, [None, None, since, since, since, since, since]);
}

#[test]
fn one_that_leaves_of_its_own_accord_must_be_gone_at_stop_timeout_from_then() {
    let [.., serving, _, _, _, _] = states();
    let Next::Become(leaving) = next(&serving, Input::Leaving(OPERATOR)) else {
        panic!("it does not leave");
    };
    assert_eq!(leaving.deadline(), Some(NOW.after(STOP_TIMEOUT)));
    // A second report of it buys no time.
    assert_eq!(next(&leaving, Input::Leaving(OPERATOR)), Next::Repeat);
}

#[test]
fn one_given_up_before_it_was_forked_is_killed_when_its_pid_is_known_and_for_the_first_cause() {
    let [unwanted, ordered, ..] = states();
    assert_eq!(next(&ordered, Input::Kill(Cause::StoppedNow)), Next::Become(unwanted.clone()));
    assert_eq!(next(&unwanted, Input::Kill(Cause::StopTimeout)), Next::Repeat);
    let doomed = State::Doomed { pid: PID, ready: None, cause: Cause::StoppedNow };
    assert_eq!(next(&unwanted, Input::Forked(PID)), Next::Become(doomed));
    let death = Death { cause: Cause::StoppedNow, ready: None };
    assert_eq!(next(&unwanted, Input::TemplateLost(1)), Next::Gone(death));
}

#[test]
fn one_told_to_drain_while_it_left_is_told_from_one_that_served() {
    let [.., serving, _, leaving, trailing, _] = states();
    for (state, was_leaving) in [(serving, false), (leaving, true), (trailing, true)] {
        let draining = State::Draining { pid: PID, ready: READY, was_leaving };
        assert_eq!(next(&state, Input::Drain), Next::Become(draining));
    }
}
