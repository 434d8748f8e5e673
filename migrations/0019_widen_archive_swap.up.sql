-- The wider indexes serve every query of the narrower ones, with the same leading columns.
DROP INDEX idx_dgm_archive_score_desc, idx_dgm_archive_compliance, idx_dgm_archive_service_generation;
ALTER INDEX idx_dgm_archive_score_desc_new RENAME TO idx_dgm_archive_score_desc;
ALTER INDEX idx_dgm_archive_compliance_new RENAME TO idx_dgm_archive_compliance;
ALTER INDEX idx_dgm_archive_service_generation_new RENAME TO idx_dgm_archive_service_generation;
