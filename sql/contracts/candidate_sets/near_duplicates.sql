-- Queries that read like one of another side (train, valid, test), where more than a share {bound} of their own side does: a Jaccard similarity of their words of at least 0.8, both of at least 6 different words. Passages and routing only: histories overlap, and synthetic data has few possible queries.
-- remedy: give them one group in the source, so that the split keeps them together
-- Exact, not hashed: two sets that are so alike share one of their rarest words (prefix filter of Chaudhuri et al. 2006).
with asked as (
    select t.shape ->> 0 as task
    from parameters_of_batch p, unnest((p.parameters -> 'tasks')::json[]) t(shape)
    where t.shape ->> 1 in ('passage', 'routing')
),
texts as (
    select task, split, min(set_id) as set_id, count(*) as sets, list_distinct(regexp_extract_all(lower(query), '[\pL\pN]+')) as words, any_value(query) as query
    from {batch} s
    semi join asked a on a.task = s.task
    group by task, split, lower(query)
),
words as (
    select task, split, set_id, len(words) as n, unnest(words) as word from texts where len(words) >= 6
),
counted as (
    select *, count(*) over (partition by task, word) as uses from words
),
placed as (
    select *, row_number() over (partition by set_id order by uses, word) as place from counted
),
rare as (
    select * from placed where place <= n - ceil(0.8 * n) + 1
),
pairs as (
    select distinct a.task, a.set_id as one, b.set_id as other
    from rare a
    join rare b on b.task = a.task and b.word = a.word and b.split > a.split
    where least(a.n, b.n) >= 0.8 * greatest(a.n, b.n)
),
alike as (
    select p.task, a.set_id as one, b.set_id as other, a.split as one_side, b.split as other_side, a.sets as one_sets, b.sets as other_sets, a.query as one_query, b.query as other_query
    from pairs p
    join texts a on a.set_id = p.one
    join texts b on b.set_id = p.other
    where len(list_intersect(a.words, b.words)) >= 0.8 * (len(a.words) + len(b.words) - len(list_intersect(a.words, b.words)))
),
twins as (
    select task, one as set_id, one_side as split, one_sets as sets, other as like_set_id, other_side as like_split, one_query as query, other_query as like_query from alike
    union all
    select task, other, other_side, other_sets, one, one_side, other_query, one_query from alike
),
sides as (
    select task, split, sum(sets) as sets from texts group by task, split
),
shares as (
    select t.task, t.split, sum(t.sets) / any_value(s.sets) as share
    from (select distinct task, split, set_id, sets from twins) t
    join sides s on s.task = t.task and s.split = t.split
    group by t.task, t.split
)
select t.task, t.split, t.like_split, t.set_id, t.like_set_id, round(s.share, 4) as share, left(t.query, 80) as query, left(t.like_query, 80) as like_query
from twins t
join shares s on s.task = t.task and s.split = t.split
where s.share > {bound}
