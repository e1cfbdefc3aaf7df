-- Orders that show a document twice, or one that is not of the request.
-- remedy: take the labels from the request's ranking
select o.set_id, o.shown, e.ranking
from {batch} o
join staged_episodes e on e.set_id = o.set_id and e.arm <> 'shadow'
where len(list_distinct(o.shown)) <> len(o.shown) or not list_has_all(e.ranking, o.shown)
