//! The cloud in memory: queues, ECS and the functions over them, with time that goes when it is told to.
//!
//! Everything that a function writes or sends passes a failpoint ([`Faults`]), so that a test can kill the function
//! at each of them, before or after; whatever was delivered is delivered again, as SQS does it. Each defence of
//! the engine that lives at a border can be taken away ([`Defences`]), so that a test can show what it is for.

mod defences;
mod ecs;
mod faults;
mod queues;
mod said;
mod world;

pub use defences::Defences;
pub use ecs::{Fate, MemoryEcs, Shape, Signals};
pub use faults::{Faults, When};
pub use queues::{MemoryQueues, Received};
pub use world::CloudWorld;
