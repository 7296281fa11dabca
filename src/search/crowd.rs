//! Many searches at once.

use crate::stop::{Stop, Stopped};
use std::future::Future;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};

/// How long a request to stop may go unnoticed.
const NOTICE: Duration = Duration::from_millis(100);

/// Runs `jobs`, at most `workers` of them at a time, and hands each result over as soon as it is
/// there, with the number of its job.
///
/// # Errors
/// The first error of a job, of making one, or of `each`, and [`Stopped`] when `stop` asks for it; the
/// other jobs are dropped. A job that panics is an error as well.
///
/// # Panics
/// Outside a tokio runtime with a clock.
pub async fn crowd<T, E, F>(
    jobs: impl IntoIterator<Item = Result<F, E>>,
    workers: usize,
    stop: &Stop,
    mut each: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E>
where
    T: Send + 'static,
    E: From<JoinError> + From<Stopped> + Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let mut jobs = jobs.into_iter().enumerate();
    let mut running = JoinSet::new();
    loop {
        while running.len() < workers.max(1) {
            let Some((index, job)) = jobs.next() else {
                break;
            };
            let job = job?;
            running.spawn(async move { (index, job.await) });
        }
        let ended = loop {
            stop.check()?;
            if let Ok(ended) = tokio::time::timeout(NOTICE, running.join_next()).await {
                break ended;
            }
        };
        let Some(ended) = ended else {
            return Ok(());
        };
        let (index, result) = ended?;
        each(index, result?)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[derive(Debug)]
    enum Fault {
        Job(usize),
        Worker(JoinError),
        Stopped,
    }

    impl From<Stopped> for Fault {
        fn from(_: Stopped) -> Self {
            Fault::Stopped
        }
    }

    impl From<JoinError> for Fault {
        fn from(error: JoinError) -> Self {
            Fault::Worker(error)
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    }

    /// Job `i` gives way `20 - i` times, so that later jobs end first.
    async fn job(i: usize, at_once: Arc<AtomicUsize>, most: Arc<AtomicUsize>) -> usize {
        let now = at_once.fetch_add(1, SeqCst) + 1;
        most.fetch_max(now, SeqCst);
        for _ in 0..20 - i {
            tokio::task::yield_now().await;
        }
        at_once.fetch_sub(1, SeqCst);
        i * i
    }

    fn run(workers: usize, faulty: Option<usize>) -> (Result<(), Fault>, Vec<usize>, usize) {
        let runtime = runtime();
        let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut found = vec![usize::MAX; 20];
        let jobs = (0..20).map(|i| {
            let (at_once, most) = (at_once.clone(), most.clone());
            Ok(async move {
                if faulty == Some(i) {
                    return Err(Fault::Job(i));
                }
                Ok(job(i, at_once, most).await)
            })
        });
        let ended = runtime.block_on(crowd(jobs, workers, &Stop::default(), |index, result| {
            found[index] = result;
            Ok(())
        }));
        (ended, found, most.load(SeqCst))
    }

    #[test]
    fn every_job_runs_once_and_no_more_than_allowed_at_once() {
        for workers in [0, 1, 3, 50] {
            let (ended, found, most) = run(workers, None);
            ended.unwrap();
            assert_eq!(found, (0..20).map(|i| i * i).collect::<Vec<_>>());
            assert_eq!(most, workers.clamp(1, 20));
        }
    }

    #[test]
    fn a_faulty_job_ends_it() {
        let (ended, found, _) = run(1, Some(2));
        assert!(matches!(ended, Err(Fault::Job(2))));
        assert_eq!(found[..4], [0, 1, usize::MAX, usize::MAX]);
    }

    #[test]
    fn a_panic_is_an_error() {
        let runtime = runtime();
        let jobs = [Ok(async { panic!("broken") })];
        let ended: Result<(), Fault> =
            runtime.block_on(crowd(jobs, 1, &Stop::default(), |_, ()| Ok(())));
        assert!(matches!(ended, Err(Fault::Worker(e)) if e.is_panic()));
    }

    #[test]
    fn a_request_to_stop_is_noticed_while_nothing_ends() {
        let stop = Stop::default();
        let asker = stop.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            asker.ask();
        });
        let jobs = (0..3).map(|_| Ok(std::future::pending::<Result<(), Fault>>()));
        let ended = runtime().block_on(crowd(jobs, 2, &stop, |_, ()| Ok(())));
        assert!(matches!(ended, Err(Fault::Stopped)));
    }
}
