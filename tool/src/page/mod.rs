//! The page of `report`: one HTML file with all that it shows, and with what shows it.
//!
//! `Traffic` is what logs come to, folded on every core and bounded in memory. `write` makes a page of it
//! that is no larger than `MAX_PAGE`: the most frequent is held, and the page says how much is not. The same
//! traffic gives the same bytes.

mod bounded;
mod data;
mod document;
mod packed;
mod timeline;
mod traffic;

pub(crate) use data::{About, Policy};
pub(crate) use document::{MARK, write};
pub(crate) use traffic::{Judge, Traffic};

/// Largest page, in bytes.
pub(crate) const MAX_PAGE: usize = 5 << 20;

/// What `./build.sh page` builds: the programs of the page.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    /// What shows the data.
    pub script: &'static str,
    /// What loads the module.
    pub what_if_script: &'static str,
    /// The module by which an edited policy is judged in the page.
    pub what_if: &'static [u8],
}
