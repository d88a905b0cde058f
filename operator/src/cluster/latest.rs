//! A queue with one place for each key: what is put there replaces what waits there.
//!
//! values by key → jobs, in the order in which their keys came
//!
//! **Invariant:** it holds one value for each key at most, so the number of keys bounds it.
//! **Invariant:** a key is with one worker at a time; what is put meanwhile is the next job of that key.
//! **Invariant:** a job that has to be done again waits, longer each time, and holds up no other key.
//! **Invariant:** what waits for what may follow it waits no longer than it was told, however much follows.
//!
//! Must not know: what a value is, and what is done with it.

use futures::{StreamExt as _, stream::FuturesUnordered};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// What becomes of a job.
#[derive(Debug)]
pub(super) enum Next<V> {
    /// Nothing: it is done, or given up.
    Done,
    /// It is done, and the next job of its key waits so long.
    Rest(Duration),
    /// It is done again, unless something newer has been put.
    Again(V, Pace),
}

/// How soon a job is done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// What stands in the way passes by itself.
    Soon,
    /// Somebody has to do something about it first.
    Slowly,
}

impl Pace {
    /// Twice as long each time. There is no jitter: the number of workers bounds what is tried at once.
    fn wait(self, attempts: u32) -> Duration {
        let (first, last) = match self {
            Self::Soon => (Duration::from_millis(50), Duration::from_secs(30)),
            Self::Slowly => (Duration::from_secs(30), Duration::from_mins(10)),
        };
        first.saturating_mul(1 << attempts.min(16)).min(last)
    }
}

/// The queue; clones are the same one.
#[derive(Debug)]
pub(super) struct Latest<K, V> {
    shared: Arc<Shared<K, V>>,
}

#[derive(Debug)]
struct Shared<K, V> {
    queue: Mutex<Queue<K, V>>,
    /// Holds a permit whenever a worker might find something and none is looking.
    news: Notify,
}

#[derive(Debug)]
struct Queue<K, V> {
    places: BTreeMap<K, Place<V>>,
    ready: VecDeque<K>,
    later: BTreeSet<(Instant, K)>,
}

#[derive(Debug)]
struct Place<V> {
    /// What is to be done next; while the key is with a worker, what came meanwhile. Nothing: the key rests.
    next: Option<V>,
    /// When that is wanted.
    due: Instant,
    /// Not before.
    rested: Instant,
    stage: Stage,
    /// How often in a row it had to be done again.
    attempts: u32,
}

#[derive(Debug)]
enum Stage {
    Ready,
    Later(Instant),
    Busy,
    /// As busy, with something that was forgotten meanwhile.
    Obsolete,
}

impl<V> Place<V> {
    /// Whether it is with a worker.
    fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Busy | Stage::Obsolete)
    }
}

impl<K, V> Clone for Latest<K, V> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K, V> Default for Latest<K, V> {
    fn default() -> Self {
        let queue = Queue { places: BTreeMap::new(), ready: VecDeque::new(), later: BTreeSet::new() };
        Self { shared: Arc::new(Shared { queue: Mutex::new(queue), news: Notify::new() }) }
    }
}

impl<K: Ord + Clone, V> Latest<K, V> {
    /// Puts a value in its key's place. A value that waits to be done again is forgotten, and this one is done at once.
    pub(super) fn put(&self, key: K, value: V) {
        self.put_after(key, value, Duration::ZERO);
    }

    /// The same, and lets it wait for what may follow and say more.
    pub(super) fn put_after(&self, key: K, value: V, wait: Duration) {
        self.lock().put(key, value, Instant::now() + wait);
        self.shared.news.notify_one();
    }

    /// Waits for a job. Whoever takes it says what becomes of it by [`Latest::done`] or [`Latest::retry`].
    pub(super) async fn take(&self) -> (K, V) {
        loop {
            let due = match self.try_take() {
                Ok(job) => return job,
                Err(due) => due,
            };
            tokio::select! {
                () = self.shared.news.notified() => {}
                () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {}
            }
        }
    }

    /// A job is done.
    pub(super) fn done(&self, key: &K) {
        self.rest(key, Duration::ZERO);
    }

    /// A job is done, and the next of its key waits.
    fn rest(&self, key: &K, rest: Duration) {
        self.lock().done(key, Instant::now() + rest);
        self.shared.news.notify_one();
    }

    /// A job has to be done again, unless something newer has been put.
    pub(super) fn retry(&self, key: K, value: V, pace: Pace) {
        self.lock().retry(key, value, pace);
        self.shared.news.notify_one();
    }

