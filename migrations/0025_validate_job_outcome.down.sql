ALTER TABLE dgm_job_runs DROP CONSTRAINT chk_job_outcome;
ALTER TABLE dgm_job_runs ADD CONSTRAINT chk_job_outcome
CHECK (outcome IN ('success', 'failure', 'timeout', 'cancelled', 'lost')) NOT VALID;
