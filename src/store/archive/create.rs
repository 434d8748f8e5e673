//! Creating single entries, by group commit.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::write::{Created, DIGESTS, GENERATIONS, Row, id_of, insert_inspirations, insert_known, insert_rows};
use crate::batch::Batch;
use crate::db::{Database, Error, timed_rows};
use crate::domain::archive::NewEntry;
use crate::telemetry::catalogue::labels::Writer;
use crate::telemetry::catalogue::statements::Statement;

/// An entry to be created, whatever becomes of others.
#[derive(Debug)]
pub(in crate::store) struct NewRow {
    pub(in crate::store) entry: NewEntry,
    pub(in crate::store) by: Option<Uuid>,
}

impl Batch for NewRow {
    const LABEL: Writer = Writer::Entries;
    const FULL: usize = 32;
    type Context = Database;
    type Reply = Created;

    async fn write(database: &Database, batch: &[Self], _: bool) -> Result<Vec<Result<Created, Error>>, Error> {
        let batch: Vec<&Self> = batch.iter().collect();
        if batch.iter().all(|new| new.entry.inspirations.is_empty()) {
            return create_apart(&mut *database.writing.acquire().await?, &batch).await;
        }
        let mut transaction = database.writing.begin().await?;
        let replies = create(&mut transaction, &batch).await?;
        transaction.commit().await?;
        Ok(replies)
    }
}

/// Creates entries without inspirations. Each statement is its own transaction: the first inserts all that are new and whose parents are
/// there, which are nearly all, in one round trip.
async fn create_apart(connection: &mut PgConnection, batch: &[&NewRow]) -> Result<Vec<Result<Created, Error>>, Error> {
    let rows = insertable(batch);
    let known: Vec<&Row<'_>> = rows.iter().flatten().collect();
    let new: HashSet<String> = insert_known(connection, &known).await?.into_iter().collect();
    let is_new = |row: &Option<Row<'_>>| row.as_ref().is_some_and(|row| new.contains(id_of(row.entry)));
    let others: Vec<&NewRow> = batch.iter().zip(&rows).filter(|(_, row)| !is_new(row)).map(|(new, _)| *new).collect();
    let of_others = match create(connection, &others).await {
        // What was inserted is committed, so the batch is not halved.
        Err(error) if error.is_about_data() => {
            let mut replies = Vec::with_capacity(others.len());
            for other in others {
                let reply = create(connection, &[other]).await;
                replies.extend(reply.unwrap_or_else(|error| vec![Err(error)]));
            }
            replies
        }
        outcome => outcome?,
    };
    let mut of_others = of_others.into_iter();
    let reply = |row| if is_new(row) { Some(Ok(Created::New)) } else { of_others.next() };
    Ok(rows.iter().filter_map(reply).collect())
}

/// Creates those that can be; the others write nothing. In a transaction if any has inspirations.
pub(in crate::store) async fn create(
    connection: &mut PgConnection,
    batch: &[&NewRow],
) -> Result<Vec<Result<Created, Error>>, Error> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let plan = Plan::new(batch, generations(connection, batch).await?);
    let (new, digests) = insert(connection, &plan.rows).await?;
    let inspired = plan.rows.iter().map(|row| row.entry).filter(|entry| new.iter().any(|id| id == id_of(entry)));
    insert_inspirations(connection, inspired).await?;
    Ok(plan.replies(&digests))
}

/// The rows of entries that one statement may insert without looking first; `None` for those with inspirations, and for those whose id
/// another one of the batch has had.
pub(in crate::store) fn insertable<'a>(batch: &[&'a NewRow]) -> Vec<Option<Row<'a>>> {
    let mut ids = HashSet::with_capacity(batch.len());
    let row = |&NewRow { entry, by }: &&'a NewRow| {
        let is_first = ids.insert(id_of(entry));
        let row = || Row { entry, generation: entry.generation_number, digest: entry.digest(), by: *by };
        (is_first && entry.inspirations.is_empty()).then(row)
    };
    batch.iter().map(row).collect()
}

