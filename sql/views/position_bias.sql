-- Two questions by place as shown: how often is it named first, and does the gold survive better there than elsewhere?
-- The gold is every most relevant candidate of its set; a pool that no longer holds it says nothing of it.
create or replace view position_bias as
with gold as (
    select r.batch_id, c.set_id, c.label, row_number() over (partition by r.batch_id, c.set_id order by c.relevance desc, c.slot) = 1 as first
    from candidates c
    join (select distinct batch_id, inputs from stage_runs) r on list_contains(r.inputs, c.batch_id)
    qualify c.relevance = max(c.relevance) over (partition by r.batch_id, c.set_id)
),
calls as materialized (
    select e.stage, e.batch_id, e.task, e.model, e.arm, e.thinking, s.mode, len(s.pool) as pool_size, case when s.valid then list_position(s.pool, s.action[1]) end as named,
           list_position(s.pool, g.label) as gold, case when s.mode <> 'exclude' then coalesce(s.action[1], s.taken[1]) is not distinct from g.label
                when len(s.taken) between 2 and len(s.pool) - 1 then not list_contains(s.taken, g.label)
                else s.taken[1] is distinct from g.label end as survived, coalesce(g.first, true) as first, count(*) as calls
    from steps s
    join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id and len(s.taken) > 0
    left join gold g on g.batch_id = e.batch_id and g.set_id = e.set_id
    group by all
),
placed as (
    select stage, batch_id, task, model, arm, thinking, mode, pool_size, named as place, calls as answers, 0 as gold_shown, 0 as gold_survived
    from calls
    where named is not null and first
    union all
    select stage, batch_id, task, model, arm, thinking, mode, pool_size, gold, 0, calls, case when survived then calls else 0 end
    from calls
    where gold is not null
),
counted as (
    select stage, batch_id, task, model, arm, thinking, mode, pool_size, place, sum(answers) as answers, sum(gold_shown) as gold_shown, sum(gold_survived) as gold_survived
    from placed
    group by stage, batch_id, task, model, arm, thinking, mode, pool_size, place
)
select stage, batch_id, task, model, arm, thinking, mode, pool_size, place, answers::bigint as answers,
       answers / nullif(sum(answers) over line, 0) as share, 1.0 / pool_size as unbiased,
       gold_shown::bigint as gold_shown, gold_survived / nullif(gold_shown, 0) as gold_survived,
       sum(gold_survived) over line / nullif(sum(gold_shown) over line, 0) as gold_survived_anywhere
from counted
window line as (partition by stage, batch_id, task, model, arm, thinking, mode, pool_size)
order by stage, batch_id, task, model, thinking, mode, pool_size, place;
comment on view position_bias is 'By place as shown (1-based), for each policy, mode and pool size. answers: valid answers whose first label stood there (mode exclude: the one that goes; rank: the one put first); shown order is shuffled, so share should be near unbiased. gold_shown: calls whose gold (a most relevant candidate of the set) stood there; gold_survived: the share in which it survived the call (exclude: it did not go; rank: it was put first), invalid answers with their fallback included; without order bias it is near gold_survived_anywhere at every place.';
