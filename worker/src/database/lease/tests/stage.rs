//! A stage: workers as threads of which one runs at a time, from one step to the next. Who goes on, who dies and whose time
//! is over is drawn by the director, so that a seed is a whole run.
//!
//! A death unwinds the thread without another step on shared memory, and closes what it had open, as the kernel does.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::database::lease::Board;

thread_local! {
    static ROLE: RefCell<Option<Role>> = const { RefCell::new(None) };
}

/// What a thread on a stage is.
#[derive(Clone)]
struct Role {
    stage: Arc<Stage>,
    number: usize,
    /// Where the board is mapped in this thread's desk: a sleeper is known by the place on the board.
    board: usize,
}

#[derive(Default)]
pub(super) struct Stage {
    actors: Mutex<Actors>,
    director: Condvar,
}

#[derive(Default)]
struct Actors {
    all: Vec<Actor>,
    on: Option<usize>,
}

struct Actor {
    state: State,
    cue: Arc<Condvar>,
    dies: bool,
    is_late: bool,
    thread: Option<JoinHandle<()>>,
}

/// What an actor that is not on stage waits for.
#[derive(Debug)]
enum State {
    Ready,
    /// To be woken, or for the time to be over if there is an end to it.
    Asleep {
        word: usize,
        may_end: bool,
    },
    /// For the bell.
    Idle(Arc<Epoll>),
    /// To be called by the director.
    Resting,
    Gone {
        by_death: bool,
    },
}

struct Killed;

/// What the director may do with an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Ready,
    Asleep { may_end: bool },
    Idle,
    Resting,
    Gone { by_death: bool },
}

pub(in crate::database::lease) fn step() {
    let role = ROLE.with_borrow(Clone::clone);
    if let Some(role) = role {
        role.leave_stage(State::Ready);
    }
}

/// As the kernel does it; `None` off stage.
pub(in crate::database::lease) fn sleep(word: &AtomicU32, seen: u32, until: u64) -> Option<bool> {
    let role = ROLE.with_borrow(Clone::clone)?;
    role.leave_stage(State::Ready);
    if word.load(SeqCst) != seen {
        return Some(false);
    }
    let word = word.as_ptr() as usize - role.board;
    role.leave_stage(State::Asleep { word, may_end: until != u64::MAX });
    Some(std::mem::take(&mut role.stage.actors().all[role.number].is_late))
}

pub(in crate::database::lease) fn wake(word: &AtomicU32) {
    let Some(role) = ROLE.with_borrow(Clone::clone) else { return };
    let woken = word.as_ptr() as usize - role.board;
    for actor in &mut role.stage.actors().all {
        if matches!(actor.state, State::Asleep { word, .. } if word == woken) {
            actor.state = State::Ready;
        }
    }
}

/// The actor's desk has its board there.
pub(super) fn mapped_at(board: &Board) {
    let address = std::ptr::from_ref(board) as usize;
    ROLE.with_borrow_mut(|role| role.as_mut().unwrap().board = address);
}

/// What hears the bell in a worker's loop.
pub(super) fn ear(bell: &impl AsFd) -> Arc<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    epoll.add(bell, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0)).unwrap();
    Arc::new(epoll)
}

/// Until the bell has rung.
pub(super) fn listen(ear: &Arc<Epoll>) {
    ROLE.with_borrow(Clone::clone).unwrap().leave_stage(State::Idle(ear.clone()));
}

/// Until the director calls.
pub(super) fn rest() {
    ROLE.with_borrow(Clone::clone).unwrap().leave_stage(State::Resting);
}

impl Role {
    fn leave_stage(&self, state: State) {
        let mut actors = self.stage.actors();
        let cue = actors.all[self.number].cue.clone();
        actors.all[self.number].state = state;
        actors.on = None;
        self.stage.director.notify_one();
        while actors.on != Some(self.number) {
            actors = cue.wait(actors).unwrap_or_else(PoisonError::into_inner);
        }
        let dies = actors.all[self.number].dies;
        drop(actors);
        if dies {
            ROLE.set(None);
            resume_unwind(Box::new(Killed));
        }
    }
}

impl Stage {
    fn actors(&self) -> MutexGuard<'_, Actors> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another actor, who waits for his first cue; his number.
    pub(super) fn enter(self: &Arc<Stage>, part: impl FnOnce() + Send + 'static) -> usize {
        let mut actors = self.actors();
        let number = actors.all.len();
        let role = Role { stage: self.clone(), number, board: 0 };
        let thread = std::thread::spawn(move || {
            ROLE.set(Some(role.clone()));
            let played = catch_unwind(AssertUnwindSafe(|| {
                step();
                part();
            }));
            ROLE.set(None);
            let by_death = played.as_ref().is_err_and(|why| why.is::<Killed>());
            let mut actors = role.stage.actors();
            actors.all[number].state = State::Gone { by_death };
            actors.on = None;
            role.stage.director.notify_one();
            drop(actors);
            if let Err(why) = played
                && !by_death
            {
                resume_unwind(why);
            }
        });
        // Until its thread has come to its first step it is on.
        actors.on = Some(number);
        actors.all.push(Actor {
            state: State::Ready,
            cue: Arc::default(),
            dies: false,
            is_late: false,
            thread: Some(thread),
        });
        drop(self.wait(actors));
        number
    }

    fn wait<'a>(&self, mut actors: MutexGuard<'a, Actors>) -> MutexGuard<'a, Actors> {
        while actors.on.is_some() {
            actors = self.director.wait(actors).unwrap_or_else(PoisonError::into_inner);
        }
        actors
    }

    /// Who can be given a cue, after the bell has been heard.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let mut actors = self.actors();
        for actor in &mut actors.all {
            if let State::Idle(epoll) = &actor.state
                && epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::ZERO).unwrap() > 0
            {
                actor.state = State::Ready;
            }
        }
        let mark = |actor: &Actor| match actor.state {
            State::Ready => Mark::Ready,
            State::Asleep { may_end, .. } => Mark::Asleep { may_end },
            State::Idle(_) => Mark::Idle,
            State::Resting => Mark::Resting,
            State::Gone { by_death } => Mark::Gone { by_death },
        };
        actors.all.iter().map(mark).collect()
    }

    /// One step of this actor, whatever he waits for; `late`: his time is over.
    pub(super) fn cue(&self, number: usize, late: bool) {
        let mut actors = self.actors();
        let actor = &mut actors.all[number];
        actor.is_late = late;
        let cue = actor.cue.clone();
        actors.on = Some(number);
        cue.notify_one();
        let actors = self.wait(actors);
        // A promise that an actor found broken ends the run.
        if matches!(actors.all[number].state, State::Gone { by_death: false }) {
            let thread = { actors }.all[number].thread.take();
            if let Some(Err(why)) = thread.map(JoinHandle::join) {
                resume_unwind(why);
            }
        }
    }

    /// He dies where he is.
    pub(super) fn kill(&self, number: usize) {
        self.actors().all[number].dies = true;
        self.cue(number, false);
    }
}
