-- Apart from the adding of it, whose lock would stop everybody for as long as the rows are read.
ALTER TABLE dgm_job_runs VALIDATE CONSTRAINT chk_job_outcome;
