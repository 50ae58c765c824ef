//! Which of a plugin's policies is in force for a connection that waits for its verdict.
//!
//! A proxy configures each new policy as a root of its own. It keeps the old root for as long as a
//! connection that began under it is open, and does not say which root it has replaced. If a policy
//! comes back unchanged while its root is there, the proxy uses that root again and does not configure
//! it. So only two events are known of a root: it was configured, and connections begin under it. A
//! plugin is known by its name and root id; two plugins with one name look like one and its updates. If
//! it is unknown which of two policies is in force, both are asked.
//!
//! Replaced roots drop their policies, except the last few, which may come back: a connection that has
//! its verdict needs no policy, and one that waits gets the verdict of the policy in force.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// How many roots that were replaced keep their policies.
const KEPT: usize = 8;

/// The roots of one VM.
#[derive(Debug)]
pub struct Roots<T> {
    roots: Vec<Weak<Root<T>>>,
    /// Counts what happens to roots, from 1.
    clock: u64,
}

/// One configuration of a plugin.
#[derive(Debug)]
pub struct Root<T> {
    /// The identity of its plugin.
    plugin: Box<[u8]>,
    /// When it was configured.
    configured: u64,
    /// When its latest connection began; 0 before the first.
    last_made: Cell<u64>,
    /// How many of its connections are open.
    open: Cell<usize>,
    policy: RefCell<Option<Rc<T>>>,
}

/// A connection that began under a root, for as long as it is open.
#[derive(Debug)]
pub struct Made<T> {
    root: Rc<Root<T>>,
}

/// Which policy decides on a connection now.
#[derive(Debug, PartialEq, Eq)]
pub enum InForce<T> {
    /// None: nothing may pass.
    Nothing,
    /// This one.
    One(Rc<T>),
    /// One of these two, and it is unknown which: both must let it pass. That of its own root is last.
    Either(Rc<T>, Rc<T>),
}

impl<T> Default for Roots<T> {
    fn default() -> Self {
        Self { roots: Vec::new(), clock: 0 }
    }
}

impl<T> Roots<T> {
    /// Takes a plugin's new policy. It is in force at once.
    pub fn configure(&mut self, plugin: &[u8], policy: T) -> Rc<Root<T>> {
        let root = Rc::new(Root {
            plugin: plugin.into(),
            configured: self.tick(),
            last_made: Cell::new(0),
            open: Cell::new(0),
            policy: RefCell::new(Some(Rc::new(policy))),
        });
        self.roots.retain(|it| it.strong_count() > 0);
        self.roots.push(Rc::downgrade(&root));
        root
    }

    /// Takes note that the proxy begins a connection under a root. Other roots of the same plugin that
    /// have open connections, and none that began since this one was configured, are replaced. One without
    /// a connection would be gone if it were.
    pub fn connect(&mut self, root: &Rc<Root<T>>) -> Made<T> {
        let is_first = root.last_made.replace(self.tick()) == 0;
        root.open.set(root.open.get().saturating_add(1));
        if is_first {
            self.give_up_policies(root);
        }
        Made { root: Rc::clone(root) }
    }

    fn give_up_policies(&mut self, root: &Root<T>) {
        let mut replaced: Vec<_> =
            self.of_plugin(root).filter(|it| it.is_replaced_by(root)).collect();
        replaced.sort_by_key(|it| std::cmp::Reverse(it.last_made.get()));
        for old in replaced.iter().skip(KEPT) {
            old.policy.take();
        }
    }

    /// Which policy decides on an open connection now.
    pub fn in_force(&self, made: &Made<T>) -> InForce<T> {
        let own = &made.root;
        let others = self.of_plugin(own).filter(|it| !Rc::ptr_eq(it, own));
        let latest = others.max_by_key(|it| it.configured.max(it.last_made.get()));
        let own_policy = own.policy();
        let Some(other) = latest else {
            return own_policy.map_or(InForce::Nothing, InForce::One);
        };
        let (own_made, other_made) = (own.last_made.get(), other.last_made.get());
        match (other.policy(), own_policy) {
            // It was configured since, and the proxy has not come back to this one.
            (Some(other_policy), _) if other.configured > own_made => InForce::One(other_policy),
            // The proxy has gone back and forth, or is about to take up another.
            (Some(other_policy), Some(own)) if other_made > own_made || other_made == 0 => {
                InForce::Either(other_policy, own)
            }
            (_, Some(own)) if other_made < own_made => InForce::One(own),
            _ => InForce::Nothing,
        }
    }

    fn of_plugin(&self, root: &Root<T>) -> impl Iterator<Item = Rc<Root<T>>> {
        let roots = self.roots.iter().filter_map(Weak::upgrade);
        roots.filter(|it| it.plugin == root.plugin)
    }

