-- no-transaction
-- Statistics by generation are read from the index alone.
CREATE INDEX CONCURRENTLY idx_dgm_archive_service_generation_new
ON dgm_archive (service_name, generation_number)
INCLUDE (status, accuracy_score, constitutional_compliance_score);
