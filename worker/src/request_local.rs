//! Request-local statics: what [`request_local!`](crate::request_local!) declares.
//!
//! A value is made when a request first touches its static, and dropped when that request ends. Each thread has a list
//! of those it has touched, so a static that nobody touches costs nothing. Knows nothing of requests: whoever ends one
//! calls [`end`].

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::thread::LocalKey;

use crate::panics::contain;

/// How often the end is gone through again for values that destructors have made: whatever is there then is leaked.
const ROUNDS: usize = 4;

thread_local! {
    /// The statics that have a value in this thread, in the order in which they got it.
    static TOUCHED: RefCell<Vec<&'static dyn Touched>> = const { RefCell::new(Vec::new()) };
}

/// Declares statics of which each request has its own: like `thread_local!`, but back to the initial value for every
/// request.
///
/// ```
/// use std::cell::{Cell, RefCell};
/// use ratoon_worker::request_local;
///
/// request_local! {
///     /// Who is logged in.
///     pub static USER: RefCell<Option<String>> = RefCell::new(None);
///     static QUERIES: Cell<u32> = Cell::new(0);
/// }
///
/// fn query() {
///     QUERIES.set(QUERIES.get() + 1);
/// }
///
/// USER.replace(Some("ada".into()));
/// query();
/// assert_eq!(USER.with_borrow(|user| user.clone()).as_deref(), Some("ada"));
/// assert_eq!(QUERIES.get(), 1);
/// ```
///
/// The expression is evaluated when a request first touches the static; a request that never does pays nothing. The value
/// is dropped at the end of the request that made it: after its deferred work, also if the handler panicked, in the
/// reverse order of first touch. A destructor that panics is contained. One that touches a request-local finds its value
/// if that was made later and is still there, or else a new one, which is dropped likewise; of destructors that make
/// each other's values without end a few rounds are gone through, and what is there then is leaked: no request sees it.
///
/// `App::load`, `App::start` and `App::stop` are like a request each: what they touch is dropped when they return.
/// In a thread that the application starts the static is an ordinary thread-local: a value of that thread's own, which
/// is dropped when the thread ends, whatever requests come and go.
///
/// # Panics
/// Where the expression touches the very static that it initialises.
#[macro_export]
macro_rules! request_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $initial:expr; $($rest:tt)*) => {
        $crate::request_local!($(#[$attribute])* $visibility static $name: $type = $initial);
        $crate::request_local!($($rest)*);
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $initial:expr) => {
        $(#[$attribute])*
        $visibility static $name: $crate::RequestLocal<$type> = {
            ::std::thread_local! {
                static PLACE: $crate::request_local::Place<$type> = const { $crate::request_local::Place::empty() };
            }
            fn initial() -> $type {
                $initial
            }
            $crate::RequestLocal::declared(PLACE, initial)
        };
    };
}

/// A static of which each request has its own value: see [`request_local!`](crate::request_local!).
pub struct RequestLocal<T: 'static> {
    place: LocalKey<Place<T>>,
    initial: fn() -> T,
}

/// Where a thread has its value.
#[doc(hidden)]
pub struct Place<T>(RefCell<Content<T>>);

enum Content<T> {
    Nothing,
    /// The expression is being evaluated.
    Unfinished,
    Value(Rc<T>),
}

impl<T> Place<T> {
    #[doc(hidden)]
    pub const fn empty() -> Place<T> {
        Place(RefCell::new(Content::Nothing))
    }
}

/// A static that has a value, whatever its type.
trait Touched: Sync {
    /// Drops it.
    fn drop_value(&'static self);
    /// Forgets it, without running its destructor.
    fn leak_value(&'static self);
}

impl<T: 'static> RequestLocal<T> {
    #[doc(hidden)]
    pub const fn declared(place: LocalKey<Place<T>>, initial: fn() -> T) -> RequestLocal<T> {
        RequestLocal { place, initial }
    }

    /// Calls `function` with this request's value, which is made now if it was not.
    ///
    /// # Panics
    /// If it is being made just now: the initial expression touches its own static.
    pub fn with<R>(&'static self, function: impl FnOnce(&T) -> R) -> R {
        let value = self.place.with(|place| match &*place.0.borrow() {
            Content::Value(value) => Some(value.clone()),
            Content::Nothing => None,
            Content::Unfinished => panic!("a request-local static is touched by its own initial expression"),
        });
        function(&value.unwrap_or_else(|| self.make()))
    }

    #[cold]
    fn make(&'static self) -> Rc<T> {
        /// Whatever becomes of the expression, it is not being evaluated any more.
        struct Attempt<T: 'static>(&'static RequestLocal<T>);
        impl<T> Drop for Attempt<T> {
            fn drop(&mut self) {
                self.0.replace_content(Content::Nothing);
            }
        }
        self.replace_content(Content::Unfinished);
        let attempt = Attempt(self);
        let value = Rc::new((self.initial)());
        std::mem::forget(attempt);
        self.replace_content(Content::Value(value.clone()));
        TOUCHED.with_borrow_mut(|touched| touched.push(self));
        value
    }

    fn replace_content(&'static self, content: Content<T>) -> Content<T> {
        self.place.with(|place| place.0.replace(content))
    }
}

impl<T: 'static> Touched for RequestLocal<T> {
    fn drop_value(&'static self) {
        drop(self.replace_content(Content::Nothing));
    }

    fn leak_value(&'static self) {
        std::mem::forget(self.replace_content(Content::Nothing));
    }
}

