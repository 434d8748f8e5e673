-- no-transaction
DROP INDEX CONCURRENTLY idx_dgm_improvements_parent;
