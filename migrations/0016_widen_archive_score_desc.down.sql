-- no-transaction
DROP INDEX CONCURRENTLY idx_dgm_archive_score_desc_new;
