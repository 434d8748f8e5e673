-- no-transaction
-- Without the rows from before the column.
CREATE INDEX CONCURRENTLY idx_dgm_improvement_events_service ON dgm_improvement_events (service_name, transaction_id)
WHERE service_name IS NOT NULL;
