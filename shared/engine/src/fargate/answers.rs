//! What ECS's answers and descriptions mean.
//!
//! Invariant: an attempt has succeeded only on explicit evidence, which ECS never gives (E5): a task that ended
//! is a failure with a reason, or the question to the attempt's own manifest.

use operon_core::exec::Reason;

use super::{CONTAINER_AGENT, CONTAINER_MAIN, CONTAINER_STAGE};
use crate::ports::{ContainerView, EcsError, EcsFailure, TaskView};

/// What a refused or unanswered request means for who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A task was started with this token before.
    Launched,
    /// Too fast. Not a failure of the attempt.
    Throttled,
    /// No room at present; the same request may succeed later.
    NoCapacity(String),
    /// Whether it happened is unknown, or ECS is ill; the same request is repeated.
    Unknown(String),
    /// The task definition is gone; it is registered anew.
    DefinitionGone,
    /// Never, as it is asked.
    Refused(String),
}

fn has(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

const THROTTLED: [&str; 6] = [
    "rate exceeded",
    "throttl",
    "too many requests",
    "toomanyrequests",
    "requestlimitexceeded",
    "too many concurrent attempts",
];
/// What IAM and the services behind it say. The text names the resource (`… on resource: arn:…`), and no waiting helps.
const DENIED: [&str; 4] = [
    "not authorized",
    "accessdenied",
    "access denied",
    "unauthorizedoperation",
];
const NO_CAPACITY: [&str; 5] = [
    "capacity is unavailable",
    "capacity unavailable",
    "limit on the number of vcpus",
    "limit on the number of tasks",
    "insufficient capacity",
];
const UNKNOWN: [&str; 7] = [
    "serverexception",
    "internal",
    "serviceunavailable",
    "timeout",
    "dispatchfailure",
    "requesterror",
    "notready",
];

/// Classifies an error: by its message as well as by its code, because throttling arrives as
/// `InvalidParameterException` too (E9).
#[must_use]
pub fn answer(error: &EcsError) -> Answer {
    let text = format!("{}: {}", error.code, error.message);
    if error.code == "ConflictException" && !error.resource_ids.is_empty() {
        Answer::Launched
    } else if has(&text, &THROTTLED) {
        Answer::Throttled
    } else if has(&text, &DENIED) {
        Answer::Refused(text)
    } else if has(&text, &NO_CAPACITY) {
        Answer::NoCapacity(text)
    } else if has(&error.code, &UNKNOWN) {
        Answer::Unknown(text)
    } else if has(
        &text,
        &["taskdefinition is inactive", "taskdefinition not found"],
    ) || has(&text, &["task definition does not exist"])
    {
        Answer::DefinitionGone
    } else {
        Answer::Refused(text)
    }
}

/// Classifies what ECS took and did not place.
#[must_use]
pub fn placed(failures: &[EcsFailure]) -> Answer {
    let text: Vec<String> = failures
        .iter()
        .map(|failure| {
            format!("{} {}", failure.reason, failure.detail)
                .trim()
                .to_owned()
        })
        .collect();
    let text = if text.is_empty() {
        "ECS started no task and gave no reason".to_owned()
    } else {
        text.join("; ")
    };
    // `RESOURCE:CPU` and the like.
    let full = failures
        .iter()
        .any(|failure| failure.reason.starts_with("RESOURCE:"));
    if has(&text, &THROTTLED) {
        Answer::Throttled
    } else if full || has(&text, &NO_CAPACITY) {
        Answer::NoCapacity(text)
    } else {
        // `AGENT`, `MISSING`, `ATTRIBUTE` and silence are ECS's own faults: another try may do.
        Answer::Unknown(text)
    }
}

/// What the reconciler gives as its reason when it stops a task that does not start.
pub const START_TIMEOUT: &str = "Operon: not started in time";

/// How a stopped task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It failed for this reason.
    Failed {
        /// For retry policies.
        reason: Reason,
        /// For people.
        message: String,
        /// Of the container `main`.
        exit_code: Option<i32>,
    },
    /// Somebody stopped it: whoever asked for that knows why.
    Stopped,
    /// It ended by itself and without a complaint, or its agent could not report: only the manifest tells.
    Unproven(String),
}

