//! What an error of the SDK means to the caller: try again, or not.

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use operon_engine::ports::StoreError;

/// Codes after which the same request may succeed later.
const BUSY: &[&str] = &[
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "LimitExceededException",
    "OverLimit",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// Bytes of an error's text at most; the SDK's can hold whole answers.
const TEXT_MAX: usize = 600;

/// An error of the SDK, sorted by what its caller will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The same request may succeed later.
    Busy(String),
    /// It will not.
    Refused {
        /// The service's word for it; empty when there is none.
        code: String,
        /// For people.
        text: String,
    },
}

impl Trouble {
    /// Sorts an error; `what` says what was tried.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the SDK's list of errors is open"
    )]
    pub(crate) fn of<E, R>(what: &str, error: &SdkError<E, R>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let text = |detail: String| {
            let detail: String = detail.chars().take(TEXT_MAX).collect();
            format!("{what}: {detail}")
        };
        match error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or_default().to_owned();
                let message = service.err().message().unwrap_or("no reason given");
                let text = text(format!("{code}: {message}"));
                if BUSY.contains(&code.as_str()) {
                    Self::Busy(text)
                } else {
                    Self::Refused { code, text }
                }
            }
            // Nothing is known of these: the request may have arrived.
            SdkError::TimeoutError(_)
            | SdkError::DispatchFailure(_)
            | SdkError::ResponseError(_) => {
                Self::Busy(text(DisplayErrorContext(error).to_string()))
            }
            other => Self::Refused {
                code: String::new(),
                text: text(DisplayErrorContext(other).to_string()),
            },
        }
    }

    /// The sentence for people, with a remedy where there is one.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Busy(text) => text.clone(),
            Self::Refused { code, text } => match code.as_str() {
                "AccessDeniedException" | "AccessDenied" => {
                    format!("{text}; the function's role must allow it")
                }
                "ResourceNotFoundException"
                | "NoSuchBucket"
                | "QueueDoesNotExist"
                | "AWS.SimpleQueueService.NonExistentQueue" => {
                    format!("{text}; check the OPERON_ variables of the function and its stack")
                }
                _ => text.clone(),
            },
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        let text = trouble.text();
        match trouble {
            Trouble::Busy(_) => Self::Busy(text),
            Trouble::Refused { .. } => Self::Failed(text),
        }
    }
}
