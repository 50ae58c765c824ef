//! What the caller of a refused request is told.

use crate::json_line::JsonLine;
use crate::policy::{Reason, Verdict};
use std::collections::BTreeMap;

/// A policy's `deny` object, and the messages of its deny rules.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status, 400 to 599; a server name that is not the host gets 421 (RFC 9110, section
    /// 15.5.20) all the same.
    pub status: u16,
    /// For refusals without a message of their rule; may be empty.
    pub message: Box<str>,
    /// A link to documentation; may be empty.
    pub docs: Box<str>,
    /// How much the caller is told.
    pub reveal: Reveal,
    /// By the rule's index in the policy.
    pub rule_messages: BTreeMap<usize, Box<str>>,
}

/// How much the caller of a refused request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reveal {
    /// Everything, the rule included.
    Rule,
    /// That it was refused, and the request's id.
    Nothing,
}

/// What an answer says of one request.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The canonical host; absent where the authority is malformed.
    pub host: Option<&'a str>,
    /// The id of the rule that is named.
    pub rule: Option<&'a str>,
    /// The policy's name.
    pub policy: &'a str,
    /// `x-request-id`, as sent.
    pub request_id: Option<&'a [u8]>,
}

/// What an answer calls itself, in its body and in Envoy's response-code details.
const ERROR: &str = "egress_denied";

impl Answer {
    /// HTTP status.
    pub fn status(&self, verdict: &Verdict) -> u16 {
        match verdict.reason {
            Reason::Sni => 421,
            Reason::ProxyError => 503,
            _ => self.status,
        }
    }

    /// One JSON object.
    pub fn body(&self, verdict: &Verdict, subject: &Subject<'_>) -> String {
        JsonLine::new()
            .text("error", Some(ERROR))
            .text("host", self.told(subject.host))
            .text("reason", self.told(Some(verdict.reason.as_str())))
            .text("rule", self.told(subject.rule))
            .text("policy", self.told(Some(subject.policy)))
            .bytes("request_id", subject.request_id)
            .text("message", self.told(Some(self.message(verdict))))
            .text("docs", self.told(Some(&self.docs)))
            .finish()
    }

    /// The `grpc-message` for gRPC callers.
    pub fn grpc_message(&self, verdict: &Verdict) -> String {
        match (self.reveal, self.message(verdict)) {
            (Reveal::Nothing, _) => ERROR.to_owned(),
            (Reveal::Rule, "") => details(verdict),
            (Reveal::Rule, message) => message.to_owned(),
        }
    }

    /// A text that is not empty, where the caller may know more than that it was refused.
    fn told<'a>(&self, text: Option<&'a str>) -> Option<&'a str> {
        text.filter(|text| self.reveal == Reveal::Rule && !text.is_empty())
    }

    fn message(&self, verdict: &Verdict) -> &str {
        let of_rule = verdict.rule.and_then(|rule| self.rule_messages.get(&rule));
        of_rule.unwrap_or(&self.message)
    }
}

/// Envoy's response-code details of a refusal, in the form of its own RBAC filter's.
pub fn details(verdict: &Verdict) -> String {
    format!("{ERROR}[{}]", verdict.reason.as_str())
}
