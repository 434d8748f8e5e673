-- no-transaction
-- The list's order without a service. Status last: it narrows within the index, where reading every row would not do.
CREATE INDEX CONCURRENTLY idx_dgm_improvements_created
ON dgm_improvements (created_at DESC, status);
