-- no-transaction
-- Equal scores by age: a page of a list never sorts all entries that share a score. Takes the old index's name in 0019.
CREATE INDEX CONCURRENTLY idx_dgm_archive_score_desc_new
ON dgm_archive (accuracy_score DESC, created_at DESC);
