//! The task behind one kind: feeds the store from the server's watch and tells the subscribers.
//!
//! It must never give up: whatever ends a watch, it lists again after a backoff and works out what changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, pin_mut};
use kube::Client;
use kube::core::{DynamicObject, TypeMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};

use super::{CachedObject, ChangeEvent, Kind, Store};
use crate::key::ObjectKey;
use crate::observe::KernelMetrics;

/// How long the server keeps a watch open. A watch that is silent for a little longer is taken to be dead, so this also
/// bounds for how long a connection that was cut without a word goes unnoticed.
const WATCH_SECONDS: u32 = 30;

/// Distinguishes subscriptions.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Feeds one kind until it is let go.
pub(super) async fn run(client: Client, kind: Arc<Kind>, metrics: KernelMetrics) {
    let label = kind.gvk.to_string();
    let mut asked = kind.refresh.subscribe();
    'list: loop {
        let number = *asked.borrow_and_update();
        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let events = watcher(kind.api(&client, None), config).default_backoff();
        pin_mut!(events);
        let mut relist = Relist::default();
        loop {
            let event = tokio::select! {
                () = kind.stop.cancelled() => break 'list,
                _ = asked.changed() => continue 'list,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    let (changes, complete) = apply(&kind, &mut relist, event);
                    if !changes.is_empty() || complete {
                        metrics.cached(&label, kind.read(Store::len));
                    }
                    tell(&kind, changes, complete).await;
                    if complete {
                        kind.refreshed.send_replace(number);
                    }
                }
                Some(Err(error)) => {
                    metrics.watch_failed(&label);
                    tracing::debug!(kind = %label, error = %crate::report(&error), "watch interrupted; beginning again");
                }
                None => break 'list,
            }
        }
    }
    metrics.cached(&label, 0);
}

/// What a list in progress has shown.
#[derive(Default)]
struct Relist {
    seen: BTreeSet<ObjectKey>,
    changes: Vec<ChangeEvent>,
}

/// Brings the store up to date. Returns what to tell, and whether a list was completed by this event.
fn apply(kind: &Kind, relist: &mut Relist, event: Event<DynamicObject>) -> (Vec<ChangeEvent>, bool) {
    match event {
        Event::Init => {
            *relist = Relist::default();
            (Vec::new(), false)
        }
        Event::InitApply(object) => {
            let change = put(kind, object);
            relist.seen.insert(change.object.key().clone());
            let unchanged =
                change.previous.as_ref().is_some_and(|known| known.version() == change.object.version());
            if !unchanged {
                relist.changes.push(change);
            }
            (Vec::new(), false)
        }
        Event::InitDone => {
            let Relist { seen, mut changes } = std::mem::take(relist);
            let gone: Vec<_> = kind.read(|store| store.keys().difference(&seen).cloned().collect());
            changes.extend(gone.iter().filter_map(|key| take(kind, key)));
            (changes, true)
        }
        Event::Apply(object) => (vec![put(kind, object)], false),
        Event::Delete(object) => {
            let last = Arc::new(CachedObject::new(typed(kind, object)));
            let previous = kind.write(|store| store.remove(last.key()));
            (vec![ChangeEvent { object: last, previous, deleted: true }], false)
        }
    }
}

fn put(kind: &Kind, object: DynamicObject) -> ChangeEvent {
    let object = Arc::new(CachedObject::new(typed(kind, object)));
    let previous = kind.write(|store| store.insert(object.clone()));
    ChangeEvent { object, previous, deleted: false }
}

/// The items of a list do not always say what they are.
fn typed(kind: &Kind, mut object: DynamicObject) -> DynamicObject {
    object.types.get_or_insert_with(|| TypeMeta {
        api_version: kind.resource.api_version.clone(),
        kind: kind.resource.kind.clone(),
    });
    object
}

fn take(kind: &Kind, key: &ObjectKey) -> Option<ChangeEvent> {
    let object = kind.write(|store| store.remove(key))?;
    Some(ChangeEvent { previous: Some(object.clone()), object, deleted: true })
}

async fn tell(kind: &Kind, changes: Vec<ChangeEvent>, complete: bool) {
    // A subscriber that came between the end of the list and this lock would hear of nothing: the flag is set under
    // the lock, and a subscriber looks at it under the same one.
    let subscribers = kind.subscribers.lock().await;
    if complete {
        kind.synced.send_replace(true);
    }
    for change in &changes {
        for (_, subscriber) in subscribers.iter() {
            subscriber.changed(change).await;
        }
    }
}
