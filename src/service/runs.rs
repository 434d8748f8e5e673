//! Whole runs: in from the programs of the field, out as JSON lines.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use serde_json::Value;

use super::error::Error;
use crate::cache::{Cache, Key};
use crate::domain::archive::{Entry as ArchiveEntry, Inspiration, NewEntry, Status};
use crate::domain::run::Imported;
use crate::interchange::jsonl::Export;
use crate::interchange::{self, Entry, Format, Mapped};
use crate::store::archive::ArchiveStore;

/// Import and export of whole runs; cheap to clone.
#[derive(Debug, Clone)]
pub struct RunService {
    archive: ArchiveStore,
    cache: Cache,
}

impl RunService {
    pub(super) const fn new(archive: ArchiveStore, cache: Cache) -> Self {
        Self { archive, cache }
    }

    /// Imports a mapped run, all or nothing; entries that are there already are left as they are. `progress` is told how
    /// many entries were handled.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; then nothing stays.
    pub async fn import(
        &self,
        format: Format,
        service: &str,
        run: Mapped,
        progress: impl FnMut(usize),
    ) -> Result<Imported, Error> {
        let lost: Vec<String> = run.entries.iter().filter_map(|entry| evicted_parent(service, format, entry)).collect();
        let found: HashSet<String> = self.archive.existing(&lost).await?.into_iter().collect();
        let mut relinked = 0;
        let mut entries = Vec::with_capacity(run.entries.len());
        for entry in run.entries {
            let parent = evicted_parent(service, format, &entry).filter(|parent| found.contains(parent));
            relinked += usize::from(parent.is_some());
            let mut new = new_entry(entry);
            new.parent_entry_id = new.parent_entry_id.or(parent);
            entries.push(new);
        }
        let imported = self.import_entries(entries, run.deepest, progress).await?;
        Ok(Imported { evicted_parents: run.evicted_parents, relinked, ..imported })
    }

    /// Imports an export of this program, all or nothing; entries that are there already are left as they are.
    ///
    /// # Errors
    /// [`Error::UnknownReference`] for a parent that is neither in the export nor in the archive.
    pub async fn import_export(&self, export: Export, progress: impl FnMut(usize)) -> Result<Imported, Error> {
        let inside: HashSet<&str> = export.entries.iter().filter_map(|e| e.archive_entry_id.as_deref()).collect();
        let outside = export.entries.iter().filter_map(|e| e.parent_entry_id.as_deref());
        let outside: Vec<String> = outside.filter(|id| !inside.contains(id)).map(str::to_owned).collect();
        let found: HashSet<String> = self.archive.existing(&outside).await?.into_iter().collect();
        if let Some(missing) = outside.iter().find(|id| !found.contains(*id)) {
            let what = format!("the parent {missing:?} is neither in the export nor in the archive");
            return Err(Error::UnknownReference(what));
        }
        self.import_entries(export.entries, export.deepest, progress).await
    }

    async fn import_entries(
        &self,
        entries: Vec<NewEntry>,
        depth: u32,
        progress: impl FnMut(usize),
    ) -> Result<Imported, Error> {
        let new = self.archive.import(&entries, progress).await?;
        for id in entries.iter().filter_map(|entry| entry.archive_entry_id.clone()) {
            // It may be cached as absent.
            self.cache.drop_local(&Key::Entry { id });
        }
        let mut generations: BTreeMap<i32, (usize, Option<f64>)> = BTreeMap::new();
        for entry in &entries {
            let (count, best) = generations.entry(entry.generation_number.unwrap_or(0)).or_default();
            *count += 1;
            if entry.status == Status::Active {
                *best = Some(best.map_or(entry.accuracy_score, |best: f64| best.max(entry.accuracy_score)));
            }
        }
        Ok(Imported { entries: entries.len(), new, evicted_parents: 0, relinked: 0, depth, generations })
    }

    /// Every entry of a service as of one moment, parents before their children, to `each`; stops when that answers
    /// `Break`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn export(
        &self,
        service: &str,
        each: impl FnMut(ArchiveEntry) -> ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        Ok(self.archive.export(service, each).await?)
    }
}

/// The id that an evicted parent has in the archive, if an earlier import brought it.
fn evicted_parent(service: &str, format: Format, entry: &Entry) -> Option<String> {
    let source = entry.evaluation_results.get("source")?;
    let evicted = source.get("parent_evicted").and_then(Value::as_bool)?;
    let parent = source.get("parent_id").and_then(Value::as_str)?;
    evicted.then(|| interchange::archive_entry_id(service, format, parent))
}

fn new_entry(entry: Entry) -> NewEntry {
    NewEntry {
        archive_entry_id: Some(entry.archive_entry_id),
        parent_entry_id: entry.parent_entry_id,
        inspirations: entry
            .inspirations
            .into_iter()
            .map(|(archive_entry_id, kind)| Inspiration { archive_entry_id, kind })
            .collect(),
        generation_number: Some(entry.generation_number),
        service_name: entry.service_name,
        problem_statement: entry.problem_statement,
        solution_patch: entry.solution_patch,
        performance_metrics: entry.performance_metrics,
        accuracy_score: entry.accuracy_score,
        constitutional_compliance_score: entry.constitutional_compliance_score,
        evaluation_results: Some(entry.evaluation_results),
        status: entry.status,
        created_at: entry.created_at,
    }
}
