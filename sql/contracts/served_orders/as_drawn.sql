-- Orders that differ from the ranking though none was drawn, or beyond the depth; and propensities that are not (1 − share) · [as ranked] + share / depth!.
-- remedy: log the order and the chance that ranker/serving/explore.py gives
with orders as (
    select o.*, o.teams as o_teams, list_filter(e.ranking, lambda label: list_contains(o.shown, label)) as ranked
    from {batch} o
    join staged_episodes e on e.set_id = o.set_id and e.arm <> 'shadow'
)
select set_id, shown, ranked, share, depth, drawn, propensity
from orders
where o_teams is null and ((not drawn and shown <> ranked) or shown[depth + 1:] <> ranked[depth + 1:] or depth > len(shown)
   or abs(propensity - (1 - share) * (shown = ranked)::integer - share / factorial(depth)) > 1e-9)
