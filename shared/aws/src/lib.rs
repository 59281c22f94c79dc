//! The ports of Operon on AWS.
