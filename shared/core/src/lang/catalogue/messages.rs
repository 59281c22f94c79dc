//! Tasks that tell people: Slack, e-mail, SNS, `PagerDuty`, any service by a webhook.

use super::property::{PropInfo, PropType, prop};
use super::{Shape, TypeInfo};

/// One minute: a message is small.
const MESSAGE_MS: u64 = 60_000;

const SLACK_URL: PropInfo = prop("url", PropType::String, "The incoming webhook's address.")
    .required()
    .dynamic()
    .example("\"{{ secret('SLACK_WEBHOOK') }}\"");
const OPTIONS: PropInfo = prop("options", PropType::Any, "Kestra: HTTP options.")
    .warns("a message has one minute and is tried again by `retry`")
    .example("{readTimeout: PT10S}");
const KESTRA_LOOK: &str = "the message has one form everywhere";

/// The tasks that send messages.
pub(super) const TYPES: &[TypeInfo] = &[
    TypeInfo {
        name: "io.kestra.plugin.slack.notifications.SlackIncomingWebhook",
        aliases: &[
            "slack",
            "io.kestra.plugin.slack.SlackIncomingWebhook",
            "io.kestra.plugin.notifications.slack.SlackIncomingWebhook",
            "io.kestra.plugin.notifications.slack.SlackExecution",
            "io.kestra.plugin.slack.notifications.SlackExecution",
            "io.kestra.plugin.slack.SlackExecution",
        ],
        doc: "Posts to an incoming webhook of Slack. `payload` goes as it is, `messageText` as its `text`.",
        example: "id: tell\ntype: slack\nurl: \"{{ secret('SLACK_WEBHOOK') }}\"\nmessageText: \"{{ flow.id }} is done\"",
        props: &[
            SLACK_URL,
            prop(
                "messageText",
                PropType::String,
                "The text, in Slack's mrkdwn.",
            )
            .alias(&["customMessage"])
            .dynamic()
            .example("done"),
            prop(
                "payload",
                PropType::Any,
                "The whole message: a map, or JSON as text.",
            )
            .dynamic()
            .example("{text: done}"),
            prop(
                "channel",
                PropType::String,
                "Another channel, where the webhook allows it.",
            )
            .dynamic()
            .example("\"#ops\""),
            prop(
                "username",
                PropType::String,
                "Shown as the sender, where the webhook allows it.",
            )
            .dynamic()
            .example("operon"),
            prop(
                "iconEmoji",
                PropType::String,
                "Kestra: the sender's picture.",
            )
            .warns(KESTRA_LOOK)
            .example("\":dna:\""),
            prop("iconUrl", PropType::String, "Kestra: the sender's picture.")
                .warns(KESTRA_LOOK)
                .example("https://example.org/icon.png"),
            prop(
                "executionId",
                PropType::String,
                "Kestra: the execution that is told about.",
            )
            .warns("name it in the text")
            .example("\"{{ execution.id }}\""),
            OPTIONS,
        ],
        timeout_ms: MESSAGE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.email.MailSend",
        aliases: &[
            "email",
            "io.kestra.plugin.notifications.mail.MailSend",
            "io.kestra.plugin.notifications.mail.MailExecution",
            "io.kestra.plugin.email.MailExecution",
        ],
        doc: "Sends e-mail: by the server named here, or by that of the installation (SMTP locally, SES on AWS).",
        example: "id: tell\ntype: email\nto: ops@example.org\nsubject: \"{{ flow.id }} is done\"\nplainTextContent: all went well",
        props: &[
            prop(
                "to",
                PropType::OneOrMany(&PropType::String),
                "Addresses; also one text with commas.",
            )
            .required()
            .dynamic()
            .example("ops@example.org"),
            prop(
                "cc",
                PropType::OneOrMany(&PropType::String),
                "Further addresses.",
            )
            .dynamic()
            .example("team@example.org"),
            prop(
                "from",
                PropType::String,
                "Sender; else that of the installation.",
            )
            .dynamic()
            .example("operon@example.org"),
            prop("subject", PropType::String, "Subject.")
                .dynamic()
                .example("done"),
            prop("plainTextContent", PropType::String, "The text.")
                .alias(&["htmlTextContent", "textContent"])
                .dynamic()
                .example("all went well"),
            prop(
                "host",
                PropType::String,
                "SMTP server; else that of the installation.",
            )
            .dynamic()
            .example("smtp.example.org"),
            prop("port", PropType::Int(1, 65_535), "Of the server.").example("465"),
            prop("username", PropType::String, "For the server.")
                .dynamic()
                .example("operon"),
            prop("password", PropType::String, "For the server.")
                .dynamic()
                .example("\"{{ secret('SMTP_PASSWORD') }}\""),
            prop(
                "transportStrategy",
                PropType::Enum(&["SMTP", "SMTPS", "SMTP_TLS"]),
                "TLS from the start (`SMTPS`), by STARTTLS (`SMTP_TLS`), or none.",
            )
            .default("SMTPS"),
            prop("attachments", PropType::Any, "Kestra: files.").rejects(
                "a message has no files",
                "name the artifact's URI in the text",
            ),
            prop("embeddedImages", PropType::Any, "Kestra: pictures.").rejects(
                "a message has no pictures",
                "name the artifact's URI in the text",
            ),
            prop(
                "sessionTimeout",
                PropType::Int(1, i64::MAX),
                "Kestra: milliseconds.",
            )
            .warns("the task's `timeout` bounds the whole call"),
            prop(
                "executionId",
                PropType::String,
                "Kestra: the execution that is told about.",
            )
            .warns("name it in the text")
            .example("\"{{ execution.id }}\""),
        ],
        timeout_ms: MESSAGE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.aws.sns.Publish",
        aliases: &["sns"],
        doc: "Publishes to a topic of Amazon SNS, with the installation's permissions. Returns `messageId`.",
        example: "id: tell\ntype: sns\ntopicArn: arn:aws:sns:eu-central-1:123456789012:alerts\nmessage: done",
        props: &[
            prop("topicArn", PropType::String, "The topic.")
                .required()
                .dynamic()
                .example("arn:aws:sns:eu-central-1:123456789012:alerts"),
            prop(
                "message",
                PropType::Any,
                "Text, or a value that is sent as JSON.",
            )
            .alias(&["from"])
            .required()
            .dynamic()
            .example("done"),
            prop("subject", PropType::String, "For subscribers by e-mail.")
                .dynamic()
                .example("done"),
            prop("region", PropType::String, "Kestra: region of the topic.")
                .warns("the topic's name holds its region"),
            prop("accessKeyId", PropType::String, "Kestra: credentials.").rejects(
                "credentials are those of the installation",
                "allow its role to publish to the topic",
            ),
            prop("secretKeyId", PropType::String, "Kestra: credentials.").rejects(
                "credentials are those of the installation",
                "allow its role to publish to the topic",
            ),
        ],
        timeout_ms: MESSAGE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.pagerduty.PagerDutyAlert",
        aliases: &[
            "pagerduty",
            "io.kestra.plugin.notifications.pagerduty.PagerDutyAlert",
            "io.kestra.plugin.pagerduty.PagerDutyExecution",
            "io.kestra.plugin.notifications.pagerduty.PagerDutyExecution",
        ],
        doc: "Sends an event to PagerDuty's Events API v2, or a service like it. Returns `dedupKey`.",
        example: "id: page\ntype: pagerduty\nroutingKey: \"{{ secret('PAGERDUTY_KEY') }}\"\nsummary: the mirror is late",
        props: &[
            prop("routingKey", PropType::String, "Key of the integration.")
                .required()
                .dynamic()
                .example("\"{{ secret('PAGERDUTY_KEY') }}\""),
            prop(
                "summary",
                PropType::String,
                "What is wrong, at most 1,024 characters.",
            )
            .alias(&["payloadSummary"])
            .required()
            .dynamic()
            .example("the mirror is late"),
            prop(
                "severity",
                PropType::Enum(&["critical", "error", "warning", "info"]),
                "How bad.",
            )
            .default("error"),
            prop(
                "source",
                PropType::String,
                "Where; else namespace and flow.",
            )
            .dynamic()
            .example("mirror"),
            prop(
                "eventAction",
                PropType::Enum(&["trigger", "acknowledge", "resolve"]),
                "What happens to the incident.",
            )
            .default("trigger"),
            prop(
                "dedupKey",
                PropType::String,
                "Names the incident; else namespace and flow.",
            )
            .alias(&["deduplicationKey"])
            .dynamic()
            .example("mirror"),
            prop(
                "customDetails",
                PropType::Map(&PropType::Any),
                "Further facts.",
            )
            .alias(&["payloadCustomDetails"])
            .dynamic()
            .example("{organism: mpox}"),
            prop(
                "url",
                PropType::String,
                "Another service with the same interface.",
            )
            .default("https://events.pagerduty.com/v2/enqueue")
            .dynamic(),
            OPTIONS,
        ],
        timeout_ms: MESSAGE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "webhook",
        aliases: &[],
        doc: "Posts JSON to any service, as the channel `webhook` of `notify` does. For more than that there is `http`.",
        example: "id: tell\ntype: webhook\nurl: \"{{ secret('HOOK') }}\"\npayload: {flow: \"{{ flow.id }}\", state: done}",
        props: &[
            prop("url", PropType::String, "The service's address.")
                .required()
                .dynamic()
                .example("\"{{ secret('HOOK') }}\""),
            prop("payload", PropType::Any, "What is posted.")
                .required()
                .dynamic()
                .example("{state: done}"),
            prop(
                "headers",
                PropType::Map(&PropType::String),
                "Headers of the request.",
            )
            .dynamic()
            .example("{X-Api-Key: \"{{ secret('KEY') }}\"}"),
            OPTIONS,
        ],
        timeout_ms: MESSAGE_MS,
        shape: Shape::BuiltIn,
    },
];
