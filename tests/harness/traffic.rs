//! Clients that work all the while, and keep account of every answer they did not get.
//!
//! Each asks for a word, waits for the answer, and asks for the next: over one connection that it keeps, or over a new
//! one every time. Whatever is not a whole answer with status 200 is a loss.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Client, Door, SOON, eventually};

/// Between an answer and the next question: the machine has other things to do, too.
const BREATH: Duration = Duration::from_millis(2);

/// What an open connection is to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Keeps,
    Connects,
}

/// Clients at work.
pub struct Traffic {
    account: Arc<Account>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Account {
    over: AtomicBool,
    answers: AtomicUsize,
    losses: Mutex<Vec<String>>,
}

impl Traffic {
    /// At each door so many clients that keep their connection, and as many that connect for every request; they take
    /// turns with the words.
    pub fn begin(doors: &[Door], of_each: usize, words: &[&str]) -> Traffic {
        let account = Arc::new(Account::default());
        let mut clients = Vec::new();
        for door in doors {
            for habit in [Habit::Keeps, Habit::Connects] {
                for number in 0..of_each {
                    let (door, account) = (door.clone(), account.clone());
                    let targets: Vec<String> = words.iter().map(|word| format!("/{word}")).collect();
                    clients.push(std::thread::spawn(move || work(&door, habit, &targets, number, &account)));
                }
            }
        }
        Traffic { account, clients }
    }

    /// Waits until so many more requests have been answered.
    #[track_caller]
    pub fn goes_on(&self, more: usize) {
        let before = self.account.answers.load(Ordering::SeqCst);
        eventually(&format!("{more} more answers; losses: {:?}", self.account.losses.lock().unwrap()), SOON, || {
            (self.account.answers.load(Ordering::SeqCst) >= before + more).then_some(())
        });
    }

    /// Has everybody finish, and finds that nothing was lost; how many answers there were.
    #[track_caller]
    pub fn ends_without_a_loss(mut self) -> usize {
        self.account.over.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            client.join().unwrap();
        }
        let answers = self.account.answers.load(Ordering::SeqCst);
        let losses = self.account.losses.lock().unwrap();
        assert!(losses.is_empty(), "{} lost beside {answers} answers: {losses:?}", losses.len());
        answers
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.account.over.store(true, Ordering::SeqCst);
    }
}

fn work(door: &Door, habit: Habit, targets: &[String], number: usize, account: &Account) {
    let mut kept: Option<Client> = None;
    for count in number.. {
        if account.over.load(Ordering::SeqCst) {
            return;
        }
        let target = &targets[count % targets.len()];
        let asked = kept.take().map_or_else(|| door.connect(), Ok).and_then(|mut client| {
            let answer = client.try_get(target)?;
            Ok((client, answer))
        });
        match asked {
            Ok((client, answer)) if answer.status == 200 => {
                account.answers.fetch_add(1, Ordering::SeqCst);
                kept = Some(client).filter(|_| habit == Habit::Keeps);
            }
            Ok((_, answer)) => account.lose(format!("{habit:?} at {door:?}: {} for {target}", answer.status)),
            Err(error) => account.lose(format!("{habit:?} at {door:?}, request {}: {error}", count - number)),
        }
        std::thread::sleep(BREATH);
    }
}

impl Account {
    fn lose(&self, what: String) {
        self.losses.lock().unwrap().push(what);
    }
}
