DROP TABLE dgm_archive;
DROP FUNCTION dgm_touch_archive();