/// Every entry that the batch refers to, with its generation, and those of the batch that refer to others and are there
/// already. What is found here will be there when the batch is inserted, unless its service is being forgotten; what is not
/// would make the whole batch fail.
async fn generations(connection: &mut PgConnection, batch: &[&NewRow]) -> Result<HashMap<String, i32>, Error> {
    let parents = batch.iter().filter_map(|new| new.entry.parent_entry_id.as_deref());
    let inspirations = batch.iter().flat_map(|new| &new.entry.inspirations).map(|i| i.archive_entry_id.as_str());
    let referring =
        batch.iter().filter(|new| new.entry.parent_entry_id.is_some() || !new.entry.inspirations.is_empty());
    let asked: Vec<&str> = parents.chain(inspirations).chain(referring.map(|new| id_of(&new.entry))).collect();
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let query = sqlx::query_as::<_, (String, i32)>(GENERATIONS).bind(asked).fetch_all(connection);
    Ok(timed_rows(Statement::ArchiveInsert, query).await?.into_iter().collect())
}

type Digests = HashMap<String, Option<Vec<u8>>>;

/// The ids that are new, and the digests of those that were there.
async fn insert(connection: &mut PgConnection, rows: &[Row<'_>]) -> Result<(Vec<String>, Digests), Error> {
    if rows.is_empty() {
        return Ok(Default::default());
    }
    let new = insert_rows(connection, rows).await?;
    if new.len() == rows.len() {
        return Ok((new, Digests::new()));
    }
    let asked: Vec<&str> = rows.iter().map(|row| id_of(row.entry)).collect();
    let query = sqlx::query_as(DIGESTS).bind(asked).fetch_all(connection);
    let digests = timed_rows(Statement::ArchiveInsert, query).await?.into_iter();
    let digests = digests.filter(|(id, _): &(String, _)| !new.contains(id)).collect();
    Ok((new, digests))
}

/// What is inserted, and for each request of the batch what decides its fate.
struct Plan<'a> {
    rows: Vec<Row<'a>>,
    fates: Vec<Fate>,
}

enum Fate {
    /// That of this row.
    Row(usize),
    /// An earlier request of the batch has the id of this one: that row's, if the bodies are the same.
    Repeats { place: usize, same: bool },
    /// Another entry has its id.
    Conflict,
    /// It names something that does not exist; the constraint that says so.
    Dangling(&'static str),
}

impl<'a> Plan<'a> {
    fn new(batch: &[&'a NewRow], mut known: HashMap<String, i32>) -> Self {
        let mut plan = Plan { rows: Vec::with_capacity(batch.len()), fates: Vec::with_capacity(batch.len()) };
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(batch.len());
        for &NewRow { entry, by } in batch {
            let digest = entry.digest();
            let fate = if let Some(&place) = places.get(id_of(entry)) {
                Fate::Repeats { place, same: plan.rows.get(place).is_some_and(|row| row.digest == digest) }
            } else if let Some(constraint) = dangling(entry, &known) {
                // What is there has nothing dangling, so it came from another request.
                if known.contains_key(id_of(entry)) { Fate::Conflict } else { Fate::Dangling(constraint) }
            } else {
                let of_parent = || Some(known.get(entry.parent_entry_id.as_deref()?)?.saturating_add(1));
                let generation = entry.generation_number.or_else(of_parent).unwrap_or(0);
                known.entry(id_of(entry).to_owned()).or_insert(generation);
                places.insert(id_of(entry), plan.rows.len());
                plan.rows.push(Row { entry, generation: Some(generation), digest, by: *by });
                Fate::Row(plan.rows.len() - 1)
            };
            plan.fates.push(fate);
        }
        plan
    }

    fn replies(&self, digests: &Digests) -> Vec<Result<Created, Error>> {
        let of_row = |place: usize| {
            self.rows.get(place).map_or(Created::Conflict, |row| match digests.get(id_of(row.entry)) {
                None => Created::New,
                Some(Some(digest)) if *digest == row.digest => Created::Same,
                Some(_) => Created::Conflict,
            })
        };
        let reply = |fate: &Fate| match *fate {
            Fate::Dangling(constraint) => Err(Error::MissingReference(constraint.to_owned())),
            Fate::Row(place) => Ok(of_row(place)),
            Fate::Conflict | Fate::Repeats { same: false, .. } => Ok(Created::Conflict),
            Fate::Repeats { place, same: true } => Ok(match of_row(place) {
                Created::New => Created::Same,
                other => other,
            }),
        };
        self.fates.iter().map(reply).collect()
    }
}

fn dangling(entry: &NewEntry, known: &HashMap<String, i32>) -> Option<&'static str> {
    if entry.parent_entry_id.as_ref().is_some_and(|parent| !known.contains_key(parent)) {
        return Some("dgm_archive_parent_entry_id_fkey");
    }
    let unknown = entry.inspirations.iter().any(|of| !known.contains_key(&of.archive_entry_id));
    unknown.then_some("dgm_archive_inspirations_inspiration_entry_id_fkey")
}
