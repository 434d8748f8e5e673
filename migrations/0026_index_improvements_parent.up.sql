-- no-transaction
-- For the foreign key: removing an entry looks for the improvements that refer to it, by reading all of them without this.
CREATE INDEX CONCURRENTLY idx_dgm_improvements_parent ON dgm_improvements (parent_entry_id)
WHERE parent_entry_id IS NOT NULL;
