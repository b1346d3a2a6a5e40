//! The README says: "a segfault, a leak or a stuck call costs one request and not the service". Here are the rarer
//! misfortunes that the service survives as well: odd signals, panics in odd places, limits, a log that nobody reads.

mod death;
mod load;
mod log;
mod stop;
mod wire;
