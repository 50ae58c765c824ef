//! The tree that a policy is read from, whoever built it.
//!
//! The module's tree ([`super::json`]) holds values and nothing else, since a policy may have a million
//! of them. The tool's knows where in a file each value stands.

/// One value of a tree.
pub trait Node: Sized {
    /// A key of an object with its value.
    type Member;

    /// What the node holds.
    fn value(&self) -> Value<'_, Self>;

    /// The key of a member.
    fn key(member: &Self::Member) -> &str;

    /// The value of a member.
    fn member_value(member: &Self::Member) -> &Self;
}

/// What a node holds.
#[derive(Debug)]
pub enum Value<'n, N: Node> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Control planes pass numbers through doubles, so every number is one.
    Number(f64),
    /// A string.
    Text(&'n str),
    /// A list.
    List(&'n [N]),
    /// Members in the order of the text; a key may stand there twice.
    Object(&'n [N::Member]),
}
