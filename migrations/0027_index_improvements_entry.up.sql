-- no-transaction
-- As idx_dgm_improvements_parent, for the entries that came of improvements.
CREATE INDEX CONCURRENTLY idx_dgm_improvements_entry ON dgm_improvements (archive_entry_id)
WHERE archive_entry_id IS NOT NULL;
