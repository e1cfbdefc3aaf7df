-- What has been served since $since beside the queries of the candidate sets $sets, by task. `length` counts a query's words and the
-- items of its history; its bins are the deciles of the training queries. A count is never 0 in the index: half a query is added to each bin.
with asked as (
    select split as side, set_id, task, query, query_items from candidate_sets where batch_id = $sets and split in ('train', 'test')
    union all
    select 'served', set_id, task, query, query_items from served_requests where served_at >= $since
),
measured as (
    select side, task, list_filter(regexp_split_to_array(lower(query), '[^\p{L}\p{N}]+'), lambda word: word <> '') as words,
           len(query_items) as items
    from asked
),
sized as (select side, task, len(words) + items as length from measured),
cuts as (
    select task, list_distinct(quantile_disc(length, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])) as cuts
    from sized where side = 'train' group by task
),
bins as (select task, unnest(range(len(cuts) + 1)) as bin, len(cuts) + 1 as bins from cuts),
binned as (select side, task, len(list_filter(cuts, lambda cut: cut < length)) as bin from sized join cuts using (task)),
counted as (
    select task, bin, bins.bins, count(*) filter (where side = 'train') as train, count(*) filter (where side = 'served') as served
    from bins left join binned using (task, bin) group by task, bin, bins.bins
),
shares as (
    select task, bins, (train + 0.5) / (sum(train) over each + 0.5 * bins) as p, (served + 0.5) / (sum(served) over each + 0.5 * bins) as q
    from counted window each as (partition by task)
),
lengths as (select task, any_value(bins) as bins, sum((q - p) * ln(q / p)) as length_psi from shares group by task),
vocabulary as (select distinct task, unnest(words) as word from measured where side = 'train'),
spoken as (select side, task, unnest(words) as word from measured where side <> 'train'),
words as (
    select task, count(*) filter (where side = 'served') as words,
           avg((known.word is null)::integer) filter (where side = 'served') as unknown_words,
           avg((known.word is null)::integer) filter (where side = 'test') as unknown_words_test
    from spoken left join vocabulary known using (task, word) group by task
),
texts as (
    select distinct s.task, c.text from candidates c join candidate_sets s using (batch_id, set_id) where c.batch_id = $sets
    union
    select distinct task, text from items
),
documents as (
    select r.task, count(*) as documents, avg((known.text is null)::integer) as unknown_items
    from served_candidates c join served_requests r using (set_id) left join texts known on known.task = r.task and known.text = c.text
    where r.served_at >= $since group by r.task
),
sides as (
    select task, count(*) filter (where side = 'train') as trained, count(*) filter (where side = 'served') as served
    from asked group by task having count(*) filter (where side = 'served') > 0
)
select task, trained, served, bins, length_psi, words, unknown_words, unknown_words_test, documents, unknown_items
from sides left join lengths using (task) left join words using (task) left join documents using (task)
order by task
