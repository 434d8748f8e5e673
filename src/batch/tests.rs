use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::worker::MAX_REQUESTS;
use super::*;

/// What a test does to its writer's batches.
#[derive(Debug)]
struct Desk {
    /// A batch takes one to go on.
    passes: Semaphore,
    takes: Duration,
    batches: std::sync::Mutex<Vec<Vec<i32>>>,
    broken: AtomicUsize,
}

impl Desk {
    fn open() -> Arc<Self> {
        Self::with_passes(Semaphore::MAX_PERMITS)
    }

    fn with_passes(passes: usize) -> Arc<Self> {
        Arc::new(Self {
            passes: Semaphore::new(passes),
            takes: Duration::ZERO,
            batches: std::sync::Mutex::default(),
            broken: AtomicUsize::new(0),
        })
    }

    fn batches(&self) -> Vec<Vec<i32>> {
        self.batches.lock().unwrap().clone()
    }
}

/// A number; a negative one is what the database refuses.
#[derive(Debug)]
struct Number(i32, Arc<Desk>);

impl Batch for Number {
    const LABEL: Label = Label::Samples;
    const FULL: usize = 256;
    type Context = ();
    type Reply = i32;

    async fn write((): &(), batch: &[Self], _: bool) -> Result<Vec<Result<i32, Error>>, Error> {
        let desk = &batch[0].1;
        desk.batches.lock().unwrap().push(batch.iter().map(|number| number.0).collect());
        desk.passes.acquire().await.unwrap().forget();
        tokio::time::sleep(desk.takes).await;
        if desk.broken.load(Ordering::SeqCst) > 0 {
            desk.broken.fetch_sub(1, Ordering::SeqCst);
            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into());
        }
        if batch.iter().any(|number| number.0 < 0) {
            return Err(Error::Refused("negative".to_owned()));
        }
        Ok(batch.iter().map(|number| Ok(number.0 * 2)).collect())
    }
}

fn writer() -> Arc<Writer<Number>> {
    Arc::new(Writer::new(()))
}

/// Sends numbers at once, each from a task of its own, in order.
async fn send(writer: &Arc<Writer<Number>>, desk: &Arc<Desk>, numbers: &[i32]) -> Vec<Answer> {
    let mut tasks = Vec::new();
    for &number in numbers {
        let (writer, desk) = (writer.clone(), desk.clone());
        tasks.push(tokio::spawn(async move { writer.submit(Number(number, desk)).await }));
        tokio::task::yield_now().await;
    }
    tasks
}

type Answer = tokio::task::JoinHandle<Result<i32, Error>>;

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_arrives_while_a_batch_commits_forms_the_next_one_and_an_idle_writer_does_not_wait() {
    let (writer, desk) = (writer(), Desk::with_passes(0));
    let mut answers = send(&writer, &desk, &[1]).await;
    until(|| desk.batches().len() == 1).await;
    for next in [2, 3, 4] {
        answers.extend(send(&writer, &desk, &[next]).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(desk.batches(), [vec![1]], "the second lane does not send the few that there are");
    desk.passes.add_permits(2);
    let mut replies = Vec::new();
    for answer in answers {
        replies.push(answer.await.unwrap().unwrap());
    }
    assert_eq!(replies, [2, 4, 6, 8]);
    assert_eq!(desk.batches(), [vec![1], vec![2, 3, 4]]);
}

#[tokio::test]
async fn a_large_batch_does_not_wait_for_the_one_before() {
    let (writer, desk) = (writer(), Desk::with_passes(0));
    let mut answers = send(&writer, &desk, &[1]).await;
    until(|| desk.batches().len() == 1).await;
    let many: Vec<i32> = (2..2 + i32::try_from(Number::FULL).unwrap()).collect();
    answers.extend(send(&writer, &desk, &many).await);
    until(|| desk.batches().len() == 2).await;
    assert!(desk.batches()[1].len() >= Number::FULL, "{:?}", desk.batches()[1].len());
    answers.extend(send(&writer, &desk, &[0]).await);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(desk.batches().len(), 2, "there are two lanes");
    desk.passes.add_permits(3);
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn where_the_database_is_slow_those_who_come_back_share_a_batch() {
    const CALLERS: i32 = 8;
    const ROUNDS: usize = 6;
    let writer = writer();
    let desk = Desk { takes: Duration::from_millis(20), ..Arc::into_inner(Desk::open()).unwrap() };
    let desk = Arc::new(desk);
    let callers = (0..CALLERS).map(|number| {
        let (writer, desk) = (writer.clone(), desk.clone());
        tokio::spawn(async move {
            // The first is alone, and would be in every second batch.
            tokio::time::sleep(Duration::from_millis(if number == 0 { 0 } else { 5 })).await;
            for _ in 0..ROUNDS {
                assert_eq!(writer.submit(Number(number, desk.clone())).await.unwrap(), number * 2);
                // An answer's way to the caller, and the next request's way back.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let batches = desk.batches();
    let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), ROUNDS * CALLERS as usize);
    assert!(sizes.len() < 2 * ROUNDS - 2, "{sizes:?}");
}

#[tokio::test]
async fn a_bad_row_fails_alone() {
    let (writer, desk) = (writer(), Desk::with_passes(0));
    let mut answers = send(&writer, &desk, &[1]).await;
    until(|| desk.batches().len() == 1).await;
    answers.extend(send(&writer, &desk, &[2, 3, 4, -5, 6, 7]).await);
    desk.passes.add_permits(100);
    let mut refused = Vec::new();
    for (answer, number) in answers.into_iter().zip([1, 2, 3, 4, -5, 6, 7]) {
        match answer.await.unwrap() {
            Ok(reply) => assert_eq!(reply, number * 2),
            Err(Error::Refused(_)) => refused.push(number),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(refused, [-5]);
    assert!(desk.batches().contains(&vec![2, 3, 4, -5, 6, 7]), "they were one batch: {:?}", desk.batches());
}

#[tokio::test]
async fn a_broken_connection_is_tried_twice_more_and_then_told_to_all() {
    let (writer, desk) = (writer(), Desk::open());
    desk.broken.store(2, Ordering::SeqCst);
    assert_eq!(writer.submit(Number(1, desk.clone())).await.unwrap(), 2);
    desk.broken.store(3, Ordering::SeqCst);
    let outcome = writer.submit(Number(1, desk.clone())).await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    assert_eq!(writer.submit(Number(1, desk)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_full_queue_refuses_and_closing_writes_what_waits() {
    let (writer, desk) = (writer(), Desk::with_passes(0));
    let numbers: Vec<i32> = (0..i32::try_from(QUEUE + 3 * MAX_REQUESTS).unwrap()).collect();
    let answers = send(&writer, &desk, &numbers).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    desk.passes.add_permits(Semaphore::MAX_PERMITS / 2);
    writer.close().await;
    let (mut written, mut busy) = (0, 0);
    for answer in answers {
        match answer.await.unwrap() {
            Ok(_) => written += 1,
            Err(Error::Busy) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(written >= QUEUE && busy > 0, "{written} written, {busy} refused");
    assert_eq!(desk.batches().iter().map(Vec::len).sum::<usize>(), written);
    assert!(matches!(writer.submit(Number(1, desk)).await, Err(Error::Busy)), "closed");
}
