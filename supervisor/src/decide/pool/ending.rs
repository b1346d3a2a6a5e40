//! The end of a pool: everybody is asked to leave, then made to.

use super::Pool;
use crate::decide::Turn;
use crate::decide::event::{Action, Stop, Time};
use crate::decide::shutdown::{self, Pressure, Rung};
use crate::decide::{lifecycle, template};

impl Pool {
    /// Climbs as far as this wish asks; whether that was anywhere. What the new rung asks of everybody follows when the
    /// pool settles.
    pub(in crate::decide) fn end(&mut self, stop: Stop, turn: &mut Turn<'_>) -> bool {
        let Some(rung) = self.rung.climb(stop, turn.now) else {
            return false;
        };
        self.rung = rung;
        self.fail_errands("it is being stopped", turn);
        if matches!(rung, Rung::Draining { .. }) {
            turn.push(Action::StopListening(self.id));
        }
        true
    }

    /// How many workers this moment catches still there although their time to leave is over.
    pub(in crate::decide) fn out_of_time(&self, now: Time) -> u32 {
        match self.rung.pressure(self.limits().stop_timeout, now) {
            Some(Pressure::OutOfTime) => self.out_of_patience_with().map(|_| 1).sum(),
            Some(Pressure::Drain | Pressure::Now) | None => 0,
        }
    }

    /// When those that still drain have had their time, if somebody does.
    pub(super) fn end_of_patience(&self) -> Option<Time> {
        match self.rung {
            Rung::Draining { since } if self.out_of_patience_with().next().is_some() => {
                Some(since.after(self.limits().stop_timeout))
            }
            Rung::Open | Rung::Draining { .. } | Rung::Killing => None,
        }
    }

    /// What a stop asks of everybody here. The templates come last: only then is it known who owes a fork.
    pub(super) fn wind_down(&mut self, turn: &mut Turn<'_>) {
        let Some(pressure) = self.rung.pressure(self.limits().stop_timeout, turn.now) else {
            return;
        };
        let queue_served = self.roster.states().any(shutdown::serves_queue);
        let inputs: Vec<_> = self
            .roster
            .workers()
            .filter_map(|(who, worker)| Some((who, shutdown::worker_input(pressure, &worker.state, queue_served)?)))
            .collect();
        for (who, input) in inputs {
            self.tell_worker(who, input, turn);
        }
        let inputs: Vec<_> = self
            .templates()
            .filter_map(|(who, ..)| {
                Some((who, shutdown::template_input(pressure, self.open_orders(who.life).count())?))
            })
            .collect();
        for (who, input) in inputs {
            self.tell_template(who, input, turn);
        }
        self.abandon_preparations(turn);
    }

    /// Workers about whom something is left to be done: not those that were killed, nor those that are unwanted and
    /// whose template was.
    fn out_of_patience_with(&self) -> impl Iterator<Item = &lifecycle::State> {
        let is_doomed = |life: u64| {
            let mut templates = self.templates();
            templates.any(|(who, state, _)| who.life == life && matches!(state, template::State::Doomed { .. }))
        };
        self.roster.states().filter(move |state| match state {
            lifecycle::State::Doomed { .. } => false,
            lifecycle::State::Ordered { unwanted, template } => unwanted.is_none() || !is_doomed(*template),
            lifecycle::State::Starting { .. }
            | lifecycle::State::Refused { .. }
            | lifecycle::State::Serving { .. }
            | lifecycle::State::Leaving { .. }
            | lifecycle::State::Trailing { .. }
            | lifecycle::State::Draining { .. } => true,
        })
    }
}
