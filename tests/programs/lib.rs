//! Applications that the tests have supervised: `fixture` does what its settings or a request say, `catalogue` holds
//! much memory.
