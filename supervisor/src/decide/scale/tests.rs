use super::*;
mod farm;
