-- `vs_random` compares the lower end of the arm's interval with the random row's value: that one is an exact
-- expectation over the same queries, not a sample. The promotion rule reads it the same way.
create or replace view leaderboard as
with latest as (
    select batch_id from stage_runs where stage = 'evaluate' order by finished_at desc limit 1
),
arms as (
    select e.batch_id, e.task, e.arm, e.strategy, e.thinking, any_value(e.model) as model,
           max(value) filter (where metric = 'RR') as mrr,
           max(lower) filter (where metric = 'RR') as mrr_lower,
           max(upper) filter (where metric = 'RR') as mrr_upper,
           max(value) filter (where metric = 'nDCG@10') as ndcg_10,
           max(value) filter (where metric = 'Hit@1') as hit_1,
           max(value) filter (where metric = 'malformed') as malformed,
           max(value) filter (where metric = 'calls') as calls,
           sum(value) filter (where metric in ('prompt_tokens', 'completion_tokens')) as tokens,
           max(queries) as queries
    from evaluations e
    semi join latest l on l.batch_id = e.batch_id
    group by e.batch_id, e.task, e.arm, e.strategy, e.thinking
),
chance as (
    select task, max(mrr) as mrr from arms where arm = 'random' group by task
),
estimated as (
    from traffic_estimates qualify row_number() over (partition by model, task, strategy, thinking, estimator order by measured_at desc) = 1
),
clicked as (
    select model, task, strategy, thinking,
           max(value) filter (where estimator = 'DR') as clicks_dr,
           max(lower) filter (where estimator = 'DR') as clicks_dr_lower,
           max(upper) filter (where estimator = 'DR') as clicks_dr_upper,
           max(value) filter (where estimator = 'SNIPS') as clicks_snips,
           max(lower) filter (where estimator = 'SNIPS') as clicks_snips_lower,
           max(upper) filter (where estimator = 'SNIPS') as clicks_snips_upper,
           max(effective) as clicks_effective, max(requests) as clicks_requests
    from estimated
    group by model, task, strategy, thinking
)
select a.task, a.arm, a.strategy, a.thinking, a.mrr, a.mrr_lower, a.mrr_upper, a.ndcg_10, a.hit_1, a.malformed, a.calls, a.tokens, a.queries,
       case when a.arm = 'random' then null when a.mrr_lower > c.mrr then 'above' else 'not above' end as vs_random,
       i.rise as injection, i.text as injected_by,
       t.clicks_dr, t.clicks_dr_lower, t.clicks_dr_upper, t.clicks_snips, t.clicks_snips_lower, t.clicks_snips_upper, t.clicks_effective, t.clicks_requests,
       a.model, a.batch_id
from arms a
left join chance c on c.task = a.task
left join injection i on i.model = a.model and i.task = a.task and i.strategy = a.strategy and i.thinking = a.thinking
left join clicked t on t.model = a.model and t.task = a.task and t.strategy = a.strategy and t.thinking = a.thinking
order by a.task, a.mrr desc, a.arm, a.strategy, a.thinking;
comment on view leaderboard is 'The latest evaluation, one row per task, arm, strategy and thinking, best MRR first. Means over test queries with 95% intervals; malformed is a share of answers, calls and tokens are per query; vs_random is above where the whole interval lies above chance; injection is how far the worst attack (injected_by) raises who brings it, of the way from last to first beyond the control, null where `ranker audit injection` was not run on this model in this way; clicks_dr and clicks_snips are the clicks a request that it would have got on clicks_requests logged ones, with 95% intervals and an effective sample of clicks_effective, null where no randomised traffic was ranked in this way (evaluate.traffic_requests, `ranker audit traffic`).';
