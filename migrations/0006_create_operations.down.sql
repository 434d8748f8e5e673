DROP TABLE dgm_job_runs;
DROP TABLE dgm_api_tokens;
