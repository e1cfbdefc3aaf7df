create or replace view cost_quality as
with arms as (
    select batch_id, task, arm, model, strategy, thinking, count(*) as queries, avg(rr) as mrr, avg(calls) as calls,
           avg(prompt_tokens + completion_tokens) as tokens, avg(completion_tokens) as completion_tokens, avg(milliseconds) as milliseconds,
           sum(invalid_calls) / sum(calls) as malformed, avg(rounds) as rounds, avg(cached_tokens) as cached_tokens,
           sum(shortened_calls) / sum(calls) as shortened
    from episodes
    where stage = 'evaluate'
    group by batch_id, task, arm, model, strategy, thinking
),
chance as (
    select batch_id, task, max(value) as mrr from evaluations where arm = 'random' and metric = 'RR' group by batch_id, task
)
select a.batch_id, a.task, a.arm, a.model, a.strategy, a.thinking, a.queries, a.mrr, a.mrr - c.mrr as above_chance, a.calls, a.tokens,
       a.completion_tokens, a.milliseconds, a.malformed, 1000 * (a.mrr - c.mrr) / a.tokens as gain_per_1000_tokens,
       not exists (
           select 1 from arms o
           where o.batch_id = a.batch_id and o.task = a.task and o.mrr >= a.mrr and o.tokens <= a.tokens and (o.mrr > a.mrr or o.tokens < a.tokens)
       ) as unbeaten,
       a.rounds, a.cached_tokens, a.shortened
from arms a
left join chance c on c.batch_id = a.batch_id and c.task = a.task
order by a.batch_id, a.task, a.tokens;
comment on view cost_quality is 'What an evaluated policy costs against how well it ranks: means per query (calls, rounds of calls that wait for each other, tokens, those of them that a prefix cache spared, milliseconds), the share of calls whose answer was invalid and of those of whose texts the model did not get every word (shortened), MRR and how far it lies above chance; unbeaten is true where no other policy of that evaluation and task ranks at least as well for at most as many tokens.';
