-- Valid steps whose completion answers (<answer> … </answer>) otherwise than their action says, or whose action is not what was acted on: the whole of it, or of an order its end, worst first (at least one label). Where labels were scored, nothing may be acted on but the action.
-- remedy: act on the action that was parsed from the completion
with answered as (
    select episode_id, step, mode, scores, action, taken, string_split_regex(trim(regexp_extract(completion, '<answer>(.*)</answer>', 1, 's'), E' \n\t'), '\s+') as answer
    from {batch} b
    where valid
)
select episode_id, step, action, taken, answer
from answered
where scores is null and answer is distinct from action
   or taken is distinct from action
      and not (scores is not null and len(taken) = 0)
      and not (mode = 'rank' and len(taken) between 1 and len(action) - 1 and taken = list_reverse(action)[: len(taken)])