    /// Does jobs, so many at once. Never ends; dropping it leaves what it was doing undone.
    pub(super) async fn work<F>(&self, workers: usize, act: impl Fn(K, V) -> F)
    where
        F: Future<Output = Next<V>>,
    {
        let worker = async || {
            loop {
                let (key, value) = self.take().await;
                match act(key.clone(), value).await {
                    Next::Done => self.done(&key),
                    Next::Rest(rest) => self.rest(&key, rest),
                    Next::Again(value, pace) => self.retry(key, value, pace),
                }
            }
        };
        // Each is polled for itself: news for one would otherwise wake all of them.
        (0..workers).map(|_| worker()).collect::<FuturesUnordered<_>>().collect::<()>().await;
    }

    /// Forgets everything; what a worker has is not done again.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// How many keys have something to be done or being done. O(keys).
    pub(super) fn len(&self) -> usize {
        let is_work = |place: &&Place<V>| place.next.is_some() || place.is_busy();
        self.lock().places.values().filter(is_work).count()
    }

    /// A job, or when the next one is due.
    fn try_take(&self) -> Result<(K, V), Option<Instant>> {
        let mut queue = self.lock();
        queue.promote(Instant::now());
        let job = queue.pop().ok_or_else(|| queue.later.first().map(|(due, _)| *due));
        if job.is_ok() && !queue.ready.is_empty() {
            self.shared.news.notify_one();
        }
        job
    }

    /// Nothing that runs under the lock can leave the queue half-changed, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, Queue<K, V>> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone, V> Queue<K, V> {
    fn put(&mut self, key: K, value: V, due: Instant) {
        let Some(place) = self.places.get_mut(&key) else {
            let rested = Instant::now();
            self.places.insert(key.clone(), Place { next: Some(value), due, rested, stage: Stage::Ready, attempts: 0 });
            return self.schedule(key, due);
        };
        let before = place.next.replace(value);
        place.due = if before.is_some() { due.min(place.due) } else { due };
        if let Stage::Later(at) = place.stage {
            let due = place.due.max(place.rested);
            self.later.remove(&(at, key.clone()));
            self.schedule(key, due);
        }
    }

    /// Lets a key be taken at a time.
    fn schedule(&mut self, key: K, at: Instant) {
        let Some(place) = self.places.get_mut(&key) else { return };
        if at <= Instant::now() {
            place.stage = Stage::Ready;
            self.ready.push_back(key);
        } else {
            place.stage = Stage::Later(at);
            self.later.insert((at, key));
        }
    }

    fn done(&mut self, key: &K, rested: Instant) {
        let Some(place) = self.places.get_mut(key) else { return };
        (place.attempts, place.rested) = (0, rested);
        if place.next.is_some() {
            let due = place.due.max(rested);
            self.schedule(key.clone(), due);
        } else if rested <= Instant::now() {
            self.places.remove(key);
        } else {
            self.schedule(key.clone(), rested);
        }
    }

    fn retry(&mut self, key: K, value: V, pace: Pace) {
        let Some(job) = self.places.get_mut(&key) else { return };
        if job.next.is_none() && matches!(job.stage, Stage::Obsolete) {
            self.places.remove(&key);
            return;
        }
        let wait = pace.wait(job.attempts);
        job.attempts = job.attempts.saturating_add(1);
        if job.next.is_none() {
            (job.next, job.due) = (Some(value), Instant::now() + wait);
        }
        let due = job.due.max(job.rested);
        self.schedule(key, due);
    }

