//! Builders, scenarios, the state explorer, the simulator and ports in memory for Operon's tests. A
//! dev-dependency only.

pub mod cloud;
pub mod contract;
pub mod explore;
pub mod memory;
pub mod simulate;
