-- What would have come of another answer? Replayed episodes beside the ones they branch off.
-- `ranker replay` writes them; gain is in reciprocal rank.
select n.task, n.episode_id, n.parent_episode, n.from_step, p.model as model_before, n.model as model_after, n.strategy, round(p.rr, 3) as rr_before, round(n.rr, 3) as rr_after,
       round(n.rr - p.rr, 3) as gain, array_to_string(p.ranking, ' ') as ranking_before, array_to_string(n.ranking, ' ') as ranking_after
from episodes n
join episodes p on p.episode_id = n.parent_episode
where n.stage = 'replay'
order by n.task, gain desc