    fn promote(&mut self, now: Instant) {
        while self.later.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, key)) = self.later.pop_first() else { return };
            if self.places.get(&key).is_some_and(|place| place.next.is_none()) {
                self.places.remove(&key);
            } else {
                self.schedule(key, now);
            }
        }
    }

    fn pop(&mut self) -> Option<(K, V)> {
        let key = self.ready.pop_front()?;
        let place = self.places.get_mut(&key)?;
        place.stage = Stage::Busy;
        Some((key, place.next.take()?))
    }

    fn clear(&mut self) {
        self.ready.clear();
        self.later.clear();
        self.places.retain(|_, place| {
            let is_busy = place.is_busy();
            (place.next, place.stage) = (None, Stage::Obsolete);
            is_busy
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::timeout;

    const BRIEF: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_secs(10);

    async fn is_idle(queue: &Latest<u8, u8>) -> bool {
        timeout(BRIEF, queue.take()).await.is_err()
    }

    #[tokio::test]
    async fn the_latest_value_of_a_key_is_taken_once_and_keys_keep_their_order() {
        let queue = Latest::default();
        for (key, value) in [(2, 1), (1, 1), (2, 2), (2, 3)] {
            queue.put(key, value);
        }
        assert_eq!((queue.take().await, queue.take().await), ((2, 3), (1, 1)));
        assert!(is_idle(&queue).await);
        assert_eq!(queue.len(), 2, "they are being done");
        for key in &[1, 2] {
            queue.done(key);
        }
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test]
    async fn a_key_is_with_one_worker_and_what_came_meanwhile_is_next() {
        let queue = Latest::default();
        queue.put(1, 1);
        assert_eq!(queue.take().await, (1, 1));
        for value in [2, 3] {
            queue.put(1, value);
        }
        assert!(is_idle(&queue).await);
        queue.done(&1);
        assert_eq!(queue.take().await, (1, 3));
    }

    #[tokio::test]
    async fn what_is_to_be_done_again_waits_and_holds_up_nobody() {
        let queue = Latest::default();
        queue.put(1, 1);
        let (key, value) = queue.take().await;
        queue.retry(key, value, Pace::Soon);
        queue.put(2, 2);
        assert_eq!(queue.take().await, (2, 2));
        assert!(is_idle(&queue).await, "the first is not due");
        assert_eq!(timeout(LONG, queue.take()).await.unwrap(), (1, 1));
    }

    #[tokio::test]
    async fn something_newer_takes_the_place_of_what_waits_at_once() {
        let queue = Latest::default();
        queue.put(1, 1);
        let (key, value) = queue.take().await;
        queue.retry(key, value, Pace::Slowly);
        queue.put(1, 2);
        assert_eq!(timeout(LONG, queue.take()).await.unwrap(), (1, 2));
        queue.put(1, 3);
        queue.retry(1, 2, Pace::Slowly);
        assert_eq!(timeout(LONG, queue.take()).await.unwrap(), (1, 3));
    }

    #[tokio::test]
    async fn what_may_be_followed_waits_for_it_once() {
        let queue = Latest::default();
        queue.put_after(1, 1, BRIEF * 3);
        queue.put_after(1, 2, LONG);
        assert!(is_idle(&queue).await);
        assert_eq!(timeout(LONG, queue.take()).await.unwrap(), (1, 2), "what follows does not put it off");
        queue.put_after(1, 3, LONG);
        queue.put(1, 4);
        queue.done(&1);
        assert_eq!(timeout(LONG, queue.take()).await.unwrap(), (1, 4), "what says more is not put off");
    }

    #[tokio::test]
    async fn a_key_that_rests_is_not_taken_and_is_forgotten_afterwards() {
        let queue = Latest::default();
        queue.put(1, 1);
        assert_eq!(queue.take().await, (1, 1));
        queue.rest(&1, BRIEF * 3);
        assert_eq!(queue.len(), 0);
        queue.put(1, 2);
        queue.put(1, 3);
        assert!(is_idle(&queue).await);
        assert_eq!(timeout(LONG, queue.take()).await.unwrap(), (1, 3));
        queue.rest(&1, BRIEF);
        assert!(timeout(BRIEF * 3, queue.take()).await.is_err());
        assert!(queue.lock().places.is_empty());
    }

    #[tokio::test]
    async fn what_is_cleared_is_not_done_and_a_busy_key_can_be_used_again() {
        let queue = Latest::default();
        for key in [1, 2] {
            queue.put(key, 1);
        }
        assert_eq!(queue.take().await, (1, 1));
        queue.clear();
        assert!(is_idle(&queue).await);
        queue.done(&1);
        queue.put(1, 2);
        assert_eq!(queue.take().await, (1, 2));
    }

    #[tokio::test]
    async fn what_was_being_done_when_all_was_cleared_is_not_done_again_and_what_came_since_is() {
        let queue = Latest::default();
        queue.put(1, 1);
        assert_eq!(queue.take().await, (1, 1));
        queue.clear();
        queue.retry(1, 1, Pace::Soon);
        assert_eq!(queue.len(), 0);
        queue.put(1, 2);
        assert_eq!(queue.take().await, (1, 2));
        queue.clear();
        queue.put(1, 3);
        queue.retry(1, 2, Pace::Soon);
        assert_eq!(queue.take().await, (1, 3));
        queue.retry(1, 3, Pace::Soon);
        assert_eq!(timeout(LONG, queue.take()).await.unwrap(), (1, 3), "as ever");
    }

    #[tokio::test]
    async fn workers_do_everything_and_no_more_at_once_than_there_are_workers() {
        let queue = Latest::default();
        (0..100).for_each(|key| queue.put(key, 0));
        let (now, most, count) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let act = async |_, attempt| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            count.fetch_add(1, Ordering::SeqCst);
            if attempt == 0 { Next::Again(1, Pace::Soon) } else { Next::Done }
        };
        let finished = async {
            while queue.len() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { () = queue.work(3, act) => {}, () = finished => {} }
        assert_eq!((most.into_inner(), count.into_inner()), (3, 200));
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let waits = |pace: Pace| [0, 1, 2, 30].map(|attempts| pace.wait(attempts).as_millis());
        assert_eq!(waits(Pace::Soon), [50, 100, 200, 30_000]);
        assert_eq!(waits(Pace::Slowly), [30_000, 60_000, 120_000, 600_000]);
    }
}
