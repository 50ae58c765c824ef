//! Patterns read as one automaton, so that every set of them that some text matches can be found.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

/// What stands at one place of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// This character.
    Char(char),
    /// Any run of characters, also none.
    Run,
    /// One character that is no `/`.
    NoSlash,
    /// Any run of such characters, also none.
    RunWithoutSlash,
}

/// A state: which patterns are read up to which place.
pub(super) type State = usize;

/// A pattern, and how many of its elements are behind.
type Item = (u32, u16);

/// The automaton of some patterns. Its states are made where a text leads to them.
#[derive(Debug)]
pub(super) struct Automaton {
    patterns: Vec<Vec<Element>>,
    states: Vec<Rc<[Item]>>,
    numbers: HashMap<Rc<[Item]>, State>,
    steps: HashMap<(State, char), State>,
    /// How much may still be done.
    budget: usize,
}

impl Automaton {
    /// The state before a text.
    pub(super) const START: State = 0;

    /// `budget` bounds how many items are looked at in all.
    pub(super) fn new(patterns: Vec<Vec<Element>>, budget: usize) -> Self {
        let mut automaton = Self {
            patterns,
            states: Vec::new(),
            numbers: HashMap::new(),
            steps: HashMap::new(),
            budget,
        };
        let mut items = Vec::new();
        for (pattern, _) in (0..).zip(&automaton.patterns) {
            automaton.add((pattern, 0), &mut items);
        }
        automaton.number(items);
        automaton
    }

    /// The state behind one more character; `None` where the budget is used up.
    pub(super) fn step(&mut self, state: State, character: char) -> Option<State> {
        if let Some(known) = self.steps.get(&(state, character)) {
            return Some(*known);
        }
        let from = Rc::clone(self.states.get(state)?);
        self.budget = self.budget.checked_sub(from.len().saturating_add(1))?;
        let mut items = Vec::new();
        for &(pattern, place) in from.iter() {
            let next = (pattern, place.saturating_add(1));
            match self.element((pattern, place)) {
                Some(Element::Char(wanted)) if wanted == character => self.add(next, &mut items),
                Some(Element::Run) => self.add((pattern, place), &mut items),
                Some(Element::NoSlash) if character != '/' => self.add(next, &mut items),
                Some(Element::RunWithoutSlash) if character != '/' => {
                    self.add((pattern, place), &mut items);
                }
                _ => {}
            }
        }
        let to = self.number(items);
        self.steps.insert((state, character), to);
        Some(to)
    }

    /// The patterns that match what was read, in ascending order.
    pub(super) fn matching(&self, state: State) -> Vec<usize> {
        let items = self.states.get(state).into_iter().flat_map(|items| items.iter());
        let at_end = items.filter(|item| self.element(**item).is_none());
        let mut found: Vec<usize> = at_end.map(|(pattern, _)| *pattern as usize).collect();
        found.dedup();
        found
    }

    /// The characters that any pattern asks for next: all others lead to one state, but for `/`.
    pub(super) fn next_characters(&self, state: State) -> BTreeSet<char> {
        let items = self.states.get(state).into_iter().flat_map(|items| items.iter());
        let characters = items.filter_map(|item| match self.element(*item) {
            Some(Element::Char(character)) => Some(character),
            _ => None,
        });
        characters.collect()
    }

    fn element(&self, (pattern, place): Item) -> Option<Element> {
        self.patterns.get(pattern as usize)?.get(usize::from(place)).copied()
    }

    /// Adds an item, and those behind the runs that may be none.
    fn add(&self, (pattern, mut place): Item, items: &mut Vec<Item>) {
        loop {
            items.push((pattern, place));
            match self.element((pattern, place)) {
                Some(Element::Run | Element::RunWithoutSlash) => place = place.saturating_add(1),
                _ => return,
            }
        }
    }

    fn number(&mut self, mut items: Vec<Item>) -> State {
        items.sort_unstable();
        items.dedup();
        let items: Rc<[Item]> = items.into();
        let next = self.states.len();
        let number = *self.numbers.entry(Rc::clone(&items)).or_insert(next);
        if number == next {
            self.states.push(items);
        }
        number
    }
}
