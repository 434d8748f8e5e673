-- A run is of an occurrence of its job's schedule: of many replicas one runs it, and a missed one is found. A run whose
-- process died is lost; its occurrence may be run again.
ALTER TABLE dgm_job_runs ADD COLUMN scheduled_for timestamptz;
COMMENT ON COLUMN dgm_job_runs.scheduled_for IS 'Occurrence of the schedule; null for a run by hand';
-- One more word is admitted; none is taken away.
-- squawk-ignore ban-drop-constraint
ALTER TABLE dgm_job_runs DROP CONSTRAINT chk_job_outcome;
ALTER TABLE dgm_job_runs ADD CONSTRAINT chk_job_outcome
CHECK (outcome IN ('success', 'failure', 'timeout', 'cancelled', 'lost')) NOT VALID;
