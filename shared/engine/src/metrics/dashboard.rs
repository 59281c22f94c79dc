//! The dashboard and the alarms of a deployment, from the same definition as what is emitted.
//!
//! `infra/template.yaml` carries what [`section`] writes between two marks; `tests/dashboard.rs` writes it there and
//! checks that it is current, and that the code emits every metric in it.

use std::fmt::Write as _;

use operon_core::exec::Reason;
use serde_json::{Value, json};

use super::{ALERTS, BURIED, BURIED_OUTCOME, NAMESPACE, retries_of};

/// Before the generated part of the template.
pub const BEGIN: &str = "  # ── Generated: `OPERON_UPDATE_DOCS=1 cargo test -p operon-engine --test dashboard`; edit shared/engine/src/metrics/dashboard.rs";
/// After it.
pub const END: &str = "  # ── End of what is generated";

/// Final states of executions.
pub const OUTCOMES: [&str; 5] = ["SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED"];
/// Queues that are read, as the template names them.
const QUEUES: [&str; 4] = ["plan", "launch", "work", "intake"];
/// Functions, by the names of their resources.
const FUNCTIONS: [&str; 7] = [
    "Intake",
    "Planner",
    "Launcher",
    "Worker",
    "Watcher",
    "Reconciler",
    "Api",
];
/// Those that are rolled out by canary.
const CANARIES: [&str; 2] = ["Planner", "Launcher"];
/// The one that looks after everything else.
const RECONCILER: &str = "Reconciler";
/// Width of the dashboard in CloudWatch's grid.
const GRID: usize = 24;
/// Size of a widget in it.
const WIDGET_WIDTH: usize = 8;
/// The same, upwards.
const WIDGET_HEIGHT: usize = 6;
/// Seconds that one point stands for.
const PERIOD_S: u32 = 300;

/// A metric of CloudWatch as a widget or an alarm names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// `Operon/${Stage}`, or a service's.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Names and values, as the template writes them.
    pub dimensions: Vec<(&'static str, String)>,
}

/// A line of a widget.
#[derive(Debug, Clone)]
struct Line {
    of: LineOf,
    id: Option<String>,
    label: Option<String>,
}

#[derive(Debug, Clone)]
enum LineOf {
    Metric(Metric, &'static str),
    Hidden(Metric, &'static str),
    Expression(String),
}

/// A picture on the dashboard.
#[derive(Debug, Clone)]
pub struct Widget {
    /// Above it.
    pub title: &'static str,
    stacked: bool,
    lines: Vec<Line>,
}

/// Something that people are told of.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// Of the resource in the template.
    pub id: String,
    /// What to think when it comes.
    pub description: String,
    /// What it watches.
    pub metric: Metric,
    /// How values of a period are put together.
    pub statistic: &'static str,
    /// Seconds.
    pub period_s: u32,
    /// It comes when so many of the last so many periods are wrong.
    pub periods: (u32, u32),
    /// What is wrong.
    pub wrong: Wrong,
}

/// When the value of a period is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It is greater. A period without a value is well.
    Above(u32),
    /// It is less, or there is none.
    Below(u32),
}

/// One of ours, by outcome.
fn ours(name: &str, outcome: &str) -> Metric {
    Metric {
        namespace: format!("{NAMESPACE}/${{Stage}}"),
        name: name.to_owned(),
        dimensions: vec![("outcome", outcome.to_owned())],
    }
}

/// Counted by the template's filters of the functions' logs: messages that a function gave back.
const UNHANDLED: &str = "unhandled_messages";
/// Seconds that a message may be delayed on purpose (SQS); its age counts from when it was sent.
const DELAY_MAX_S: u32 = 900;
/// Seconds that a message may wait beyond that.
const WAIT_S: u32 = 300;
/// `VisibilityTimeout` of the work queue, seconds.
const WORK_VISIBILITY_S: u32 = 1800;

