-- Sets of a task split by time whose target lies outside the time of their side: training would read of the test, or the test of training.
-- remedy: draw each side's targets between its moments (details.cuts)
with tasks as (
    select t.shape ->> 0 as task, p.parameters -> 'cuts' as cuts
    from parameters_of_batch p, unnest((p.parameters -> 'tasks')::json[]) t(shape)
),
cuts as (
    select task, (cuts -> task ->> 'train_before')::timestamptz as train_before, (cuts -> task ->> 'test_from')::timestamptz as test_from,
           (cuts -> task ->> 'test_before')::timestamptz as test_before
    from tasks
    where (cuts -> task) is not null
),
targets as (
    select s.set_id, s.task, s.split, n.happened_at
    from {batch} s
    join staged_candidates c on c.set_id = s.set_id and c.relevance > 0
    join interactions n on n.task = s.task and n.user_id = s.group_id and n.item_id = c.item_id
    where n.batch_id in (select key from inputs_of_batch)
)
select t.set_id, t.task, t.split, t.happened_at as target_at, c.train_before, c.test_from
from targets t
join cuts c on c.task = t.task
where t.split <> case when t.happened_at < c.train_before then 'train'
                      when t.happened_at < c.test_from then 'valid'
                      when c.test_before is null or t.happened_at < c.test_before then 'test'
                      else 'none' end
