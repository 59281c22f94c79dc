"""LocalStack without Docker: services that its free edition lacks, and Lambda functions as processes."""
