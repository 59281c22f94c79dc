//! Where `Subflow` finds flows.

use async_trait::async_trait;
use operon_core::plan::Plan;

/// Why a flow is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// There is none with that id.
    #[error("there is no flow `{flow}` in namespace `{namespace}`; {searched}")]
    Missing {
        /// Asked for.
        namespace: String,
        /// Asked for.
        flow: String,
        /// Where was looked, and what to do.
        searched: String,
    },
    /// It does not compile.
    #[error("flow `{flow}` is not valid: {problem}")]
    Invalid {
        /// Asked for.
        flow: String,
        /// The first problem.
        problem: String,
    },
}

/// Finds flows by name.
#[async_trait(?Send)]
pub trait FlowSource {
    /// The plan of a flow, in a revision if one is asked for, and the directory of its namespace files. `near` is that
    /// of the flow that calls it.
    async fn flow(
        &self,
        namespace: &str,
        flow: &str,
        revision: Option<u32>,
        near: Option<&str>,
    ) -> Result<(Plan, Option<String>), FlowError>;
}
