-- Months that retention must keep although they are older than the window. The time is compared with the database's clock. A
-- row stays after the hold ended, until its month is dropped: an imported month has no neighbours, which is not a gap.
CREATE TABLE dgm_partition_holds (
    month DATE PRIMARY KEY,
    held_until TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT chk_partition_hold_month CHECK (extract(DAY FROM month) = 1)
);
COMMENT ON TABLE dgm_partition_holds IS 'Months of samples that retention keeps until a time';
