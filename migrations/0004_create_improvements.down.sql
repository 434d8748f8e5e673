DROP TABLE dgm_improvements;
