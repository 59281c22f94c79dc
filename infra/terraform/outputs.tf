output "api_url" {
  description = "Console and HTTP interface."
  value       = aws_cloudformation_stack.operon.outputs["ApiUrl"]
}

output "data_bucket" {
  description = "Files of executions; uploads below uploads/ start them."
  value       = aws_cloudformation_stack.operon.outputs["DataBucket"]
}

output "all" {
  description = "Everything the stack says about itself."
  value       = aws_cloudformation_stack.operon.outputs
}