fn of_service(namespace: &str, name: &str, dimensions: Vec<(&'static str, String)>) -> Metric {
    Metric {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions,
    }
}

fn line(metric: Metric, stat: &'static str, label: &str) -> Line {
    Line {
        of: LineOf::Metric(metric, stat),
        id: None,
        label: Some(label.to_owned()),
    }
}

fn expression(text: String, label: &str) -> Line {
    Line {
        of: LineOf::Expression(text),
        id: None,
        label: Some(label.to_owned()),
    }
}

/// The sum of a metric over some outcomes: hidden lines with ids, and the expression that adds them.
fn sum(prefix: &str, name: &str, outcomes: &[&str]) -> (Vec<Line>, String) {
    let ids: Vec<String> = (0..outcomes.len())
        .map(|number| format!("{prefix}{number}"))
        .collect();
    let lines = ids.iter().zip(outcomes).map(|(id, outcome)| Line {
        of: LineOf::Hidden(ours(name, outcome), "Sum"),
        id: Some(id.clone()),
        label: None,
    });
    let filled: Vec<String> = ids.iter().map(|id| format!("FILL({id},0)")).collect();
    (lines.collect(), format!("SUM([{}])", filled.join(",")))
}

/// One metric over another, summed over all outcomes.
fn ratio(over: &[(&str, &str, &str)], under: &str) -> Vec<Line> {
    let (mut lines, below) = sum("n", under, &OUTCOMES);
    for (prefix, name, label) in over {
        let (more, above) = sum(prefix, name, &OUTCOMES);
        lines.extend(more);
        lines.push(expression(format!("({above})/({below})"), label));
    }
    lines
}

fn by_outcome(name: &str, stat: &'static str) -> Vec<Line> {
    OUTCOMES
        .iter()
        .map(|outcome| line(ours(name, outcome), stat, outcome))
        .collect()
}

fn percentiles(name: &str, outcome: &str) -> Vec<Line> {
    ["p50", "p95", "Maximum"]
        .into_iter()
        .map(|stat| line(ours(name, outcome), stat, &format!("{outcome} {stat}")))
        .collect()
}

fn summed(names: &[(&str, &str)]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (number, (name, label)) in names.iter().enumerate() {
        let prefix = format!(
            "{}",
            char::from(b'a' + u8::try_from(number).unwrap_or_default())
        );
        let (more, total) = sum(&prefix, name, &OUTCOMES);
        lines.extend(more);
        lines.push(expression(total, label));
    }
    lines
}

fn success_ratio() -> Vec<Line> {
    let (mut lines, good) = sum("g", "executions", &["SUCCESS", "WARNING"]);
    let (more, all) = sum("n", "executions", &OUTCOMES);
    lines.extend(more);
    lines.push(expression(format!("100*({good})/({all})"), "% succeeded"));
    lines
}

fn retries() -> Vec<Line> {
    let mut lines = Vec::new();
    let reasons = Reason::ALL.iter().filter(|reason| reason.is_retriable());
    for (number, reason) in reasons.enumerate() {
        let (more, total) = sum(
            &format!("r{number}x"),
            &retries_of(reason.words()),
            &["SUCCESS", "FAILED"],
        );
        lines.extend(more);
        let label = match reason.words() {
            "" => "unknown",
            words => words,
        };
        lines.push(expression(total, label));
    }
    lines
}

fn queues(name: &str, stat: &'static str, ending: &str, further: &[&str]) -> Vec<Line> {
    QUEUES
        .iter()
        .chain(further)
        .map(|queue| line(of_queue(&format!("{queue}{ending}"), name), stat, queue))
        .collect()
}

fn functions(name: &str, stat: &'static str) -> Vec<Line> {
    FUNCTIONS
        .iter()
        .map(|function| line(of_function(function, name), stat, function))
        .collect()
}

/// What the dashboard shows, in reading order.
#[must_use]
pub fn widgets() -> Vec<Widget> {
    let widget = |title, stacked, lines| Widget {
        title,
        stacked,
        lines,
    };
    let attempts = ratio(
        &[
            ("q", "task_queue_seconds", "queue"),
            ("p", "provision_seconds", "provision"),
            ("r", "task_run_seconds", "run"),
        ],
        "task_runs",
    );
    let [sent, failed] =
        ["SENT", "FAILED"].map(|outcome| line(ours(ALERTS.0, outcome), "Sum", outcome));
    let buried = line(ours(BURIED.0, BURIED_OUTCOME), "Sum", "dead letters");
    vec![
        widget(
            "Throughput: executions that ended",
            true,
            by_outcome("executions", "Sum"),
        ),
        widget("Success ratio", false, success_ratio()),
        widget(
            "Cost estimate, dollars",
            false,
            summed(&[("cost_usd", "dollars")]),
        ),
        widget(
            "Queue wait of executions, seconds",
            false,
            percentiles("queue_seconds", "SUCCESS"),
        ),
        widget(
            "Time of executions, seconds",
            false,
            percentiles("execution_seconds", "SUCCESS"),
        ),
        widget("Seconds per attempt", true, attempts),
        widget(
            "Attempts",
            false,
            summed(&[
                ("task_runs", "ended"),
                ("task_failures", "failed"),
                ("retries", "retries"),
            ]),
        ),
        widget("Retries by reason", true, retries()),
        widget(
            "Reserved and used",
            false,
            summed(&[
                ("vcpu_seconds", "vCPU s reserved"),
                ("gb_seconds", "GB s reserved"),
                ("cpu_used_seconds", "CPU s used"),
            ]),
        ),
        widget(
            "Messages to people, and dead letters",
            true,
            vec![sent, failed, buried],
        ),
        widget(
            "Age of the oldest message, seconds",
            false,
            queues("ApproximateAgeOfOldestMessage", "Maximum", "", &[]),
        ),
        widget(
            "Messages nobody could handle",
            true,
            queues(
                "ApproximateNumberOfMessagesVisible",
                "Maximum",
                "-dlq",
                &["events"],
            ),
        ),
        widget("Errors of functions", true, functions("Errors", "Sum")),
        widget(
            "Time of functions, milliseconds (p95)",
            false,
            functions("Duration", "p95"),
        ),
        widget(
            "Functions that were throttled",
            true,
            functions("Throttles", "Sum"),
        ),
    ]
}

/// What people are told of, besides what flows say themselves.
#[must_use]
pub fn alarms() -> Vec<Alarm> {
    [
        of_functions(),
        of_dead_letters(),
        of_queues(),
        of_executions(),
    ]
    .concat()
}

/// A metric of a function, of all its versions.
fn of_function(function: &str, name: &str) -> Metric {
    let dimensions = vec![("FunctionName", format!("${{{function}}}"))];
    of_service("AWS/Lambda", name, dimensions)
}

/// A metric of a queue.
fn of_queue(queue: &str, name: &str) -> Metric {
    let dimensions = vec![("QueueName", format!("operon-${{Stage}}-{queue}"))];
    of_service("AWS/SQS", name, dimensions)
}

fn of_functions() -> Vec<Alarm> {
    let errors = CANARIES.map(|function| {
        let mut metric = of_function(function, "Errors");
        // Of the alias that a canary moves.
        let resource = ("Resource", format!("${{{function}}}:live"));
        metric.dimensions.push(resource);
        let text = format!("The {} fails.", function.to_lowercase());
        Alarm::new(&format!("{function}Errors"), text, metric)
    });
    // A message that fails comes again, and its function has not failed: without these no canary would see it. Two are
    // left to a message that is itself the mistake.
    let refuses = CANARIES.map(|function| {
        let name = function.to_lowercase();
        let text = format!("Messages of the {name} fail and come again.");
        let namespace = format!("{NAMESPACE}/${{Stage}}");
        let metric = of_service(&namespace, UNHANDLED, vec![("function", name)]);
        Alarm {
            period_s: 300,
            wrong: Wrong::Above(2),
            ..Alarm::new(&format!("{function}Refuses"), text, metric)
        }
    });
    [errors.to_vec(), refuses.to_vec(), of_others()].concat()
}

// Each has an alarm of its own, which says who it is: CloudWatch bills metrics, so adding them up would save nothing.
fn of_others() -> Vec<Alarm> {
    let others = FUNCTIONS
        .into_iter()
        .filter(|function| !CANARIES.contains(function) && *function != RECONCILER)
        .map(|function| {
            let text = format!("The {} fails again and again.", function.to_lowercase());
            let metric = of_function(function, "Errors");
            // What fails once comes again by itself.
            Alarm {
                period_s: 300,
                periods: (2, 3),
                ..Alarm::new(&format!("{function}Errors"), text, metric)
            }
        });
    // The one that makes the trouble of all others visible is watched by somebody else.
    let fails = Alarm {
        periods: (3, 5),
        ..Alarm::new(
            "ReconcilerErrors",
            "The reconciler fails: nobody asks after what is silent or takes up dead letters.",
            of_function(RECONCILER, "Errors"),
        )
    };
    let stands = Alarm {
        period_s: 300,
        periods: (2, 2),
        wrong: Wrong::Below(1),
        ..Alarm::new(
            "ReconcilerStands",
            "The reconciler, due each minute, was not called for ten minutes.",
            of_function(RECONCILER, "Invocations"),
        )
    };
    others.chain([fails, stands]).collect()
}

fn of_dead_letters() -> Vec<Alarm> {
    let queues = [
        ("Plan", "plan"),
        ("Launch", "launch"),
        ("Work", "work"),
        ("Intake", "intake"),
        ("Event", "events"),
    ];
    let metric = |queue: &str, name: &str| of_queue(&format!("{queue}-dlq"), name);
    let received = queues.map(|(id, queue)| {
        let text = format!("A message of {queue} could not be handled; operon redrive shows it.");
        // Not how many there are: the reconciler takes them away within the minute, and receives each.
        let metric = metric(queue, "NumberOfMessagesReceived");
        Alarm::new(&format!("{id}DeadLettersAlarm"), text, metric)
    });
    // If it takes none away, nobody receives any. Where some come and go, there are none in between.
    let stay = queues.map(|(id, queue)| {
        let text =
            format!("Dead letters of {queue} were not taken up; the reconciler's log says why.");
        let metric = metric(queue, "ApproximateNumberOfMessagesVisible");
        Alarm {
            statistic: "Minimum",
            period_s: 300,
            periods: (2, 2),
            ..Alarm::new(&format!("{id}DeadLettersStay"), text, metric)
        }
    });
    [received, stay].concat()
}

fn of_queues() -> Vec<Alarm> {
    let queues = [
        ("Plan", "plan", "five minutes", WAIT_S),
        ("Launch", "launch", "five minutes", WAIT_S),
        // A worker that died leaves its messages invisible, and nothing is wrong with the queue for so long.
        ("Work", "work", "35 minutes", WAIT_S + WORK_VISIBILITY_S),
        ("Intake", "intake", "five minutes", WAIT_S),
    ];
    let alarms = queues.map(|(id, queue, long, wait_s)| {
        let text = format!("Messages of {queue} wait for {long} too long.");
        let metric = of_queue(queue, "ApproximateAgeOfOldestMessage");
        Alarm {
            statistic: "Maximum",
            wrong: Wrong::Above(DELAY_MAX_S + wait_s),
            ..Alarm::new(&format!("{id}QueueWaits"), text, metric)
        }
    });
    alarms.to_vec()
}

fn of_executions() -> Vec<Alarm> {
    vec![
        Alarm {
            period_s: 300,
            ..Alarm::new(
                "AlertsFail",
                "Messages to people are not taken; operon namespaces incidents says why.",
                ours(ALERTS.0, "FAILED"),
            )
        },
        Alarm::new(
            "EventsAreBuried",
            "An event could not be used by its trigger; operon redrive shows it.",
            ours(BURIED.0, BURIED_OUTCOME),
        ),
        Alarm {
            period_s: 300,
            wrong: Wrong::Above(25),
            ..Alarm::new(
                "ManyExecutionsFail",
                "More than 25 executions failed within five minutes.",
                ours("executions", "FAILED"),
            )
        },
    ]
}

impl Widget {
    /// The metrics it shows or calculates with.
    pub fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.lines.iter().filter_map(|line| match &line.of {
            LineOf::Metric(metric, _) | LineOf::Hidden(metric, _) => Some(metric),
            LineOf::Expression(_) => None,
        })
    }

    fn body(&self, index: usize) -> Value {
        let in_row = GRID / WIDGET_WIDTH;
        json!({
            "type": "metric",
            "x": index % in_row * WIDGET_WIDTH,
            "y": index / in_row * WIDGET_HEIGHT,
            "width": WIDGET_WIDTH,
            "height": WIDGET_HEIGHT,
            "properties": {
                "title": self.title,
                "region": "${AWS::Region}",
                "view": "timeSeries",
                "stacked": self.stacked,
                "period": PERIOD_S,
                "metrics": self.lines.iter().map(Line::body).collect::<Vec<_>>(),
            },
        })
    }
}

