//! Archive entries: creates, changes, reads through the cache, lists, lineage and statistics.

mod prefetch;

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::error::Error;
use super::ids::new_id;
use super::render;
use crate::cache::{Cache, Cached, Key, Loaded, ttl};
use crate::domain::archive::{
    CreatedEntry, EntryPatch, Filter, MAX_BATCH, NewEntries, NewEntry, Relative, Revision, Sort, Summary,
};
use crate::domain::clock::Clock;
use crate::domain::page::{self, Page, Rows};
use crate::domain::rendered::Rendered;
use crate::domain::validation::{Check, Invalid};
use crate::store::archive::{ArchiveStore, Created, Patched, Seen};
use prefetch::Prefetch;

/// Deepest walk up or down a lineage.
pub const MAX_DEPTH: u32 = 100_000;
/// Most descendants of one answer.
pub const MAX_RELATIVES: u32 = 10_000;

/// Use cases of the archive; cheap to clone.
#[derive(Debug, Clone)]
pub struct ArchiveService {
    archive: ArchiveStore,
    cache: Cache,
    clock: Arc<dyn Clock>,
    prefetch: Prefetch,
}

impl ArchiveService {
    pub(super) fn new(archive: ArchiveStore, cache: Cache, clock: Arc<dyn Clock>) -> Self {
        Self { archive, cache, clock, prefetch: Prefetch::default() }
    }

    /// Creates one entry.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::UnknownReference`], [`Error::AlreadyExists`].
    pub async fn create(&self, entry: NewEntry, by: Option<Uuid>) -> Result<CreatedEntry, Error> {
        entry.validate("", self.clock.timestamp())?;
        let id = entry.archive_entry_id.clone().unwrap_or_else(new_id);
        let entry = NewEntry { archive_entry_id: Some(id.clone()), ..entry };
        let created = match self.archive.create_one(entry, by).await? {
            Created::Conflict => return Err(Error::AlreadyExists { what: "archive entry", id }),
            created => created == Created::New,
        };
        if created {
            self.drop_absent(std::iter::once(id.as_str()));
        }
        Ok(CreatedEntry { archive_entry_id: id, created })
    }

    /// Creates entries, all or none.
    ///
    /// # Errors
    /// As [`ArchiveService::create`].
    pub async fn create_batch(&self, batch: NewEntries, by: Option<Uuid>) -> Result<Vec<CreatedEntry>, Error> {
        let mut check = Check::default();
        check.that((1..=MAX_BATCH).contains(&batch.entries.len()), "entries", "must have 1 to 1000 items");
        let all: HashSet<&str> = batch.entries.iter().filter_map(|e| e.archive_entry_id.as_deref()).collect();
        let mut seen = HashSet::new();
        for (index, entry) in batch.entries.iter().enumerate() {
            check.absorb(entry.validate(&format!("/entries/{index}"), self.clock.timestamp()));
            let mut at = Check::within(format!("/entries/{index}"));
            // A parent further down would leave this entry's generation unknown, and a cycle possible.
            let parent = entry.parent_entry_id.as_deref().unwrap_or_default();
            at.that(
                !all.contains(parent) || seen.contains(parent),
                "parent_entry_id",
                "must stand before its children",
            );
            let new = entry.archive_entry_id.as_deref().is_none_or(|id| seen.insert(id));
            at.that(new, "archive_entry_id", "stands twice in the batch");
            check.absorb(at.done());
        }
        check.done()?;
        self.create_all(batch.entries, by).await
    }

    async fn create_all(&self, mut entries: Vec<NewEntry>, by: Option<Uuid>) -> Result<Vec<CreatedEntry>, Error> {
        for entry in &mut entries {
            entry.archive_entry_id.get_or_insert_with(new_id);
        }
        let outcome = self.archive.create_all(&entries, by).await?;
        let ids = entries.into_iter().filter_map(|entry| entry.archive_entry_id);
        let mut created = Vec::with_capacity(outcome.len());
        for (id, outcome) in ids.zip(outcome) {
            if outcome == Created::Conflict {
                return Err(Error::AlreadyExists { what: "archive entry", id });
            }
            created.push(CreatedEntry { archive_entry_id: id, created: outcome == Created::New });
        }
        self.drop_absent(created.iter().filter(|c| c.created).map(|c| c.archive_entry_id.as_str()));
        Ok(created)
    }

