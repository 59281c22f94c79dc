# The parameters of ../template.yaml under their names here, and where the zips go.

variable "stage" {
  type        = string
  default     = "main"
  description = "Name of the deployment; part of the names of what it consists of."
}

variable "region" {
  type        = string
  description = "Region of the release bucket, and of the deployment."
}

variable "release_bucket" {
  type        = string
  description = "An existing, private bucket for the zips and the template."
}

variable "zips" {
  type        = string
  default     = "../../target/lambda"
  description = "Directory with the zips that `make package` wrote."
}

variable "architecture" {
  type        = string
  default     = "arm64"
  description = "Processor of the functions: arm64 or x86_64, as the zips were built."
}

variable "agent_image" {
  type        = string
  default     = ""
  description = "Image of the agent; empty takes the tag `latest` of the stack's own repository."
}

variable "alert_email" {
  type        = string
  default     = ""
  description = "Who is told of alarms; empty tells nobody."
}

variable "show_dashboard" {
  type        = bool
  default     = true
  description = "Whether CloudWatch shows a dashboard, for 3 dollars a month."
}

variable "mail_from" {
  type        = string
  default     = ""
  description = "Sender of e-mail by flows, an identity that SES has verified; empty sends none."
}

variable "publish_topics" {
  type        = string
  default     = ""
  description = "ARN of topics of SNS that flows may publish to; empty allows none."
}

variable "traces_endpoint" {
  type        = string
  default     = ""
  description = "OpenTelemetry collector that takes traces of executions as OTLP over HTTP; empty sends none."
}

variable "vpc_id" {
  type        = string
  default     = ""
  description = "VPC of the containers; empty makes one without idle cost."
}

variable "subnet_ids" {
  type        = list(string)
  default     = []
  description = "Subnets of that VPC."
}

variable "log_days" {
  type        = number
  default     = 30
  description = "Days for which logs are kept."
}

variable "artifact_days" {
  type        = number
  default     = 90
  description = "Days for which files of executions are kept."
}

variable "upload_bucket" {
  type        = string
  default     = ""
  description = "A further bucket whose uploads may start executions; it notifies EventBridge, or the intake queue itself."
}

variable "upload_bucket_action" {
  type        = string
  default     = "deny"
  description = "Whether triggers with `action` may move and delete objects of upload_bucket: deny or allow."
}

variable "archive_bucket" {
  type        = string
  default     = ""
  description = "A bucket into which triggers with `action` MOVE may write."
}

variable "oidc_issuer" {
  type        = string
  default     = ""
  description = "Issuer whose tokens are believed; empty believes none."
}

variable "oidc_audience" {
  type        = string
  default     = ""
  description = "The `aud` of these tokens, or the client id of Cognito's access tokens."
}

variable "oidc_keys_url" {
  type        = string
  default     = ""
  description = "Where the issuer publishes its keys; empty is /.well-known/jwks.json below the issuer."
}

variable "oidc_role_claim" {
  type        = string
  default     = ""
  description = "Claim with the role, or a list of groups; empty is `roles`."
}

variable "oidc_groups" {
  type        = string
  default     = ""
  description = "Groups and their roles, such as ops=operator,all=viewer."
}

variable "iam_roles" {
  type        = string
  default     = ""
  description = "Patterns of ARNs and their roles; empty makes everybody of the account an admin whom IAM allows to call."
}

variable "source_queues" {
  type        = string
  default     = ""
  description = "ARN of queues that triggers of type sqs may read; empty allows none."
}

variable "source_topics" {
  type        = string
  default     = ""
  description = "ARN of topics that triggers of type sns may subscribe to; empty allows none."
}

variable "invoke_functions" {
  type        = string
  default     = ""
  description = "ARN of functions that tasks of type lambda may call; empty allows none."
}
