//! Builders, scenarios and the state explorer for Operon's tests. A dev-dependency only.

pub mod explore;
