//! The objects of one kind, in memory: a plain state machine fed by the watch, with no I/O.
//!
//! Found by key, by the UID of their controller, and by label. A label is indexed from the first time that somebody
//! selects by it, so that labels which nobody selects by cost nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kube::core::DynamicObject;

use super::object::CachedObject;
use crate::key::{ObjectKey, controller_of};
use crate::selector::LabelSelector;

/// Which objects of a kind are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// In this namespace; in all without.
    pub namespace: Option<String>,
    /// With one of these names; with any where empty.
    pub names: Vec<String>,
    /// With these labels.
    pub labels: LabelSelector,
}

impl Selection {
    /// Whether an object is meant.
    pub fn matches(&self, object: &DynamicObject) -> bool {
        let meta = &object.metadata;
        self.namespace
            .as_deref()
            .is_none_or(|namespace| meta.namespace.as_deref().unwrap_or_default() == namespace)
            && (self.names.is_empty()
                || meta.name.as_ref().is_some_and(|name| self.names.iter().any(|wanted| wanted == name)))
            && self.labels.matches(meta.labels.as_ref())
    }

    /// The label by which this selection is best looked up, where names do not do it.
    pub(super) fn index_label(&self) -> Option<&str> {
        if self.names.is_empty() || self.namespace.is_none() {
            self.labels.equality().map(|(label, _)| label)
        } else {
            None
        }
    }
}

/// The objects of one kind.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<ObjectKey, Arc<CachedObject>>,
    by_controller: HashMap<String, BTreeSet<ObjectKey>>,
    by_label: HashMap<String, HashMap<String, BTreeSet<ObjectKey>>>,
}

impl Store {
    /// Puts an object in, and gives back the version before.
    pub fn insert(&mut self, object: Arc<CachedObject>) -> Option<Arc<CachedObject>> {
        let previous = self.remove(object.key());
        let key = object.key().clone();
        if let Some((_, _, uid)) = controller_of(object.object()) {
            self.by_controller.entry(uid.to_owned()).or_default().insert(key.clone());
        }
        for (label, values) in &mut self.by_label {
            if let Some(value) = object.object().metadata.labels.as_ref().and_then(|labels| labels.get(label))
            {
                values.entry(value.clone()).or_default().insert(key.clone());
            }
        }
        self.objects.insert(key, object);
        previous
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Arc<CachedObject>> {
        let object = self.objects.remove(key)?;
        if let Some((_, _, uid)) = controller_of(object.object()) {
            remove_from(&mut self.by_controller, uid, key);
        }
        for (label, values) in &mut self.by_label {
            if let Some(value) = object.object().metadata.labels.as_ref().and_then(|labels| labels.get(label))
            {
                remove_from(values, value, key);
            }
        }
        Some(object)
    }

    /// The object of a key.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<CachedObject>> {
        self.objects.get(key).cloned()
    }

    /// The objects whose controller has this UID, by name.
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<CachedObject>> {
        let keys = self.by_controller.get(uid).into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key)).cloned().collect()
    }

    /// Every object.
    pub fn all(&self) -> Vec<Arc<CachedObject>> {
        self.objects.values().cloned().collect()
    }

    /// Every key.
    pub fn keys(&self) -> BTreeSet<ObjectKey> {
        self.objects.keys().cloned().collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Whether objects can be found by this label.
    pub fn has_label_index(&self, label: &str) -> bool {
        self.by_label.contains_key(label)
    }

    /// Makes objects findable by a label.
    pub fn index_label(&mut self, label: &str) {
        if self.has_label_index(label) {
            return;
        }
        let mut values: HashMap<String, BTreeSet<ObjectKey>> = HashMap::new();
        for (key, object) in &self.objects {
            if let Some(value) = object.object().metadata.labels.as_ref().and_then(|labels| labels.get(label))
            {
                values.entry(value.clone()).or_default().insert(key.clone());
            }
        }
        self.by_label.insert(label.to_owned(), values);
    }

    /// The objects that a selection picks, by key.
    pub fn select(&self, selection: &Selection) -> Vec<Arc<CachedObject>> {
        let wanted = |object: &&Arc<CachedObject>| selection.matches(object.object());
        if let (Some(namespace), false) = (&selection.namespace, selection.names.is_empty()) {
            let keys: BTreeSet<_> =
                selection.names.iter().map(|name| ObjectKey::new(namespace.clone(), name.clone())).collect();
            return keys.iter().filter_map(|key| self.objects.get(key)).filter(wanted).cloned().collect();
        }
        if let Some((label, value)) = selection.labels.equality()
            && let Some(values) = self.by_label.get(label)
        {
            let keys = values.get(value).into_iter().flatten();
            return keys.filter_map(|key| self.objects.get(key)).filter(wanted).cloned().collect();
        }
        match &selection.namespace {
            Some(namespace) => {
                let first = ObjectKey::new(namespace.clone(), "");
                let here = self.objects.range(first..).take_while(|(key, _)| key.namespace == *namespace);
                here.map(|(_, object)| object).filter(wanted).cloned().collect()
            }
            None => self.objects.values().filter(wanted).cloned().collect(),
        }
    }
}

fn remove_from(index: &mut HashMap<String, BTreeSet<ObjectKey>>, entry: &str, key: &ObjectKey) {
    if let Some(keys) = index.get_mut(entry) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(entry);
        }
    }
}

#[cfg(test)]
mod tests;
