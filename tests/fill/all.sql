-- Everything at a scale, by psql: as many entries and improvements as the variable `scale` says, and ten times as many samples.
-- `make bench ARGS="--fill tests/fill/all.sql --scale 1000000"`.
SELECT set_config('fill.archive', :'scale', false), set_config('fill.improvements', :'scale', false),
    set_config('fill.samples', (:'scale'::bigint * 10)::text, false) \g /dev/null
\ir archive.sql
\ir samples.sql
\ir vacuum.sql
