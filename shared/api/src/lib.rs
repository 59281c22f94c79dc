//! The HTTP interface of Operon.
