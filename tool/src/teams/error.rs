//! Why policies are no bundle.

use crate::finding::Message;
use crate::policy_file::PolicyError;
use egress_warden::config::MAX_NAME;
use std::borrow::Cow;

/// What was found in one of the policies. Places are those of other policies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BundleError {
    /// It is no policy.
    Policy(PolicyError),
    /// Two policies of one team are for different callers.
    OtherCallers {
        team: String,
        place: String,
    },
    /// A setting of a team that is held to its callers.
    Setting {
        team: String,
    },
    /// A setting that another policy says otherwise.
    SettingConflict {
        place: String,
    },
    /// An id that becomes one of another team.
    IdOfTeam {
        id: String,
        team: String,
    },
    LongId {
        id: String,
    },
    DuplicateId {
        id: String,
        place: String,
    },
    /// A rule of a team that is not held to its callers.
    Trespass {
        team: String,
        trespass: Trespass,
    },
}

/// What a rule of a team does that is not held to its callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trespass {
    /// It has a field that is not known to be held.
    Field,
    /// It is for any caller; the fields of entries for the team's own.
    AnyCaller { fields: Vec<String> },
    /// An entry is for callers of others too.
    OtherCallers { fields: Vec<String> },
    /// An entry may be for callers of others too.
    TooManyCallers,
    /// It refuses callers who are not verified.
    Denial,
    /// It refuses ids that have no namespace, by the field of this name.
    DenialByNamespace { key: &'static str },
    /// It sets a header that the policy's own stamp sets.
    StampedHeader,
    /// It sets a header that is thereby taken from all requests.
    ReservedHeader,
}

impl Message for BundleError {
    fn problem(&self) -> Cow<'_, str> {
        match self {
            Self::Policy(error) => error.problem(),
            Self::OtherCallers { team, place } => {
                format!("a policy of team `{team}`, like the one at {place}, but for other callers")
                    .into()
            }
            Self::Setting { team } => {
                format!("a setting of team `{team}`, which speaks for its own callers only").into()
            }
            Self::SettingConflict { place } => {
                format!("a setting that differs from {place}").into()
            }
            Self::IdOfTeam { id, team } => {
                format!("an id that becomes `{id}`, an id of team `{team}`").into()
            }
            Self::LongId { id } => {
                format!("an id that becomes `{id}`, of {} bytes", id.len()).into()
            }
            Self::DuplicateId { id, place } => {
                format!("an id that becomes `{id}`, like the one at {place}").into()
            }
            Self::Trespass { team, trespass } => trespass.problem(team).into(),
        }
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::Policy(error) => error.remedy(),
            Self::OtherCallers { .. } => "give one of the teams another name".into(),
            Self::Setting { .. } => FOR_EVERYBODY.into(),
            Self::SettingConflict { .. } => "keep one of them".into(),
            Self::IdOfTeam { .. } => "choose another id".into(),
            Self::LongId { .. } => format!("shorten it to {MAX_NAME} bytes").into(),
            Self::DuplicateId { .. } => "give one of them another id".into(),
            Self::Trespass { trespass, .. } => trespass.remedy(),
        }
    }
}

/// Who may say what no team can.
const FOR_EVERYBODY: &str =
    "leave it to a policy whose team has neither `namespaces` nor `principals`";

impl Trespass {
    fn problem(&self, team: &str) -> String {
        match self {
            Self::Field => {
                format!("a field that cannot be limited to the callers of team `{team}`")
            }
            Self::AnyCaller { .. } => format!("a rule of team `{team}` for any caller"),
            Self::OtherCallers { .. } => format!("callers outside team `{team}`"),
            Self::TooManyCallers => format!(
                "more combinations of patterns than can be compared with the callers of team \
                 `{team}`"
            ),
            Self::Denial => format!(
                "a deny rule of team `{team}`, which refuses every caller who is not verified too"
            ),
            Self::DenialByNamespace { key } => format!(
                "callers of a deny rule by `{key}`, which matches every id without a namespace too"
            ),
            Self::StampedHeader => {
                format!("a header of team `{team}` that the policy's own stamp sets")
            }
            Self::ReservedHeader => {
                format!("a header that a stamp of team `{team}` would remove from all requests")
            }
        }
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::Field => FOR_EVERYBODY.into(),
            Self::AnyCaller { fields } => {
                let entries: Vec<_> = fields.iter().map(|field| format!("{{{field}}}")).collect();
                format!("write `from: [{}]`", entries.join(", ")).into()
            }
            Self::OtherCallers { fields } => {
                format!("write `{}`, or fewer", fields.join("` or `")).into()
            }
            Self::TooManyCallers => "split the entry into several with fewer patterns".into(),
            Self::Denial => "leave the destination out of the team's allow rules, or set \
                             `identity: required` in a policy whose team has neither \
                             `namespaces` nor `principals`"
                .into(),
            Self::DenialByNamespace { .. } => {
                "write `principals`, such as \"cluster.local/ns/NAMESPACE/*\"".into()
            }
            Self::StampedHeader | Self::ReservedHeader => {
                format!("use another name, without `x-`, or {FOR_EVERYBODY}").into()
            }
        }
    }
}
