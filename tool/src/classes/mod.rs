//! Equivalence classes: values that no pattern of some lists tells apart. One value of each class is asked
//! for all of them.

pub(crate) mod callers;
pub(crate) mod texts;