/// Reads a stopped task.
#[must_use]
pub fn ended(task: &TaskView) -> Ended {
    let container = |name: &str| task.containers.iter().find(|view| view.name == name);
    let main = container(CONTAINER_MAIN);
    let exit_code = main.and_then(|main| main.exit_code);
    let stopped_reason = task.stopped_reason.clone().unwrap_or_default();
    let failed = |reason: Reason, message: String| Ended::Failed {
        reason,
        message,
        exit_code,
    };
    if let Some(view) = task.containers.iter().find(|view| out_of_memory(view)) {
        let message = format!("container `{}` ran out of memory", view.name);
        return failed(Reason::OutOfMemory, message);
    }
    match task.stop_code.as_deref() {
        Some("TaskFailedToStart") => failed(start_failure(task), shown(task)),
        Some("SpotInterruption" | "TerminationNotice") => failed(
            Reason::Interrupted,
            format!("the spot capacity was taken away: {stopped_reason}"),
        ),
        Some("InfrastructureHealth") => failed(
            Reason::Interrupted,
            format!("the machine below it was unhealthy: {stopped_reason}"),
        ),
        Some("UserInitiated") if stopped_reason.contains(START_TIMEOUT) => {
            failed(Reason::StartTimeout, stopped_reason)
        }
        Some("UserInitiated") => Ended::Stopped,
        _ if task.started_ms.is_none() && exit_code.is_none() => {
            failed(start_failure(task), shown(task))
        }
        _ => by_exit_codes(task, exit_code, &stopped_reason),
    }
}

fn by_exit_codes(task: &TaskView, exit_code: Option<i32>, stopped_reason: &str) -> Ended {
    let code_of = |name: &str| {
        let view = task.containers.iter().find(|view| view.name == name);
        view.and_then(|view| view.exit_code)
    };
    let agent = code_of(CONTAINER_AGENT);
    // The agent outlives main; killed beside it, it was the memory of the task.
    if agent == Some(137) && exit_code.is_none_or(|code| code == 137) {
        return Ended::Failed {
            reason: Reason::OutOfMemory,
            message: "the task was killed with exit code 137, as when its memory is used up"
                .to_owned(),
            exit_code,
        };
    }
    if let Some(code) = exit_code.filter(|code| *code != 0) {
        return Ended::Failed {
            reason: Reason::ExitCode,
            message: format!("exit code {code}"),
            exit_code,
        };
    }
    let stage = code_of(CONTAINER_STAGE);
    let codes = [("stage", stage), ("main", exit_code), ("agent", agent)];
    let codes: Vec<String> = codes
        .iter()
        .map(|(name, code)| match code {
            Some(code) => format!("{name} {code}"),
            None => format!("{name} none"),
        })
        .collect();
    Ended::Unproven(format!(
        "the task ended without a report (exit codes: {}) {stopped_reason}",
        codes.join(", ")
    ))
}

fn out_of_memory(view: &ContainerView) -> bool {
    let says = |reason: &String| has(reason, &["outofmemory", "out of memory", "oomkilled"]);
    view.reason.as_ref().is_some_and(says)
}

/// Why a task never ran.
fn start_failure(task: &TaskView) -> Reason {
    let text = shown(task);
    if has(
        &text,
        &["cannotpull", "image manifest", "pull access denied"],
    ) {
        Reason::CannotPull
    } else if has(&text, &DENIED) {
        Reason::StartFailed
    } else if has(&text, &NO_CAPACITY) || has(&text, &["capacity"]) {
        Reason::NoCapacity
    } else if has(&text, &["timeout", "timed out"]) {
        Reason::StartTimeout
    } else {
        Reason::StartFailed
    }
}

