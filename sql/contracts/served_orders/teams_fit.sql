-- Interleaved orders of which two places in a row (first and second, third and fourth, …) belong to one team, or that have a propensity; and other orders without one.
-- remedy: interleave by ranker/serving/interleave.py
select set_id, shown, teams, propensity
from {batch}
where (propensity is null) <> (teams is not null)
   or teams is not null and (
       len(teams) <> len(shown) or len(list_filter(teams, lambda team: team not in ('served', 'shadow'))) > 0
       or len(list_filter(range(1, len(teams) // 2 + 1), lambda pair: teams[2 * pair - 1] = teams[2 * pair])) > 0
   )