    fn tick(&mut self) -> u64 {
        self.clock = self.clock.saturating_add(1);
        self.clock
    }
}

impl<T> Root<T> {
    fn policy(&self) -> Option<Rc<T>> {
        self.policy.borrow().clone()
    }

    fn is_replaced_by(&self, newer: &Self) -> bool {
        self.last_made.get() < newer.configured && self.open.get() > 0
    }
}

impl<T> Made<T> {
    /// The policy of the root that the proxy began it under: in force at that moment. `None` where it was
    /// given up.
    pub fn policy(&self) -> Option<Rc<T>> {
        self.root.policy()
    }
}

impl<T> Drop for Made<T> {
    fn drop(&mut self) {
        self.root.open.set(self.root.open.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn one(policy: &'static str) -> InForce<&'static str> {
        InForce::One(Rc::new(policy))
    }

    fn either(later: &'static str, own: &'static str) -> InForce<&'static str> {
        InForce::Either(Rc::new(later), Rc::new(own))
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn the_policy_that_was_configured_last_is_in_force() {
        let mut roots = Roots::default();
        let old = roots.configure(b"a", "old");
        let waiting = roots.connect(&old);
        assert_eq!(roots.in_force(&waiting), one("old"));
        let new = roots.configure(b"a", "new");
        assert_eq!(roots.in_force(&waiting), one("new"));
        // A listener that came to nothing takes its policy with it.
        drop(new);
        assert_eq!(roots.in_force(&waiting), one("old"));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn of_the_roots_that_were_replaced_the_last_few_keep_their_policies() {
        const UPDATES: usize = 30;
        let mut roots = Roots::default();
        let mut standing = Vec::new();
        for _ in 0..UPDATES {
            let root = roots.configure(b"a", "any");
            standing.push(roots.connect(&root));
        }
        let kept = standing.iter().filter(|made| made.policy().is_some()).count();
        assert_eq!(kept, KEPT + 1);
        assert!(standing.iter().rev().take(kept).all(|made| made.policy().is_some()));
        for made in &standing {
            assert_eq!(roots.in_force(made), one("any"));
        }
        // One that comes back without its policy lets nothing pass.
        let first = Rc::clone(&standing[0].root);
        let back = roots.connect(&first);
        assert_eq!(back.policy(), None);
        assert_eq!(roots.in_force(&back), InForce::Nothing);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_policy_that_comes_back_unchanged_is_in_force_again() {
        let mut roots = Roots::default();
        let one_root = roots.configure(b"a", "one");
        let standing = roots.connect(&one_root);
        let two_root = roots.configure(b"a", "two");
        let of_two = roots.connect(&two_root);
        assert_eq!(roots.in_force(&standing), one("two"));
        // The proxy takes the old root, and configures nothing.
        let back = roots.connect(&one_root);
        assert_eq!(roots.in_force(&back), one("one"));
        assert_eq!(roots.in_force(&standing), one("one"));
        assert_eq!(roots.in_force(&of_two), either("one", "two"));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn plugins_of_other_names_do_not_replace_each_other() {
        let mut roots = Roots::default();
        let (a, b) = (roots.configure(b"a", "a"), roots.configure(b"b", "b"));
        let (of_a, of_b) = (roots.connect(&a), roots.connect(&b));
        assert_eq!(roots.in_force(&of_a), one("a"));
        assert_eq!(roots.in_force(&of_b), one("b"));
        let _next = roots.configure(b"b", "next");
        assert_eq!(roots.in_force(&of_a), one("a"));
        assert_eq!(roots.in_force(&of_b), one("next"));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn where_two_policies_may_be_in_force_both_are_asked() {
        let mut roots = Roots::default();
        let (a, b) = (roots.configure(b"a", "a"), roots.configure(b"a", "b"));
        // While another listener is made ready, or two plugins have one name.
        let of_a = roots.connect(&a);
        assert_eq!(roots.in_force(&of_a), either("b", "a"));
        let of_b = roots.connect(&b);
        assert_eq!(roots.in_force(&of_a), either("b", "a"));
        assert_eq!(roots.in_force(&of_b), one("b"));
        let again = roots.connect(&a);
        assert_eq!(again.policy().as_deref(), Some(&"a"));
        // A third may replace either.
        let _c = roots.configure(b"a", "c");
        assert_eq!(roots.in_force(&of_a), one("c"));
        assert_eq!(roots.in_force(&of_b), one("c"));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_root_without_connections_keeps_its_policy() {
        let mut roots = Roots::default();
        let (idle, busy) = (roots.configure(b"a", "idle"), roots.configure(b"a", "busy"));
        drop(roots.connect(&idle));
        let _other = roots.configure(b"a", "other");
        let _made = roots.connect(&busy);
        assert_eq!(roots.connect(&idle).policy().as_deref(), Some(&"idle"));
    }
}
