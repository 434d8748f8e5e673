-- no-transaction
DROP INDEX CONCURRENTLY idx_dgm_improvement_events_service;
