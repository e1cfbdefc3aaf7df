create or replace view order_bias as
with named as (
    select e.stage, e.batch_id, e.task, e.model, e.arm, e.thinking, s.mode, len(s.pool) as pool_size, list_position(s.pool, s.action[1]) as place
    from steps s
    join episodes e on e.batch_id = s.batch_id and e.episode_id = s.episode_id
    where s.valid
)
select stage, batch_id, task, model, arm, thinking, mode, pool_size, place, count(*) as answers,
       count(*) / sum(count(*)) over (partition by stage, batch_id, task, model, arm, thinking, mode, pool_size) as share,
       1.0 / pool_size as unbiased
from named
group by stage, batch_id, task, model, arm, thinking, mode, pool_size, place
order by stage, batch_id, task, model, thinking, mode, pool_size, place;
comment on view order_bias is 'How often the first label of a valid answer (mode exclude: the one that goes; rank: the one put first) stood at each place as shown, 1-based. Shown order is shuffled, so share should be near unbiased.';
