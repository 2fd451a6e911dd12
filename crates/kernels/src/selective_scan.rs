//! The selective scan, the recurrence inside a Mamba mixer.

pub(crate) mod cpu;
pub mod reference;
