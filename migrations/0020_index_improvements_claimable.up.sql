-- no-transaction
-- As idx_dgm_improvements_claim, for a condition that no other index answers: a plan made before statistics know that the
-- queue was filled finds it empty, and would read all that is queued by another index and sort it at every claim.
CREATE INDEX CONCURRENTLY idx_dgm_improvements_claimable
ON dgm_improvements (priority_rank, created_at, id)
WHERE (status = 'queued') IS TRUE;
