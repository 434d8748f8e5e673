DROP TRIGGER trg_dgm_archive_score_history ON dgm_archive;
DROP FUNCTION dgm_keep_score_history();
DROP TABLE dgm_archive_score_history;
DROP TABLE dgm_archive_inspirations;
