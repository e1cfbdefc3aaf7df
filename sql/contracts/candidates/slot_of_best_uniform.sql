-- Tasks whose best candidates do not stand at every slot alike (chi-square above its bound at p = 1e-6 by Wilson and Hilferty; sets with one best candidate, where at least 5 are expected a slot): the shown order tells the answer.
-- remedy: shuffle the pools before slots are given
with best as (
    select set_id, arg_max(slot, relevance) as slot, count(*) as pool_size, max(relevance, 2) as top
    from {batch}
    group by set_id
),
counted as (
    select s.task, b.pool_size, b.slot, count(*) as sets
    from best b
    join staged_candidate_sets s on s.set_id = b.set_id
    where b.pool_size > 1 and b.top[1] > b.top[2]
    group by s.task, b.pool_size, b.slot
),
judged as (
    select task, pool_size, sum(sets)::bigint as sets, pool_size * sum(sets * sets) / sum(sets) - sum(sets) as chi_square, pool_size - 1 as freedom,
           arg_max(slot, sets) as favoured
    from counted
    group by task, pool_size
    having sum(sets) >= 5 * pool_size
)
select task, pool_size, sets, favoured as favoured_slot, round(chi_square, 1) as chi_square
from judged
where chi_square > freedom * (1 - 2 / (9 * freedom) + 4.7534 * sqrt(2 / (9 * freedom))) ** 3
