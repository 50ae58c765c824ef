//! Updates that are not in force.

use super::Subject;
use crate::verify::kind::{NOT_IN_FORCE, UPDATE_REFUSED};
use crate::verify::report::Report;
use crate::verify::tree::shown;

/// What the dump says of updates.
pub(super) fn of(subject: &Subject<'_, '_>, report: &mut Report) {
    for (what, why) in &subject.proxy.refused {
        report.say(
            &UPDATE_REFUSED,
            what.clone(),
            format!("the last update was refused: {}", shown(why)),
        );
    }
    for what in &subject.proxy.warming {
        report.say(&NOT_IN_FORCE, what.clone(), "an update has arrived and does not serve yet");
    }
}