impl Line {
    fn body(&self) -> Value {
        let mut options = serde_json::Map::new();
        if let Some(id) = &self.id {
            options.insert("id".to_owned(), json!(id));
        }
        if let Some(label) = &self.label {
            options.insert("label".to_owned(), json!(label));
        }
        let (metric, stat) = match &self.of {
            LineOf::Expression(text) => {
                options.insert("expression".to_owned(), json!(text));
                return json!([options]);
            }
            LineOf::Metric(metric, stat) => (metric, stat),
            LineOf::Hidden(metric, stat) => {
                options.insert("visible".to_owned(), json!(false));
                (metric, stat)
            }
        };
        options.insert("stat".to_owned(), json!(stat));
        let mut parts = vec![json!(metric.namespace), json!(metric.name)];
        for (name, value) in &metric.dimensions {
            parts.push(json!(name));
            parts.push(json!(value));
        }
        parts.push(options.into());
        parts.into()
    }
}

impl Alarm {
    /// One that comes with the first minute in which there is anything.
    fn new(id: &str, description: impl Into<String>, metric: Metric) -> Self {
        Self {
            id: id.to_owned(),
            description: description.into(),
            metric,
            statistic: "Sum",
            period_s: 60,
            periods: (1, 1),
            wrong: Wrong::Above(0),
        }
    }

