DROP TABLE dgm_partition_holds;