/// Everything a task says about its end.
fn shown(task: &TaskView) -> String {
    let own = task.stopped_reason.iter().cloned();
    let reasons = task.containers.iter().filter_map(|view| {
        let reason = view.reason.as_ref()?;
        Some(format!("{}: {reason}", view.name))
    });
    let text: Vec<String> = own.chain(reasons).collect();
    if text.is_empty() {
        "ECS stopped the task before it started and gave no reason".to_owned()
    } else {
        text.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, message: &str) -> EcsError {
        EcsError {
            code: code.to_owned(),
            message: message.to_owned(),
            resource_ids: Vec::new(),
        }
    }

    fn stopped(stop_code: &str, reason: &str, codes: &[(&str, i32)]) -> TaskView {
        TaskView {
            last_status: "STOPPED".to_owned(),
            stop_code: Some(stop_code.to_owned()),
            stopped_reason: Some(reason.to_owned()),
            started_ms: (!codes.is_empty()).then_some(1),
            containers: codes
                .iter()
                .map(|(name, code)| ContainerView {
                    name: (*name).to_owned(),
                    exit_code: Some(*code),
                    reason: None,
                })
                .collect(),
            ..TaskView::default()
        }
    }

    fn reason(task: &TaskView) -> Option<Reason> {
        match ended(task) {
            Ended::Failed { reason, .. } => Some(reason),
            Ended::Stopped | Ended::Unproven(_) => None,
        }
    }

    #[test]
    fn errors_mean_what_their_text_says() {
        let subnet = "Error retrieving subnet information for [subnet-1]: Rate exceeded";
        for (code, message, expected) in [
            ("ThrottlingException", "", Answer::Throttled),
            ("InvalidParameterException", subnet, Answer::Throttled),
            (
                "ClientException",
                "Too many concurrent attempts to create a new revision of the specified family.",
                Answer::Throttled,
            ),
            (
                "ClientException",
                "TaskDefinition is inactive",
                Answer::DefinitionGone,
            ),
        ] {
            assert_eq!(answer(&error(code, message)), expected, "{code} {message}");
        }
        let quota = error(
            "ClientException",
            "You've reached the limit on the number of vCPUs you can run concurrently",
        );
        assert!(matches!(answer(&quota), Answer::NoCapacity(_)));
        assert!(matches!(
            answer(&error("ServerException", "")),
            Answer::Unknown(_)
        ));
        let pass = "User: arn:aws:sts::1:assumed-role/launcher/f is not authorized to perform: iam:PassRole on \
                    resource: arn:aws:iam::1:role/task because no identity-based policy allows it";
        for (code, message) in [
            ("AccessDeniedException", "no"),
            ("AccessDeniedException", pass),
            ("ClientException", pass),
        ] {
            let answer = answer(&error(code, message));
            assert!(matches!(answer, Answer::Refused(_)), "{code} {message}");
        }
        let mut conflict = error("ConflictException", "");
        assert!(matches!(answer(&conflict), Answer::Refused(_)));
        conflict.resource_ids.push("arn".to_owned());
        assert_eq!(answer(&conflict), Answer::Launched);
    }

    #[test]
    fn what_was_not_placed_is_room_or_a_fault_of_ecs() {
        let of = |reason: &str| {
            placed(&[EcsFailure {
                reason: reason.to_owned(),
                detail: String::new(),
            }])
        };
        assert!(matches!(of("RESOURCE:MEMORY"), Answer::NoCapacity(_)));
        assert!(matches!(
            of("Capacity is unavailable at this time."),
            Answer::NoCapacity(_)
        ));
        assert!(matches!(of("AGENT"), Answer::Unknown(_)));
        assert!(matches!(of("MISSING"), Answer::Unknown(_)));
        assert!(matches!(placed(&[]), Answer::Unknown(_)));
    }

    #[test]
    fn every_way_to_stop_has_its_reason() {
        let start = |text: &str| reason(&stopped("TaskFailedToStart", text, &[]));
        assert_eq!(
            start("CannotPullContainerError: image not found"),
            Some(Reason::CannotPull)
        );
        assert_eq!(
            start("Capacity is unavailable at this time"),
            Some(Reason::NoCapacity)
        );
        assert_eq!(
            start("Timeout waiting for network interface provisioning to complete."),
            Some(Reason::StartTimeout)
        );
        assert_eq!(
            start("ResourceInitializationError: unable to pull secrets"),
            Some(Reason::StartFailed)
        );
        assert_eq!(
            start(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval \
                 failed: User is not authorized to perform: secretsmanager:GetSecretValue on resource: arn:aws:x"
            ),
            Some(Reason::StartFailed)
        );
        let spot = stopped("SpotInterruption", "Your Spot Task was interrupted.", &[]);
        assert_eq!(reason(&spot), Some(Reason::Interrupted));
        let code = |codes: &[(&str, i32)]| {
            reason(&stopped(
                "EssentialContainerExited",
                "Essential container in task exited",
                codes,
            ))
        };
        assert_eq!(code(&[("main", 3), ("agent", 0)]), Some(Reason::ExitCode));
        assert_eq!(
            code(&[("main", 137), ("agent", 137)]),
            Some(Reason::OutOfMemory)
        );
        let mut oom = stopped("EssentialContainerExited", "", &[("main", 137)]);
        if let Some(main) = oom.containers.first_mut() {
            main.reason = Some("OutOfMemoryError: Container killed due to memory usage".to_owned());
        }
        assert_eq!(reason(&oom), Some(Reason::OutOfMemory));
    }

    #[test]
    fn an_end_without_a_complaint_proves_nothing() {
        let clean = stopped("EssentialContainerExited", "", &[("main", 0), ("agent", 0)]);
        assert!(matches!(ended(&clean), Ended::Unproven(_)));
        let mute = stopped(
            "EssentialContainerExited",
            "",
            &[("main", 0), ("agent", 75)],
        );
        assert!(matches!(ended(&mute), Ended::Unproven(_)));
        assert_eq!(
            ended(&stopped("UserInitiated", "", &[("main", 143)])),
            Ended::Stopped
        );
    }
}