/// As a thread-local `Cell` has them.
impl<T: 'static> RequestLocal<Cell<T>> {
    /// Sets the value.
    pub fn set(&'static self, value: T) {
        self.with(|cell| cell.set(value));
    }

    /// A copy of the value.
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves its type's default.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Sets the value; the one before.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

/// As a thread-local `RefCell` has them; they panic where a `RefCell` does.
impl<T: 'static> RequestLocal<RefCell<T>> {
    /// Calls `function` with the value.
    ///
    /// # Panics
    /// If it is borrowed mutably.
    pub fn with_borrow<R>(&'static self, function: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| function(&cell.borrow()))
    }

    /// Calls `function` with the value, to change it.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn with_borrow_mut<R>(&'static self, function: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| function(&mut cell.borrow_mut()))
    }

    /// Sets the value.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn set(&'static self, value: T) {
        self.replace(value);
    }

    /// Takes the value and leaves its type's default.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Sets the value; the one before.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for RequestLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLocal").finish_non_exhaustive()
    }
}

/// Drops every value there is in this thread, the last one made first; what their destructors make, too.
#[doc(hidden)]
pub fn end() {
    for _ in 0..ROUNDS {
        let touched = TOUCHED.take();
        if touched.is_empty() {
            return;
        }
        for each in touched.into_iter().rev() {
            if contain(|| each.drop_value()).is_err() {
                tracing::error!("the destructor of a request-local value panicked");
            }
        }
    }
    let left = TOUCHED.take();
    if !left.is_empty() {
        tracing::error!(values = left.len(), "request-local values make each other without end: they are leaked");
        left.into_iter().for_each(Touched::leak_value);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    thread_local! {
        static DROPPED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }

    struct Witness(&'static str);

    impl Drop for Witness {
        fn drop(&mut self) {
            DROPPED.with_borrow_mut(|dropped| dropped.push(self.0));
        }
    }

    /// Touches others, and itself anew, when it is dropped.
    struct Toucher(fn());

    impl Drop for Toucher {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    request_local! {
        static FIRST: Witness = Witness("first");
        /// With a documentation, as a static may have one.
        #[allow(dead_code)]
        static SECOND: Witness = Witness("second");
        static COUNT: Cell<u32> = Cell::new(7);
        static NAMES: RefCell<Vec<&'static str>> = RefCell::new(vec!["initial"]);
        static UNTOUCHED: u32 = panic!("nobody asked for it");
        static ITSELF: u32 = ITSELF.with(|itself| *itself);
        static BOMB: Toucher = Toucher(|| panic!("in a destructor"));
        static NOSY: Toucher = Toucher(|| {
            COUNT.set(COUNT.get() + 1);
            FIRST.with(|_| ());
        });
        static ENDLESS: Toucher = Toucher(|| ENDLESS.with(|_| ()))
    }

    fn dropped() -> Vec<&'static str> {
        DROPPED.take()
    }

    #[test]
    fn a_value_is_made_when_it_is_touched_and_dropped_at_the_end_the_last_one_first() {
        FIRST.with(|_| SECOND.with(|_| FIRST.with(|_| ())));
        assert_eq!(dropped(), [""; 0]);
        end();
        assert_eq!(dropped(), ["second", "first"]);
        end();
        assert_eq!(dropped(), [""; 0]);
    }

    #[test]
    fn cells_are_back_to_their_initial_value_after_the_end() {
        for _ in 0..2 {
            assert_eq!((COUNT.replace(8), COUNT.get(), COUNT.take(), COUNT.get()), (7, 8, 8, 0));
            COUNT.set(1);
            assert_eq!(NAMES.with_borrow(Vec::len), 1);
            NAMES.with_borrow_mut(|names| names.push("second"));
            assert_eq!(NAMES.replace(Vec::new()), ["initial", "second"]);
            NAMES.set(vec!["third"]);
            assert_eq!((NAMES.take(), NAMES.with_borrow(Vec::len)), (vec!["third"], 0));
            end();
        }
    }

    #[test]
    fn an_initial_expression_that_panics_may_be_tried_again_and_one_that_touches_itself_is_told() {
        for _ in 0..2 {
            assert!(catch_unwind(|| UNTOUCHED.with(|_| ())).is_err());
            assert!(catch_unwind(|| ITSELF.with(|_| ())).is_err());
        }
        assert!(TOUCHED.with_borrow(Vec::is_empty));
    }

    #[test]
    fn a_destructor_may_panic_and_the_others_run_all_the_same() {
        FIRST.with(|_| BOMB.with(|_| SECOND.with(|_| ())));
        end();
        assert_eq!(dropped(), ["second", "first"]);
    }

    #[test]
    fn a_destructor_finds_what_is_still_there_and_makes_anew_what_is_gone() {
        COUNT.set(1);
        NOSY.with(|_| FIRST.with(|_| ()));
        end();
        assert_eq!(dropped(), ["first", "first"]);
        assert_eq!(COUNT.get(), 7);
        end();
    }

    #[test]
    fn values_that_make_each_other_without_end_are_leaked_and_not_seen_again() {
        ENDLESS.with(|_| ());
        end();
        assert!(TOUCHED.with_borrow(Vec::is_empty));
    }

    #[test]
    fn a_thread_has_values_of_its_own_which_end_with_it() {
        COUNT.set(1);
        let seen = std::thread::spawn(|| {
            FIRST.with(|_| COUNT.set(COUNT.get() + 1));
            COUNT.get()
        });
        assert_eq!((seen.join().ok(), COUNT.get()), (Some(8), 1));
        end();
    }
}
