# Operon by Terraform or OpenTofu: the zips of `make package` and the template of this repository, as one stack.
#
# Thin on purpose. Resources, roles and alarms are described once, in ../template.yaml; what is here uploads the same
# zips and hands the template to CloudFormation, so a deployment is the same whichever tool made it.

locals {
  functions = toset(["intake", "planner", "launcher", "worker", "watcher", "reconciler", "api"])

  # One name per content of all zips: functions are replaced when, and only when, code changed.
  release = substr(sha256(join("", [for name in sort(local.functions) : filesha256("${var.zips}/${name}.zip")])), 0, 16)
  prefix  = "operon-${var.stage}/${local.release}"

  parameters = {
    Stage              = var.stage
    Architecture       = var.architecture
    AgentImage         = var.agent_image
    AlertEmail         = var.alert_email
    ShowDashboard      = tostring(var.show_dashboard)
    MailFrom           = var.mail_from
    PublishTopics      = var.publish_topics
    TracesEndpoint     = var.traces_endpoint
    VpcId              = var.vpc_id
    SubnetIds          = join(",", var.subnet_ids)
    LogDays            = var.log_days
    ArtifactDays       = var.artifact_days
    UploadBucket       = var.upload_bucket
    UploadBucketAction = var.upload_bucket_action
    ArchiveBucket      = var.archive_bucket
    SourceQueues       = var.source_queues
    SourceTopics       = var.source_topics
    InvokeFunctions    = var.invoke_functions
    OidcIssuer         = var.oidc_issuer
    OidcAudience       = var.oidc_audience
    OidcKeysUrl        = var.oidc_keys_url
    OidcRoleClaim      = var.oidc_role_claim
    OidcGroups         = var.oidc_groups
    IamRoles           = var.iam_roles
  }

  template = file("${path.module}/../template.yaml")
  # What a function knows beside its code: with it, a changed parameter is a new version of the function.
  deployed_with = substr(sha256(jsonencode([local.release, local.template, local.parameters])), 0, 16)

  with_zips = replace(
    replace(local.template, "OPERON_DEPLOYED_WITH: nothing", "OPERON_DEPLOYED_WITH: p${local.deployed_with}"),
    "/CodeUri: \\.\\.\\/functions\\/([a-z]+)/",
    "CodeUri: s3://${var.release_bucket}/${local.prefix}/$1.zip"
  )
}

resource "aws_s3_object" "zip" {
  for_each    = local.functions
  bucket      = var.release_bucket
  key         = "${local.prefix}/${each.key}.zip"
  source      = "${var.zips}/${each.key}.zip"
  source_hash = filesha256("${var.zips}/${each.key}.zip")
}

resource "aws_s3_object" "template" {
  bucket  = var.release_bucket
  key     = "${local.prefix}/template-${substr(sha256(local.with_zips), 0, 16)}.yaml"
  content = local.with_zips
}

resource "aws_cloudformation_stack" "operon" {
  name         = "operon-${var.stage}"
  template_url = "https://${var.release_bucket}.s3.${var.region}.amazonaws.com/${aws_s3_object.template.key}"
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
  depends_on   = [aws_s3_object.zip]
  parameters   = local.parameters
}
