DROP TRIGGER trg_dgm_improvements_changed ON dgm_improvements;
DROP TRIGGER trg_dgm_improvements_created ON dgm_improvements;
DROP FUNCTION dgm_keep_improvement_event();
DROP TABLE dgm_improvement_events;
