//! Callers that sign their requests with AWS credentials. AWS has checked the signature before we are called; what
//! remains is which role an ARN has.

use axum::http::request::Parts;

use super::{Identity, Role};
use crate::problem::Problem;

/// Who signed, as AWS says in the request's context. Put into the request's extensions by the function that
/// received it, never taken from a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IamCaller {
    /// Such as `arn:aws:sts::123456789012:assumed-role/operator/alice`.
    pub arn: String,
}

/// Which role callers have: the first pattern that fits counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IamRoles {
    patterns: Vec<(String, Role)>,
}

/// Patterns at most.
const PATTERNS_MAX: usize = 200;

impl IamRoles {
    /// Reads `arn:…/operator/*=operator;arn:…=admin`: patterns with `*` for any text, in the order in which they count.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for part in text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (pattern, role) = part.rsplit_once('=').ok_or_else(|| {
                format!("`{part}` is no `pattern=role`, such as `arn:aws:iam::*:role/ops=operator`")
            })?;
            patterns.push((pattern.trim().to_owned(), role.trim().parse()?));
        }
        if patterns.len() > PATTERNS_MAX {
            return Err(format!("there are more than {PATTERNS_MAX} patterns"));
        }
        Ok(Self { patterns })
    }

    /// The role of an ARN.
    #[must_use]
    pub fn role(&self, arn: &str) -> Option<Role> {
        let found = self.patterns.iter().find(|(pattern, _)| fits(pattern, arn));
        found.map(|(_, role)| *role)
    }

    pub(super) fn identify(&self, parts: &Parts) -> Result<Identity, Problem> {
        let Some(caller) = parts.extensions.get::<IamCaller>() else {
            return Err(Problem::unauthorized(
                "sign the request with AWS credentials (`operon context add --iam`)",
            ));
        };
        let role = self.role(&caller.arn).ok_or_else(|| {
            Problem::forbidden(format!(
                "`{}` has no role here; an admin gives it one",
                caller.arn
            ))
        })?;
        Ok(Identity {
            subject: caller.arn.clone(),
            role,
            by_cookie: false,
        })
    }
}

/// Whether a text fits a pattern in which `*` stands for any text. Every part is looked for once, from the left.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_fits_counts() {
        let roles = IamRoles::parse(
            "arn:aws:iam::1:user/root=admin; arn:aws:sts::1:assumed-role/ops/*=operator;arn:aws:*::1:*=viewer",
        );
        let roles = roles.unwrap_or_default();
        let role = |arn: &str| roles.role(arn);
        assert_eq!(role("arn:aws:iam::1:user/root"), Some(Role::Admin));
        assert_eq!(
            role("arn:aws:sts::1:assumed-role/ops/alice"),
            Some(Role::Operator)
        );
        assert_eq!(
            role("arn:aws:sts::1:assumed-role/opsx/alice"),
            Some(Role::Viewer)
        );
        assert_eq!(role("arn:aws:iam::2:user/root"), None);
        assert_eq!(role("arn:aws:iam::1:user/root/x"), Some(Role::Viewer));
        assert!(IamRoles::parse("arn:x=owner").is_err() && IamRoles::parse("arn:x").is_err());
    }

    #[test]
    fn parts_do_not_overlap() {
        assert!(fits("a*b*c", "a-b-c") && fits("*", "") && fits("a*", "a"));
        assert!(!fits("ab*bc", "abc") && !fits("a", "ab") && !fits("a*a", "a"));
    }
}
