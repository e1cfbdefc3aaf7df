-- The scores of one arm's likelihood policy on the test queries of an evaluation, one row a candidate, with its relevance; empty for any other policy.
with whole as (
    select e.task, e.set_id, s.pool, s.log_likelihoods, s.temperature
    from episodes e
    join steps s on s.batch_id = e.batch_id and s.episode_id = e.episode_id
    where e.batch_id = $batch_id and e.arm = $arm and s.log_likelihoods is not null and len(s.pool) = len(e.pool)
    qualify row_number() over (partition by e.task, e.set_id order by e.strategy, s.step) = 1
),
each as (
    select task, set_id, temperature, unnest(pool) as label, unnest(log_likelihoods) as score from whole
)
select e.task, e.set_id, e.label, e.score, e.temperature, c.relevance
from each e
join stage_runs r on r.stage = 'evaluate' and r.batch_id = $batch_id
join candidates c on list_contains(r.inputs, c.batch_id) and c.set_id = e.set_id and c.label = e.label
order by e.task, e.set_id, e.label
