-- Rows of one ingest ($now) by task and kind, and how many of them another ingest ($before) did not have: new ones, and changed ones.
with read as (
    select batch_id, task, 'interactions' as kind, hash(user_id, item_id, rating, happened_at) as row from interactions
    union all
    select batch_id, task, 'queries', hash(query_id, group_id, text) from queries
    union all
    select batch_id, task, 'judgements', hash(query_id, item_id, relevance) from qrels
    union all
    select batch_id, task, 'items', hash(item_id, title, text) from items
),
before as (
    select distinct task, kind, row from read where batch_id = $before
)
select n.task, n.kind, count(*) as rows, count(*) filter (b.row is null) as fresh
from read n
left join before b on b.task = n.task and b.kind = n.kind and b.row = n.row
where n.batch_id = $now
group by n.task, n.kind
order by n.task, n.kind
