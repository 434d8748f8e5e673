DROP TABLE dgm_archive_artifacts;
DROP TABLE dgm_artifacts;
DROP FUNCTION dgm_follow_artifact();
