DROP FUNCTION create_monthly_partition(text, date);
DROP TABLE dgm_performance_metrics;