    /// Drops cached absences of entries that were just created. There are no older cached entries of them.
    fn drop_absent<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        for id in ids {
            self.cache.drop_local(&Key::Entry { id: id.to_owned() });
        }
    }

    /// One entry as rendered JSON.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn fetch(&self, id: &str) -> Result<Rendered, Error> {
        valid_id(id)?;
        let load = || {
            let (archive, prefetch, owned) = (self.archive.clone(), self.prefetch.clone(), id.to_owned());
            async move {
                let Some(seen) = archive.find(&owned).await? else { return Ok(Loaded::Absent) };
                prefetch.request(&seen);
                let Seen { entry, as_of } = seen;
                let ttl = ttl::by_quality(entry.summary.accuracy_score, entry.summary.constitutional_compliance_score);
                Ok::<_, Error>(Loaded::Found { cached: render::render_entry(&entry)?, ttl, as_of })
            }
        };
        let found = self.cache.get_or_load(&Key::Entry { id: id.to_owned() }, load).await;
        found.map_err(|error| (*error).clone())?.map(Rendered::from).ok_or_else(|| Error::no_entry(id))
    }

    /// Changes an entry; with `known` only if it is in one of these states.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::VersionDiffers`].
    pub async fn patch(&self, id: &str, known: Option<&[Revision]>, patch: &EntryPatch) -> Result<Rendered, Error> {
        valid_id(id)?;
        patch.validate()?;
        match self.archive.patch(id, known, patch).await? {
            Patched::Missing => Err(Error::no_entry(id)),
            Patched::VersionDiffers(current) => Err(Error::VersionDiffers { current }),
            Patched::Done { version, transaction } => {
                self.cache.wrote(&Key::Entry { id: id.to_owned() }, version, transaction).await;
                self.fetch(id).await
            }
        }
    }

    /// A page of entries.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit, cursor or bound.
    pub async fn list(
        &self,
        filter: &Filter,
        sort: Sort,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<Summary>, Error> {
        let limit = page::limit(limit)?;
        filter.validate()?;
        let after = cursor.map(|cursor| sort.place(cursor)).transpose()?;
        let items = self.archive.list(filter, sort, after.as_ref(), limit).await?;
        Ok(Page::cut(items, limit, |item| sort.position(item)))
    }

    /// The entry and its ancestors, nearest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn lineage(&self, id: &str, max_depth: Option<u32>) -> Result<Rows<Relative>, Error> {
        valid_id(id)?;
        known(id, self.archive.lineage(id, depth(max_depth)?).await?)
    }

    /// The entry and its descendants, nearest first, and whether there are more than `limit` of them.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn descendants(
        &self,
        id: &str,
        max_depth: Option<u32>,
        limit: Option<u32>,
    ) -> Result<Rows<Relative>, Error> {
        valid_id(id)?;
        let limit = limit.unwrap_or(page::MAX_LIMIT);
        if !(1..=MAX_RELATIVES).contains(&limit) {
            return Err(Invalid::one("limit", format!("must lie in 1..{MAX_RELATIVES}")).into());
        }
        // The entry itself, and one to see whether there are more.
        let asked = limit + 2;
        let mut found = known(id, self.archive.descendants(id, depth(max_depth)?, asked.into()).await?)?;
        found.cut |= found.items.len() == asked as usize;
        found.items.truncate(limit as usize + 1);
        Ok(found)
    }

    /// A page of an entry's children, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn children(&self, id: &str, cursor: Option<&str>, limit: Option<u32>) -> Result<Page<Summary>, Error> {
        self.fetch(id).await?;
        let filter = Filter { parent: Some(id.to_owned()), ..Filter::default() };
        self.list(&filter, Sort::Created, cursor, limit).await
    }

    /// Statistics of the archive as rendered JSON; up to ten seconds old.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn stats(&self, service: Option<&str>) -> Result<Rendered, Error> {
        if let Some(service) = service {
            let mut check = Check::default();
            check.name("service", service);
            check.done()?;
        }
        let (archive, owned) = (self.archive.clone(), service.map(str::to_owned));
        let load = move || async move {
            let stats = archive.stats(owned.as_deref()).await?;
            Ok::<_, Error>(Loaded::for_a_while(Cached::new(render::json(&stats)?, None, 0), ttl::STATS))
        };
        let key = Key::Stats { service: service.map(str::to_owned) };
        let found = self.cache.get_or_load(&key, load).await.map_err(|error| (*error).clone())?;
        found.map(Rendered::from).ok_or(Error::Internal)
    }
}

fn valid_id(id: &str) -> Result<(), Invalid> {
    let mut check = Check::default();
    check.id("archive_entry_id", id);
    check.done()
}

fn depth(asked: Option<u32>) -> Result<i32, Invalid> {
    match asked.unwrap_or(MAX_DEPTH) {
        depth if depth <= MAX_DEPTH => Ok(depth.cast_signed()),
        _ => Err(Invalid::one("max_depth", format!("must lie in 0..{MAX_DEPTH}"))),
    }
}

fn known(id: &str, relatives: Rows<Relative>) -> Result<Rows<Relative>, Error> {
    if relatives.items.is_empty() {
        return Err(Error::no_entry(id));
    }
    Ok(relatives)
}