    fn yaml(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "  {}:\n    Type: AWS::CloudWatch::Alarm\n    Properties:\n      AlarmDescription: \"{}\"\n      Namespace: {}\n      MetricName: {}\n      Dimensions:",
            self.id,
            self.description,
            yaml(&self.metric.namespace),
            self.metric.name
        );
        for (name, value) in &self.metric.dimensions {
            let _ = writeln!(out, "        - {{ Name: {name}, Value: {} }}", yaml(value));
        }
        let (wrong, of) = self.periods;
        let _ = writeln!(
            out,
            "      Statistic: {}\n      Period: {}\n      EvaluationPeriods: {of}",
            self.statistic, self.period_s
        );
        if wrong < of {
            let _ = writeln!(out, "      DatapointsToAlarm: {wrong}");
        }
        let (threshold, comparison, missing) = match self.wrong {
            Wrong::Above(threshold) => (threshold, "GreaterThanThreshold", "notBreaching"),
            Wrong::Below(threshold) => (threshold, "LessThanThreshold", "breaching"),
        };
        let _ = writeln!(
            out,
            "      Threshold: {threshold}\n      ComparisonOperator: {comparison}\n      TreatMissingData: {missing}\n      AlarmActions: [!Ref AlertTopic]"
        );
    }
}

fn yaml(value: &str) -> String {
    match value
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
    {
        Some(name) if !name.contains("${") && !name.contains(':') => format!("!Ref {name}"),
        _ if value.contains("${") => format!("!Sub \"{value}\""),
        _ => value.to_owned(),
    }
}

/// The generated part of the template, with its marks.
#[must_use]
pub fn section() -> String {
    let mut out = format!("{BEGIN}\n");
    for alarm in alarms() {
        alarm.yaml(&mut out);
    }
    out.push_str(
        "  Dashboard:\n    Type: AWS::CloudWatch::Dashboard\n    Condition: ShowsDashboard\n    Properties:\n      DashboardName: !Sub \"operon-${Stage}\"\n      DashboardBody: !Sub |\n        {\"widgets\": [\n",
    );
    let bodies: Vec<String> = widgets()
        .iter()
        .enumerate()
        .map(|(index, widget)| format!("        {}", widget.body(index)))
        .collect();
    let _ = writeln!(out, "{}\n        ]}}\n{END}", bodies.join(",\n"));
    out
}
