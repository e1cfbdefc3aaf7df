-- Queries that come with the data, with their side, at most so many a side by a seeded digest; none that is sealed or kept back. `splits` is a registered frame.
with sided as (
    select q.query_id, q.group_id, q.text as query, s.split,
           row_number() over (partition by s.split order by md5(concat_ws('|', $seed, 'cap', q.query_id)), q.query_id) as number
    from queries q
    join splits s on s.group_id = q.group_id
    where q.batch_id = $batch_id and q.task = $task and s.split not in ('sealed', 'kept back')
      and ($whole or exists (
          select 1 from qrels r where r.batch_id = $batch_id and r.task = $task and r.query_id = q.query_id
          having min(r.relevance) < max(r.relevance)))
)
select query_id, group_id, query, split
from sided
where number <= case split when 'test' then $max_test when 'valid' then $max_valid else $max_train end
order by query_id
