//! Which parents asked to see which objects, so that a change of an object finds its parents without asking them all.
//!
//! Each selection is filed under the narrowest thing that it demands: a name, else a label, else its namespace. A
//! changed object is looked up under everything that it is. Pure state, no I/O.

use std::collections::{BTreeSet, HashMap};

use crate::cache::{CachedObject, Selection};
use crate::key::{Gvk, ObjectKey};

/// A parent: its kind, and its namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ParentKey {
    /// Its kind.
    pub gvk: Gvk,
    /// Its namespace and name.
    pub object: ObjectKey,
}

impl std::fmt::Display for ParentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.gvk.kind, self.object)
    }
}

/// What selections are filed under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Name(String),
    Label(String, String),
    Any,
}

/// The selections of all parents.
#[derive(Debug, Default)]
pub(super) struct RelatedIndex {
    selections: HashMap<ParentKey, Vec<(Gvk, Selection)>>,
    places: HashMap<(Gvk, Place), BTreeSet<ParentKey>>,
}

impl RelatedIndex {
    /// Replaces a parent's selections.
    pub(super) fn set(&mut self, parent: &ParentKey, selections: Vec<(Gvk, Selection)>) {
        if self.selections.get(parent) == Some(&selections) {
            return;
        }
        self.remove(parent);
        if selections.is_empty() {
            return;
        }
        for (gvk, selection) in &selections {
            for place in places_of(selection) {
                self.places.entry((gvk.clone(), place)).or_default().insert(parent.clone());
            }
        }
        self.selections.insert(parent.clone(), selections);
    }

    /// Forgets a parent.
    pub(super) fn remove(&mut self, parent: &ParentKey) {
        for (gvk, selection) in self.selections.remove(parent).unwrap_or_default() {
            for place in places_of(&selection) {
                let filed = (gvk.clone(), place);
                if let Some(parents) = self.places.get_mut(&filed) {
                    parents.remove(parent);
                    if parents.is_empty() {
                        self.places.remove(&filed);
                    }
                }
            }
        }
    }

    /// The parents that asked to see an object.
    pub(super) fn parents(&self, gvk: &Gvk, object: &CachedObject) -> BTreeSet<ParentKey> {
        let labels = object.object().metadata.labels.iter().flatten();
        let places = [Place::Any, Place::Name(object.key().name.clone())]
            .into_iter()
            .chain(labels.map(|(label, value)| Place::Label(label.clone(), value.clone())));
        let candidates = places.filter_map(|place| self.places.get(&(gvk.clone(), place))).flatten();
        candidates.filter(|parent| self.selects(parent, gvk, object)).cloned().collect()
    }

    fn selects(&self, parent: &ParentKey, gvk: &Gvk, object: &CachedObject) -> bool {
        let selections = self.selections.get(parent).into_iter().flatten();
        selections.into_iter().any(|(kind, selection)| kind == gvk && selection.matches(object.object()))
    }
}

fn places_of(selection: &Selection) -> Vec<Place> {
    if !selection.names.is_empty() {
        return selection.names.iter().cloned().map(Place::Name).collect();
    }
    match selection.labels.equality() {
        Some((label, value)) => vec![Place::Label(label.to_owned(), value.to_owned())],
        None => vec![Place::Any],
    }
}

#[cfg(test)]
mod tests {
    use super::{ParentKey, RelatedIndex};
    use crate::cache::{CachedObject, Selection};
    use crate::key::{Gvk, ObjectKey};
    use crate::selector::LabelSelector;
    use proptest::prelude::*;
    use serde_json::json;

    fn parent(name: u8) -> ParentKey {
        ParentKey { gvk: Gvk::new("g/v1", "P"), object: ObjectKey::new("ns", name.to_string()) }
    }

    fn selection(names: &[u8], label: Option<u8>) -> Selection {
        Selection {
            namespace: Some("ns".to_owned()),
            names: names.iter().map(u8::to_string).collect(),
            labels: LabelSelector::parse(&label.map(|value| format!("app={value}")).unwrap_or_default())
                .unwrap(),
        }
    }

    proptest! {
        /// The index finds the parents that asking every parent would find.
        #[test]
        fn the_index_finds_whom_a_scan_finds(
            sets in proptest::collection::vec((0..5_u8, proptest::collection::vec(0..3_u8, 0..2), proptest::option::of(0..3_u8), any::<bool>()), 0..30),
            name in 0..3_u8, label in 0..3_u8,
        ) {
            let gvk = Gvk::new("v1", "ConfigMap");
            let mut index = RelatedIndex::default();
            let mut model = std::collections::BTreeMap::new();
            for (who, names, label, keep) in sets {
                if keep {
                    let chosen = selection(&names, label);
                    index.set(&parent(who), vec![(gvk.clone(), chosen.clone())]);
                    model.insert(parent(who), chosen);
                } else {
                    index.remove(&parent(who));
                    model.remove(&parent(who));
                }
            }
            let object: kube::core::DynamicObject = serde_json::from_value(json!({
                "metadata": {"namespace": "ns", "name": name.to_string(), "labels": {"app": label.to_string()}},
            })).unwrap();
            let object = CachedObject::new(object);
            let expected: std::collections::BTreeSet<_> =
                model.iter().filter(|(_, s)| s.matches(object.object())).map(|(p, _)| p.clone()).collect();
            prop_assert_eq!(index.parents(&gvk, &object), expected);
        }
    }
}
